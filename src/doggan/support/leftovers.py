"""What a kill leaves of files and folders that were being written: found, restored or removed."""

import fcntl
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PREVIOUS = ".previous"  # how the name of a folder ends while another one takes its place


def restore_folder(path: Path) -> None:
    """Gives a folder back its name where a kill came between the two steps of `atomic_folder`'s
    swap, and nothing has the name now."""
    if path.exists():
        return
    with suppress(OSError):  # nothing is lost by what cannot be restored
        for previous in _partials(path, f".partial{PREVIOUS}"):
            if not _is_being_written(Path(str(previous).removesuffix(PREVIOUS))):
                previous.replace(path)
                return


def remove_leftovers(path: Path) -> None:
    """Removes what kills have left of earlier temporary files or folders for `path`."""
    remove_unlocked(_partials(path, ".partial", f".partial{PREVIOUS}"))


def remove_unlocked(partials: Iterable[Path]) -> None:
    """Removes temporary files and folders that no process holds locked."""
    for partial in partials:
        if _is_being_written(Path(str(partial).removesuffix(PREVIOUS))):
            continue
        if partial.is_dir() and not partial.is_symlink():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _partials(path: Path, *endings: str) -> list[Path]:
    start, beside = f".{path.name}.", sorted(path.parent.iterdir())
    return [item for item in beside if item.name.startswith(start) and item.name.endswith(endings)]


def lock(handle: int) -> bool:
    """Holds an open file or folder until it is closed, or the process ends; False where another
    process holds it, or the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_being_written(temporary: Path) -> bool:
    try:
        handle = os.open(temporary, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:  # it is gone, as after the first step of a swap
        return False
    try:
        return not lock(handle)
    finally:
        os.close(handle)
