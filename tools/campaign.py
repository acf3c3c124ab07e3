#!/usr/bin/env python3
"""Campaigns that try to break training: killed at random moments, and given random time limits.

    .venv/bin/python tools/campaign.py kill --count 100
    .venv/bin/python tools/campaign.py deadline --count 50 --lanes 3

Both train on drawn dogs, in a temporary folder or in --work, and exit with 1 when a promise was
broken. With --json the last line is the result as one JSON object.

`doggan run` writes zips of 1,000 images (--zip-count), which one core makes within the shortest
limit of 20 s. A limit that is over before PyTorch is loaded tells nothing about training; such
ones are counted apart, and on a machine that is busy with other work there will be many.
"""

import argparse
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageSequence

from doggan.data.build import build_imageset
from doggan.drawn_dogs.photos import draw_sample_dogs
from doggan.gan.generator_file import load_generator
from doggan.gan.history import read_history
from doggan.gan.run_folder import CHECKPOINT, STATS
from doggan.recipe import DataRecipe
from doggan.submission import check_submission
from doggan.support.errors import DogganError, InputError

OVERSHOOT_SECONDS = 2.0  # what a command may take beyond its limit
PHOTOS = 60

# Steps of milliseconds and an interval of about half a second, half of which is saving.
BATCH, INTERVAL = 8, 160
TINY = {
    "networks.latent": 16,
    "networks.generator_width": 8,
    "networks.discriminator_width": 8,
    "train.batch_size": BATCH,
    "train.interval_images": INTERVAL,
}
ENDLESS = 10**9  # images
BATCH_OF_DEMO = 32
START_UP_SHARE = 0.15  # of the kills; the others come when training goes on
KILL_WITHIN_SECONDS = 2.0  # of the bar's first movement

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


