"""The part of a file that a download has brought so far: locked, and with a note of its origin."""

import fcntl
import json
import os
from pathlib import Path
from typing import BinaryIO

from doggan.support.errors import DogganError
from doggan.support.files import require_free_space, sha256_of, write_json


class PartFile:
    """`<path>.part`, and in `<path>.part.json` what it is a part of.

    `offset` is the number of bytes that have come, `total` that of the whole file, None before it
    is known. `validator` is the ETag or date by which the server knows this version of the file.
    `joined` says that the bytes come from more than one answer. Raises DogganError where another
    process holds the file.
    """

    def __init__(self, path: Path, url: str, *, size: int | None, sha256: str | None):
        self.path, self.url, self.size, self.sha256 = path, url, size, sha256
        self._part_path = path.with_name(f"{path.name}.part")
        self._origin_path = path.with_name(f"{path.name}.part.json")
        self._file = _open_locked(self._part_path)
        self.offset = self._file.tell()
        self.total, self.validator = self._read_origin()
        self.joined = self.offset > 0
        if not self.resumable:
            self.clear()

    @property
    def resumable(self) -> bool:
        # Without a validator only the hash could tell that two versions were joined.
        known = self.validator is not None or self.sha256 is not None
        return known and self.total is not None and self.offset <= self.total

    def start(self, total: int, validator: str | None) -> None:
        """Begins at the first byte of a file of `total` bytes."""
        self.clear()
        require_free_space(self.path.parent, total)
        self.total, self.validator = total, validator
        write_json(self._origin_path, {"url": self.url, "total": total, "validator": validator})

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self.offset += len(piece)

    def clear(self) -> None:
        """Drops the bytes that have come so far."""
        self._file.truncate(0)
        self.offset, self.total, self.validator, self.joined = 0, None, None, False

    def hash(self) -> str:
        """The SHA-256 of what has come, in lower-case hexadecimal."""
        self._file.flush()
        return sha256_of(self._part_path)

    def move(self) -> None:
        """Gives the bytes, once they are on the disk, their final name."""
        self._file.flush()
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

    def _read_origin(self) -> tuple[int | None, str | None]:
        try:
            origin = json.loads(self._origin_path.read_bytes())
            url, total, validator = origin["url"], origin["total"], origin["validator"]
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None, None
        same = url == self.url and self.size in (None, total)
        fit = type(total) is int and (validator is None or is_validator(validator))
        return (total, validator) if same and fit else (None, None)


def is_validator(value: object) -> bool:
    """Whether `value` can stand in an If-Range."""
    if not isinstance(value, str):
        return False
    return value.isascii() and value.isprintable() and value == value.strip()


def _open_locked(path: Path) -> BinaryIO:
    file = path.open("ab")
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
