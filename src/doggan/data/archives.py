"""Where photos lie: a folder, a zip or a tar, read in place by name."""

import tarfile
import threading
import zipfile
from pathlib import Path, PurePosixPath
from typing import Protocol

from doggan.support.errors import InputError
from doggan.support.files import format_bytes

MAX_FILE_BYTES = 100_000_000
ARCHIVE_SUFFIXES = (".zip", ".tar")


class UnreadableFileError(Exception):
    """One file of a source cannot be read; it is skipped and counted."""


class Files(Protocol):
    """Files by their path inside the source, with forward slashes."""

    def names(self) -> list[str]:
        """Every file's path, sorted."""

    def read(self, name: str) -> bytes:
        """The file's bytes; raises UnreadableFileError, also for more than MAX_FILE_BYTES."""


class FolderFiles:
    """The files below a folder; hidden ones are left out, links are not followed."""

    def __init__(self, folder: Path):
        self.folder = folder

    def names(self) -> list[str]:
        paths = (
            path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink()
        )
        names = (path.relative_to(self.folder).as_posix() for path in paths)
        return sorted(name for name in names if not _is_hidden(name))

    def read(self, name: str) -> bytes:
        path = self.folder / name
        try:
            _check_size(path.stat().st_size)
            return path.read_bytes()
        except OSError as error:
            raise UnreadableFileError(str(error)) from error


class ZipFiles:
    """The files of a zip; `zipfile` serialises reads, so threads may share it."""

    def __init__(self, path: Path):
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{path} is not a readable zip ({error}); fetch it again") from error

    def names(self) -> list[str]:
        entries = (entry for entry in self._zip.infolist() if not entry.is_dir())
        return sorted({entry.filename for entry in entries if not _is_hidden(entry.filename)})

    def read(self, name: str) -> bytes:
        try:
            _check_size(self._zip.getinfo(name).file_size)
            return self._zip.read(name)
        # Encrypted entries raise RuntimeError, damaged ones zlib.error or BadZipFile.
        except Exception as error:
            raise UnreadableFileError(str(error)) from error


class TarFiles:
    """The files of an uncompressed tar, indexed once and then read by offset."""

    def __init__(self, path: Path):
        try:
            with tarfile.open(path, "r:") as tar:
                members = [member for member in tar if member.isreg()]
        except (tarfile.TarError, OSError, EOFError) as error:
            raise InputError(
                f"{path} is not a readable, uncompressed tar ({error}); fetch it again, "
                "or unpack it if it is compressed"
            ) from error
        self._places = {
            member.name.removeprefix("./"): (member.offset_data, member.size)
            for member in members
            if not _is_hidden(member.name)
        }
        self._file = path.open("rb")
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        return sorted(self._places)

    def read(self, name: str) -> bytes:
        offset, size = self._places[name]
        _check_size(size)
        with self._lock:
            self._file.seek(offset)
            data = self._file.read(size)
        if len(data) != size:
            raise UnreadableFileError(f"{name} is cut short")
        return data


class JoinedFiles:
    """Several sources as one; where two hold the same path, the first one counts."""

    def __init__(self, parts: list[Files]):
        self._owner = {name: part for part in reversed(parts) for name in part.names()}

    def names(self) -> list[str]:
        return sorted(self._owner)

    def read(self, name: str) -> bytes:
        return self._owner[name].read(name)


def open_files(paths: list[Path]) -> Files:
    """Opens folders, zips and tars as one collection of files.

    A folder that directly holds zips or tars (as a download does) is read together with them.
    Raises InputError for a path that is missing or neither a folder, a zip nor a tar.
    """
    parts = [part for path in paths for part in _open_one(Path(path))]
    return parts[0] if len(parts) == 1 else JoinedFiles(parts)


def _open_one(path: Path) -> list[Files]:
    if path.is_dir():
        archives = sorted(item for item in path.iterdir() if item.suffix in ARCHIVE_SUFFIXES)
        return [FolderFiles(path), *(part for item in archives for part in _open_one(item))]
    if not path.exists():
        raise InputError(f"{path} does not exist; expected a folder, zip or tar of photos")
    if zipfile.is_zipfile(path) or path.suffix == ".zip":
        return [ZipFiles(path)]
    if path.suffix == ".tar" or tarfile.is_tarfile(path):
        return [TarFiles(path)]
    raise InputError(f"{path} is neither a folder, a zip nor a tar of photos")


def _is_hidden(name: str) -> bool:
    # Also what macOS leaves in zips: __MACOSX/._photo.jpg.
    parts = PurePosixPath(name.removeprefix("./")).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise UnreadableFileError(
            f"{format_bytes(size)} is more than {format_bytes(MAX_FILE_BYTES)}"
        )
