"""A score at the end of a run: what it takes is measured before training, which leaves time for it.

Where all images would take too long, some are scored; where that cannot be either, there is no
score, and the run's zip comes all the same.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from doggan.competition import SIDE_PX
from doggan.scoring.features import DeadlineExpiredError, extract_features, measure_rate
from doggan.scoring.judges.judge import Judge
from doggan.scoring.manifolds import precision_and_recall
from doggan.scoring.mifid import score_features
from doggan.scoring.reference import Reference
from doggan.scoring.score import score_images
from doggan.scoring.scorecard import Scorecard
from doggan.support.deadline import Deadline, format_duration
from doggan.support.errors import DogganError, InputError, in_short, is_out_of_memory

MARGIN = 1.25  # what was measured may take this much longer in the end
SCORING_SHARE = 0.4  # scoring may take no more than this part of a time limit
FEWEST_IMAGES = 1_000  # of either kind: a covariance of fewer says little


class NoScoreError(DogganError):
    """Why a run ends without a score."""


@contextmanager
def _no_score_without_memory() -> Iterator[None]:
    """Turns running out of memory into NoScoreError: the zip comes all the same."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        why = f"there is not enough memory for a score ({in_short(error)})"
        raise NoScoreError(why) from error


@dataclass(frozen=True, kw_only=True)
class ScoringPlan:
    """A judge, a reference whose features are at hand, and the seconds that a score will take:
    so many an image, `mathematics_seconds` for MiFID, and `manifolds_seconds` for precision and
    recall."""

    judge: Judge
    reference: Reference
    count: int
    seconds_an_image: float
    mathematics_seconds: float
    manifolds_seconds: float

    @property
    def seconds(self) -> float:
        """What scoring all `count` images takes."""
        return self.count * self.seconds_an_image + self._closing_seconds

    @property
    def _closing_seconds(self) -> float:
        return self.mathematics_seconds + self.manifolds_seconds

    @_no_score_without_memory()
    def score(self, images: np.ndarray, deadline: Deadline) -> Scorecard:
        """Scores as many of the images [N, H, W, C] uint8 as there is time for.

        Raises NoScoreError where those are fewer than FEWEST_IMAGES, or have no score, or there is
        no memory for it.
        """
        try:
            return score_images(
                images,
                self.reference,
                self.judge,
                deadline=deadline.minus(self._closing_seconds),
                at_least=min(FEWEST_IMAGES, len(images)),
            )
        except DeadlineExpiredError as error:
            raise NoScoreError(
                f"the time limit came, and scoring takes {format_duration(self.seconds)} here; "
                "doggan score makes up for it"
            ) from error
        except InputError as error:  # such as images that are all alike
            raise NoScoreError(str(error)) from error


@_no_score_without_memory()
def plan_scoring(
    judge: Judge, reference: Reference, count: int, deadline: Deadline, say: Callable[[str], None]
) -> ScoringPlan:
    """Extracts the reference's features and measures what scoring `count` images will take.

    Where all would take more than SCORING_SHARE of what is left, the plan is for some of either
    kind. `say` gets a line on that. Raises NoScoreError where FEWEST_IMAGES would take too long, or
    there is no memory for them.
    """
    if len(reference) < 2:
        raise NoScoreError("a score needs 2 reference images or more")
    features = reference.kept_features(judge)
    to_extract = len(reference) if features is None else 0
    rate = measure_rate(judge, side=SIDE_PX, most_images=to_extract + count)
    seconds_an_image = 1 / rate
    fit = max(0.0, SCORING_SHARE * deadline.remaining() * rate / MARGIN)
    parts = _share_out(int(min(fit, to_extract + count)), to_extract, count)
    fewest = min(FEWEST_IMAGES, to_extract), min(FEWEST_IMAGES, count)
    if parts[0] < fewest[0] or parts[1] < fewest[1]:
        raise NoScoreError(
            f"{judge.name} would take {format_duration(sum(fewest) / rate * MARGIN)} for no more "
            f"than {sum(fewest):,} images, of {format_duration(deadline.remaining())} left"
        )
    if parts != (to_extract, count):
        say(
            f"There is time to score {parts[1]:,} of {count:,} images, "
            f"against {parts[0] or len(reference):,} of {len(reference):,}"
        )
    if parts[0] < to_extract:
        reference = reference.part(parts[0])
        features = reference.kept_features(judge)
    count = parts[1]
    if features is None:
        say(f"Looking at {len(reference):,} reference images with {judge.name}")
        started = time.perf_counter()
        features = extract_features(reference.images, judge, label="reference")
        seconds_an_image = (time.perf_counter() - started) / len(reference)
        reference.keep_features(judge, features)
    else:
        say(
            f"The features of {len(reference):,} reference images are at hand from an earlier score"
        )
    reference.forget_images()  # training may want the memory
    random = np.random.default_rng(0).random((count, judge.dimensions), dtype=np.float32)
    started = time.perf_counter()
    score_features(random, features, judge.eps)
    scored = time.perf_counter()
    precision_and_recall(random, features)
    return ScoringPlan(
        judge=judge,
        reference=reference,
        count=count,
        seconds_an_image=seconds_an_image,
        mathematics_seconds=scored - started,
        manifolds_seconds=time.perf_counter() - scored,
    )


def _share_out(fit: int, reference: int, generated: int) -> tuple[int, int]:
    """How many images of either kind are judged where `fit` can be: half of each, or all there are
    of one and more of the other."""
    of_reference = min(reference, max(fit // 2, fit - generated))
    return of_reference, min(generated, fit - of_reference)
