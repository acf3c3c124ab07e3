"""A score at the end of a run: of all images where there is time, of some where there is less."""

import errno
import re

import numpy as np
import pytest

from doggan.scoring import plan as module
from doggan.scoring.plan import NoScoreError, ScoringPlan, plan_scoring
from doggan.scoring.reference import Reference
from doggan.scoring.score import score_images
from doggan.support.deadline import Deadline
from test_features import make_judge


def make_images(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 7, 3), np.uint8)


@pytest.fixture(autouse=True)
def slow_judge(monkeypatch):
    """Ten images a second; ten of a kind are enough."""
    monkeypatch.setattr(module, "measure_rate", lambda judge, side, most_images: 10.0)
    monkeypatch.setattr(module, "FEWEST_IMAGES", 10)


@pytest.fixture
def reference(tmp_path):
    return Reference(make_images(40, 0), "dogs", cache=tmp_path, names=[f"{i}" for i in range(40)])


def plan_of(reference, count, seconds, lines=None):
    deadline = Deadline(seconds, lambda: 0.0)
    say = (lambda line: None) if lines is None else lines.append
    return plan_scoring(make_judge(), reference, count, deadline, say)


# 0.4 of the time is for scoring, and a quarter more than was measured may be needed: 3.2 images/s.
@pytest.mark.parametrize(
    ("seconds", "reference_images", "generated_images"),
    [(None, 40, 60), (1000, 40, 60), (25, 40, 40), (10, 16, 16), (6.25, 10, 10)],
)
def test_as_many_of_either_kind_are_planned_as_there_is_time_for(
    reference, seconds, reference_images, generated_images
):
    lines = []
    plan = plan_of(reference, 60, seconds, lines)
    assert (len(plan.reference), plan.count) == (reference_images, generated_images)
    told = [line for line in lines if line.startswith("There is time to score")]
    counts = f"{generated_images} of 60 images, against {reference_images} of 40"
    short = (reference_images, generated_images) != (40, 60)
    assert told == [f"There is time to score {counts}"] * short


def test_features_at_hand_leave_all_the_time_to_the_images(reference):
    reference.features(make_judge())
    again = Reference(reference.images, "dogs", cache=reference.cache)
    plan = plan_of(again, 60, 10)
    assert (len(plan.reference), plan.count) == (40, 32)


def test_without_time_for_the_fewest_there_is_no_score(reference):
    with pytest.raises(NoScoreError, match="would take 2s for no more than 20 images, of 6s left"):
        plan_of(reference, 60, 6)
    # Where there are no more, they are enough.
    assert plan_of(reference, 5, 6).count == 5


def test_a_part_of_a_reference_lies_evenly_in_it(reference):
    part = reference.part(14)
    assert part.names == [f"{index}" for index in range(0, 40, 3)]
    assert np.array_equal(part.images, reference.images[::3])
    assert part.name == "dogs, evenly 14 of 40"
    assert part.sha256 != reference.sha256


def make_plan(reference, judge):
    return ScoringPlan(
        judge=judge,
        reference=reference,
        count=64,
        seconds_an_image=0.1,
        mathematics_seconds=0.0,
        manifolds_seconds=0.0,
    )


def ticking(seconds):
    """A deadline whose clock moves by a second at each look."""
    looks = iter(range(1000))
    return Deadline(seconds, lambda: float(next(looks)))


def test_with_time_to_spare_the_score_is_that_of_all_images(reference):
    judge, images = make_judge(), make_images(64, 1)
    found = make_plan(reference, judge).score(images, Deadline(None))
    expected = score_images(images, reference, judge)
    assert (found.fid, found.mifid, found.notice) == (
        expected.fid,
        expected.mifid,
        expected.notice,
    )


def test_when_time_runs_out_what_was_judged_is_scored_and_the_card_says_so(reference):
    judge, images = make_judge(), make_images(128, 1)
    reference.features(judge)
    card = make_plan(reference, judge).score(images, ticking(3.5))  # two batches
    assert (card.generated_images, card.reference_images) == (64, 40)
    assert card.notice.startswith(
        "scored in short, by 64 of 128 images against 40 of 40: FID of fewer images is biased "
        "upwards; `doggan score` makes the full one; "
    )
    kept = [index for index in range(128) if index // 32 in (0, 2)]
    assert card.fid == pytest.approx(score_images(images[kept], reference, judge).fid, rel=1e-9)


def test_a_part_of_the_reference_is_told_too(reference):
    card = make_plan(reference.part(20), make_judge()).score(make_images(64, 1), Deadline(None))
    assert re.match("scored in short, by 64 of 64 images against 20 of 40", card.notice)


def test_when_too_few_were_judged_there_is_no_score(reference):
    judge = make_judge()
    reference.features(judge)
    with pytest.raises(NoScoreError, match="the time limit came, and scoring takes 6s here"):
        make_plan(reference, judge).score(make_images(64, 1), Deadline(-1.0))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory"),
        RuntimeError("can't allocate memory"),
        RuntimeError("could not create a primitive"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_a_score_without_memory_is_no_score(monkeypatch, error):
    def fail(*arguments, **options):
        raise type("OutOfMemoryError", (RuntimeError,), {})("x") if "CUDA" in str(error) else error

    monkeypatch.setattr(module, "score_images", fail)
    with pytest.raises(NoScoreError, match="not enough memory for a score"):
        make_plan(None, None).score([1], Deadline(None))
