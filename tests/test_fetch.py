"""The photos come whole and readable, or the command says in one line why not."""

import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import time
import zipfile
from types import SimpleNamespace

import pytest

from bad_server import Answer, running
from doggan.data import fetch as module
from doggan.data.fetch import FetchedFile, RemoteFile, fetch_stanford
from doggan.kaggle import fetch as kaggle_fetch
from doggan.kaggle.fetch import fetch_kaggle
from doggan.support import transfer
from doggan.support.errors import DogganError
from kaggle_server import KEY, real_client

BREED = "n02085620-Chihuahua"
CALL = "/api/v1/competitions.CompetitionApiService/DownloadDataFiles"
DATA_PATH = "/bundle/archive.zip"


def tar_of(*names, kind=tarfile.REGTYPE):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.type = 3, kind
            tar.addfile(member, io.BytesIO(b"dog"))
    return buffer.getvalue()


def zip_of(*names, data=b"dog" * 1000):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, data)
    return buffer.getvalue()


TARS = {
    "annotation.tar": tar_of("Annotation/n02085620-Chihuahua/n02085620_7"),
    "images.tar": tar_of(f"./Images/{BREED}/n02085620_7.jpg", f"Images/{BREED}/n02085620_9.jpg"),
}
ZIP = zip_of("all-dogs/all-dogs/n02085620_7.jpg", f"annotation/Annotation/{BREED}/n02085620_7")
CLIENT_PIECE = 1 << 20  # the client writes in pieces of this size; less is lost with a cut
LONG_ZIP = zip_of("all-dogs/all-dogs/1.jpg", "annotation/1", data=b"d" * CLIENT_PIECE)


@pytest.fixture
def server():
    with running() as server:
        yield server


@pytest.fixture
def publish(server, monkeypatch):
    """Serves tars as Stanford does, their sizes and hashes in place of the real ones."""

    def publish(tars, *answers):
        files = [
            RemoteFile(
                name=remote.name,
                size_bytes=len(tars[remote.name]),
                sha256=hashlib.sha256(tars[remote.name]).hexdigest(),
                members=remote.members,
            )
            for remote in module.STANFORD_FILES
        ]
        monkeypatch.setattr(module, "STANFORD_FILES", tuple(files))
        for name, data in tars.items():
            server.put(f"/dogs/{name}", data, *answers)
        return f"{server.url}/dogs/"

    monkeypatch.setattr(transfer, "FIRST_WAIT_SECONDS", 0.0)
    monkeypatch.delenv("http_proxy", raising=False)
    return publish


def names(folder):
    return sorted(item.name for item in folder.iterdir())


def test_stanford_brings_both_tars(publish, tmp_path):
    fetched = fetch_stanford(tmp_path / "photos", base_url=publish(TARS), progress=False)
    for file, (name, data) in zip(fetched, TARS.items(), strict=True):
        path = tmp_path / "photos" / name
        assert file == FetchedFile(path=str(path), size_bytes=len(data), downloaded=True)
        assert path.read_bytes() == data
    assert names(tmp_path / "photos") == sorted(TARS)


def test_stanford_keeps_what_is_intact(publish, server, tmp_path):
    url = publish(TARS)
    (tmp_path / "images.tar").write_bytes(TARS["images.tar"])
    (tmp_path / "annotation.tar").write_bytes(TARS["annotation.tar"][:-1] + b"x")
    fetched = fetch_stanford(tmp_path, base_url=url.rstrip("/"), progress=False)
    assert [file.downloaded for file in fetched] == [True, False]
    assert [path for _, path, _ in server.requests] == ["/dogs/annotation.tar"]
    assert (tmp_path / "annotation.tar").read_bytes() == TARS["annotation.tar"]
    again = fetch_stanford(tmp_path, base_url=url, progress=False)
    assert [file.downloaded for file in again] == [False, False]
    assert len(server.requests) == 1


def test_stanford_goes_on_after_a_cut(publish, server, tmp_path):
    fetch_stanford(tmp_path, base_url=publish(TARS, Answer(cut=5_000), Answer()), progress=False)
    assert server.header("Range") == [None, "bytes=5000-"] * 2
    assert {name: (tmp_path / name).read_bytes() for name in TARS} == TARS


def test_stanford_says_so_when_the_server_is_gone(publish, tmp_path):
    url = publish(TARS, Answer(status=404))
    with pytest.raises(DogganError, match=r"annotation\.tar: the server answered 404"):
        fetch_stanford(tmp_path, base_url=url, progress=False)
    assert names(tmp_path) == []


