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
from doggan.support.deadline import Deadline, format_duration
from doggan.support.errors import DogganError

MARGIN = 1.25  # what was measured may take this much longer in the end
SCORING_SHARE = 0.4  # scoring may take no more than this part of a time limit


class NoScoreError(DogganError):
    """Why a run ends without a score."""


@dataclass(frozen=True, kw_only=True)
class ScoringPlan:
    """A judge, a reference whose features are at hand, and the seconds that a score will take:
    so many an image, and `mathematics_seconds` after that."""

    judge: Judge
    reference: Reference
    count: int
    seconds_an_image: float
    mathematics_seconds: float

    @property
    def seconds(self) -> float:
        """What scoring all `count` images takes."""
        return self.count * self.seconds_an_image + self.mathematics_seconds


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
    seconds_an_image = 1 / rate
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
    mathematics = time.perf_counter() - started
    return ScoringPlan(
        judge=judge,
        reference=reference,
        count=count,
        seconds_an_image=seconds_an_image,
        mathematics_seconds=mathematics,
    )
