"""The package's own sources -> one script or notebook for Kaggle, the same bytes everywhere."""

import base64
import bz2
import hashlib
import json
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path

import doggan
from doggan.competition import JUDGE_DATASET, SIDE_PX
from doggan.kaggle.notebook import as_notebook
from doggan.support.files import write_text

LINE_LENGTH = 100
SUFFIXES = (".py", ".toml", ".html", ".css", ".js")
_PACKAGE = Path(doggan.__file__).parent


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A script or notebook that was written.

    `sha256` is of the sources that it carries, `files` their number.
    """

    path: Path
    size_bytes: int
    sha256: str
    files: int


def write_bundle(out: Path, *, notebook: bool = False) -> Bundle:
    """Writes the script `out`, or a notebook, from the installed package: its sources and recipes,
    unchanged.

    The same sources give the same bytes on every machine.
    Raises DogganError where `out` cannot be written.
    """
    files = {
        path.relative_to(_PACKAGE.parent).as_posix(): path.read_bytes().decode("utf-8")
        for path in _PACKAGE.rglob("*")
        if path.suffix in SUFFIXES
    }
    contents = pack(files)
    sha256 = hashlib.sha256(contents).hexdigest()
    text = fill_in(files["doggan/kaggle/inside/script.py"], contents, sha256)
    if notebook:
        text = as_notebook(text)
    write_text(out, text)
    return Bundle(path=Path(out), size_bytes=len(text.encode()), sha256=sha256, files=len(files))


def pack(files: dict[str, str]) -> bytes:
    """The files, path -> text, as JSON sorted by path: no times, owners or modes, which differ by
    machine. Headers of a tar would differ too, between versions of Python.
    """
    return json.dumps(files, sort_keys=True, separators=(",", ":")).encode()


def fill_in(template: str, contents: bytes, sha256: str) -> str:
    """The script: its template with the version, the recipes, the hash and the contents put in.

    bz2 has one implementation; zlib has several, and each compresses to bytes of its own.
    """
    # Those for the competition's images, read as plain TOML: checking a recipe loads PyTorch.
    recipes = [
        f'"{path.stem}"'
        for path in sorted((_PACKAGE / "recipes").glob("*.toml"), key=lambda path: path.stem)
        if tomllib.loads(path.read_text("utf-8")).get("data", {}).get("side_px", SIDE_PX) == SIDE_PX
    ]
    encoded = base64.b64encode(bz2.compress(contents, 9)).decode()
    values = {
        "@VERSION@": doggan.__version__,
        "@RECIPES@": ", ".join(recipes),
        "@JUDGE@": JUDGE_DATASET,
        "@SHA256@": sha256,
        "@CONTENTS@": "\n".join(textwrap.wrap(encoded, LINE_LENGTH)),
    }
    for mark, value in values.items():
        template = template.replace(mark, value)
    return template