def test_stanford_asks_for_the_space_of_what_is_missing(publish, server, tmp_path, monkeypatch):
    url = publish(TARS)
    total = sum(len(data) for data in TARS.values())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=total - 1))
    with pytest.raises(DogganError, match="make room"):
        fetch_stanford(tmp_path, base_url=url, progress=False)
    assert server.requests == []
    (tmp_path / "images.tar.part").write_bytes(b"x")
    fetch_stanford(tmp_path, base_url=url, progress=False)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (b"not a tar at all" * 64, "not a readable tar"),
        (tar_of(f"Images/{BREED}/1.jpg")[:513], "not a readable tar"),
        (tar_of(f"Images/{BREED}/1.jpg", "../../evil.jpg"), "points out of its folder"),
        (tar_of(f"Images/{BREED}/1.jpg", "/etc/evil.jpg"), "points out of its folder"),
        (tar_of("cats/1.jpg"), "no file named like Images"),
        (tar_of(f"Images/{BREED}/1.jpg", kind=tarfile.SYMTYPE), "no file named like Images"),
        (tar_of(*(f"Images/{BREED}/{number}.jpg" for number in range(5))), "more than 4 files"),
    ],
)
def test_stanford_checks_what_the_tars_hold(publish, tmp_path, monkeypatch, images, message):
    monkeypatch.setattr(module, "MAX_MEMBERS", 4)
    url = publish({**TARS, "images.tar": images})
    with pytest.raises(DogganError, match=rf"images\.tar .*{message}"):
        fetch_stanford(tmp_path, base_url=url, progress=False)


def test_the_published_facts():
    sizes = {remote.name: remote.size_bytes for remote in module.STANFORD_FILES}
    # The page calls the photos 757 MB, in units of 2**20 bytes; a tar is made of blocks of 512.
    assert round(sizes["images.tar"] / 2**20) == 757
    assert all(size % 512 == 0 for size in sizes.values())
    assert module.STANFORD_URL == "http://vision.stanford.edu/aditya86/ImageNetDogs/"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with real_client(tmp_path_factory.mktemp("kaggle")) as client:
        yield client


@pytest.fixture
def kaggle_at(server, client, monkeypatch):
    """Points the client at the test's server, and makes its own retries immediate."""
    http = sys.modules["kagglesdk.kaggle_http_client"]
    monkeypatch.setattr(http, "get_endpoint", lambda environment: server.url)
    clock = SimpleNamespace(**{**vars(time), "sleep": lambda _: None})
    monkeypatch.setattr(sys.modules["kaggle.api.kaggle_api_extended"], "time", clock)
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def serve(data=ZIP, *answers):
        server.put(CALL, b"", Answer(redirect=DATA_PATH))
        return server.put(DATA_PATH, data, *answers)

    return serve


def hidden(folder):
    return folder / ".generative-dog-images.partial"


def test_kaggle_brings_the_zip(kaggle_at, server, tmp_path, capfd):
    kaggle_at()
    out = tmp_path / "photos"
    (file,) = fetch_kaggle(out)
    path = out / "generative-dog-images.zip"
    assert file == FetchedFile(path=str(path), size_bytes=len(ZIP), downloaded=True)
    assert path.read_bytes() == ZIP
    assert names(out) == [path.name]
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "100%" in printed.err
    assert KEY not in printed.err
    assert [method for method, _, _ in server.requests] == ["POST", "GET"]


def test_kaggle_keeps_what_is_readable(tmp_path):
    (tmp_path / "generative-dog-images.zip").write_bytes(ZIP)
    (file,) = fetch_kaggle(tmp_path)
    assert not file.downloaded
    assert file.size_bytes == len(ZIP)


def test_kaggle_replaces_what_is_not_readable(kaggle_at, tmp_path):
    kaggle_at()
    path = tmp_path / "generative-dog-images.zip"
    path.write_bytes(ZIP[:-30])
    (file,) = fetch_kaggle(tmp_path, progress=False)
    assert file.downloaded
    assert path.read_bytes() == ZIP


def test_kaggle_goes_on_after_a_cut(kaggle_at, server, tmp_path, capfd):
    kaggle_at(LONG_ZIP, Answer(cut=CLIENT_PIECE + 1), Answer())
    fetch_kaggle(tmp_path, progress=False)
    assert (tmp_path / "generative-dog-images.zip").read_bytes() == LONG_ZIP
    assert server.header("Range") == [None, None, f"bytes={CLIENT_PIECE}-"]
    assert capfd.readouterr() == ("", "")


