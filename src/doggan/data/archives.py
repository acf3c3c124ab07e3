"""Where photos lie: a folder, a zip or a tar, read in place by name."""

import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from doggan.support.errors import InputError, is_out_of_memory
from doggan.support.files import BoundedReader, format_bytes, not_regular
from doggan.support.zips import UNREADABLE_ZIP, BoundedZip, is_folder, read_entry

MAX_FILES = 1_000_000
MAX_FILE_BYTES = 100_000_000
_MAX_TAR_HEADER_BYTES = 1_000_000  # of one file: long names and whatever else
ARCHIVE_SUFFIXES = (".zip", ".tar")

T = TypeVar("T")
# By the name: the size that an archive tells, in bytes, and what reads the file.
Entries = dict[str, tuple[int, Callable[[], bytes]]]


class UnreadableFileError(Exception):
    """One file of a source cannot be read; it is skipped and counted."""


class Files:
    """Files by their path inside the source, with forward slashes; hidden ones are left out."""

    def __init__(self, entries: Entries):
        self._entries = {name: entry for name, entry in entries.items() if not _is_hidden(name)}

    def names(self) -> list[str]:
        """Every file's path, sorted."""
        return sorted(self._entries)

    def read(self, name: str) -> bytes:
        """The file's bytes; raises UnreadableFileError, also for more than MAX_FILE_BYTES."""
        size, read = self._entries[name]
        if size > MAX_FILE_BYTES:
            raise UnreadableFileError(
                f"{format_bytes(size)} is more than {format_bytes(MAX_FILE_BYTES)}"
            )
        try:
            return read()
        # Encrypted entries of a zip raise RuntimeError, damaged ones zlib.error or BadZipFile.
        except Exception as error:
            if is_out_of_memory(error):  # no fault of the file's
                raise
            raise UnreadableFileError(str(error)) from error


@dataclass(frozen=True, kw_only=True)
class Source:
    """What was found in folders and archives, as a built set's manifest tells it.

    `where` names them; `skipped` is what was passed over: reasons and names. `dataset` and
    `label_names` are set where the labels are numbers, of these names.
    """

    files: Files
    where: str
    annotations: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    dataset: str | None = None
    label_names: tuple[str, ...] = ()


def open_files(paths: list[Path]) -> Files:
    """Opens folders, zips and tars as one collection; of two files of one path, the first counts.

    A folder that directly holds zips or tars (as a download does) is read together with them.
    Raises InputError for a path that is missing or neither a folder, a zip nor a tar.
    """
    entries: Entries = {}
    for path in paths:
        entries = _entries_of(Path(path)) | entries
    return Files(entries)


def _entries_of(path: Path) -> Entries:
    if path.is_dir():
        entries: Entries = {
            item.relative_to(path).as_posix(): (0, partial(_read_file, item))
            for item in _bounded(_files_below(path), path)
        }
        for item in sorted(path.iterdir()):
            if item.suffix in ARCHIVE_SUFFIXES and item.is_file():
                entries = _entries_of(item) | entries
        return entries
    if not path.is_file():
        raise InputError(f"{path} {not_regular(path)}; expected a folder, zip or tar of photos")
    if zipfile.is_zipfile(path) or path.suffix == ".zip":
        return _zip_entries(path)
    if path.suffix == ".tar" or _is_tar(path):
        return _tar_entries(path)
    raise InputError(f"{path} is neither a folder, a zip nor an uncompressed tar of photos")


def _files_below(folder: Path) -> Iterator[Path]:
    """Plain files, without links. A folder tells what each of its entries is, so that none is
    looked at by itself: on a slow mount that takes minutes for a competition's 41,000.
    """
    folders = [folder]  # a list, as folders may nest deeper than Python calls
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(folder / entry.name)
                    elif entry.is_file(follow_symlinks=False):
                        yield folder / entry.name
        except PermissionError:  # somebody else's, as lost+found
            continue
        except OSError as error:
            raise InputError(f"{folder} cannot be read: {error.strerror}") from error


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableFileError(f"it is more than {format_bytes(MAX_FILE_BYTES)}")
    return data


def _zip_entries(path: Path) -> Entries:
    try:
        archive = BoundedZip(path, MAX_FILES)  # serialises reads, so threads may share it
    except UNREADABLE_ZIP as error:
        raise InputError(f"{path} is not a readable zip ({error}); fetch it again") from error
    return {
        entry.filename: (entry.file_size, partial(read_entry, archive, entry))
        for entry in archive.infolist()
        if not is_folder(entry)
    }


def _tar_entries(path: Path) -> Entries:
    try:
        with (
            BoundedReader(path, _MAX_TAR_HEADER_BYTES) as file,
            tarfile.open(fileobj=file, mode="r:") as tar,
        ):
            plain = (member for member in _bounded(tar, path) if member.isreg())
            members = [member for member in plain if member.size >= 0]
    except InputError:
        raise
    # Headers that nest without end or tell of sizes beyond any memory fail in their own ways.
    except Exception as error:
        raise InputError(
            f"{path} is not a readable, uncompressed tar ({error}); fetch it again, "
            "or unpack it if it is compressed"
        ) from error
    file, lock = path.open("rb"), threading.Lock()

    def read(name: str, member: tarfile.TarInfo) -> bytes:
        with lock:
            file.seek(member.offset_data)
            data = file.read(member.size)
        if len(data) != member.size:
            raise UnreadableFileError(f"{name} is cut short")
        return data

    named = {member.name.removeprefix("./"): member for member in members}
    return {name: (member.size, partial(read, name, member)) for name, member in named.items()}


def _is_tar(path: Path) -> bool:
    with suppress(Exception), tarfile.open(path, "r:"):  # and never unpacks
        return True
    return False


def _bounded(items: Iterable[T], path: Path) -> Iterator[T]:
    for count, item in enumerate(items):
        if count == MAX_FILES:
            raise InputError(f"{path} holds more than {MAX_FILES:,} files")
        yield item


def _is_hidden(name: str) -> bool:
    # Also what macOS leaves in zips: __MACOSX/._photo.jpg.
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
