"""A generator and seeds -> uint8 images, streamed."""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

import numpy as np
import torch

from doggan.gan.networks import Generator
from doggan.recipe import MAX_TRUNCATION
from doggan.support.errors import InputError

BATCH = 100
LEAST_RESAMPLED = 0.05  # 4% of all draws lie within; with less, drawing takes for ever
_WNID = re.compile(r"n[0-9]{8}-")  # before a breed's name, as in n02085620-Chihuahua


def latents(
    seeds: Sequence[int], length: int, *, truncation: float = 1.0, by: str = "scale"
) -> torch.Tensor:
    """One z a seed: [len(seeds), length] float32, standard normal before truncation.

    A seed gives the same z whatever the seeds beside it. `scale` multiplies z by `truncation`
    (0 to 2); `resample` draws values outside [-truncation, truncation] again, as BigGAN does
    (Brock et al. 2018, arXiv:1809.11096). Raises InputError for a truncation out of range.
    """
    least = LEAST_RESAMPLED if by == "resample" else 0
    if not least <= truncation <= MAX_TRUNCATION:
        raise InputError(f"truncation is {truncation}; expected {least} to {MAX_TRUNCATION:g}")
    draws = [_draw(seed, length, truncation if by == "resample" else None) for seed in seeds]
    z = torch.from_numpy(np.stack(draws).astype(np.float32))
    return z * truncation if by == "scale" else z


def labels_in_turn(seeds: Sequence[int], label_count: int) -> torch.Tensor:
    """One label a seed: [len(seeds)] int64, evenly by turns, so seed i has i mod label_count."""
    return torch.tensor([seed % label_count for seed in seeds])


def labels_asked_for(
    generator: Generator, seeds: Sequence[int], wanted: str | None
) -> torch.Tensor | None:
    """The labels for `seeds`: those of `labels_in_turn`, or all the `wanted` one.

    None where the generator is unconditional. Raises InputError where a label is wanted of such
    a one, or it has none of that name.
    """
    if generator.conditional:
        if wanted is None:
            return labels_in_turn(seeds, generator.label_count)
        return torch.full((len(seeds),), find_label(generator.label_names, wanted))
    if wanted is not None:
        raise InputError(
            f"this generator knows no labels, and so not '{wanted}'; train one that does with "
            "--set networks.conditional=true"
        )
    return None


def find_label(names: Sequence[str], wanted: str) -> int:
    """The index of the label called `wanted`, in whatever case, or of the only one that holds it.

    `Chihuahua` finds n02085620-Chihuahua; a number that is no name is the index itself.
    Raises InputError, naming some, where none or several fit.
    """
    simple = [_simple(name) for name in names]
    short = [name.partition("-")[2] if _WNID.match(name) else name for name in simple]
    text = _simple(wanted)
    for known in (simple, short):
        if known.count(text) == 1:
            return known.index(text)
    if wanted.isdecimal() and int(wanted) < len(names):
        return int(wanted)
    holding = [index for index, name in enumerate(short) if text in name]
    if len(holding) == 1:
        return holding[0]
    near = holding or [short.index(name) for name in get_close_matches(text, short, 5, 0.4)]
    shown = ", ".join(names[index] for index in (near or range(len(names)))[:10])
    found = f"several labels hold '{wanted}'" if holding else f"no label is called '{wanted}'"
    raise InputError(f"{found}; {'such as' if near else 'there are'}: {shown}")


def sample(
    generator: Generator, z: torch.Tensor, labels: torch.Tensor | None = None
) -> Iterator[np.ndarray]:
    """The images of z [N, latent], in order, as batches [n, H, W, C] uint8.

    `labels` are [N] int64; where a conditional generator is given none, they take turns.
    """
    device = next(generator.parameters()).device
    if generator.conditional and labels is None:
        labels = labels_in_turn(range(len(z)), generator.label_count)
    for start in range(0, len(z), BATCH):
        part = slice(start, start + BATCH)
        with torch.inference_mode():
            told = None if labels is None else labels[part].to(device)
            images = generator(z[part].to(device), told)
        yield to_uint8(images)


def sample_seeds(
    generator: Generator, seeds: Sequence[int], truncation: float
) -> Iterator[np.ndarray]:
    """The images of `seeds`, in order, as batches [n, H, W, C] uint8; z is scaled.

    Of a conditional generator, each with the label that `labels_in_turn` has for its seed.
    """
    for start in range(0, len(seeds), BATCH):
        batch = seeds[start : start + BATCH]
        z = latents(batch, generator.latent, truncation=truncation)
        labels = labels_in_turn(batch, generator.label_count) if generator.conditional else None
        yield from sample(generator, z, labels)


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


def _simple(name: str) -> str:
    return name.strip().lower().replace("_", " ")
