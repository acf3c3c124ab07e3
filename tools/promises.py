"""What the campaigns hold commands to, and what they train on."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
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
from doggan.support.errors import DogganError, InputError

PHOTOS = 60
UNFINISHED = (".partial", ".part")


class BrokenPromiseError(DogganError):
    """What was tried did not come out as doggan promises."""


def check_file(path: Path) -> None:
    """Raises BrokenPromiseError where a finished file is torn; TensorBoard's own are not read."""
    try:
        if path.suffix == ".pt":
            torch.load(path, map_location="cpu", weights_only=True)
        elif path.suffix == ".safetensors":
            load_generator(path, "cpu")
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
        elif path.suffix == ".npy":
            np.load(path, mmap_mode="r")
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"its entry {damaged} is damaged")
        elif path.suffix == ".html" and not path.read_text("utf-8").rstrip().endswith("</html>"):
            raise ValueError("its end is missing")
    except Exception as error:  # whatever a reader says of a torn file
        raise BrokenPromiseError(f"{path} is torn: {error}") from error


def check_files(folder: Path) -> None:
    """Raises BrokenPromiseError where a finished file of a folder is torn."""
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in UNFINISHED:
            check_file(path)


def read_checkpoint(run: Path) -> dict:
    """What a run's checkpoint holds."""
    return torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True)


def make_set(work: Path) -> Path:
    """Draws photos in work/photos and builds work/set; raises InputError where `work` is in use."""
    if work.exists() and any(work.iterdir()):
        raise InputError(f"{work} is not empty; give a folder for this campaign alone")
    draw_sample_dogs(work / "photos", photos=PHOTOS)
    build_imageset([work / "photos"], work / "set", DataRecipe())
    return work / "set"


def one_thread(**variables: str) -> dict[str, str]:
    """The environment for a process with one thread, and with `variables`.

    Several processes that all use every core mostly wait for each other.
    """
    return os.environ | {"OMP_NUM_THREADS": "1"} | variables


def doggan(*words: object) -> list[str]:
    """The line of a command, run by this interpreter."""
    return [sys.executable, "-m", "doggan", *map(str, words)]


def set_words(values: dict[str, object]) -> list[str]:
    """Values of a recipe as a command takes them."""
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


def ran(command: list[str], **options: object) -> subprocess.CompletedProcess:
    """How a command of one thread ends, and what it says; `options` are subprocess.run's."""
    return subprocess.run(command, capture_output=True, text=True, env=one_thread(), **options)


def must_end_well(command: list[str]) -> str:
    """What a command says on standard error; raises BrokenPromiseError unless it exits with 0."""
    ended = ran(command)
    if ended.returncode:
        raise BrokenPromiseError(
            f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr[-500:]}"
        )
    return ended.stderr


def failed_in_one_line(ended: subprocess.CompletedProcess) -> bool:
    """Whether a command said in one line what it could not do, with 1 or 2 as its exit code."""
    said = [line for line in ended.stderr.splitlines() if line.startswith("doggan: ")]
    return ended.returncode in (1, 2) and len(said) == 1 and "Traceback" not in ended.stderr


def must_fail_in_one_line(command: list[str]) -> None:
    """Raises BrokenPromiseError unless a command fails, and says why in one line."""
    ended = ran(command)
    if not failed_in_one_line(ended):
        raise BrokenPromiseError(
            f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr[-500:]}"
        )


def run_as_root(*words: object) -> None:
    """Runs what only root may; raises InputError where it cannot be."""
    ended = subprocess.run([*map(str, words)], capture_output=True, text=True)
    if ended.returncode:
        raise InputError(f"{' '.join(map(str, words))}: {ended.stderr.strip()} (it takes root)")
