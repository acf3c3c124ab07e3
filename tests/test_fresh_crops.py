"""Crops drawn afresh: squares of the photo, anywhere in it, cut as Pillow would cut them."""

import numpy as np
import pytest
import torch
from PIL import Image

from doggan.data.fresh_crops import SMALLEST_SQUARE, cut_windows, draw_windows

SIZES = np.array([(180, 120), (90, 90), (50, 200)] * 1000)


def draw(full_part=0.0, seed=0):
    return draw_windows(SIZES, np.random.default_rng(seed), full_part).astype(np.float64)


def test_windows_are_squares_of_their_photo():
    width, height = (draw()[:, 2:] * SIZES).T
    np.testing.assert_allclose(width, height, rtol=1e-5)
    sides = width / SIZES.min(axis=1)
    assert SMALLEST_SQUARE <= sides.min() < SMALLEST_SQUARE + 0.001
    assert 0.999 < sides.max() <= 1 + 1e-6


def test_windows_reach_every_edge_and_no_further():
    start, extent = draw()[:, :2], draw()[:, 2:]
    assert start.min() >= 0
    assert (start + extent).max() <= 1 + 1e-6
    for photo in range(3):
        free = 1 - extent[photo::3]
        moved = start[photo::3][free > 0.1] / free[free > 0.1]
        assert (moved.min() < 0.02) & (moved.max() > 0.98)
        assert moved.mean() == pytest.approx(0.5, abs=0.03)


def test_a_part_of_the_windows_is_the_whole_frame():
    whole = (draw(full_part=0.3) == (0, 0, 1, 1)).all(axis=1)
    assert whole.mean() == pytest.approx(0.3, abs=0.03)
    assert (draw(full_part=1.0) == (0, 0, 1, 1)).all()
    assert not (draw() == (0, 0, 1, 1)).all(axis=1)[0::3].any()  # no frame of 180x120 is a square


def test_a_seed_draws_the_same_windows():
    np.random.seed(1)
    first = draw(seed=3)
    np.random.seed(2)  # nothing but the generator's seed counts
    assert np.array_equal(draw(seed=3), first)
    changed = draw(seed=4)
    assert (changed != first).any(axis=1).mean() > 0.9


@pytest.mark.parametrize("channels", [1, 3])
def test_a_cut_is_what_pillow_cuts(channels):
    """Up and down, at every place, with another stretch across than along."""
    random = np.random.default_rng(0)
    coarse = random.integers(40, 216, (6, 9, 9, channels), dtype=np.uint8)
    frames = torch.nn.functional.interpolate(
        torch.from_numpy(coarse).permute(0, 3, 1, 2).float(), (48, 48), mode="bicubic"
    )
    frames = frames.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
    windows = torch.tensor(
        [
            (0, 0, 1, 1),
            (0.25, 0.5, 0.5, 0.25),
            (0, 0.1, 0.9, 0.8),
            (0.31, 0, 0.69, 1),
            (0.7, 0.7, 0.3, 0.3),
            (0.05, 0.02, 0.6, 0.97),
        ]
    )
    cut = cut_windows(frames, windows, 16)
    assert (cut.shape, cut.dtype) == ((6, 16, 16, channels), torch.uint8)
    for frame, window, mine in zip(frames, windows.double() * 48, cut, strict=True):
        left, top, width, height = window.tolist()
        box = (left, top, min(left + width, 48), min(top + height, 48))
        photo = Image.fromarray(frame.numpy().squeeze())
        its = np.asarray(photo.resize((16, 16), Image.Resampling.LANCZOS, box=box), int)
        # Pillow rounds between its two passes, too.
        assert np.abs(mine.numpy().squeeze().astype(int) - its).max() <= 1


def test_a_cut_of_one_colour_keeps_it():
    frames = torch.full((2, 20, 20, 3), 137, dtype=torch.uint8)
    windows = torch.tensor([(0, 0, 0.5, 0.7), (0.2, 0.3, 0.8, 0.7)])
    assert (cut_windows(frames, windows, 32) == 137).all()


def test_a_cut_does_not_depend_on_what_is_cut_beside_it():
    random = np.random.default_rng(0)
    frames = torch.from_numpy(random.integers(0, 256, (7, 96, 96, 3), dtype=np.uint8))
    windows = torch.from_numpy(draw_windows(SIZES[:7], random, 0.2))
    together = cut_windows(frames, windows, 64)
    for number in range(7):
        alone = slice(number, number + 1)
        assert torch.equal(cut_windows(frames[alone], windows[alone], 64), together[alone])


def test_windows_of_any_photo_are_squares_inside_it():
    random = np.random.default_rng(5)
    sizes = np.exp(random.uniform(0, np.log(5000), (1000, 2))).round().astype(np.int64)
    windows = draw_windows(sizes, random, full_part=0.2)
    assert (windows.shape, windows.dtype) == ((1000, 4), np.float32)
    start, extent = windows[:, :2].astype(np.float64), windows[:, 2:].astype(np.float64)
    assert (start >= 0).all()
    assert (extent > 0).all()
    assert (start + extent).max() <= 1 + 1e-6
    whole = (windows == (0, 0, 1, 1)).all(axis=1)
    assert 100 < whole.sum() < 300
    width, height = (extent * sizes)[~whole].T
    np.testing.assert_allclose(width, height, rtol=1e-5)
    shorter = sizes.min(axis=1)[~whole]
    assert (width >= (SMALLEST_SQUARE - 1e-5) * shorter).all()
    assert (width <= (1 + 1e-5) * shorter).all()


@pytest.mark.parametrize("side", [16, 64])
def test_a_cut_of_any_window_shows_what_the_frame_holds_there(side):
    """Frames that brighten from left to right: so does each cut, by as much as its window."""
    random = np.random.default_rng(6)
    sizes = np.exp(random.uniform(0, np.log(5000), (1000, 2))).round().astype(np.int64)
    windows = torch.from_numpy(draw_windows(sizes, random, full_part=0.2))
    ramp = torch.arange(48).mul(4).to(torch.uint8)
    frames = ramp[None, None, :, None].expand(1000, 48, 48, 1)
    cut = cut_windows(frames, windows, side).squeeze(3).int()
    assert cut.shape == (1000, side, side)
    assert (cut - cut[:, :1]).abs().max() <= 1  # by rounding: its rows are alike, as the frame's
    across = cut[:, 0]
    assert (across.diff(dim=1) >= -1).all()
    centre = (windows[:, 0] + windows[:, 2] / 2) * 48 * 4 - 2
    assert (across.float().mean(dim=1) - centre).abs().max() < 2
