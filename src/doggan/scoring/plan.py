"""A score at the end of a run: what it takes is measured before training, which leaves time for it.

Where it would take too long, or cannot be, there is none: the run's zip comes all the same.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from doggan.competition import SIDE_PX
from doggan.scoring.features import extract_features, measure_rate
from doggan.scoring.judges.judge import Judge
from doggan.scoring.mifid import score_features
from doggan.scoring.reference import Reference
from doggan.scoring.score import score_extracted
from doggan.scoring.scorecard import Scorecard
from doggan.support.deadline import Deadline, format_duration
from doggan.support.errors import DogganError

MARGIN = 1.25  # what was measured may take this much longer in the end
SCORING_SHARE = 0.4  # scoring may take no more than this part of a time limit


class NoScoreError(DogganError):
    """Why a run ends without a score."""


@dataclass(frozen=True, kw_only=True)
class ScoringPlan:
    """A judge, a reference whose features are at hand, and the seconds that a score will take."""

    judge: Judge
    reference: Reference
    extraction_seconds: float
    mathematics_seconds: float

    @property
    def seconds(self) -> float:
        return self.extraction_seconds + self.mathematics_seconds

    def score(self, images: np.ndarray, deadline: Deadline) -> Scorecard:
        """Scores [N, 64, 64, 3] uint8 before the deadline; raises as `score_images` does."""
        started = time.monotonic()
        in_time = deadline.minus(self.mathematics_seconds)
        features = extract_features(images, self.judge, deadline=in_time, label="generated")
        return score_extracted(features, self.reference, self.judge, started=started)


def plan_scoring(
    judge: Judge, reference: Reference, count: int, deadline: Deadline, say: Callable[[str], None]
) -> ScoringPlan:
    """Extracts the reference's features and measures what scoring `count` images will take.

    `say` gets a line on that. Raises NoScoreError where it would take too much of what is left.
    """
    if len(reference) < 2:
        raise NoScoreError("a score needs 2 reference images or more")
    features = reference.kept_features(judge)
    rate = measure_rate(judge, side=SIDE_PX)
    extraction = count / rate
    to_judge = count if features is not None else len(reference) + count
    needed = to_judge / rate * MARGIN
    if needed > SCORING_SHARE * deadline.remaining():
        raise NoScoreError(
            f"{judge.name} would take {format_duration(needed)} for {to_judge:,} "
            f"images, of {format_duration(deadline.remaining())} left"
        )
    if features is None:
        say(f"Looking at {len(reference):,} reference images with {judge.name}")
        started = time.perf_counter()
        features = extract_features(reference.images, judge, label="reference")
        extraction = (time.perf_counter() - started) / len(reference) * count
        reference.keep_features(judge, features)
    else:
        say(
            f"The features of {len(reference):,} reference images are at hand from an earlier score"
        )
    reference.forget_images()  # training may want the memory
    return ScoringPlan(
        judge=judge,
        reference=reference,
        extraction_seconds=extraction,
        mathematics_seconds=_measure_mathematics(features, count, judge.eps),
    )


def _measure_mathematics(reference: np.ndarray, count: int, eps: float) -> float:
    """Seconds from features to numbers, on random features of the same shape."""
    random = np.random.default_rng(0).random((count, reference.shape[1]), dtype=np.float32)
    started = time.perf_counter()
    score_features(random, reference, eps)
    return time.perf_counter() - started
