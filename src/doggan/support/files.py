"""Files that are whole or absent: atomic writes, hashes, free space."""

import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from doggan.support.errors import DogganError, InputError
from doggan.support.leftovers import PREVIOUS, lock, remove_leftovers, restore_folder


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turns an OSError into a DogganError that says that `path` cannot be written, and why.

    It is an InputError where the path leads through a file.
    """
    try:
        yield
    except OSError as error:
        for folder in Path(path).parents:
            if os.path.lexists(folder) and not folder.is_dir():
                raise InputError(f"cannot write {path}: {folder} is not a folder") from error
        raise DogganError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there replaces `path` on success.

    On an exception the temporary file is removed and the previous `path` is untouched; what a kill
    has left of an earlier one goes first.
    Raises DogganError, naming the file, where it cannot be written.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        temporary = Path(name)
        try:
            lock(handle)
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(handle)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Like `atomic_path` for a folder: built beside `path`, then swapped in whole."""
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        restore_folder(path)
        remove_leftovers(path)
        name = tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        temporary, previous = Path(name), Path(f"{name}{PREVIOUS}")
        handle = os.open(temporary, os.O_RDONLY)
        try:
            lock(handle)
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            if path.exists():
                path.replace(previous)
            temporary.replace(path)
            shutil.rmtree(previous, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            os.close(handle)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Writes `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """Writes `text` to `path` atomically, as UTF-8 with unix line ends."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path | str, value: object) -> None:
    """Writes `value` to `path` atomically, as indented JSON; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_small_file(path: Path | str, most_bytes: int) -> str:
    """The text of a regular file of at most so many bytes, in UTF-8.

    Raises InputError for anything else: a device or a pipe may never end.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise InputError(f"{path} {not_regular(path)}")
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise InputError(f"{path} has over {format_bytes(most_bytes)}, which is too much")
        return data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def not_regular(path: Path) -> str:
    """What an error says of a path that is not a regular file: a pipe or a device never ends."""
    return "is not a regular file" if path.exists() else "does not exist"


def open_to_append(path: Path) -> BinaryIO:
    """A regular file, made if need be, at its end; raises InputError for anything else, such as a
    pipe that nobody reads."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
    handle = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"{path} is not a regular file; remove it")
    return os.fdopen(handle, "ab")


class BoundedReader(io.BufferedReader):
    """A file of which no more than `most_bytes` are read at once, until that is set to None.

    Raises ValueError at the attempt: headers of archives may tell of any length.
    """

    def __init__(self, path: Path, most_bytes: int):
        super().__init__(io.FileIO(path))
        self.most_bytes: int | None = most_bytes

    def read(self, size: int | None = -1) -> bytes:
        if self.most_bytes is not None and size is not None and size > self.most_bytes:
            raise ValueError(
                f"its headers take {format_bytes(size)}, over {format_bytes(self.most_bytes)}"
            )
        return super().read(size)


def sha256_of(path: Path | str) -> str:
    """The file's SHA-256 in lower-case hexadecimal, read in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_file_of(path: Path, size: int, sha256: str) -> bool:
    """Whether `path` is a readable file of that length in bytes and SHA-256."""
    try:
        # Length first: it is known at once, the hash takes a while.
        return path.is_file() and path.stat().st_size == size and sha256_of(path) == sha256
    except OSError:
        return False


def leaves_folder(name: str) -> bool:
    """Whether a path with forward slashes, as archives have it, would lead out of its folder."""
    return name.startswith("/") or ".." in name.split("/") or "\\" in name


def require_free_space(folder: Path | str, needed_bytes: int) -> None:
    """Raises DogganError where the disk that holds `folder` has fewer than `needed_bytes` free."""
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise DogganError(
            f"{folder} needs {format_bytes(needed_bytes)} and its disk has {format_bytes(free)} "
            "free; make room or choose another folder"
        )


def require_exists(path: Path | str, what: str) -> Path:
    """`path` itself; raises InputError, saying that `what` was expected there, if it is missing."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; {what} was expected there")
    return path


def format_bytes(count: float) -> str:
    """`512 B`, `3.1 MB`, `1.2 GB`: powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _umask() -> int:
    # The umask can only be read by setting it; mkstemp ignores it and makes private files.
    mask = os.umask(0)
    os.umask(mask)
    return mask
