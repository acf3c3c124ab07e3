"""The part of a file that a download has brought so far: locked, and with a note of its origin."""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from doggan import __version__
from doggan.support.errors import DogganError, InputError
from doggan.support.files import (
    open_to_append,
    read_small_file,
    require_free_space,
    sha256_of,
    write_json,
)
from doggan.support.json_values import as_count
from doggan.support.transfer import TransferError

_MAX_ORIGIN_BYTES = 100_000


class PartFile:
    """`<path>.part`, and in `<path>.part.json` what it is a part of.

    `offset` is the number of bytes that have come, `total` that of the whole file, None before it
    is known. `size` in bytes and `sha256` are what is expected of the whole. Raises DogganError
    where another process holds the file, InputError where it is a pipe, say.
    """

    def __init__(self, path: Path, url: str, size: int | None, sha256: str | None):
        self.path, self.url, self._size, self._sha256 = path, url, size, sha256
        self._part_path = path.with_name(f"{path.name}.part")
        self._origin_path = path.with_name(f"{path.name}.part.json")
        self._file = _open_locked(self._part_path)
        self.offset = self._file.tell()
        # The validator is the ETag or date by which the server knows this version of the file.
        self.total, self._validator = self._read_origin()
        self._joined = True  # from more than one answer
        if not self._resumable():
            self.clear()

    def headers(self) -> dict[str, str | None]:
        """A request's headers, for the file or for the rest of it where it can be continued."""
        headers = {"User-Agent": f"doggan/{__version__}", "Accept-Encoding": "identity"}
        if self._resumable():
            headers["Range"] = f"bytes={self.offset}-"
            headers["If-Range"] = self._validator  # requests leaves out what is None
        return headers

    def start(self, length: int | None, headers: Mapping[str, str]) -> None:
        """Begins at the first byte of a file that the server says to be of `length` bytes.

        Raises DogganError where that is not what is expected, or more than the disk has room for.
        """
        total = self._size if length is None else length
        if total is None:
            raise DogganError(
                f"{self.url}: the server does not say how long the file is, so that a cut would go "
                "unnoticed; download it by other means"
            )
        if self._size not in (None, total):
            raise DogganError(
                f"{self.url}: the server offers {total:,} bytes, expected {self._size:,}; "
                "it is not the file that was published"
            )
        self.clear()
        require_free_space(self.path.parent, total)
        self.total, self._validator = total, _validator(headers)
        origin = {"url": self.url, "total": total, "validator": self._validator}
        write_json(self._origin_path, origin)

    def resume(self, headers: Mapping[str, str]) -> None:
        """Goes on where the bytes end; for any other rest they are dropped, with TransferError."""
        rest = f"bytes {self.offset}-{(self.total or 0) - 1}/{self.total}"
        same = _validator(headers) in (None, self._validator)
        if not (self._resumable() and same and headers.get("Content-Range") == rest):
            self.clear()
            raise TransferError("the server sent another part of the file than was asked for")
        require_free_space(self.path.parent, self.total - self.offset)
        self._joined = True

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self.offset += len(piece)

    def clear(self) -> None:
        """Drops the bytes that have come so far."""
        self._file.truncate(0)
        self.offset, self.total, self._validator, self._joined = 0, None, None, False

    def finish(self) -> None:
        """Gives the bytes, once they are verified and on the disk, their final name.

        Where they are not those of `sha256` they are dropped: with TransferError where they were
        joined, so that another attempt may do better, else with DogganError.
        """
        self._file.flush()
        wanted = self._sha256
        if wanted is not None and (found := sha256_of(self._part_path)) != wanted.lower():
            message, joined = f"its sha256 is {found}, expected {wanted}", self._joined
            self.clear()
            if joined:
                raise TransferError(f"{message} (put together from several answers)")
            raise DogganError(f"{self.url}: {message}; nothing was kept of it")
        os.fsync(self._file.fileno())
        self._part_path.replace(self.path)
        self._origin_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the file; an empty one is not left behind."""
        # Before the lock goes with the file: the next holder's file is not to be removed.
        if not self.offset:
            self._part_path.unlink(missing_ok=True)
            self._origin_path.unlink(missing_ok=True)
        self._file.close()

    def _resumable(self) -> bool:
        # Without a validator only the hash could tell that two versions were joined.
        known = self._validator is not None or self._sha256 is not None
        return known and self.total is not None and 0 < self.offset <= self.total

    def _read_origin(self) -> tuple[int | None, str | None]:
        try:
            origin = json.loads(read_small_file(self._origin_path, _MAX_ORIGIN_BYTES))
            url, total, validator = origin["url"], as_count(origin["total"]), origin["validator"]
        except (InputError, ValueError, TypeError, KeyError, RecursionError):
            return None, None
        same = url == self.url and self._size in (None, total)
        fit = validator is None or _is_header(validator)
        return (total, validator) if same and fit else (None, None)


def _validator(headers: Mapping[str, str]) -> str | None:
    """What names this version of the file in If-Range: a strong ETag, else Last-Modified."""
    etag = headers.get("ETag", "W/")
    value = headers.get("Last-Modified") if etag.startswith("W/") else etag
    return value if _is_header(value) else None


def _is_header(value: object) -> bool:
    printable = isinstance(value, str) and value.isascii() and value.isprintable()
    return printable and value == value.strip()


def _open_locked(path: Path) -> BinaryIO:
    file = open_to_append(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The other download may have moved the file to its final name meanwhile.
        busy = not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat())
    except BlockingIOError:
        busy = True
    except OSError:  # a file system without locks
        busy = False
    if busy:
        file.close()
        raise DogganError(f"{path} is being downloaded by another process; wait for it to end")
    return file