def test_kaggle_goes_on_in_the_next_call(kaggle_at, server, tmp_path):
    kaggle_at(LONG_ZIP, Answer(cut=CLIENT_PIECE + 1), Answer(cut=0))
    with pytest.raises(DogganError, match="it goes on where it stopped"):
        fetch_kaggle(tmp_path, progress=False)
    assert names(tmp_path) == [hidden(tmp_path).name]
    server.answers[DATA_PATH] = [Answer()]
    fetch_kaggle(tmp_path, progress=False)
    assert (tmp_path / "generative-dog-images.zip").read_bytes() == LONG_ZIP
    assert server.header("Range")[-1] == f"bytes={CLIENT_PIECE}-"


def test_kaggle_does_not_splice_two_versions(kaggle_at, server, tmp_path):
    kaggle_at(LONG_ZIP, Answer(cut=CLIENT_PIECE + 1), Answer(cut=0))
    with pytest.raises(DogganError):
        fetch_kaggle(tmp_path, progress=False)
    changed = zip_of("all-dogs/all-dogs/1.jpg", "annotation/1", data=b"c" * CLIENT_PIECE)
    kaggle_at(changed, Answer(etag='"2"'))
    fetch_kaggle(tmp_path, progress=False)
    assert (tmp_path / "generative-dog-images.zip").read_bytes() == changed


def test_kaggle_recovers_where_the_file_has_shrunk(kaggle_at, server, tmp_path):
    kaggle_at(LONG_ZIP, Answer(cut=CLIENT_PIECE + 1), Answer(cut=0))
    with pytest.raises(DogganError):
        fetch_kaggle(tmp_path, progress=False)
    kaggle_at(ZIP, Answer(etag='"2"'))
    # The client takes the longer part for a newer file; the check does not.
    with pytest.raises(DogganError, match="nothing was kept of it"):
        fetch_kaggle(tmp_path, progress=False)
    fetch_kaggle(tmp_path, progress=False)
    assert (tmp_path / "generative-dog-images.zip").read_bytes() == ZIP


def test_kaggle_is_given_up_when_it_stalls(kaggle_at, tmp_path, monkeypatch):
    monkeypatch.setattr(kaggle_fetch, "STALL_SECONDS", 0.5)
    kaggle_at(ZIP, Answer(cut=1000, stall=True))
    start = time.monotonic()
    with pytest.raises(DogganError, match="Kaggle sent nothing for"):
        fetch_kaggle(tmp_path, progress=False)
    assert time.monotonic() - start < 15  # before the server, which is silent for 20 s, hangs up
    assert not (tmp_path / "generative-dog-images.zip").exists()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "does not accept the credentials .*kaggle.com/settings.*kaggle.json"),
        (403, "accept the competition's rules at https://www.kaggle.com/competitions/"),
        (404, "no files of the competition 'generative-dog-images'"),
        (500, "answered with an error .500."),
    ],
)
def test_kaggle_explains_a_refusal(kaggle_at, server, tmp_path, capfd, status, message):
    kaggle_at()
    server.answers[CALL] = [Answer(status=status)]
    with pytest.raises(DogganError, match=message) as caught:
        fetch_kaggle(tmp_path, progress=False)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert names(tmp_path) == []


def test_kaggle_out_of_reach(kaggle_at, server, tmp_path, monkeypatch):
    kaggle_at()
    server.stop()
    http = sys.modules["kagglesdk.kaggle_http_client"]
    monkeypatch.setattr(http, "get_endpoint", lambda environment: server.url + "/?signature=x")
    with pytest.raises(DogganError, match="connection to Kaggle failed") as caught:
        fetch_kaggle(tmp_path, progress=False)
    assert "signature" not in str(caught.value)