class BrokenPromiseError(DogganError):
    """What was tried did not come out as doggan promises."""


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    temporary = None if args.work else tempfile.TemporaryDirectory(prefix="campaign.")
    work = (args.work or Path(temporary.name)).absolute()
    try:
        result = args.campaign(args, work)
    except DogganError as error:
        print(f"campaign: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        if temporary:
            temporary.cleanup()
    if args.json:
        print(json.dumps(result))
    return 0 if result["kept"] else 1


def kill(args: argparse.Namespace, work: Path) -> dict:
    """Kills one training at `args.count` random moments; what it leaves must be whole, and in the
    end what an undisturbed training leaves."""
    random = np.random.default_rng(args.seed)
    imageset, victim = _make_set(work), Victim(work / "killed")
    kills = []
    for number in range(1, args.count + 1):
        before = victim.checkpoint_images()
        victim.start(_train_command(imageset, victim.folder, ENDLESS, before is not None))
        partials = victim.partials()
        if random.random() < START_UP_SHARE:
            moment = victim.sleep(random.uniform(0, victim.start_up_seconds))
        else:
            moment = victim.sleep_once_training(random.uniform(0, KILL_WITHIN_SECONDS))
        reached = victim.kill()
        phase = victim.phase(partials)
        lost = victim.check(before, reached)
        kills.append({"phase": phase, "lost_images": lost, "seconds": moment})
        saved = victim.checkpoint_images()
        print(f"{number:3} killed {phase}, at {saved or 0:,} images, {lost} lost", flush=True)
    images = (victim.checkpoint_images() or 0) + 2 * INTERVAL
    straight = work / "straight"
    _run(_train_command(imageset, victim.folder, images, victim.checkpoint_images() is not None))
    # Saved once: hundreds of saves would take most of the time and change nothing.
    once = ["--set", f"train.interval_images={images}"]
    _run([*_train_command(imageset, straight, images, False), *once])
    same = same_course(victim.folder, straight)
    phases = [made["phase"] for made in kills]
    result = {
        "campaign": "kill",
        "kept": same and not victim.partials(),
        "kills": len(kills),
        "phases": {phase: phases.count(phase) for phase in sorted(set(phases))},
        "torn_files": 0,  # one would have ended the campaign
        "most_images_lost": max(made["lost_images"] for made in kills),
        "interval_images": INTERVAL,
        "images": images,
        "same_bits_as_undisturbed": same,
    }
    print(
        f"{len(kills)} kills ({', '.join(f'{n} {phase}' for phase, n in result['phases'].items())})"
        f": no torn file, {result['most_images_lost']} images lost at most (an interval is "
        f"{INTERVAL}); after {images:,} images the weights are "
        f"{'' if same else 'NOT '}those of an undisturbed training"
    )
    return result


class Victim:
    """A training in a process of its own, and what can be seen of it from outside."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.start_up_seconds = 10.0  # measured anew at every start
        self._log, self._sound = folder.with_suffix(".log"), {}

    def start(self, command: list[str]) -> None:
        """Starts the process."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=log, env=_environment()
            )
        self._started, self._began = time.perf_counter(), time.time()

    def sleep(self, seconds: float) -> float:
        """Waits so long; returns the seconds since the start."""
        time.sleep(seconds)
        return time.perf_counter() - self._started

    def sleep_once_training(self, seconds: float) -> float:
        """Waits so long from the first interval's end on."""
        while not self._trains():
            if self._process.poll() is not None:
                raise BrokenPromiseError(f"training ended by itself: {self._log.read_text()}")
            time.sleep(0.01)
        self.start_up_seconds = time.perf_counter() - self._started
        return self.sleep(seconds)

    def kill(self) -> int | None:
        """Kills; returns the most images that the process is known to have seen, None for none."""
        if self._process.poll() is not None:
            raise BrokenPromiseError(f"training ended by itself: {self._log.read_text()}")
        self._process.kill()
        self._process.wait()
        return self._bar()

    def phase(self, partials: set[Path]) -> str:
        """What the process was doing, by its history and by half-written files beside
        `partials`."""
        if self.partials() - partials:
            return "while saving"
        return "while training" if self._trains() else "at start-up"

    def check(self, before: int | None, bar: int | None) -> int:
        """Raises BrokenPromiseError where a file is torn or more than an interval is lost;
        returns the images between the checkpoint and the furthest sign of progress."""
        self._check_files()
        saved = self.checkpoint_images()
        if before is not None and (saved is None or saved < before):
            raise BrokenPromiseError(f"the checkpoint went back from {before} to {saved} images")
        rows = read_history(self.folder)
        reached = max(bar or 0, rows[-1]["images"] if rows else 0)
        lost = max(0, reached - (saved or 0))
        if lost > INTERVAL:
            raise BrokenPromiseError(f"the checkpoint is {lost} images old, more than {INTERVAL}")
        return lost

    def checkpoint_images(self) -> int | None:
        """The images that the checkpoint has seen, None where there is none."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return None
        return torch.load(path, map_location="cpu", weights_only=True)["images_seen"]

    def partials(self) -> set[Path]:
        """Files that a kill left half written."""
        return set(self.folder.rglob("*.partial"))

    def _check_files(self) -> None:
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.suffix != ".partial":
                version = path.stat().st_mtime_ns
                if self._sound.get(path) != version:
                    check_file(path)
                self._sound[path] = version

    def _trains(self) -> bool:
        """Whether the process has come to the end of an interval."""
        history = self.folder / STATS
        return history.exists() and history.stat().st_mtime > self._began

    def _bar(self) -> int | None:
        found = re.findall(r"([\d,]+) images", self._log.read_text(errors="replace"))
        return int(found[-1].replace(",", "")) if found else None


def check_file(path: Path) -> None:
    """Raises BrokenPromiseError where a file of a run is torn; TensorBoard's own are not read."""
    try:
        if path.name == CHECKPOINT:
            torch.load(path, map_location="cpu", weights_only=True)
        elif path.suffix == ".safetensors":
            load_generator(path, torch.device("cpu"))
        elif path.name == STATS:
            read_history(path.parent)
        elif path.suffix == ".json":
            json.loads(path.read_text("utf-8"))
        elif path.suffix == ".toml":
            tomllib.loads(path.read_text("utf-8"))
        elif path.suffix in (".png", ".gif"):
            with Image.open(path) as picture:
                for frame in ImageSequence.Iterator(picture):
                    frame.load()
    except Exception as error:  # whatever a reader says of a torn file
        raise BrokenPromiseError(f"{path} is torn: {error}") from error


