"""The notebook: the script's own parts as cells, valid, deterministic, and run to its end."""

import ast
import json
import os

import pytest

from conftest import TINY, import_or_skip, make_photos
from doggan.competition import JUDGE_DATASET
from doggan.kaggle.bundle import write_bundle
from doggan.kaggle.inside import show
from doggan.kaggle.notebook import SETTINGS_CELL, read_cell, write_cell
from doggan.kaggle.settings import read_settings, write_settings
from doggan.pipeline import NO_JUDGE
from doggan.support.errors import InputError


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    path = tmp_path_factory.mktemp("kernel") / "doggan_kernel.ipynb"
    return write_bundle(path, notebook=True).path.read_text("utf-8")


def cells(notebook, kind):
    return [cell for cell in json.loads(notebook)["cells"] if cell["cell_type"] == kind]


def test_it_is_a_notebook_of_python_cells(notebook):
    nbformat = import_or_skip("nbformat", "notebook")
    nbformat.validate(nbformat.reads(notebook, as_version=4))
    for cell in cells(notebook, "code"):
        ast.parse("".join(cell["source"]))
        assert cell["outputs"] == []


def test_it_is_the_scripts_own_text(notebook, tmp_path):
    script = write_bundle(tmp_path / "script.py").path.read_text("utf-8")
    settings = read_cell(notebook, SETTINGS_CELL)
    assert settings in script
    assert read_cell(notebook, "package").partition("\n\n\n")[0] in script
    assert read_settings(settings) == read_settings(script)
    again = write_bundle(tmp_path / "again.ipynb", notebook=True)
    assert again.path.read_text("utf-8") == notebook


def test_only_the_bundle_is_folded_away(notebook):
    folded = [cell["id"] for cell in cells(notebook, "code") if cell["metadata"]]
    assert folded == ["package"]


def test_a_cell_is_changed_and_the_others_are_not(notebook):
    settings = read_cell(notebook, SETTINGS_CELL)
    changed = write_cell(notebook, SETTINGS_CELL, write_settings(settings, {"SEED": 7}))
    assert read_settings(read_cell(changed, SETTINGS_CELL))["SEED"] == 7
    assert write_cell(changed, SETTINGS_CELL, settings) == notebook


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is no notebook"),
        ("[]", "it has no cells"),
        ('{"cells": [{"id": "other", "source": ""}, 7]}', "has no cell 'settings'"),
        ('{"cells": [{"id": "settings", "source": [7]}]}', "has no cell 'settings'"),
        ('{"cells": [{"id": "settings"}]}', "has no cell 'settings'"),
    ],
)
def test_what_is_no_notebook_of_ours_is_refused(text, message):
    with pytest.raises(InputError, match=f"{message}.*; run: doggan kernel build --notebook"):
        read_cell(text, SETTINGS_CELL)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "the run did not come to its end"),
        ({"grid.png": ""}, "only images of the competition's size are"),
        (
            {"grid.png": "", "images.zip": "", "result.json": json.dumps({"unscored": NO_JUDGE})},
            JUDGE_DATASET,
        ),
    ],
)
def test_where_there_is_no_score_its_place_says_why(tmp_path, monkeypatch, files, words):
    import_or_skip("IPython", "notebook")
    monkeypatch.setenv("DOGGAN_KAGGLE_WORKING", str(tmp_path))
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    shown = show.scorecard().data
    assert shown.startswith("Not scored: ")
    assert words in shown


@pytest.mark.slow
def test_it_runs_and_shows_what_came_of_it(notebook, tmp_path, monkeypatch):
    nbformat = import_or_skip("nbformat", "notebook")
    nbclient = import_or_skip("nbclient", "notebook")
    make_photos(tmp_path / "input" / "dogs", count=12)
    (tmp_path / "working").mkdir()
    monkeypatch.setenv("DOGGAN_KAGGLE_INPUT", str(tmp_path / "input"))
    monkeypatch.setenv("DOGGAN_KAGGLE_WORKING", str(tmp_path / "working"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    overrides = [*TINY, "submission.count=200"]  # which are no entry, so the run's cell fails
    settings = write_settings(
        read_cell(notebook, SETTINGS_CELL), {"OVERRIDES": overrides, "TIME_LIMIT": "3m"}
    )
    ran = nbformat.reads(write_cell(notebook, SETTINGS_CELL, settings), as_version=4)
    nbclient.NotebookClient(ran, timeout=600, kernel_name="python3", allow_errors=True).execute(
        cwd=tmp_path / "working", env=os.environ
    )
    shown = {
        cell["id"]: [data for output in cell["outputs"] for data in output.get("data", {})]
        for cell in ran["cells"]
        if cell["cell_type"] == "code"
    }
    assert "text/plain" in shown["shown-0"]
    for place, kind in ((1, "image/png"), (2, "image/png"), (3, "text/html"), (4, "image/png")):
        assert kind in shown[f"shown-{place}"]
    # No bar of hundreds of red lines, as pages made of it show.
    assert not [
        output
        for cell in ran["cells"]
        for output in cell.get("outputs", ())
        if cell["id"].startswith("shown") and output.get("name") == "stderr"
    ]
    run = next(cell for cell in ran["cells"] if cell["id"] == "run")
    said = "".join(output.get("text", "") for output in run["outputs"])
    assert "wrong number of images: 200 found, 10,000 expected" in said
    assert [output["evalue"] for output in run["outputs"] if "evalue" in output] == [
        "The run has failed; the lines above say why"
    ]
