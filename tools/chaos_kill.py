"""The campaign of kills: a training is killed at random moments, and goes on."""

import argparse
import re
import subprocess
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from doggan.gan.history import read_history
from doggan.gan.run_folder import CHECKPOINT, STATS
from promises import (
    BrokenPromiseError,
    check_file,
    doggan,
    make_set,
    must_end_well,
    one_thread,
    read_checkpoint,
    set_words,
)

# Steps of milliseconds and an interval of about half a second, half of which is saving.
INTERVAL = 160
TINY = {
    "networks.latent": 16,
    "networks.generator_width": 8,
    "networks.discriminator_width": 8,
    "train.batch_size": 8,
    # No step may depend on the length of the run, which is another at the end.
    "train.batch_doublings": 0,
    "train.cooldown": 0,
    "train.interval_images": INTERVAL,
    "train.max_saving_share": 1.0,  # every interval is saved, however short it is
}
ENDLESS = 10**9  # images
START_UP_SHARE = 0.15  # of the kills; the others come when training goes on
KILL_WITHIN_SECONDS = 2.0  # of the first interval's end


def kill(args: argparse.Namespace, work: Path) -> dict:
    """Kills one training at `args.count` random moments; what it leaves must be whole, and in the
    end what an undisturbed training leaves."""
    random = np.random.default_rng(args.seed)
    imageset, victim = make_set(work), Victim(work / "killed")
    phases, most_lost = Counter(), 0
    for number in range(1, args.count + 1):
        victim.start(imageset)
        if random.random() < START_UP_SHARE:
            time.sleep(random.uniform(0, victim.start_up_seconds))
        else:
            victim.wait_until_training()
            time.sleep(random.uniform(0, KILL_WITHIN_SECONDS))
        victim.kill()
        phase, lost = victim.phase(), victim.check()
        phases[phase] += 1
        most_lost = max(most_lost, lost)
        saved = victim.saved_images() or 0
        print(f"{number:3} killed {phase}, at {saved:,} images, {lost} lost", flush=True)
    images = (victim.saved_images() or 0) + 2 * INTERVAL
    straight = work / "straight"
    must_end_well(train_command(imageset, victim.folder, images))
    # Saved once: hundreds of saves would take most of the time and change nothing.
    once = set_words({"train.interval_images": images})
    must_end_well([*train_command(imageset, straight, images), *once])
    same = same_course(victim.folder, straight)
    summary = (
        f"{args.count} kills ({', '.join(f'{n} {phase}' for phase, n in sorted(phases.items()))})"
        f": no torn file, {most_lost} images lost at most (an interval is {INTERVAL}); after "
        f"{images:,} images the weights are {'' if same else 'NOT '}those of an undisturbed "
        "training"
    )
    print(summary)
    return {
        "summary": summary,
        "kept": same and not victim.partials(),
        "kills": args.count,
        "phases": dict(sorted(phases.items())),
        "torn_files": 0,  # one would have ended the campaign
        "most_images_lost": most_lost,
        "interval_images": INTERVAL,
        "images": images,
        "same_bits_as_undisturbed": same,
    }


class Victim:
    """A training in a process of its own, and what can be seen of it from outside."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.start_up_seconds = 10.0  # measured anew at every start
        self._log, self._sound = folder.with_suffix(".log"), {}

    def start(self, imageset: Path) -> None:
        """Starts the process, or has it go on."""
        self._before, self._partials_before = self.saved_images(), self.partials()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                train_command(imageset, self.folder, ENDLESS),
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=one_thread(),
            )
        self._started, self._began = time.perf_counter(), time.time()

    def wait_until_training(self) -> None:
        """Waits for the first interval's end."""
        while not self._trains():
            self._check_running()
            time.sleep(0.01)
        self.start_up_seconds = time.perf_counter() - self._started

    def kill(self) -> None:
        """Kills the process, which must be running."""
        self._check_running()
        self._process.kill()
        self._process.wait()

    def phase(self) -> str:
        """What the process was doing, by its history and by the half-written files it left."""
        if self.partials() - self._partials_before:
            return "while saving"
        return "while training" if self._trains() else "at start-up"

    def check(self) -> int:
        """Raises BrokenPromiseError where a file is torn or more than an interval is lost;
        returns the images between the checkpoint and the furthest sign of progress."""
        self._check_files()
        saved = self.saved_images()
        if self._before is not None and (saved is None or saved < self._before):
            raise BrokenPromiseError(
                f"the checkpoint went back from {self._before} to {saved} images"
            )
        rows = read_history(self.folder)
        reached = max(self._shown_images(), rows[-1]["images"] if rows else 0)
        lost = max(0, reached - (saved or 0))
        if lost > INTERVAL:
            raise BrokenPromiseError(f"the checkpoint is {lost} images old, more than {INTERVAL}")
        return lost

    def saved_images(self) -> int | None:
        """The images that the checkpoint has seen, None where there is none."""
        saved = (self.folder / CHECKPOINT).exists()
        return read_checkpoint(self.folder)["images_seen"] if saved else None

    def partials(self) -> set[Path]:
        """Files that a kill left half written."""
        return set(self.folder.rglob("*.partial"))

    def _check_running(self) -> None:
        if self._process.poll() is not None:
            raise BrokenPromiseError(f"training ended by itself: {self._log.read_text()}")

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

    def _shown_images(self) -> int:
        """The last count that the bar showed."""
        shown = re.findall(r"([\d,]+) images", self._log.read_text(errors="replace"))
        return int(shown[-1].replace(",", "")) if shown else 0


def same_course(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same bits: networks, optimizers, random state, counters."""
    contents = [read_checkpoint(folder) for folder in (one, other)]
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


def train_command(imageset: Path, folder: Path, images: int) -> list[str]:
    """Begins a training in `folder`, or resumes the one whose checkpoint lies there."""
    command = doggan("train", imageset, "--out", folder, "--images", images, "--device", "cpu")
    begun = (folder / CHECKPOINT).exists()
    return command + (["--resume"] if begun else set_words(TINY))
