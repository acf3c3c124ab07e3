"""The stream of batches: every image once an epoch, the same stream from any position."""

from pathlib import Path

import numpy as np
import pytest
import torch

from doggan.data.batches import Batches
from doggan.data.imageset import ImageSet
from doggan.recipe import TrainRecipe

CPU = torch.device("cpu")


def make_batches(images, *, seed=0, flip=True, **options):
    """The stream of a set in memory, in which image i has the label 3 i."""
    imageset = ImageSet(Path(), images, 3 * np.arange(len(images)), {})
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
