"""The scorecard: the numbers, what they are of, and what must be said beside them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

import doggan
from doggan.scoring import scorecard as module
from doggan.scoring.features import DeadlineExpiredError
from doggan.scoring.mifid import score_features
from doggan.scoring.scorecard import Scorecard, score_extracted, score_images
from doggan.support.deadline import Deadline
from doggan.support.errors import InputError
from test_features import make_judge


def make_images(count, seed, tint=0):
    images = np.random.default_rng(seed).integers(0, 120, (count, 4, 4, 3), np.uint8)
    images[..., 0] += np.uint8(tint)
    return images


@pytest.fixture
def judge():
    return make_judge()


@pytest.fixture
def card(judge):
    return score_images(
        make_images(20, 0, tint=100), make_images(30, 1), judge, reference_name="dogs, crop 'full'"
    )


def test_the_numbers_are_those_of_the_features(card):
    generated = make_images(20, 0, tint=100).astype(np.float32).mean((1, 2))
    reference = make_images(30, 1).astype(np.float32).mean((1, 2))
    expected = score_features(generated, reference, 0.1)
    assert (card.fid, card.distance, card.mifid) == pytest.approx(
        (expected.fid, expected.distance, expected.mifid), rel=1e-6
    )
    assert card.fid_interval == pytest.approx(expected.fid_interval, rel=1e-6)
    assert card.mifid_interval == pytest.approx(expected.mifid_interval, rel=1e-6)
    assert card.fid_interval[0] < card.fid < card.fid_interval[1]
    assert card.mifid_interval[0] < card.mifid < card.mifid_interval[1]


def test_generated_and_reference_are_not_exchanged(judge):
    one, other = make_images(20, 0, tint=100), make_images(30, 1)
    forth = score_images(one, other, judge, reference_name="other")
    back = score_images(other, one, judge, reference_name="one")
    assert (forth.generated_images, forth.reference_images) == (20, 30)
    assert (back.generated_images, back.reference_images) == (30, 20)
    assert forth.distance != pytest.approx(back.distance, rel=1e-3)


def test_it_says_what_it_is_of(card, judge):
    assert card.reference == "dogs, crop 'full'"
    assert (card.judge, card.eps) == (judge.name, judge.eps)
    assert card.weights_sha256 == judge.weights_sha256
    assert (card.resize, card.precision) == (judge.resize, judge.precision)
    assert card.doggan == doggan.__version__
    assert card.seconds >= 0


def test_json_returns_the_same_card(card):
    assert Scorecard(**json.loads(card.to_json())) == card
    assert json.loads(card.to_json()) == card.as_dict()
    assert len(json.loads(card.to_json())["fid_interval"]) == 2
    assert Scorecard(**card.as_dict()) == card
    assert hash(Scorecard(**card.as_dict())) == hash(card)


def test_json_holds_no_nan(card):
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(card, fid=math.nan).to_json()


def test_precomputed_features_give_the_same_score(card, judge):
    generated, reference = (
        images.astype(np.float32).mean((1, 2))
        for images in (make_images(20, 0, tint=100), make_images(30, 1))
    )
    again = score_extracted(generated, reference, judge, reference_name="dogs", seconds=100.0)
    assert again.mifid == pytest.approx(card.mifid, rel=1e-6)
    assert 100 <= again.seconds < 101


def test_the_summary_begins_with_the_notice(card, judge):
    judge = replace(judge, notice="THIS SCORE DOES NOT COMPARE WITH KAGGLE'S " + "because " * 20)
    loud = score_images(make_images(5, 0, 9), make_images(6, 1), judge, reference_name="dogs")
    lines = loud.summary().splitlines()
    assert lines[0] == "!" * 78
    assert lines[1].startswith("!! THIS SCORE DOES NOT COMPARE WITH KAGGLE'S")
    assert all(len(line) <= 78 for line in lines if line.startswith("!"))
    assert "Kaggle scores 10,000 images, here 5" in " ".join(lines).replace(" !!", "")


def test_the_summary_has_the_numbers(card):
    intervals = {"fid_interval": (11.5, 13.5), "mifid_interval": (11.25, 13.75)}
    text = replace(card, fid=12.5, distance=0.2, mifid=12.5, notice="", **intervals).summary()
    assert "!" not in text
    assert "MiFID     12.5000 (95%: 11.2500 to 13.7500)" in text
    assert "FID       12.5000 (95%: 11.5000 to 13.5000)" in text
    assert "intervals hold chance in which images were drawn; not FID's bias" in text
    assert "0.2000 (no penalty: eps 0.1)" in text
    assert "20 against 30 of dogs, crop 'full'" in text
    assert "(a penalty: eps 0.1)" in replace(card, distance=0.05).summary()


def test_only_kaggles_judge_and_counts_compare_with_kaggle(judge, monkeypatch):
    monkeypatch.setattr(module, "KAGGLE_GENERATED_IMAGES", 20)
    monkeypatch.setattr(module, "KAGGLE_REFERENCE_IMAGES", (30,))
    genuine = replace(judge, comparable_with_kaggle=True)

    def card(generated, reference, judge=genuine):
        images = make_images(generated, 0, tint=50), make_images(reference, 1)
        return score_images(*images, judge, reference_name="dogs")

    assert card(20, 30).comparable_with_kaggle
    assert card(20, 30).notice == ""
    assert not card(19, 30).comparable_with_kaggle
    assert "Kaggle scores 20 images, here 19" in card(19, 30).notice
    assert not card(20, 29).comparable_with_kaggle
    assert "Kaggle's reference has 30 images, here 29" in card(20, 29).notice
    assert not card(20, 30, judge).comparable_with_kaggle


@pytest.mark.parametrize(("counts", "what"), [((1, 9), "generated"), ((9, 1), "reference")])
def test_single_images_are_refused_before_any_work(judge, counts, what):
    images = make_images(counts[0], 0), make_images(counts[1], 1)
    with pytest.raises(InputError, match=f"found 1 {what} image"):
        score_images(*images, judge, reference_name="dogs")
    assert judge.network.calls == []


def test_the_same_images_are_refused(judge):
    images = make_images(20, 0)
    with pytest.raises(InputError, match="is one of the reference images"):
        score_images(images[:8], images, judge, reference_name="dogs")


def test_the_deadline_is_passed_on(judge):
    deadline = Deadline(0.5, clock=iter([0.0, 1.0]).__next__)
    with pytest.raises(DeadlineExpiredError):
        score_images(
            make_images(4, 0), make_images(4, 1), judge, reference_name="dogs", deadline=deadline
        )
