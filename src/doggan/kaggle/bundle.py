"""The package's own sources -> one script for Kaggle, the same bytes on every machine."""

import base64
import bz2
import hashlib
import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from doggan import __version__
from doggan.support.files import write_text

LINE_LENGTH = 100
_PACKED_SUFFIXES = (".py", ".toml")  # the sources and the recipes


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A script that was written: `sha256` is of the sources it carries, `files` their number."""

    path: Path
    size_bytes: int
    sha256: str
    files: int


def write_bundle(out: Path) -> Bundle:
    """Writes the script `out` from the installed package: its sources and recipes, unchanged.

    The same sources give the same bytes on every machine.
    Raises DogganError where `out` cannot be written.
    """
    package = resources.files("doggan")
    files = read_package(package)
    contents = pack(files)
    sha256 = hashlib.sha256(contents).hexdigest()
    template = (package / "kaggle" / "inside" / "script.py").read_text("utf-8")
    script = fill_in(template, contents, sha256)
    write_text(out, script)
    return Bundle(path=Path(out), size_bytes=len(script.encode()), sha256=sha256, files=len(files))


def read_package(package: Traversable) -> dict[str, str]:
    """Path -> text of every source and recipe of the package, such as `doggan/recipe.py`."""
    return dict(_walk(package, "doggan"))


def pack(files: dict[str, str]) -> bytes:
    """The files as JSON, sorted by path: no times, owners or modes that differ by machine.

    Headers of a tar would differ too, between versions of Python.
    """
    return json.dumps(files, sort_keys=True, separators=(",", ":")).encode()


def fill_in(template: str, contents: bytes, sha256: str) -> str:
    """The script: its template with the version, the hash and the contents put in.

    bz2 has one implementation; zlib has several, and each compresses to bytes of its own.
    """
    encoded = base64.b64encode(bz2.compress(contents, 9)).decode()
    values = {
        "@VERSION@": __version__,
        "@SHA256@": sha256,
        "@CONTENTS@": "\n".join(textwrap.wrap(encoded, LINE_LENGTH)),
    }
    for mark, value in values.items():
        template = template.replace(mark, value)
    return template


def _walk(folder: Traversable, path: str) -> Iterator[tuple[str, str]]:
    for item in folder.iterdir():
        name = f"{path}/{item.name}"
        if item.is_dir():
            yield from _walk(item, name)
        elif item.name.endswith(_PACKED_SUFFIXES):
            yield name, item.read_bytes().decode("utf-8")
