"""The stream of batches: every image once an epoch, the same stream from any position."""

import numpy as np
import pytest
import torch

from doggan.data.batches import Batches

CPU = torch.device("cpu")


def numbered(count):
    """Images [count, 2, 2, 1] whose left column tells the image and whose right one is 255."""
    images = np.full((count, 2, 2, 1), 255, np.uint8)
    images[:, :, 0] = np.arange(count)[:, None, None]
    return images


def shown(batch):
    """The numbers of the images in a batch of `numbered`, mirrored or not."""
    levels = ((batch + 1) * 127.5).round()
    return levels[:, 0, 0].min(dim=1).values.int().tolist()


@pytest.mark.parametrize("batch_size", [3, 5, 17])
def test_every_image_comes_once_an_epoch(batch_size):
    batches = Batches(numbered(10), batch_size, seed=0, flip=True, device=CPU)
    stream = [n for step in range(20) for n in shown(batches.at(step * batch_size))]
    for epoch in range(len(stream) // 10):
        assert sorted(stream[epoch * 10 : epoch * 10 + 10]) == list(range(10))
    assert stream[:10] != stream[10:20]


def test_a_position_gives_the_same_batch_in_a_new_stream():
    one = Batches(numbered(10), 4, seed=1, flip=True, device=CPU)
    for position in (0, 4, 8):
        one.at(position)
    other = Batches(numbered(10), 4, seed=1, flip=True, device=CPU)
    assert torch.equal(one.at(36), other.at(36))


def test_seeds_differ():
    streams = [Batches(numbered(50), 50, seed=seed, flip=False, device=CPU) for seed in (0, 1)]
    assert shown(streams[0].at(0)) != shown(streams[1].at(0))


def test_half_of_the_images_are_mirrored_left_to_right():
    batch = Batches(numbered(200), 200, seed=0, flip=True, device=CPU).at(0)
    mirrored = (batch[:, 0, 0, 0] > batch[:, 0, 0, 1]).float().mean()
    assert 0.35 < mirrored < 0.65
    straight = Batches(numbered(200), 200, seed=0, flip=False, device=CPU).at(0)
    assert (straight[:, 0, 0, 0] < straight[:, 0, 0, 1]).all()


def test_pixels_become_minus_one_to_one():
    images = np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 3)
    batch = Batches(images, 2, seed=0, flip=False, device=CPU).at(0)
    assert batch.shape == (2, 3, 1, 1)
    torch.testing.assert_close(batch[0].flatten(), torch.tensor([-1.0, -0.6, 1.0]))