def same_course(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same bits: networks, optimizers, random state, counters."""
    contents = [torch.load(folder / CHECKPOINT, weights_only=True) for folder in (one, other)]
    for content in contents:
        # Its time, and how often it was saved, are no part of a course.
        del content["seconds"], content["recipe"]
    return _same(*contents)


def _same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


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


def deadline(args: argparse.Namespace, work: Path) -> dict:
    """Runs `doggan train` and `doggan run` in turn under `args.count` random limits; each must end
    in time, with a checkpoint that loads and a zip that is valid."""
    random = np.random.default_rng(args.seed)
    imageset = _make_set(work)
    low, high = args.shortest, args.longest
    trials = [
        Trial(
            command=("train", "run")[number % 2],
            limit=round(math.exp(random.uniform(math.log(low), math.log(high))), 1),
            seed=int(random.integers(2**32)),
            interval_images=round(math.exp(random.uniform(math.log(200), math.log(4000)))),
        )
        for number in range(args.count)
    ]
    with ThreadPoolExecutor(args.lanes) as lanes:
        run = lanes.map(lambda trial: run_trial(trial, imageset, work, args.zip_count), trials)
        done = [_told(number, trial) for number, trial in enumerate(run, 1)]
    failures = [trial.failure for trial in done if trial.failure]
    late = [trial for trial in done if trial.began and trial.overshoot > OVERSHOOT_SECONDS]
    began = [trial for trial in done if trial.began] or done
    worst = max(began, key=lambda trial: trial.overshoot)
    result = {
        "campaign": "deadline",
        "kept": not failures and not late,
        "limits": len(done),
        "lanes": args.lanes,
        "shortest_limit": min(trial.limit for trial in done),
        "longest_limit": max(trial.limit for trial in done),
        "failures": failures,
        "too_short_to_train": sum(not trial.began for trial in done),
        "late": len(late),
        "worst_overshoot": round(worst.overshoot, 3),
        "worst_overshoot_of_main": round(max(trial.main - trial.limit for trial in began), 3),
        "median_overshoot": {
            command: round(statistics.median(trial.overshoot for trial in of), 3)
            for command in ("train", "run")
            if (of := [trial for trial in began if trial.command == command])
        },
        "share_of_a_core": round(
            sum(trial.working for trial in done) / sum(trial.wall for trial in done), 2
        ),
    }
    print(
        f"{len(done)} limits: {len(failures)} failures, {result['too_short_to_train']} gone before "
        f"training could begin; of the others {len(late)} late by more than "
        f"{OVERSHOOT_SECONDS:g} s; the worst overshoot was {worst.overshoot:+.2f} s "
        f"({worst.command}, limit {worst.limit} s). A process had {result['share_of_a_core']:.0%} "
        "of a core"
    )
    return result


def run_trial(trial: Trial, imageset: Path, work: Path, zip_count: int) -> Trial:
    """The trial with its times and what it left; its folder is removed again."""
    folder = work / f"{trial.command}-{trial.seed}"
    source = imageset if trial.command == "train" else work / "photos"
    command = [sys.executable, "-c", TIMED_MAIN, trial.command, str(source), "--out", str(folder)]
    command += ["--time-limit", f"{trial.limit}s", "--seed", str(trial.seed), "--recipe", "demo"]
    command += ["--set", f"train.interval_images={trial.interval_images}", "--images", str(ENDLESS)]
    if trial.command == "run":
        command += ["--set", f"submission.count={zip_count}", "--judge", "efficientnet-lite0"]
    started = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, env=_environment(work))
    wall = time.perf_counter() - started
    failure = "" if ended.returncode == 0 else f"exit {ended.returncode}: {ended.stderr[-500:]}"
    images = 0
    if not failure:
        try:
            images = check_trial(folder, zip_count if trial.command == "run" else None)
        except DogganError as error:
            failure = str(error)
    took = re.search(r"main took ([\d.]+) s, ([\d.]+) s", ended.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    main, working = map(float, took.groups()) if took else (wall, 0.0)
    return replace(trial, images=images, wall=wall, main=main, working=working, failure=failure)


def check_trial(folder: Path, zip_count: int | None) -> int:
    """The images that a run has seen; raises BrokenPromiseError for a torn file or a bad zip."""
    for path in folder.rglob("*"):
        if path.is_file():
            check_file(path)
    if zip_count is not None:
        check = check_submission(folder / "images.zip", count=zip_count)
        if not check.valid:
            raise BrokenPromiseError(check.summary())
    rows = read_history(folder)
    if not rows or rows[-1]["stopped_by"] != "time limit":
        raise BrokenPromiseError(f"{folder} does not say that its time limit ended it")
    content = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    if content["images_seen"] != rows[-1]["images"]:
        raise BrokenPromiseError(f"{folder} lost its last images")
    return content["images_seen"]


def _told(number: int, trial: Trial) -> Trial:
    outcome = trial.failure or (
        f"{trial.overshoot:+6.2f} s, {trial.images:,} images, {trial.working:.0f} s on a core"
    )
    print(f"{number:3} {trial.command:5} limit {trial.limit:6.1f} s: {outcome}", flush=True)
    return trial


def _make_set(work: Path) -> Path:
    if work.exists() and any(work.iterdir()):
        raise InputError(f"{work} is not empty; give a folder for this campaign alone")
    draw_sample_dogs(work / "photos", photos=PHOTOS)
    build_imageset([work / "photos"], work / "set", DataRecipe())
    return work / "set"


def _train_command(imageset: Path, folder: Path, images: int, resume: bool) -> list[str]:
    command = [sys.executable, "-m", "doggan", "train", str(imageset), "--out", str(folder)]
    command += ["--images", str(images), "--device", "cpu"]
    if resume:
        return [*command, "--resume"]
    return command + [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]


def _run(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, env=_environment())
    if ended.returncode:
        raise BrokenPromiseError(f"{' '.join(command)}: {ended.stderr[-500:]}")


def _environment(cache: Path | None = None) -> dict[str, str]:
    # One thread each: several processes that all use every core mostly wait for each other.
    own = {"OMP_NUM_THREADS": "1"} | ({"XDG_CACHE_HOME": str(cache / "cache")} if cache else {})
    return os.environ | own


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    campaigns = parser.add_subparsers(required=True, metavar="kill|deadline")
    killing = campaigns.add_parser("kill", help="SIGKILL at random moments, and --resume")
    killing.set_defaults(campaign=kill)
    limiting = campaigns.add_parser("deadline", help="random time limits")
    limiting.set_defaults(campaign=deadline)
    for campaign, count in ((killing, 100), (limiting, 50)):
        campaign.add_argument("--count", type=int, default=count, help=f"default {count}")
        campaign.add_argument("--seed", type=int, default=0, help="default 0")
        campaign.add_argument("--work", type=Path, help="keep what it makes in this empty folder")
        campaign.add_argument("--json", action="store_true", help="the last line is JSON")
    limiting.add_argument("--lanes", type=int, default=1, help="so many at once (default 1)")
    limiting.add_argument("--shortest", type=float, default=20, help="seconds (default 20)")
    limiting.add_argument("--longest", type=float, default=180, help="seconds (default 180)")
    limiting.add_argument("--zip-count", type=int, default=1000, help="images (default 1000)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
