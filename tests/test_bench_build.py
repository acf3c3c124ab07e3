"""The benchmark of building, in a short form: both sides do the same work, every ratio is there."""

import json

import numpy as np
import pytest

import bench_build
from conftest import make_photos
from doggan.data import photos as photos_module
from doggan.data.build import build_imageset
from doggan.recipe import DataRecipe


@pytest.mark.slow
def test_builds_and_pillows_loop_are_compared(capsys, monkeypatch):
    monkeypatch.setattr(bench_build, "in_own_process", lambda run, *arguments: run(*arguments))
    monkeypatch.setattr(bench_build, "use_threads", lambda count: None)
    assert bench_build.main(["--quick", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    speeds = [found[f"{name}_photos_per_second"] for name in ("pillow", "one_core", "all_cores")]
    pillow, one, every = speeds
    assert found["one_core_over_pillow_ratio"] == pytest.approx(one / pillow)
    assert found["all_cores_over_pillow_ratio"] == pytest.approx(every / pillow)
    assert found["all_cores_over_one_ratio"] == pytest.approx(every / one)
    assert 0 < found["mean_difference_grey_levels"] < 1
    assert 0 <= found["same_crops_percent"] < 100


def test_pillows_loop_makes_the_very_images_of_a_build(tmp_path, monkeypatch):
    monkeypatch.setattr(photos_module, "JPEG_REDUCTIONS", ())  # its photos are decoded whole
    photos = make_photos(tmp_path / "photos", count=6)
    for path in photos.rglob("*.jpg"):
        bench_build.enlarge(path)  # the boxes follow
    built = build_imageset([photos], tmp_path / "set", DataRecipe())
    squares = bench_build.pillow_squares(photos)
    assert len(squares) == 6
    assert np.array_equal(squares, built.images)
