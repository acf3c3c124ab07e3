"""Walks through a generator's z, as a strip of images or as a GIF."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cosine_similarity

from doggan.gan.networks import Generator
from doggan.gan.pictures import make_grid, save_gif, save_picture
from doggan.gan.sampler import sample

NOISE_STEP = 0.1


def noise_walk(z: torch.Tensor, first: float, last: float) -> torch.Tensor:
    """z [N, latent] scaled from `first` to `last` in steps of NOISE_STEP, both ends included.

    Returns [N, steps, latent].
    """
    levels = torch.linspace(first, last, round(abs(first - last) / NOISE_STEP) + 1)
    return z[:, None] * levels[:, None]


def spherical_walk(start: torch.Tensor, end: torch.Tensor, steps: int) -> torch.Tensor:
    """From z `start` to z `end`, [N, latent] each, in equal angles: [N, steps, latent].

    Both ends are included. Of equally long ends every z between has the same length, where a
    straight line would pass near zero (Shoemake 1985; White 2016, arXiv:1609.04468).
    """
    start, end = start[:, None].double(), end[:, None].double()
    share = torch.linspace(0, 1, steps, dtype=torch.float64)[:, None]
    angle = torch.acos(cosine_similarity(start, end, dim=-1).clamp(-1, 1))[..., None]
    straight = torch.sin(angle) < 1e-6  # parallel, or zero: the formula would divide by zero
    sine = torch.where(straight, 1.0, torch.sin(angle))
    first = torch.where(straight, 1 - share, torch.sin((1 - share) * angle) / sine)
    last = torch.where(straight, share, torch.sin(share * angle) / sine)
    return (first * start + last * end).float()


def sample_walk(generator: Generator, z: torch.Tensor, labels: torch.Tensor | None) -> np.ndarray:
    """The images of z [N, steps, latent]: [N, steps, H, W, C] uint8; `labels` are [N] or None."""
    count, steps = z.shape[:2]
    told = None if labels is None else labels.repeat_interleave(steps)
    images = np.concatenate(list(sample(generator, z.flatten(0, 1), told)))
    return images.reshape(count, steps, *images.shape[1:])


def save_walk(images: np.ndarray, columns: int, path: Path) -> None:
    """Writes images [N, steps, H, W, C]: as one PNG row by row, or as a GIF with a frame a step.

    The suffix of `path` decides. `columns` images stand in a row of the PNG, or of each frame.
    """
    if path.suffix.lower() != ".gif":
        save_picture(make_grid(images.reshape(-1, *images.shape[2:]), columns), path)
        return
    with tempfile.TemporaryDirectory() as scratch:
        frames = [Path(scratch) / f"{step:03d}.png" for step in range(images.shape[1])]
        for step, frame in enumerate(frames):
            save_picture(make_grid(images[:, step], columns), frame)
        save_gif(frames, path)
