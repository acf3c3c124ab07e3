"""What is for a GPU, packed, and run here in short, as on a machine that has little else."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import gpu_runs
import processes
from conftest import make_photos, without_modules
from doggan.data.build import build_imageset
from doggan.data.imageset import open_imageset
from doggan.recipe import load_recipe

# What a machine with a GPU may lack.
MISSING = ["albumentations", "bokeh", "kaggle", "cv2"]
SOURCES = gpu_runs.ROOT / "src"
NO_NETWORK = ["unshare", "--map-root-user", "--net"]


def run_there(folder, *arguments):
    """gpu_runs.py in a Python that lacks MISSING, and has no network where that can be had."""
    (folder / "stubs").mkdir(exist_ok=True)
    (folder / "stubs" / "sitecustomize.py").write_text(without_modules(MISSING))
    alone = NO_NETWORK if can_be_alone() else []
    command = [*alone, sys.executable, gpu_runs.__file__, *arguments]
    path = os.pathsep.join([str(folder / "stubs"), str(SOURCES)])
    ran = processes.run(command, env=os.environ | {"PYTHONPATH": path})
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def can_be_alone():
    return shutil.which("unshare") and not processes.run([*NO_NETWORK, "true"]).returncode


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
    code = f"import sys; sys.path.insert(0, {str(packed)!r}); "
    code += f"import {gpu_runs.WEIGHTS_PACKAGE} as m; print(m.__file__)"
    found = processes.run([sys.executable, "-c", code])
    assert Path(found.stdout.strip()).is_relative_to(packed)


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
def test_it_all_runs_at_a_hundredth_of_the_budget(packed, tmp_path):
    out = tmp_path / "out"
    arguments = ["train", packed, "--out", out, "--work", tmp_path / "work"]
    budgets = ("--budgets", "2s", "--count", "20", "--device", "cpu")
    run_there(tmp_path, *arguments, *budgets)
    table = (out / "table-2s.md").read_text().splitlines()
    names = {row.split(" | ")[0].strip("| ") for row in table[2:]}
    assert names == {f"{name}-seed0" for name in gpu_runs.RUNS}
    assert (out / "sheet-2s.png").stat().st_size > 1000
    assert "torch" in json.loads((out / "environment.json").read_text())


@pytest.mark.slow
def test_the_tests_and_the_speeds_come_from_the_pack_too(packed, tmp_path):
    out = tmp_path / "out"
    arguments = ["bench", packed, "--out", out, "--work", tmp_path / "work", "--device", "cpu"]
    table = run_there(tmp_path, *arguments, "--quick", "--parts", "convolutions", "judge", "edges")
    assert " skipped in " in (out / "tests.txt").read_text()  # or passed, where there is a GPU
    for name, figure in {
        "bench_train": "convolution_share",
        "bench_gpu": "judge_autotuned_images_per_second",
    }.items():
        found = json.loads((out / f"{name}.json").read_text())
        assert f"| {figure} | {found[figure]} |" in table
        assert (out / f"{name}.md").read_text() in table
        assert (out / f"{name}.txt").read_text()
