"""What the campaigns hold commands to, and what they train on."""

import json
import os
import tomllib
from pathlib import Path

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


class BrokenPromiseError(DogganError):
    """What was tried did not come out as doggan promises."""


def check_file(path: Path) -> None:
    """Raises BrokenPromiseError where a file of a run is torn; TensorBoard's own are not read."""
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
    except Exception as error:  # whatever a reader says of a torn file
        raise BrokenPromiseError(f"{path} is torn: {error}") from error


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
