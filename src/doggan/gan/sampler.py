"""A generator and seeds -> uint8 images, streamed."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from doggan.gan.networks import Generator
from doggan.support.errors import InputError

BATCH = 100
NOISE_STEP = 0.1


def latents(
    seeds: Sequence[int], length: int, *, truncation: float = 1.0, by: str = "scale"
) -> torch.Tensor:
    """One z a seed: [len(seeds), length] float32, standard normal before truncation.

    A seed gives the same z whatever the seeds beside it. `scale` multiplies z by `truncation`
    (0 to 2); `resample` draws values outside [-truncation, truncation] again, as BigGAN does
    (Brock et al. 2018, arXiv:1809.11096). Raises InputError for a truncation out of range.
    """
    if not 0 <= truncation <= 2 or (by == "resample" and truncation == 0):
        raise InputError(f"truncation is {truncation}; expected 0 to 2, above 0 to resample")
    draws = [_draw(seed, length, truncation if by == "resample" else None) for seed in seeds]
    z = torch.from_numpy(np.stack(draws).astype(np.float32))
    return z * truncation if by == "scale" else z


def sample(generator: Generator, z: torch.Tensor) -> Iterator[np.ndarray]:
    """The images of z [N, latent], in order, as batches [n, H, W, C] uint8."""
    device = next(generator.parameters()).device
    for start in range(0, len(z), BATCH):
        with torch.inference_mode():
            images = generator(z[start : start + BATCH].to(device))
        yield to_uint8(images)


def sample_seeds(
    generator: Generator, seeds: Sequence[int], truncation: float
) -> Iterator[np.ndarray]:
    """The images of `seeds`, in order, as batches [n, H, W, C] uint8; z is scaled."""
    for start in range(0, len(seeds), BATCH):
        batch = seeds[start : start + BATCH]
        yield from sample(generator, latents(batch, generator.latent, truncation=truncation))


def noise_levels(first: float, last: float) -> torch.Tensor:
    """The scales of z from `first` to `last` in steps of NOISE_STEP, both ends included."""
    return torch.linspace(first, last, round(abs(first - last) / NOISE_STEP) + 1)


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """[N, C, H, W] float in [-1, 1] -> [N, H, W, C] uint8, rounded."""
    scaled = images.float().mul(127.5).add(127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def _draw(seed: int, length: int, limit: float | None) -> np.ndarray:
    random = np.random.default_rng(seed)
    z = random.standard_normal(length)
    while limit is not None and (outside := np.abs(z) > limit).any():
        z[outside] = random.standard_normal(int(outside.sum()))
    return z
