"""Campaigns of what a command runs out of: disk, memory, numbers, photos."""

import argparse
import random
import re
import resource
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from chaos_kill import INTERVAL, TINY, train_command
from doggan.competition import ENTRY
from doggan.gan.losses import BinaryCrossEntropy
from doggan.pipeline import Job, run_competition
from doggan.recipe import load_recipe
from doggan.submission import check_submission
from doggan.support.deadline import Deadline
from promises import (
    BrokenPromiseError,
    check_files,
    doggan,
    failed_in_one_line,
    make_set,
    must_end_well,
    ran,
    run_as_root,
)

IMAGES = 2 * INTERVAL
_DISK_BYTES = (2_000_000, 12_000_000)  # a tiny run takes some 8 MB
_PATIENCE_SECONDS = 120  # far beyond what a command takes here
_MEMORY_BYTES = 1_000_000_000  # of addresses, beyond what is loaded: with so many all goes well


def fill_disk(args: argparse.Namespace, work: Path) -> dict:
    """A training on a disk of random size, and again once there is room."""
    chance, ends = random.Random(args.seed), Counter()
    imageset, disk = make_set(work), work / "disk"
    disk.mkdir()
    for number in range(args.count):
        size = chance.randint(*_DISK_BYTES)
        run_as_root("mount", "-t", "tmpfs", "-o", f"size={size}", "chaos", disk)
        try:
            ends[_end(train_command(imageset, disk / "run", IMAGES))] += 1
            check_files(disk)
            run_as_root("mount", "-o", "remount,size=100000000", disk)
            must_end_well(train_command(imageset, disk / "run", IMAGES))
            check_files(disk)
        finally:
            run_as_root("umount", disk)
        print(f"{number + 1:3} {size:,} bytes", flush=True)
    return _result(ends)


def run_out_of_memory(args: argparse.Namespace, work: Path) -> dict:
    """Commands under a limit of memory of random size, and again without."""
    chance, ends = random.Random(args.seed), Counter()
    imageset, loaded = make_set(work), _bytes_loaded()
    commands = {
        "train": lambda out: train_command(imageset, out, IMAGES),
        "build": lambda out: doggan("build", work / "photos", "--out", out),
        "score": lambda out: doggan(
            "score", work / "set", "--reference", work / "photos", "--out", out / "scorecard.json"
        ),
    }
    for number in range(args.count):
        name = list(commands)[number % len(commands)]
        size, out = loaded + chance.randrange(_MEMORY_BYTES), work / f"{name}-{number}"
        ends[_end(commands[name](out), memory=size)] += 1
        check_files(out)
        must_end_well(commands[name](out))
        check_files(out)
        shutil.rmtree(out)
        print(f"{number + 1:3} {name}, {size:,} bytes", flush=True)
    return _result(ends)


def diverge(args: argparse.Namespace, work: Path) -> dict:
    """Whole competitions whose losses are no number from a random step on, or at some steps."""
    chance, ends = random.Random(args.seed), Counter()
    make_set(work)
    whole = BinaryCrossEntropy.generator_loss
    overrides = [f"{key}={value}" for key, value in TINY.items()]
    overrides += [f"train.images={IMAGES}", "submission.count=50"]
    for number in range(args.count):
        first, lasting, calls = chance.randint(1, IMAGES // 8), chance.random() < 0.5, []

        def loss(*arguments, first=first, lasting=lasting, calls=calls):
            calls.append(1)
            bad = len(calls) >= first if lasting else len(calls) == first
            return whole(*arguments) * (float("nan") if bad else 1)

        BinaryCrossEntropy.generator_loss = loss
        folder = work / f"run-{number}"
        job = Job(
            sources=[work / "photos"],
            folder=folder,
            recipe=load_recipe("dogs", overrides),
            deadline=Deadline(None),
            judge="none",
            say=lambda line: None,
        )
        try:
            ends[run_competition(job).training.stopped_by] += 1
        finally:
            BinaryCrossEntropy.generator_loss = whole
        check = check_submission(folder / ENTRY, count=50)
        if not check.valid:
            raise BrokenPromiseError(f"step {first}: {check.summary()}")
        check_files(folder)
        shutil.rmtree(folder)
        print(f"{number + 1:3} from step {first}", flush=True)
    return _result(ends)


def change_sources(args: argparse.Namespace, work: Path) -> dict:
    """Builds a set of photos that come and go meanwhile, and again when they stay."""
    chance, ends = random.Random(args.seed), Counter()
    make_set(work)
    photos = work / "photos"
    paths = sorted(photos.rglob("*.jpg"))
    contents = {path: path.read_bytes() for path in paths}
    for number in range(args.count):
        over = threading.Event()

        def change(over=over):
            while not over.wait(0.001):
                path = chance.choice(paths)
                if path.exists():
                    path.unlink()
                else:
                    path.write_bytes(contents[path])

        changer = threading.Thread(target=change)
        changer.start()
        out = work / f"built-{number}"
        try:
            ends[_end(doggan("build", photos, "--out", out))] += 1
        finally:
            over.set()
            changer.join()
        check_files(out)
        for path, content in contents.items():
            path.write_bytes(content)
        must_end_well(doggan("build", photos, "--out", out))
        print(f"{number + 1:3} built", flush=True)
    return _result(ends)


def _bytes_loaded() -> int:
    """The addresses that a process takes which has loaded all libraries and done nothing with them:
    some crash or never end where they are loaded with less."""
    code = "import doggan.pipeline; print(open('/proc/self/status').read())"
    said = ran([sys.executable, "-c", code]).stdout
    return int(re.search(r"VmPeak:\s+(\d+) kB", said)[1]) * 1024


def _end(command: list[str], memory: int | None = None) -> str:
    """How a command ends: `well`, `one line`, or `crashed`, as libraries do without memory; any
    other end breaks a promise."""

    def limit() -> None:
        if memory:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    try:
        ended = ran(command, preexec_fn=limit, timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise BrokenPromiseError(
            f"{' '.join(command)} does not end, with {memory} bytes: {str(error.stderr)[-500:]}"
        ) from error
    if ended.returncode == 0:
        return "well"
    if failed_in_one_line(ended):
        return "one line"
    if memory and _crashed(ended):
        return "crashed"
    raise BrokenPromiseError(f"exit {ended.returncode}: {ended.stderr[-500:]}")


def _crashed(ended: subprocess.CompletedProcess) -> bool:
    """Whether a library ended the process, could not be loaded, or failed without saying why."""
    told = any(word in ended.stderr for word in ("import ", "SystemError"))
    return ended.returncode < 0 or "doggan" not in ended.stderr or told


def _result(ends: Counter) -> dict:
    told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    return {
        "kept": True,  # a broken promise would have ended it
        "ends": dict(ends),
        "summary": f"ended: {told}; no torn file, and what followed went well",
    }
