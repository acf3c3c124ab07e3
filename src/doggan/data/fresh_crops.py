"""Crops of whole frames, drawn anew whenever an image is shown, and cut on the device."""

import numpy as np
import torch

SMALLEST_SQUARE = 0.8  # side of a random square, from this to 1, in shorter sides of its photo
LANCZOS_TAPS = 3  # as Pillow's LANCZOS


def draw_windows(sizes: np.ndarray, random: np.random.Generator, full_part: float) -> np.ndarray:
    """A window in each photo of `sizes`, [N, 2]: width, height in pixels.

    It is a random square of the photo, or, for `full_part` of them, the whole frame. Returns
    [N, 4] float32: left, top, width, height in parts of the frame, so that they hold for a frame
    squashed to any size.
    """
    side = random.uniform(SMALLEST_SQUARE, 1, (len(sizes), 1)) * sizes.min(axis=1, keepdims=True)
    extent = side / sizes
    extent[random.random(len(sizes)) < full_part] = 1
    corner = random.random(sizes.shape) * (1 - extent)
    return np.concatenate([corner, extent], axis=1).astype(np.float32)


def cut_windows(frames: torch.Tensor, windows: torch.Tensor, side: int) -> torch.Tensor:
    """Cuts a window, as `draw_windows` gives them, out of each frame [n, H, W, C] uint8.

    Returns [n, side, side, C] uint8, resized by Lanczos with antialiasing as the images of a built
    set are: within rounding what Pillow gives, in two products of matrices for any windows.
    """
    left, top, width, height = windows.unbind(1)
    rows = _lanczos(top, height, frames.shape[1], side)
    columns = _lanczos(left, width, frames.shape[2], side)
    cut = torch.einsum("nyh,nhwc->nywc", rows, frames.float())
    cut = torch.einsum("nxw,nywc->nyxc", columns, cut)
    return cut.round_().clamp_(0, 255).to(torch.uint8)


def _lanczos(start: torch.Tensor, extent: torch.Tensor, length: int, side: int) -> torch.Tensor:
    """The weight of each of `length` pixels in each of `side` ones: [n, side, length].

    `start` and `extent` [n] are the stretch that is resized, in parts of the length.
    """
    step = (extent * length / side)[:, None, None]  # from one resized pixel to the next
    resized = torch.arange(side, device=start.device)[:, None] + 0.5
    pixels = torch.arange(length, device=start.device) + 0.5
    distance = (pixels - start[:, None, None] * length - resized * step) / step.clamp(min=1)
    distance = distance.clamp(-LANCZOS_TAPS, LANCZOS_TAPS)
    weights = torch.sinc(distance) * torch.sinc(distance / LANCZOS_TAPS)
    return weights / weights.sum(dim=2, keepdim=True)
