"""The floors of the crop policies: whole frames lie nearest to whole frames, nothing is itself."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import measure_crops
from conftest import annotation, encode, make_photos, write
from doggan.data.crops import CROPS, WITH_FRAMES
from doggan.data.stanford import Box
from measure_crops import FRESH, MIXTURES, POLICIES
from test_calibrate_eps import Layout
from test_features import make_judge

SIZE = (60, 40)


def window(name):
    return POLICIES[name](Box(20, 10, 30, 14), SIZE, np.random.default_rng(0))


def test_every_policy_is_measured():
    assert {*CROPS} - WITH_FRAMES < {*POLICIES}
    assert {part for parts in MIXTURES.values() for part in parts} <= {*POLICIES, FRESH}


def test_wider_squares_lie_around_the_dog_inside_the_frame():
    assert window("square") == (20, 7, 30, 17)
    assert window("square, its side x 1.5") == (18, 4, 33, 19)
    assert window("the largest square around the dog") == (5, 0, 45, 40)


def test_random_squares_lie_inside_the_frame():
    random = np.random.default_rng(0)
    draws = [POLICIES["random square, 0.5 to 1"](Box(0, 0, 1, 1), SIZE, random) for _ in range(500)]
    left, top, right, bottom = np.array(draws).T
    assert ((right - left) == (bottom - top)).all()
    assert (min(left), min(top), max(right), max(bottom)) == (0, 0, *SIZE)
    assert (min(right - left), max(right - left)) == (20, 40)


@pytest.fixture
def judge(monkeypatch):
    judge = replace(make_judge(), network=Layout(), dimensions=36)
    monkeypatch.setattr(measure_crops, "load_judge", lambda name, device: judge)
    return judge


def test_the_floor_of_whole_frames_is_the_lowest(tmp_path, judge, capsys):
    """Light in the middle, dark around it: what is cut tells how much of the frame it shows."""
    random = np.random.default_rng(0)
    for index in range(40):
        pixels = random.integers(0, 60, (80, 120), dtype=np.uint8)
        pixels[20:60, 40:80] += 150
        image = encode(Image.fromarray(pixels), "PNG")
        write(tmp_path / "Images" / "n1-A" / f"n1_{index}.png", image)
        boxes = [(40, 20, 80, 60)] if index else [(0, 0, 1, 1)]
        write(tmp_path / "Annotation" / "n1-A" / f"n1_{index}", annotation((120, 80), boxes))
    result = measure_crops.measure([tmp_path], judge, count=None, seed=0)
    scores = result["scores"]
    assert set(scores) == {*POLICIES, FRESH, *MIXTURES}
    assert (result["all"], result["images"] + result["others"]) == (40, 40)
    assert 19 <= result["images"] <= 20  # the one without a usable box may be of either half
    nearest = min(scores, key=lambda name: scores[name]["others"][0])
    assert nearest == "full"
    assert scores["full"]["others"][1] > 1e-5 > scores["full"]["all"][1]  # only there itself
    assert measure_crops.main([str(tmp_path), "--count", "30"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| crops, 15 each | FID to 15 other whole frames | distance |")
    assert lines[2].startswith("| full | ")
    assert len(lines) == 2 + len(scores)


def test_too_few_photos_are_one_sentence(tmp_path, judge, capsys):
    assert measure_crops.main([str(make_photos(tmp_path / "photos", count=3))]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "measure_crops: " in err.splitlines()[-1]
    assert "too few of 3 photos have a usable dog" in err.splitlines()[-1]