def test_kaggle_answers_with_nonsense(kaggle_at, server, tmp_path):
    kaggle_at()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n"
    server.answers[CALL] = [Answer(raw=head + b"null")]
    with pytest.raises(DogganError, match="stumbled over Kaggle's answer"):
        fetch_kaggle(tmp_path, progress=False)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not a zip", "not a readable zip"),
        (ZIP[:-30], "not a readable zip"),
        (ZIP.replace(b"dogdog", b"catdog", 1), "damaged at 'all-dogs/all-dogs/n02085620_7.jpg'"),
        (zip_of("all-dogs/1.jpg"), "no folder annotation;"),
        (zip_of("annotation/a", "all-dogs/../../evil.jpg"), "points out of its folder"),
        (zip_of("annotation/a", "/all-dogs/1.jpg"), "points out of its folder"),
        (zip_of("annotation/a", "all-dogs/1.jpg", data=b"x" * 4000), r"would unpack to 8\.0 kB"),
    ],
)
def test_kaggle_checks_what_the_zip_holds(kaggle_at, tmp_path, monkeypatch, data, message):
    monkeypatch.setattr(kaggle_fetch, "MAX_UNPACKED_BYTES", 7_000)
    kaggle_at(data)
    with pytest.raises(DogganError, match=message):
        fetch_kaggle(tmp_path, progress=False)
    assert names(tmp_path) == []


def test_kaggle_asks_for_space_first(kaggle_at, server, tmp_path, monkeypatch):
    kaggle_at()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=999_999_999))
    with pytest.raises(DogganError, match=r"needs 1\.0 GB"):
        fetch_kaggle(tmp_path)
    assert server.requests == []


def test_kaggle_asks_for_the_space_of_the_rest(kaggle_at, tmp_path, monkeypatch):
    kaggle_at(LONG_ZIP, Answer(cut=CLIENT_PIECE + 1), Answer(cut=0))
    with pytest.raises(DogganError):
        fetch_kaggle(tmp_path, progress=False)
    kaggle_at(LONG_ZIP)
    free = kaggle_fetch.KAGGLE_BYTES_AT_MOST - CLIENT_PIECE
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    fetch_kaggle(tmp_path, progress=False)


def test_kaggle_is_not_given_up_while_bytes_come(kaggle_at, client, tmp_path, monkeypatch):
    def drip(self, slug, path, quiet):
        with open(f"{path}/{slug}.zip", "wb", buffering=0) as file:
            for place in range(12):
                file.write(ZIP[place * len(ZIP) // 12 : (place + 1) * len(ZIP) // 12])
                time.sleep(0.15)

    # All of it takes longer than the silence that is suffered, a piece far less.
    monkeypatch.setattr(kaggle_fetch, "STALL_SECONDS", 1.0)
    monkeypatch.setattr(type(client.api), "competition_download_files", drip)
    kaggle_at()
    fetch_kaggle(tmp_path, progress=False)
    assert (tmp_path / "generative-dog-images.zip").read_bytes() == ZIP


def test_kaggle_where_nothing_can_be_written(client, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DogganError, match="cannot write"):
        fetch_kaggle(tmp_path / "file", progress=False)


@pytest.fixture
def homeless(tmp_path, monkeypatch):
    """An empty home and no KAGGLE_ variable."""
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path / "home"


@pytest.mark.parametrize("alone", [None, "KAGGLE_USERNAME", "KAGGLE_KEY"])
def test_kaggle_without_credentials_says_where_to_get_them(
    homeless, tmp_path, monkeypatch, capfd, alone
):
    monkeypatch.setitem(sys.modules, "kaggle", None)  # not even imported
    if alone:
        monkeypatch.setenv(alone, KEY)
    with pytest.raises(DogganError, match="no Kaggle credentials found") as caught:
        fetch_kaggle(tmp_path / "out")
    for word in ("kaggle.com/settings", "~/.kaggle/kaggle.json", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        assert word in str(caught.value)
    assert KEY not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", [".kaggle/kaggle.json", ".config/kaggle/kaggle.json"])
def test_kaggle_finds_credentials_in_files(homeless, place):
    path = homeless / place
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"username": "someone", "key": KEY}))
    kaggle_fetch.require_credentials()


def test_kaggle_credentials_that_are_no_credentials(kaggle_at, homeless, tmp_path, capfd):
    (homeless / ".kaggle").mkdir(parents=True)
    (homeless / ".kaggle" / "kaggle.json").write_text("{")
    kaggle_at()
    with pytest.raises(DogganError, match="does not accept the credentials; make an API token"):
        fetch_kaggle(tmp_path / "out")
    assert capfd.readouterr() == ("", "")


def test_kaggle_without_the_client(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    monkeypatch.setitem(sys.modules, "kaggle", None)
    with pytest.raises(DogganError, match="pip install kaggle six"):
        fetch_kaggle(tmp_path)
