"""What only a GPU can show; skipped where there is none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import (
    A_HUNDRED_STEPS,
    TINY,
    in_each_kind_of_step,
    in_each_precision,
    saved_tensors,
    watched_between_lines_of_the_log,
)
from doggan.data.imageset import FORMAT_VERSION, MANIFEST, Frames, hash_images, open_imageset
from doggan.gan.history import read_history
from doggan.gan.trainer import train
from doggan.recipe import load_recipe, with_value
from doggan.support.files import write_json

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="PyTorch finds no CUDA GPU here"
)


@pytest.fixture
def tiny_set(tmp_path):
    """Noise, written without what building takes: a GPU's machine may lack albumentations."""
    folder = tmp_path / "set"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), np.uint8)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", np.zeros(len(images), np.int64))
    content = {"format": FORMAT_VERSION, "images_sha256": hash_images(images)}
    write_json(folder / MANIFEST, content | {"label_names": ["noise"], "crop": "full"})
    return open_imageset(folder)


@in_each_precision
def test_resuming_gives_the_same_bytes_in_deterministic_mode(
    tiny_set, tiny_recipe, tmp_path, precision
):
    recipe = with_value(tiny_recipe, "train.precision", precision)
    recipe = with_value(recipe, "train.deterministic", True)
    train(tiny_set, tmp_path / "straight", recipe, processes=1)
    train(tiny_set, tmp_path / "halves", with_value(recipe, "train.images", 24), processes=1)
    train(tiny_set, tmp_path / "halves", recipe, resume=True, processes=1)
    pairs = zip(*(saved_tensors(tmp_path / name) for name in ("straight", "halves")), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_an_overflow_in_fp16_is_skipped_counted_and_kept(tiny_set, tiny_recipe, tmp_path):
    # The scaler's first scale, 65,536, overflows fp16 within the first steps.
    recipe = with_value(tiny_recipe, "train.precision", "fp16")
    train(tiny_set, tmp_path / "run", recipe, processes=1)
    row = read_history(tmp_path / "run")[-1]
    content = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert content["scaler"]["scale"] == row["scale"]
    assert content["skipped_steps"] == row["skipped_steps"]


@in_each_precision
@in_each_kind_of_step
def test_a_hundred_steps_wait_for_the_gpu_at_lines_of_the_log_alone(
    tiny_set, tmp_path, values, precision
):
    # Crops are cut afresh too, and there is a new epoch at every second step.
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (len(tiny_set), 80, 80, 3), np.uint8)
    frames = Frames(pixels, np.full((len(tiny_set), 2), 80), fresh_part=0.5, full_part=0.5)
    cut = replace(tiny_set, frames=frames)
    cut.manifest["frames_sha256"] = hash_images(pixels)
    recipe = load_recipe("dogs", [*TINY, *A_HUNDRED_STEPS, *values, f"train.precision={precision}"])
    modes = {True: "error", False: "default"}
    with watched_between_lines_of_the_log(
        lambda on: torch.cuda.set_sync_debug_mode(modes[on])
    ) as watched:
        train(cut, tmp_path / "run", recipe, processes=1)
    assert len(watched) > 100


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="PyTorch finds fewer than two GPUs here")
def test_all_gpus_share_out_the_batch(tiny_set, tiny_recipe, tmp_path):
    count = torch.cuda.device_count()
    recipe = with_value(tiny_recipe, "train.batch_size", 4 * count)
    recipe = with_value(recipe, "train.processes", count)
    result = train(tiny_set, tmp_path / "run", recipe)
    assert result.stopped_by == "images"
    assert result.images >= recipe.train.images
