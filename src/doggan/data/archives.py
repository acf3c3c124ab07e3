"""Where photos lie: a folder, a zip or a tar, read in place by name."""

import tarfile
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from doggan.support.errors import InputError
from doggan.support.files import format_bytes
from doggan.support.zips import UNREADABLE_ZIP

MAX_FILE_BYTES = 100_000_000
ARCHIVE_SUFFIXES = (".zip", ".tar")

Entries = dict[str, tuple[int, Callable[[], bytes]]]  # by the name: size in bytes, what reads it


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
            item.relative_to(path).as_posix(): (item.stat().st_size, item.read_bytes)
            for item in path.rglob("*")
            if item.is_file() and not item.is_symlink()
        }
        for item in sorted(path.iterdir()):
            if item.suffix in ARCHIVE_SUFFIXES:
                entries = _entries_of(item) | entries
        return entries
    if not path.exists():
        raise InputError(f"{path} does not exist; expected a folder, zip or tar of photos")
    if zipfile.is_zipfile(path) or path.suffix == ".zip":
        return _zip_entries(path)
    if path.suffix == ".tar" or tarfile.is_tarfile(path):
        return _tar_entries(path)
    raise InputError(f"{path} is neither a folder, a zip nor a tar of photos")


def _zip_entries(path: Path) -> Entries:
    try:
        archive = zipfile.ZipFile(path)  # serialises reads, so threads may share it
    except UNREADABLE_ZIP as error:
        raise InputError(f"{path} is not a readable zip ({error}); fetch it again") from error
    return {
        entry.filename: (entry.file_size, partial(archive.read, entry))
        for entry in archive.infolist()
        if not entry.is_dir()
    }


def _tar_entries(path: Path) -> Entries:
    try:
        with tarfile.open(path, "r:") as tar:
            members = [member for member in tar if member.isreg()]
    except (tarfile.TarError, OSError, EOFError) as error:
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


def _is_hidden(name: str) -> bool:
    # Also what macOS leaves in zips: __MACOSX/._photo.jpg.
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
