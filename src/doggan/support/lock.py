"""A folder that one process at a time may write; a crash leaves no lock behind."""

import fcntl
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from doggan.support.errors import InputError
from doggan.support.files import open_to_append, writing

LOCK = ".lock"
_held: set[Path] = set()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds `folder`, which is made if need be, for this process, which may do so again within.

    Raises InputError where another process holds it, or a pipe, say, has its lock's name. Where
    the file system has no locks, a warning says that nothing keeps others away.
    """
    folder = folder.absolute()
    if folder in _held:
        yield
        return
    path = folder / LOCK
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        file = open_to_append(path)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its holder may have ended meanwhile, and taken the file away.
            busy = not os.path.samestat(os.fstat(file.fileno()), path.stat())
        except (BlockingIOError, FileNotFoundError):
            busy = True
        except OSError as error:
            busy = False
            warnings.warn(
                f"{folder} cannot be locked ({error.strerror}): see that nobody else writes to it",
                stacklevel=3,
            )
        if busy:
            raise InputError(
                f"another process writes to {folder}; wait for it to end, or choose another --out"
            )
        _held.add(folder)
        try:
            yield
        finally:
            _held.discard(folder)
            path.unlink(missing_ok=True)
