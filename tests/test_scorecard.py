"""The scorecard: the numbers, what they are of, and what must be said beside them."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from torch import nn

import doggan
from doggan.cli.main import main
from doggan.data.imageset import hash_images
from doggan.scoring import score as module
from doggan.scoring.features import DeadlineExpiredError
from doggan.scoring.judges import judge as judge_module
from doggan.scoring.mifid import score_features
from doggan.scoring.reference import Reference
from doggan.scoring.score import score_extracted, score_images
from doggan.scoring.scorecard import Scorecard
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
    reference = Reference(make_images(30, 1), "dogs, crop 'full'")
    return score_images(make_images(20, 0, tint=100), reference, judge)


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
    forth = score_images(one, Reference(other, "other"), judge)
    back = score_images(other, Reference(one, "one"), judge)
    assert (forth.generated_images, forth.reference_images) == (20, 30)
    assert (back.generated_images, back.reference_images) == (30, 20)
    assert forth.distance != pytest.approx(back.distance, rel=1e-3)


def test_it_says_what_it_is_of(card, judge):
    assert card.reference == "dogs, crop 'full'"
    assert card.reference_sha256 == hash_images(make_images(30, 1))
    assert (card.judge, card.eps) == (judge.name, judge.eps)
    assert card.weights_sha256 == judge.weights_sha256
    assert (card.resize, card.precision) == (judge.resize, judge.precision)
    assert card.doggan == doggan.__version__


def test_json_returns_the_same_card(card):
    written = json.loads(json.dumps(card.as_dict()))
    assert Scorecard(**written) == card
    assert written == card.as_dict()
    assert len(written["fid_interval"]) == 2
    assert Scorecard(**card.as_dict()) == card
    assert hash(Scorecard(**card.as_dict())) == hash(card)


def test_json_holds_no_nan(card, tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(card, fid=math.nan).write(tmp_path / "scorecard.json")
    assert list(tmp_path.iterdir()) == []


def test_precomputed_features_give_the_same_score(card, judge):
    generated, reference_features = (
        images.astype(np.float32).mean((1, 2))
        for images in (make_images(20, 0, tint=100), make_images(30, 1))
    )
    reference = Reference(make_images(30, 1), "dogs")
    reference.keep_features(judge, reference_features)
    again = score_extracted(generated, reference, judge, started=0.0)
    # Those of `card`: nothing was judged again.
    assert judge.network.calls == [*[4] * 7, 2, *[4] * 5]
    assert again.mifid == pytest.approx(card.mifid, rel=1e-6)


def test_the_seconds_are_those_since_the_score_was_begun(judge, monkeypatch):
    times = iter([100.0, 107.25])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(times)))
    reference = Reference(make_images(6, 1), "dogs")
    assert score_images(make_images(5, 0, tint=9), reference, judge).seconds == 7.25


def test_the_summary_begins_with_the_notice(card, judge):
    judge = replace(judge, notice="THIS SCORE DOES NOT COMPARE WITH KAGGLE'S " + "because " * 20)
    loud = score_images(make_images(5, 0, 9), Reference(make_images(6, 1), "dogs"), judge)
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
    sha256 = hash_images(make_images(30, 1))
    assert f"20 against 30 of dogs, crop 'full' (sha256 {sha256[:8]})" in text
    assert "sha256" not in replace(card, reference_sha256=None).summary()
    assert "(a penalty: eps 0.1)" in replace(card, distance=0.05).summary()


def test_only_kaggles_judge_counts_and_crop_compare_with_kaggle(judge, monkeypatch):
    monkeypatch.setattr(module, "IMAGES", 20)
    monkeypatch.setattr(module, "REFERENCE_PHOTOS", (30,))
    genuine = replace(judge, comparable_with_kaggle=True)

    def card(generated, reference, judge=genuine, whole_frames=True):
        images = make_images(generated, 0, tint=50)
        against = Reference(make_images(reference, 1), "dogs", whole_frames)
        return score_images(images, against, judge)

    assert card(20, 30).comparable_with_kaggle
    assert card(20, 30).notice == ""
    assert not card(19, 30).comparable_with_kaggle
    assert "Kaggle scores 20 images, here 19" in card(19, 30).notice
    assert not card(20, 29).comparable_with_kaggle
    assert "Kaggle's reference has 30 images, here 29" in card(20, 29).notice
    assert not card(20, 30, judge).comparable_with_kaggle
    assert not card(20, 30, whole_frames=False).comparable_with_kaggle
    assert "whole frames squashed to 64x64, this is not" in card(20, 30, whole_frames=False).notice


@pytest.mark.parametrize("few", [0, 1])
@pytest.mark.parametrize("what", ["generated", "reference"])
def test_fewer_than_two_images_are_refused_before_any_work(judge, few, what):
    counts = (few, 9) if what == "generated" else (9, few)
    reference = Reference(make_images(counts[1], 1), "dogs")
    with pytest.raises(InputError, match=f"found {few} {what} image"):
        score_images(make_images(counts[0], 0), reference, judge)
    assert judge.network.calls == []


def test_the_same_images_are_refused(judge):
    images = make_images(20, 0)
    message = r"one of the reference images \(distance 0\), and MiFID divides by that distance"
    for generated in (images, images[:8]):
        with pytest.raises(InputError, match=message):
            score_images(generated, Reference(images, "dogs"), judge)


@pytest.fixture
def score_command(judge, monkeypatch, tmp_path, capsys):
    """`doggan score` on twelve images of one colour each, by the judge of the tests."""
    monkeypatch.setattr(judge_module, "load_judge", lambda *_, **__: judge)
    (tmp_path / "generated").mkdir()
    for level in range(12):
        image = Image.new("RGB", (8, 8), (10 * level, 255 - 20 * level, 3 * level))
        image.save(tmp_path / "generated" / f"{level}.png")

    def score(*options):
        code = main(["score", str(tmp_path / "generated"), "--json", *map(str, options)])
        return code, capsys.readouterr()

    return score


def test_photos_become_reference_images_by_any_policy(score_command, photos):
    cards = {}
    for crop, count in {None: 12, "full": 12, "square": 12, "four": 48}.items():
        options = ("--reference-crop", crop) if crop else ()
        code, printed = score_command("--reference", photos, *options)
        assert code == 0
        cards[crop] = json.loads(printed.out) | {"seconds": 0}
        assert cards[crop]["reference_images"] == count
    assert cards[None] == cards["full"]
    assert cards["full"]["reference"] == f"{photos}, crop 'full', Lanczos to 64x64"
    assert cards["square"]["reference"] == f"{photos}, crop 'square', Lanczos to 64x64"
    assert len({card["reference_sha256"] for card in cards.values()}) == 3
    wrong_crop = "Kaggle's reference is whole frames"
    assert [crop for crop, card in cards.items() if wrong_crop in card["notice"]] == [
        "square",
        "four",
    ]


def test_a_built_set_keeps_the_crop_it_was_built_with(score_command, tiny_set):
    code, printed = score_command("--reference", tiny_set.folder, "--reference-crop", "full")
    assert code == 2
    assert "is a set built with crop 'square', not 'full'; leave out" in printed.err
    for options in ((), ("--reference-crop", "square")):
        code, printed = score_command("--reference", tiny_set.folder, *options)
        assert code == 0
        card = json.loads(printed.out)
        assert card["reference"].endswith("crop 'square', Lanczos to 64x64")
        assert card["reference_sha256"] == tiny_set.sha256


class BrokenFor(nn.Module):
    """Features that are no numbers where an image's first byte is 255."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, images):
        colours = images.float().mean((1, 2))
        colours[images[:, 0, 0, 0] == 255] = self.value
        return colours


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("what", ["generated", "reference"])
def test_features_that_are_no_numbers_give_no_score(judge, value, what):
    sets = {"generated": make_images(20, 0, tint=100), "reference": make_images(30, 1)}
    sets[what][7, 0, 0, 0] = 255
    judge = replace(judge, network=BrokenFor(value))
    with pytest.raises(InputError, match=f"the {what} features of image 7 hold NaN, infinity"):
        score_images(sets["generated"], Reference(sets["reference"], "dogs"), judge)


@pytest.mark.parametrize("what", ["generated", "reference"])
def test_images_with_transparency_are_refused(judge, what):
    sets = {"generated": make_images(20, 0, tint=100), "reference": make_images(30, 1)}
    sets[what] = np.concatenate([sets[what], sets[what][..., :1]], axis=3)
    with pytest.raises(InputError, match=r"1 or 3\] uint8, at least one; found uint8 of shape"):
        score_images(sets["generated"], Reference(sets["reference"], "dogs"), judge)


def test_the_deadline_is_passed_on(judge):
    deadline = Deadline(0.5, clock=iter([0.0, 1.0]).__next__)
    reference = Reference(make_images(4, 1), "dogs")
    with pytest.raises(DeadlineExpiredError):
        score_images(make_images(4, 0), reference, judge, deadline=deadline)
