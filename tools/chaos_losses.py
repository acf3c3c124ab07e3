"""Campaigns of what happens around a training: it loses rights, time, a process, its folder, its
device or a file."""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from chaos_kill import ENDLESS, INTERVAL, TINY, train_command
from doggan.gan.history import read_history
from doggan.gan.run_folder import STATS
from promises import (
    BrokenPromiseError,
    check_files,
    doggan,
    make_set,
    must_end_well,
    must_fail_in_one_line,
    one_thread,
    run_as_root,
    set_words,
)

IMAGES = 2 * INTERVAL
LIMIT_SECONDS = 8
PATIENCE_SECONDS = 600.0  # far beyond what any of it takes
# A clock on the wall that jumps by up to a day whenever it is read.
JUMPING = """
import random, sys, time
true, chance = time.time, random.Random(int(sys.argv.pop(1)))
time.time = lambda: true() + chance.uniform(-86400, 86400)
from doggan.cli.main import main
sys.exit(main())
"""
# A device that is gone from a step on, as PyTorch tells it.
LOSING = """
import sys
from doggan.gan.steps import Steps
from doggan.cli.main import main
last, whole, taken = int(sys.argv.pop(1)), Steps.train, []
def train(*arguments):
    taken.append(1)
    if len(taken) > last:
        raise RuntimeError("CUDA error: unspecified launch failure")
    return whole(*arguments)
Steps.train = train
sys.exit(main())
"""


def lose_rights(args: argparse.Namespace, work: Path) -> dict:
    """Commands that write to a disk that may only be read, and again once it may be written to."""
    imageset, disk = make_set(work), work / "disk"
    disk.mkdir()
    commands = [
        lambda: train_command(imageset, disk / "run", IMAGES),
        lambda: doggan("build", work / "photos", "--out", disk / "built"),
        lambda: doggan("zip", disk / "run", "--count", 100, "--out", disk / "images.zip"),
        lambda: doggan("report", disk / "run", "--out", disk / "report.html"),
    ]
    run_as_root("mount", "-t", "tmpfs", "-o", "size=100000000", "chaos", disk)
    try:
        for number in range(args.count):
            command = commands[number % len(commands)]
            run_as_root("mount", "-o", "remount,ro", disk)
            must_fail_in_one_line(command())
            run_as_root("mount", "-o", "remount,rw", disk)
            must_end_well(command())
            check_files(disk)
    finally:
        run_as_root("umount", disk)
    return _kept("each said so in one line, and ended well once it could write")


def lose_time(args: argparse.Namespace, work: Path) -> dict:
    """Trainings under a time limit, while the clock on the wall jumps back and forth."""
    imageset, longest = make_set(work), 0.0
    for number in range(args.count):
        folder = work / f"run-{number}"
        words = train_command(imageset, folder, ENDLESS)[3:]
        started = time.monotonic()
        limit = ["--time-limit", f"{LIMIT_SECONDS}s"]
        must_end_well([sys.executable, "-c", JUMPING, str(args.seed + number), *words, *limit])
        longest = max(longest, time.monotonic() - started)
        if (end := read_history(folder)[-1]["stopped_by"]) != "time limit":
            raise BrokenPromiseError(f"a clock that jumps ended a training by {end}")
        check_files(folder)
    if longest > LIMIT_SECONDS + PATIENCE_SECONDS:
        raise BrokenPromiseError(f"a limit of {LIMIT_SECONDS} s took {longest:.0f} s")
    return _kept(f"all ended by their limit of {LIMIT_SECONDS} s, in {longest:.1f} s at most")


def lose_a_process(args: argparse.Namespace, work: Path) -> dict:
    """One of two processes of a training is killed at a random moment."""
    chance, imageset = random.Random(args.seed), make_set(work)
    for number in range(args.count):
        folder = work / f"run-{number}"
        command = train_command(imageset, folder, 2 * IMAGES)
        with _started([*command, *set_words({"train.processes": 2})]) as process:
            _wait_for_rows(folder, process)
            time.sleep(chance.uniform(0, 1))
            with contextlib.suppress(ProcessLookupError):  # it had ended before
                os.kill(chance.choice(_trainings_of(process.pid)), signal.SIGKILL)
            said = _said_at_the_end(process)
        if process.returncode or "one goes on alone" not in said:
            raise BrokenPromiseError(f"exit {process.returncode}: {said[-500:]}")
        check_files(folder)
    return _kept("the other one went on alone, to the last image")


def lose_the_folder(args: argparse.Namespace, work: Path) -> dict:
    """A second training is started in the folder of one that runs, which is killed in the end."""
    imageset, folder = make_set(work), work / "run"
    for _ in range(args.count):
        with _started(train_command(imageset, folder, ENDLESS)) as process:
            _wait_for_rows(folder, process)
            must_fail_in_one_line(train_command(imageset, folder, ENDLESS))
            if process.poll() is not None:
                raise BrokenPromiseError("the first training did not survive the second one")
        check_files(folder)
    images = read_history(folder)[-1]["images"] + IMAGES
    must_end_well(train_command(imageset, folder, images))
    return _kept("the second one was refused, and a killed one left no lock behind")


def lose_the_device(args: argparse.Namespace, work: Path) -> dict:
    """A training's step fails as it does where a GPU is gone; then the training goes on."""
    chance, imageset = random.Random(args.seed), make_set(work)
    for number in range(args.count):
        folder, last = work / f"run-{number}", chance.randrange(IMAGES // TINY["train.batch_size"])
        words = train_command(imageset, folder, IMAGES)[3:]
        must_fail_in_one_line([sys.executable, "-c", LOSING, str(last), *words])
        check_files(folder)
        must_end_well(train_command(imageset, folder, IMAGES))
        check_files(folder)
    return _kept("each said so in one line, and went on from its checkpoint")


def lose_events(args: argparse.Namespace, work: Path) -> dict:
    """TensorBoard's file of events is torn at a random place, and the training resumed."""
    chance, imageset, folder = random.Random(args.seed), make_set(work), work / "run"
    for number in range(args.count):
        must_end_well(train_command(imageset, folder, (number + 1) * IMAGES))
        for path in (folder / "tensorboard").iterdir():
            os.truncate(path, chance.randrange(path.stat().st_size))
    must_end_well(train_command(imageset, folder, (args.count + 1) * IMAGES))
    check_files(folder)
    return _kept("each training went on")


@contextlib.contextmanager
def _started(command: list[str]):
    """A process that is killed in the end, with what it says."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, text=True, env=one_thread(), **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def _said_at_the_end(process: subprocess.Popen) -> str:
    try:
        return process.communicate(timeout=PATIENCE_SECONDS)[0]
    except subprocess.TimeoutExpired as error:
        raise BrokenPromiseError(f"it had not ended after {PATIENCE_SECONDS:.0f} s") from error


def _wait_for_rows(folder: Path, process: subprocess.Popen) -> None:
    """Waits until a training has come to the end of an interval since now."""
    history, began = folder / STATS, time.time()
    while not (history.exists() and history.stat().st_mtime > began):
        if process.poll() is not None:
            raise BrokenPromiseError(f"training ended by itself: {process.stdout.read()[-500:]}")
        if time.time() > began + PATIENCE_SECONDS:
            raise BrokenPromiseError(f"no interval ended within {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.05)


def _trainings_of(pid: int) -> list[int]:
    """The processes that a training has started to train in."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parent = (place / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == pid and b"spawn_main" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
    return found


def _kept(summary: str) -> dict:
    return {"kept": True, "summary": summary}  # a broken promise would have ended it
