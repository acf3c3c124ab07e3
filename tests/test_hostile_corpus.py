"""Whatever a stranger hands in is met by a sentence, in bounded time and memory: `hostile.CORPUS`,
through the commands."""

import hashlib
import re
import resource
from pathlib import Path

import pytest

import hostile
from bad_server import Answer, running
from conftest import TINY, make_photos
from doggan.cli.main import main
from doggan.data.build import build_imageset
from doggan.gan.trainer import train
from doggan.recipe import load_recipe
from doggan.support import transfer
from doggan.support.download import download
from doggan.support.errors import DogganError
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


@pytest.mark.parametrize("name", hostile.DOWNLOADS, ids=lambda name: name.replace(" ", "-"))
def test_whatever_a_server_does_a_download_ends_by_a_sentence(name, tmp_path, monkeypatch):
    answer, says = hostile.DOWNLOADS[name]
    monkeypatch.setattr(transfer, "FIRST_WAIT_SECONDS", 0.0)
    for variable in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with running() as server, bounded(SECONDS):
        url = server.put("/x.tar", hostile.DATA, answer or Answer())
        url = url if answer else url.replace("http:", "https:")
        path = tmp_path / "x.tar"
        size, sha256 = len(hostile.DATA), hashlib.sha256(hostile.DATA).hexdigest()
        with pytest.raises(DogganError, match=says) as caught:
            download(url, path, size=size, sha256=sha256, progress=False, attempts=2, timeout=0.5)
    assert "\n" not in str(caught.value)
    assert not path.exists()


def test_the_readmes_count_the_corpus():
    counts = {kind: len(cases) for kind, cases in hostile.CORPUS.items()}
    counts["downloads"] = len(hostile.DOWNLOADS)
    root = Path(__file__).parents[1]
    page_of_tools = (root / "tools" / "README.md").read_text("utf-8")
    for page in ("README.md", "tools/README.md"):
        rows = re.findall(r"^\| (.+?) \| (\d+) \| ", (root / page).read_text("utf-8"), re.MULTILINE)
        found = {kind: int(count) for kind, count in rows if kind in counts}
        assert found == counts, page
    for cases in [*hostile.CORPUS.values(), hostile.DOWNLOADS]:
        assert f" | {'; '.join(cases)} |" in page_of_tools
