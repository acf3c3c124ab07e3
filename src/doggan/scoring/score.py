"""The one way to score: generated images or a generator, a Reference and a Judge -> a Scorecard."""

import math
import time
from collections.abc import Sequence, Sized
from dataclasses import replace

import numpy as np

from doggan.competition import IMAGES, REFERENCE_PHOTOS
from doggan.gan import sampler
from doggan.gan.networks import Generator
from doggan.scoring.features import extract_features
from doggan.scoring.judges.judge import Judge
from doggan.scoring.manifolds import precision_and_recall
from doggan.scoring.mifid import score_features
from doggan.scoring.reference import Reference
from doggan.scoring.scorecard import Scorecard
from doggan.support.deadline import Deadline
from doggan.support.errors import InputError
from doggan.support.progress import progress_bar

# Below this mean distance the images are the same, but for the rounding of float32 features.
# MiFID divides by it.
SAME_IMAGES_DISTANCE = 1e-6


def score_images(
    generated: np.ndarray,
    reference: Reference,
    judge: Judge,
    *,
    deadline: Deadline | None = None,
    at_least: int | None = None,
) -> Scorecard:
    """Scores [N, H, W, C] uint8 images; C is 1 or 3. Bars on stderr show how far it is.

    Once `deadline` is over as many as were judged are scored, evenly from all of them, where they
    are `at_least` so many; the notice says so.
    Raises InputError for images that cannot be scored, fewer than two of either, and generated
    images that are the reference images; DeadlineExpiredError for too few in time.
    """
    check_counts(generated, reference)
    started = time.monotonic()
    reference.features(judge, deadline)
    features = extract_features(
        generated, judge, deadline=deadline, at_least=at_least, label="generated"
    )
    scorecard = score_extracted(features, reference, judge, started=started)
    if len(features) == len(generated) and not reference.part_of:
        return scorecard
    remark = (
        f"scored in short, by {len(features):,} of {len(generated):,} images against "
        f"{len(reference):,} of {reference.part_of or len(reference):,}: FID of fewer images is "
        "biased upwards; `doggan score` makes the full one"
    )
    return replace(scorecard, notice="; ".join(filter(None, [remark, scorecard.notice])))


def score_generator(
    generator: Generator,
    seeds: Sequence[int],
    truncation: float,
    reference: Reference,
    judge: Judge,
) -> Scorecard:
    """Scores the images of `seeds`; no image is kept or written. Raises as `score_images` does.

    The score is that of a zip of the same seeds, but `seconds` leave out the reference.
    """
    check_counts(seeds, reference)
    reference.features(judge)
    started = time.monotonic()
    features = sampled_features(generator, seeds, truncation, judge)
    return score_extracted(features, reference, judge, started=started)


def score_extracted(
    generated_features: np.ndarray, reference: Reference, judge: Judge, *, started: float
) -> Scorecard:
    """Scores [N, D] features that `judge` extracted; raises as `score_images` does.

    The scorecard's seconds count from `started`, on the clock of `time.monotonic`.
    """
    score = score_features(generated_features, reference.features(judge), judge.eps)
    if score.distance < SAME_IMAGES_DISTANCE:
        raise InputError(
            "every generated image is one of the reference images (distance 0), and MiFID divides "
            "by that distance; score images that a generator made"
        )
    manifolds = precision_and_recall(generated_features, reference.features(judge))
    differences = _differences_from_kaggle(len(generated_features), reference)
    return Scorecard(
        **vars(score),
        manifold_precision=manifolds and manifolds[0],
        manifold_recall=manifolds and manifolds[1],
        eps=judge.eps,
        judge=judge.name,
        weights_sha256=judge.weights_sha256,
        resize=judge.resize,
        precision=judge.precision,
        generated_images=len(generated_features),
        reference_images=len(reference),
        reference=reference.name,
        reference_sha256=reference.sha256,
        comparable_with_kaggle=judge.comparable_with_kaggle and not differences,
        notice="; ".join(filter(None, [judge.notice, *differences])),
        seconds=round(time.monotonic() - started, 3),
    )


def sampled_features(
    generator: Generator, seeds: Sequence[int], truncation: float, judge: Judge
) -> np.ndarray:
    """The features of the images of `seeds`, [len(seeds), D] float32, a few images at a time."""
    features = np.empty((len(seeds), judge.dimensions), np.float32)
    # Batches of both kinds begin where they would begin for a zip, for the same rounding.
    step = math.lcm(sampler.BATCH, judge.batch_size)
    with progress_bar(f"truncation {truncation:g}", len(seeds)) as bar:
        for start in range(0, len(seeds), step):
            part = seeds[start : start + step]
            images = np.concatenate(list(sampler.sample_seeds(generator, part, truncation)))
            features[start : start + step] = extract_features(images, judge)
            bar.update(len(part))
    return features


def check_counts(generated: Sized, reference: Sized) -> None:
    """Raises InputError for fewer than two of either, images or seeds: they have no covariance."""
    for images, what in ((generated, "generated"), (reference, "reference")):
        if len(images) < 2:
            raise InputError(
                f"found {len(images)} {what} image(s); a score takes at least 2, "
                f"and Kaggle's takes {IMAGES:,} generated ones"
            )


def _differences_from_kaggle(generated: int, reference: Reference) -> list[str]:
    as_on_kaggle = {
        f"Kaggle scores {IMAGES:,} images, here {generated:,}": generated == IMAGES,
        f"Kaggle's reference has {REFERENCE_PHOTOS[0]:,} images, here {len(reference):,}": (
            len(reference) in REFERENCE_PHOTOS
        ),
        "Kaggle's reference is whole frames squashed to 64x64, this is not": reference.whole_frames,
    }
    return [difference for difference, alike in as_on_kaggle.items() if not alike]
