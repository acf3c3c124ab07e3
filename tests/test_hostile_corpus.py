"""Whatever a stranger hands in is met by a sentence, in bounded time and memory: `hostile.CORPUS`,
through the commands."""

import resource
from pathlib import Path

import pytest

import hostile
from conftest import TINY, make_photos
from doggan.cli.main import main
from doggan.data.build import build_imageset
from doggan.gan.trainer import train
from doggan.recipe import load_recipe
from fuzz import bounded

SECONDS, BYTES = 60, 1e9
CASES = [(kind, name) for kind, cases in hostile.CORPUS.items() for name in cases]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A set, and a run that was trained on it."""
    folder = tmp_path_factory.mktemp("good")
    recipe = load_recipe("dogs", TINY)
    photos = make_photos(folder / "photos", count=12)
    imageset = build_imageset([photos], folder / "set", recipe.data)
    train(imageset, folder / "run", recipe)
    return hostile.Good(imageset=folder / "set", run=folder / "run")


@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda part: part.replace(" ", "-"))
def test_it_is_met_by_a_sentence_in_bounded_time_and_memory(
    kind, name, good, tmp_path, monkeypatch, capsys
):
    case = hostile.CORPUS[kind][name]
    words = list(map(str, case.make(tmp_path, good)))
    monkeypatch.chdir(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    capsys.readouterr()
    with bounded(SECONDS):
        code = main(words)
    out, err = capsys.readouterr()
    assert code == case.code or case.code is None, err
    assert "Traceback" not in out + err
    assert case.says in " ".join((out + err).split())
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < BYTES
    if code == 2:
        last = err.splitlines()[-1]
        assert last.startswith("doggan: ")
        assert last.isprintable()
        assert len(last) < 2_000
        assert not (tmp_path / "out").exists()  # nothing half made
    left = [path.name for path in tmp_path.rglob("*") if ".partial" in path.name]
    assert left == []
    assert not Path("executed").exists()
    page = tmp_path / "out.html"
    assert not page.exists() or hostile.SCRIPT not in page.read_text()
