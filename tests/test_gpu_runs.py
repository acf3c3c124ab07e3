"""The comparison on a GPU, packed and run here at a hundredth of its budget."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import gpu_runs
import processes
from conftest import make_photos
from doggan.data.build import build_imageset
from doggan.data.imageset import open_imageset
from doggan.recipe import load_recipe


def run_python(code, folder):
    """What a new Python prints that finds modules in `folder` too."""
    start = f"import sys; sys.path.insert(0, {str(folder)!r}); "
    found = processes.run([sys.executable, "-c", start + code])
    assert found.returncode == 0, found.stderr
    return Path(found.stdout.strip())


@pytest.fixture
def packed(tmp_path):
    photos = make_photos(tmp_path / "photos", count=12)
    assert gpu_runs.main(["pack", str(photos), str(tmp_path / "packed")]) == 0
    return tmp_path / "packed"


def test_what_is_packed_is_nearly_what_was_built(packed, tmp_path):
    gpu_runs.unpack(packed / "crops", tmp_path / "crops")
    unpacked = open_imageset(tmp_path / "crops")
    built = build_imageset([tmp_path / "photos"], tmp_path / "built", load_recipe("dogs").data)
    assert unpacked.images.shape == built.images.shape
    assert unpacked.labels.tolist() == built.labels.tolist()
    means = [images.mean((1, 2)) for images in (unpacked.images, built.images)]
    assert np.abs(means[0] - means[1]).max() < 6  # the photos are noise, WebP's hardest case
    # The judge's weights lie beside, as a package that needs no installing.
    found = run_python(f"import {gpu_runs.WEIGHTS_PACKAGE} as m; print(m.__file__)", packed)
    assert found.is_relative_to(packed)


def test_it_needs_no_more_than_a_gpu_machine_has():
    missing = ["albumentations", "bokeh", "kaggle", "cv2"]
    code = f"import sys; sys.modules |= dict.fromkeys({missing}); import gpu_runs; print(1)"
    assert run_python(code, Path(gpu_runs.__file__).parent) == Path("1")


def test_wrong_folders_are_said(packed, tmp_path, capsys):
    capsys.readouterr()
    assert gpu_runs.main(["pack", str(tmp_path / "photos"), str(packed)]) == 2
    assert "exists; name a folder that does not" in capsys.readouterr().err
    assert gpu_runs.main(["train", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "is not what gpu_runs.py pack leaves" in capsys.readouterr().err
    (packed / "frames" / "images.zip").write_bytes(b"PK")
    arguments = [
        "train",
        str(packed),
        "--out",
        str(tmp_path / "out"),
        "--work",
        str(tmp_path / "w"),
    ]
    assert gpu_runs.main(arguments) == 2
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.slow
def test_it_all_runs_at_a_hundredth_of_the_budget(packed, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["train", str(packed), "--out", str(out), "--work", str(tmp_path / "work")]
    arguments += ["--budgets", "3s", "6s", "--count", "100", "--device", "cpu"]
    assert gpu_runs.main(arguments) == 0
    for budget in ("3s", "6s"):
        table = (out / f"table-{budget}.md").read_text().splitlines()
        names = {row.split(" | ")[0].strip("| ") for row in table[2:]}
        assert names == {f"{name}-seed0" for name in gpu_runs.RECIPES}
        assert (out / f"sheet-{budget}.png").stat().st_size > 1000
    assert "torch" in json.loads((out / "environment.json").read_text())
