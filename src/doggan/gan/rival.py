"""A second training, of the next seed, on a GPU that would be idle; the best of both is taken."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from doggan.data.imageset import ImageSet, open_imageset
from doggan.gan.distributed import choose_processes, started_by_torchrun
from doggan.gan.history import last_row
from doggan.gan.run_folder import RIVAL, holds_run
from doggan.gan.trainer import TrainingResult, train
from doggan.recipe import Recipe
from doggan.support.deadline import Deadline
from doggan.support.device import choose_device
from doggan.support.errors import NonFiniteLossError
from doggan.support.signals import stop_without_parent

_OUTPUT = "output.txt"  # what the rival says
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_LONGEST_WAIT_SECONDS = 2e6  # 23 days: what a system's wait can count
_GRACE_SECONDS = 10.0  # for a process to end: its last save comes before the deadline


def idle_gpu(recipe: Recipe, device: str) -> int | None:
    """The number of a GPU that the recipe's training leaves idle; None where there is none."""
    if started_by_torchrun() or choose_device(device).type != "cuda":
        return None
    gpus = torch.cuda.device_count()
    processes, _ = choose_processes(recipe.train, gpus)
    return processes if processes < gpus else None


def train_with_rival(
    imageset: ImageSet,
    folder: Path,
    recipe: Recipe,
    gpu: int | None,
    *,
    deadline: Deadline,
    say: Callable[[str], None],
    **options,
) -> tuple[TrainingResult, Path | None]:
    """`train`, and at the same time the recipe with the next seed, in RIVAL, on the GPU `gpu`.

    Returns the first one's result, `divergence` where it has diverged for good, and the other's
    folder: None without a GPU for it, or where it has failed. It goes on where an earlier one has
    ended. `options` are those of `train`.
    """
    options |= {"deadline": deadline, "say": say}
    if gpu is None:
        return train_to_an_end(imageset, folder, recipe, **options), None
    say(f"  GPU {gpu} trains a rival, by the next seed; the judge takes the better one")
    rival = folder / RIVAL
    process = start_rival(gpu, imageset.folder, rival, recipe, deadline)
    try:
        result = train_to_an_end(imageset, folder, recipe, **options)
        if not result.stopped_by.startswith("SIG"):
            seconds = max(0.0, deadline.remaining()) + _GRACE_SECONDS
            process.join(min(seconds, _LONGEST_WAIT_SECONDS))
    finally:
        process.terminate()  # which a training takes for a clean stop
        process.join(_GRACE_SECONDS)
        process.kill()
        process.join()
    if process.exitcode == 0:
        return result, rival
    say(f"  the rival has failed, and does not compete{_last_words(rival / _OUTPUT)}")
    return result, None


def rival_of(recipe: Recipe) -> Recipe:
    """The recipe that the rival of a training by `recipe` has."""
    return replace(recipe, seed=(recipe.seed + 1) % 2**32)


def _last_words(path: Path) -> str:
    try:
        lines = path.read_text("utf-8", errors="replace").split("\n")
        return next(f": {line.strip()[:300]}" for line in reversed(lines) if line.strip())
    except (OSError, StopIteration):
        return ""


def train_to_an_end(
    imageset: ImageSet, folder: Path, recipe: Recipe, *, say: Callable[[str], None], **options
) -> TrainingResult:
    """`train`, for which to diverge is an end too: what it saved before that is good."""
    try:
        return train(imageset, folder, recipe, say=say, **options)
    except NonFiniteLossError as error:
        say(f"Warning: {error}; what follows takes the generator that was saved before it")
    end = last_row(folder)
    return TrainingResult(images=end["images"], seconds=end["seconds"], stopped_by="divergence")


def start_rival(
    gpu: int, set_folder: Path, folder: Path, recipe: Recipe, deadline: Deadline
) -> multiprocessing.Process:
    """A process that trains the rival of `recipe` on that GPU, into a folder of its own."""
    recipe = rival_of(recipe)
    process = multiprocessing.get_context("spawn").Process(
        target=_train, args=(set_folder, folder, recipe, deadline), daemon=True
    )
    # A process sees its GPUs as they are set when it starts.
    before = os.environ.get(_VISIBLE)
    os.environ[_VISIBLE] = before.split(",")[gpu] if before else str(gpu)
    try:
        process.start()
    finally:
        del os.environ[_VISIBLE]
        if before is not None:
            os.environ[_VISIBLE] = before
    return process


def _train(set_folder: Path, folder: Path, recipe: Recipe, deadline: Deadline) -> None:
    stop_without_parent()
    folder.mkdir(parents=True, exist_ok=True)
    sys.stderr = (folder / _OUTPUT).open("w")  # its bar would be drawn over the other one's
    train_to_an_end(
        open_imageset(set_folder),
        folder,
        recipe,
        deadline=deadline,
        resume=holds_run(folder),
        processes=1,
        say=partial(print, file=sys.stderr, flush=True),
    )
