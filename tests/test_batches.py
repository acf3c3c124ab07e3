"""The stream of batches: every image once an epoch, the same stream from any position."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from doggan.data.batches import Batches
from doggan.data.build import build_imageset
from doggan.data.imageset import Frames, ImageSet
from doggan.gan.trainer import train
from doggan.recipe import TrainRecipe, with_value

CPU = torch.device("cpu")


def make_batches(images, *, seed=0, flip=True, frames=None, **options):
    """The stream of a set in memory, in which image i has the label 3 i."""
    imageset = ImageSet(Path(), images, 3 * np.arange(len(images)), {}, frames)
    recipe = TrainRecipe(flip=flip)
    return Batches(imageset, recipe, seed=seed, device=CPU, **options)


def numbered(count):
    """Images [count, 2, 2, 1] whose left column tells the image and whose right one is 255."""
    images = np.full((count, 2, 2, 1), 255, np.uint8)
    images[:, :, 0] = np.arange(count)[:, None, None]
    return images


def shown(images):
    """The numbers of the images in a batch of `numbered`, mirrored or not."""
    levels = ((images + 1) * 127.5).round()
    return levels[:, 0, 0].min(dim=1).values.int().tolist()


@pytest.mark.parametrize("batch_size", [3, 5, 17])
def test_every_image_comes_once_an_epoch(batch_size):
    batches = make_batches(numbered(10))
    stream = [n for step in range(20) for n in shown(batches.at(step * batch_size, batch_size)[0])]
    for epoch in range(len(stream) // 10):
        assert sorted(stream[epoch * 10 : epoch * 10 + 10]) == list(range(10))
    assert stream[:10] != stream[10:20]


def test_a_label_belongs_to_its_image():
    batches = make_batches(numbered(10))
    for position in range(0, 40, 4):  # across epochs as well
        images, labels = batches.at(position, 4)
        assert labels.dtype == torch.int64
        assert labels.tolist() == [3 * number for number in shown(images)]


def test_a_position_gives_the_same_batch_in_a_new_stream():
    one = make_batches(numbered(10), seed=1)
    for position in (0, 4, 8):
        one.at(position, 4)
    other = make_batches(numbered(10), seed=1)
    for mine, its in zip(one.at(36, 4), other.at(36, 4), strict=True):
        assert torch.equal(mine, its)


def test_batches_of_other_sizes_are_the_same_stream():
    batches = make_batches(numbered(10))
    whole, _ = batches.at(0, 30)
    parts = [batches.at(position, size)[0] for position, size in ((0, 2), (2, 4), (6, 8), (14, 16))]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_the_shares_together_are_the_whole_batch_in_order(processes):
    whole = make_batches(numbered(10)).at(6, 6)  # across the end of an epoch
    shares = [
        make_batches(numbered(10), share=(rank, processes)).at(6, 6) for rank in range(processes)
    ]
    for part, of_shares in zip(whole, zip(*shares, strict=True), strict=True):
        together = torch.stack(of_shares, dim=1).flatten(0, 1)  # one of each in turn
        assert torch.equal(together, part)


def test_a_share_of_one_is_all():
    batch = make_batches(numbered(10), share=(0, 1)).at(0, 6)
    for mine, its in zip(batch, make_batches(numbered(10)).at(0, 6), strict=True):
        assert torch.equal(mine, its)


def test_seeds_differ():
    streams = [make_batches(numbered(50), seed=seed, flip=False) for seed in (0, 1)]
    assert shown(streams[0].at(0, 50)[0]) != shown(streams[1].at(0, 50)[0])


def test_half_of_the_images_are_mirrored_left_to_right():
    batch, _ = make_batches(numbered(200)).at(0, 200)
    mirrored = (batch[:, 0, 0, 0] > batch[:, 0, 0, 1]).float().mean()
    assert 0.35 < mirrored < 0.65
    straight, _ = make_batches(numbered(200), flip=False).at(0, 200)
    assert (straight[:, 0, 0, 0] < straight[:, 0, 0, 1]).all()


def test_pixels_become_minus_one_to_one():
    images = np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 3)
    batch, _ = make_batches(images, flip=False).at(0, 2)
    assert batch.shape == (2, 3, 1, 1)
    torch.testing.assert_close(batch[0].flatten(), torch.tensor([-1.0, -0.6, 1.0]))


def framed(count, fresh_part, full_part=0.0):
    """Dark images [count, 8, 8, 1], and light frames of 30x20 that tell the image and the place.

    A column of frame i is 100 + i on the left, and 50 more on the right.
    """
    pixels = np.zeros((count, 12, 12, 1)) + np.linspace(0, 50, 12)[None, None, :, None]
    pixels += 100 + np.arange(count)[:, None, None, None]
    sizes = np.tile([[30, 20]], (count, 1))
    frames = Frames(pixels.round().astype(np.uint8), sizes, fresh_part, full_part)
    return np.zeros((count, 8, 8, 1), np.uint8), frames


def test_a_set_with_frames_shows_a_part_of_them_afresh():
    images, frames = framed(50, fresh_part=0.3)
    batches = make_batches(images, frames=frames, flip=False)
    stream = [batches.at(50 * epoch, 50) for epoch in range(20)]
    fresh = torch.cat([batch[:, 0, 0, 0] > -1 for batch, _ in stream])
    assert fresh.float().mean() == pytest.approx(0.3, abs=0.05)
    for batch, labels in stream:  # a fresh crop is one of its own image
        left = (batch[:, 0, 0, 0] + 1) * 127.5 - 100 - labels / 3
        assert ((left > -2) & (left < 27))[batch[:, 0, 0, 0] > -1].all()


@pytest.mark.parametrize("fresh_part", [0.0, 1.0])
def test_a_part_of_none_shows_none_and_a_part_of_one_all(fresh_part):
    images, frames = framed(20, fresh_part)
    batch, labels = make_batches(images, frames=frames).at(0, 20)
    assert (batch.amax(dim=(1, 2, 3)) > -1).float().mean() == fresh_part
    plain, of_plain = make_batches(images).at(0, 20)
    assert torch.equal(labels, of_plain)
    assert torch.equal(batch, plain) == (fresh_part == 0)


def test_no_epoch_shows_the_same_crops_again():
    images, frames = framed(30, fresh_part=1.0)
    batches = make_batches(images, frames=frames, flip=False)
    crops = []
    for epoch in range(3):
        batch, labels = batches.at(30 * epoch, 30)
        crops.append(batch[labels.argsort()])
    for one, other in ((0, 1), (1, 2), (0, 2)):
        same = (crops[one] == crops[other]).flatten(1).all(dim=1)
        assert same.float().mean() < 0.2


def test_whole_frames_are_shown_whole():
    images, frames = framed(30, fresh_part=1.0, full_part=1.0)
    batch, labels = make_batches(images, frames=frames, flip=False).at(0, 30)
    levels = (batch[:, 0, 0] + 1) * 127.5 - labels[:, None] / 3  # [30, 8], the frame's ramp
    assert (levels == levels[0]).all()
    assert levels[0, 0] < 105
    assert levels[0, -1] > 145


def test_fresh_crops_are_mirrored_too():
    images, frames = framed(100, fresh_part=1.0)
    batch, _ = make_batches(images, frames=frames).at(0, 200)
    rising = (batch[:, 0, 0, 0] < batch[:, 0, 0, -1]).float().mean()
    assert 0.35 < rising < 0.65


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_a_stream_with_frames_is_the_same_from_any_position_on_any_number(processes):
    images, frames = framed(10, fresh_part=0.5, full_part=0.3)
    stream = make_batches(images, frames=frames, seed=1)
    for position in range(0, 60, 6):
        stream.at(position, 6)
    whole = stream.at(36, 6)  # across the end of an epoch
    shares = [
        make_batches(images, frames=frames, seed=1, share=(rank, processes)).at(36, 6)
        for rank in range(processes)
    ]
    for part, of_shares in zip(whole, zip(*shares, strict=True), strict=True):
        assert torch.equal(torch.stack(of_shares, dim=1).flatten(0, 1), part)
    other = make_batches(images, frames=frames, seed=2).at(36, 6)
    assert not torch.equal(other[0], whole[0])


def test_training_on_a_mixed_set_resumes_to_the_same_weights(photos, tiny_recipe, tmp_path):
    recipe = with_value(with_value(tiny_recipe, "data.crop", "mixed"), "data.side_px", 16)
    mixed = build_imageset([photos], tmp_path / "mixed", recipe.data)
    train(mixed, tmp_path / "straight", recipe)
    train(mixed, tmp_path / "halves", with_value(recipe, "train.images", 32))
    train(mixed, tmp_path / "halves", recipe, resume=True)
    straight, halves = (
        load_file(tmp_path / name / "generator.safetensors") for name in ("straight", "halves")
    )
    assert all(torch.equal(straight[name], halves[name]) for name in straight)
