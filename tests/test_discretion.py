"""Nothing is sent but what a command names, and no secret is written down."""

import os
import sys

import pytest

from conftest import TINY
from processes import run

SECRET = "a-key-that-nobody-shall-see"
# Notes every try to reach another machine, and lets none succeed.
GUARD = """
import os, socket
inside = socket.socket.connect
def note(*words):
    with open(os.environ["TRIED"], "a") as file:
        print(*words, file=file)
    raise OSError("this test has no network")
def connect(self, address):
    return inside(self, address) if self.family == socket.AF_UNIX else note(address)
socket.socket.connect = connect
socket.getaddrinfo = lambda *words, **options: note(*words)
"""
# Everything that needs no network, one command after another.
COMMANDS = """
import sys
from doggan.cli.main import main
photos, values = sys.argv[1], [word for value in sys.argv[2:] for word in ("--set", value)]
judge = ["--judge", "efficientnet-lite0"]
for words in (
    ["run", photos, "--out", "run", *judge, *values],
    ["neighbours", "run/images.zip", "--reference", photos, *judge],
    ["report", "run"],
    ["kernel", "build", "--out", "kernel/doggan_kernel.py"],
    ["kernel", "build", "--notebook"],
    ["kernel", "push", "--folder", "kernel", "--dry-run"],
):
    assert main(words) == 0, words
"""


@pytest.fixture
def guarded(tmp_path):
    """Runs Python code in a folder of its own, without a network and with credentials."""
    home = tmp_path / "home"
    (home / ".kaggle").mkdir(parents=True)
    (home / ".kaggle" / "kaggle.json").write_text(f'{{"username": "someone", "key": "{SECRET}"}}')
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    (tmp_path / "work" / "kernel").mkdir(parents=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "guard"), *sys.path]),
        "TRIED": str(tmp_path / "tried"),
        "HOME": str(home),
        "KAGGLE_USERNAME": "someone",
        "KAGGLE_KEY": SECRET,
        "KAGGLE_API_TOKEN": SECRET,
    }

    def call(code, *arguments, **variables):
        words = [sys.executable, "-c", code, *arguments]
        return run(words, cwd=tmp_path / "work", env=environment | variables)

    return call


def those_that_tell(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name for path in files if SECRET.encode() in path.read_bytes()}


def test_the_guard_sees_a_package_that_asks_for_its_newest_version(guarded, tmp_path):
    guarded("import albumentations", NO_ALBUMENTATIONS_UPDATE="")
    assert (tmp_path / "tried").exists()


@pytest.mark.slow
def test_commands_send_nothing_and_write_no_secret(guarded, tmp_path, photos):
    work = tmp_path / "work"
    found = guarded(COMMANDS, photos, *TINY)
    assert found.returncode == 0, found.stderr
    assert not (tmp_path / "tried").exists(), (tmp_path / "tried").read_text()
    assert SECRET not in found.stdout + found.stderr
    assert (work / "run" / "report.html").exists()
    assert those_that_tell(work) == set()
    assert those_that_tell(tmp_path / "home") == {"kaggle.json"}  # so it would be found
