"""The campaign of deadlines: trainings and whole runs under random time limits.

`doggan run` writes zips of 1,000 images (--zip-count), which one core makes within the shortest
limit of 20 s. A limit that is over before PyTorch is loaded tells nothing about training; such
ones are counted apart, and on a machine that is busy with other work there will be many.
"""

import argparse
import math
import re
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from doggan.competition import ENTRY
from doggan.gan.history import read_history
from doggan.submission import check_submission
from doggan.support.errors import DogganError
from promises import BrokenPromiseError, check_file, make_set, one_thread, read_checkpoint

OVERSHOOT_SECONDS = 2.0  # what a command may take beyond its limit
BATCH_OF_DEMO = 32

# The interpreter's own start and end are not doggan's: main() is timed apart.
TIMED_MAIN = """
import sys, time
started = time.perf_counter()
from doggan.cli.main import main
code = main()
took, working = time.perf_counter() - started, time.process_time()
print(f"main took {took:.3f} s, {working:.3f} s of them on a core", file=sys.stderr)
sys.exit(code)
"""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One command with a random limit, and how it ended; times in seconds."""

    command: str
    limit: float
    seed: int
    interval_images: int
    images: int = 0
    wall: float = 0.0
    main: float = 0.0
    working: float = 0.0
    failure: str = ""

    @property
    def began(self) -> bool:
        """Whether the limit left time to train: the first step is taken in any case."""
        return self.images > BATCH_OF_DEMO

    @property
    def overshoot(self) -> float:
        """What the whole process took beyond its limit, the interpreter's start and end included.

        Negative where time was left.
        """
        return self.wall - self.limit

    def describe(self) -> str:
        """One line on how it ended."""
        outcome = self.failure or (
            f"{self.overshoot:+6.2f} s, {self.images:,} images, {self.working:.0f} s on a core"
        )
        return f"{self.command:5} limit {self.limit:6.1f} s: {outcome}"


def deadline(args: argparse.Namespace, work: Path) -> dict:
    """Runs `doggan train` and `doggan run` in turn under `args.count` random limits; each must end
    in time, with a checkpoint that loads and a zip that is valid."""
    make_set(work)
    done = []
    with ThreadPoolExecutor(args.lanes) as lanes:
        run = lanes.map(lambda trial: run_trial(trial, work, args.zip_count), _draw(args))
        for number, trial in enumerate(run, 1):
            print(f"{number:3} {trial.describe()}", flush=True)
            done.append(trial)
    failures = [trial.failure for trial in done if trial.failure]
    began = [trial for trial in done if trial.began]
    late = [trial for trial in began if trial.overshoot > OVERSHOOT_SECONDS]
    too_short = len(done) - len(began)
    began = began or done
    worst = max(began, key=lambda trial: trial.overshoot)
    share = sum(trial.working for trial in done) / sum(trial.wall for trial in done)
    summary = (
        f"{len(done)} limits: {len(failures)} failures, {too_short} gone before training could "
        f"begin; of the others {len(late)} late by more than {OVERSHOOT_SECONDS:g} s; the worst "
        f"overshoot was {worst.overshoot:+.2f} s ({worst.command}, limit {worst.limit} s). A "
        f"process had {share:.0%} of a core"
    )
    print(summary)
    return {
        "summary": summary,
        "kept": not failures and not late,
        "limits": len(done),
        "lanes": args.lanes,
        "shortest_limit": min(trial.limit for trial in done),
        "longest_limit": max(trial.limit for trial in done),
        "failures": failures,
        "too_short_to_train": too_short,
        "late": len(late),
        "worst_overshoot": round(worst.overshoot, 3),
        "worst_overshoot_of_main": round(max(trial.main - trial.limit for trial in began), 3),
        "median_overshoot": {
            command: round(statistics.median(trial.overshoot for trial in of), 3)
            for command in ("train", "run")
            if (of := [trial for trial in began if trial.command == command])
        },
        "share_of_a_core": round(share, 2),
    }


def run_trial(trial: Trial, work: Path, zip_count: int) -> Trial:
    """The trial with its times and what it left; its folder is removed again."""
    folder = work / f"{trial.command}-{trial.seed}"
    source = work / ("set" if trial.command == "train" else "photos")
    command = [sys.executable, "-c", TIMED_MAIN, trial.command, str(source), "--out", str(folder)]
    command += ["--time-limit", f"{trial.limit}s", "--seed", str(trial.seed), "--recipe", "demo"]
    command += ["--set", f"train.interval_images={trial.interval_images}", "--images", str(10**9)]
    if trial.command == "run":
        command += ["--set", f"submission.count={zip_count}", "--judge", "efficientnet-lite0"]
    environment = one_thread(XDG_CACHE_HOME=str(work / "cache"))
    started = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    wall = time.perf_counter() - started
    images, failure = 0, ""
    try:
        if ended.returncode:
            raise BrokenPromiseError(f"exit {ended.returncode}: {ended.stderr[-500:]}")
        images = check_trial(folder, zip_count if trial.command == "run" else None)
    except DogganError as error:
        failure = str(error)
    shutil.rmtree(folder, ignore_errors=True)
    took = re.search(r"main took ([\d.]+) s, ([\d.]+) s", ended.stderr)
    main, working = map(float, took.groups()) if took else (wall, 0.0)
    return replace(trial, images=images, wall=wall, main=main, working=working, failure=failure)


def check_trial(folder: Path, zip_count: int | None) -> int:
    """The images that a run has seen; raises BrokenPromiseError for a torn file or a bad zip."""
    for path in folder.rglob("*"):
        if path.is_file():
            check_file(path)
    if zip_count is not None:
        check = check_submission(folder / ENTRY, count=zip_count)
        if not check.valid:
            raise BrokenPromiseError(check.summary())
    rows = read_history(folder)
    if not rows or rows[-1]["stopped_by"] != "time limit":
        raise BrokenPromiseError(f"{folder} does not say that its time limit ended it")
    seen = read_checkpoint(folder)["images_seen"]
    if seen != rows[-1]["images"]:
        raise BrokenPromiseError(f"{folder} lost its last images")
    return seen


def _draw(args: argparse.Namespace) -> list[Trial]:
    """Trials in turn of each command, their limits and intervals evenly spread over logarithms."""
    random = np.random.default_rng(args.seed)

    def between(low: float, high: float) -> float:
        return math.exp(random.uniform(math.log(low), math.log(high)))

    return [
        Trial(
            command=("train", "run")[number % 2],
            limit=round(between(args.shortest, args.longest), 1),
            seed=int(random.integers(2**32)),
            interval_images=round(between(200, 4000)),
        )
        for number in range(args.count)
    ]
