"""Campaigns of what a machine does to a command: no disk, no memory, no numbers, other files."""

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from chaos_kill import TINY
from doggan.competition import ENTRY
from doggan.gan.losses import BinaryCrossEntropy
from doggan.gan.run_folder import CHECKPOINT
from doggan.pipeline import Job, run_competition
from doggan.recipe import load_recipe
from doggan.submission import check_submission
from doggan.support.deadline import Deadline
from doggan.support.errors import DogganError
from promises import BrokenPromiseError, check_file, make_set, one_thread

IMAGES = 3200
_ONE_LINE = "doggan: "
_DISK_BYTES = (2_000_000, 12_000_000)  # a tiny run takes some 8 MB
_MEMORY_BYTES = (600_000_000, 6_000_000_000)  # of addresses: PyTorch alone takes some GB


def fill_disk(args: argparse.Namespace, work: Path) -> dict:
    """A training on a disk of random size, and again once there is room."""
    chance, ends = random.Random(args.seed), Counter()
    imageset, disk = make_set(work), work / "disk"
    disk.mkdir()
    for number in range(args.count):
        size = chance.randint(*_DISK_BYTES)
        _command(["mount", "-t", "tmpfs", "-o", f"size={size}", "chaos", str(disk)])
        try:
            ends[_end(_train(imageset, disk / "run"))] += 1
            _check_files(disk)
            _command(["mount", "-o", "remount,size=100000000", str(disk)])
            _must_end_well(_train(imageset, disk / "run"))
            _check_files(disk)
        finally:
            _command(["umount", str(disk)])
        print(f"{number + 1:3} {size:,} bytes", flush=True)
    return _result(ends)


def run_out_of_memory(args: argparse.Namespace, work: Path) -> dict:
    """Commands under a limit of memory of random size, and again without."""
    chance, ends = random.Random(args.seed), Counter()
    imageset = make_set(work)
    commands = {
        "train": lambda out: _train(imageset, out),
        "build": lambda out: _doggan("build", work / "photos", "--out", out),
    }
    for number in range(args.count):
        name = list(commands)[number % len(commands)]
        size, out = chance.randint(*_MEMORY_BYTES), work / f"{name}-{number}"
        ends[_end(commands[name](out), memory=size)] += 1
        _check_files(out)
        _must_end_well(commands[name](out))
        _check_files(out)
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
        _check_files(folder)
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
            ends[_end(_doggan("build", photos, "--out", out))] += 1
        finally:
            over.set()
            changer.join()
        _check_files(out)
        for path, content in contents.items():
            path.write_bytes(content)
        _must_end_well(_doggan("build", photos, "--out", out))
        print(f"{number + 1:3} built", flush=True)
    return _result(ends)


def _doggan(*words: object) -> list[str]:
    return [sys.executable, "-m", "doggan", *map(str, words)]


def _train(imageset: Path, out: Path) -> list[str]:
    """Begins a training in `out`, or goes on with the one there."""
    command = _doggan("train", imageset, "--out", out, "--images", IMAGES, "--device", "cpu")
    if (out / CHECKPOINT).exists():
        return [*command, "--resume"]
    return command + [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]


def _end(command: list[str], memory: int | None = None) -> str:
    """How a command ends: `well`, `one line`, or `killed`; any other end breaks a promise."""

    def limit() -> None:
        if memory:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    ended = subprocess.run(
        command, capture_output=True, text=True, env=one_thread(), preexec_fn=limit
    )
    if ended.returncode == 0:
        return "well"
    said = [line for line in ended.stderr.splitlines() if line.startswith(_ONE_LINE)]
    if ended.returncode in (1, 2) and len(said) == 1 and "Traceback" not in ended.stderr:
        return "one line"
    # Too little memory for the interpreter or PyTorch to start, or to say anything.
    if memory and (ended.returncode < 0 or "doggan" not in ended.stderr or _starting(ended.stderr)):
        return "killed"
    raise BrokenPromiseError(f"exit {ended.returncode}: {ended.stderr[-500:]}")


def _starting(stderr: str) -> bool:
    """Whether a traceback is of what is loaded, not of work."""
    return "import " in stderr


def _must_end_well(command: list[str]) -> None:
    if (end := _end(command)) != "well":
        raise BrokenPromiseError(f"{' '.join(command)} ended with {end}")


def _command(words: list[str]) -> None:
    ended = subprocess.run(words, capture_output=True, text=True, env=os.environ)
    if ended.returncode:
        raise DogganError(f"{' '.join(words)}: {ended.stderr.strip()} (it takes root)")


def _check_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".partial":
            check_file(path)


def _result(ends: Counter) -> dict:
    told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    return {
        "kept": True,  # a broken promise would have ended it
        "ends": dict(ends),
        "summary": f"ended: {told}; no torn file, and what followed went well",
    }
