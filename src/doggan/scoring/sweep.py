"""A generator scored straight from its seeds, at one truncation or at several."""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from doggan.gan import sampler
from doggan.gan.generator_file import GENERATORS
from doggan.gan.networks import Generator
from doggan.scoring.comparison import Entry, Ranking
from doggan.scoring.features import extract_features
from doggan.scoring.judges import Judge
from doggan.scoring.reference import extract_reference
from doggan.scoring.scorecard import Scorecard, check_counts, score_extracted
from doggan.support.tensor_file import SUFFIXES


def is_run(path: Path | str) -> bool:
    """Whether `path` is a run's folder with its generator, or a generator alone."""
    path = Path(path)
    return path.suffix in SUFFIXES or any((path / name).is_file() for name in GENERATORS)


def score_truncations(
    generator: Generator,
    seeds: Sequence[int],
    truncations: Sequence[float],
    reference: np.ndarray,
    judge: Judge,
    *,
    reference_name: str,
    whole_frames: bool = False,
) -> Iterator[tuple[float, Scorecard]]:
    """The scorecard of the images of `seeds` for each truncation, one by one as they come.

    No image is kept or written, and the reference, [M, H, W, C] uint8, is looked at once. The
    scores are those of a zip of the same seeds. All truncations share the seeds, so what differs
    between them is less than their intervals, each on its own, allow for. `reference_name` and
    `whole_frames` are those of `score_images`.
    Raises InputError as `score_images` does, and for a truncation outside 0 to 2.
    """
    check_counts(seeds, reference)
    for truncation in truncations:
        sampler.latents(seeds[:1], 1, truncation=truncation)  # refused before any work
    reference_features, reference_sha256 = extract_reference(reference, judge)
    for truncation in truncations:
        start = time.monotonic()
        features = sampled_features(generator, seeds, truncation, judge)
        yield (
            truncation,
            score_extracted(
                features,
                reference_features,
                judge,
                reference_name=reference_name,
                reference_sha256=reference_sha256,
                whole_frames=whole_frames,
                seconds=time.monotonic() - start,
            ),
        )


def sampled_features(
    generator: Generator, seeds: Sequence[int], truncation: float, judge: Judge
) -> np.ndarray:
    """The features of the images of `seeds`, [len(seeds), D] float32, a few images at a time."""
    features = np.empty((len(seeds), judge.dimensions), np.float32)
    # Batches of both kinds begin where they would begin for a zip, for the same rounding.
    step = math.lcm(sampler.BATCH, judge.batch_size)
    with tqdm(total=len(seeds), desc=f"truncation {truncation:g}", unit="image") as bar:
        for start in range(0, len(seeds), step):
            part = seeds[start : start + step]
            images = np.concatenate(list(sampler.sample_seeds(generator, part, truncation)))
            features[start : start + step] = extract_features(images, judge)
            bar.update(len(part))
    return features


def rank_truncations(scorecards: dict[float, Scorecard]) -> Ranking:
    """The scorecards by truncation, in their order, as entries that may be compared."""
    return Ranking(
        tuple(Entry(f"truncation {value:g}", card) for value, card in scorecards.items())
    )


def summarise_sweep(ranking: Ranking) -> str:
    """The table, which entry is best, and which others may be as good."""
    best = ranking.best
    others = [entry.name for entry in ranking.within_noise_of(best)]
    noise = f"; within noise of it: {', '.join(others)}" if others else ""
    return f"{ranking.table()}\nbest: {best.name}, MiFID {best.scorecard.mifid:.2f}{noise}"
