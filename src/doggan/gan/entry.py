"""A generator's grid.png and images.zip, and how long they will take."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from doggan.competition import SIDE_PX
from doggan.gan import run_folder
from doggan.gan.generator_file import load_generator
from doggan.gan.networks import Generator, make_networks
from doggan.gan.pictures import make_grid, save_picture
from doggan.gan.recorder import GRID_COLUMNS, SEEDS
from doggan.gan.sampler import sample_seeds
from doggan.recipe import Recipe
from doggan.submission import SubmissionCheck, write_submission
from doggan.support.device import choose_device

MEASURED_IMAGES = 200


def measure_entry(recipe: Recipe, folder: Path, device: str, label_count: int) -> float:
    """Seconds that sampling, encoding, writing and checking the whole zip will take in `folder`."""
    whole = recipe.submission.count
    count = min(MEASURED_IMAGES, whole)
    generator, _ = make_networks(
        recipe.networks, side=SIDE_PX, channels=3, label_count=label_count, seed=recipe.seed
    )
    generator = generator.eval().to(choose_device(device))
    random = np.random.default_rng(0)

    def noise() -> Iterator[np.ndarray]:
        # What an untrained generator makes compresses too well to stand for trained images.
        for batch in sample_seeds(generator, range(count), truncation=1.0):
            yield random.integers(0, 256, batch.shape, np.uint8)

    next(noise())  # the first batch pays for what is set up once
    with tempfile.TemporaryDirectory(dir=folder, suffix=".partial", prefix=".measure.") as name:
        started = time.perf_counter()
        write_submission(noise(), Path(name) / "zip", count=count)
        return (time.perf_counter() - started) * whole / count


def write_grid(folder: Path, generator: Generator, recipe: Recipe) -> None:
    """Writes the grid of the first seeds, at the recipe's truncation, into a run's folder."""
    first = np.concatenate(list(sample_seeds(generator, SEEDS, recipe.submission.truncation)))
    save_picture(make_grid(first, GRID_COLUMNS), folder / run_folder.GRID)


def write_entry(folder: Path, device: str) -> tuple[np.ndarray, SubmissionCheck]:
    """Writes the grid and the zip of the generator in a run's folder, as its recipe says.

    Returns the images, [count, 64, 64, 3] uint8, and a check. Raises InputError where there is no
    generator.
    """
    generator, recipe = load_generator(folder, device)
    truncation, count = recipe.submission.truncation, recipe.submission.count
    write_grid(folder, generator, recipe)
    images = np.empty((count, SIDE_PX, SIDE_PX, 3), np.uint8)

    def keep() -> Iterator[np.ndarray]:
        start = 0
        for batch in sample_seeds(generator, range(count), truncation):
            images[start : start + len(batch)] = batch
            start += len(batch)
            yield batch

    return images, write_submission(keep(), folder / run_folder.ZIP, count=count)
