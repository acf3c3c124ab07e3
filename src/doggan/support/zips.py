"""What goes wrong with zips: those that are none, or hold more than can be read."""

import zipfile
import zlib
from pathlib import Path

from doggan.support.errors import InputError
from doggan.support.files import BoundedReader, format_bytes, not_regular

# Besides its own error zipfile lets through those of decompression, of names that are no text and
# of offsets below zero (both ValueError), of encrypted entries (RuntimeError), and of versions of
# the format to come (NotImplementedError, which is a RuntimeError).
UNREADABLE_ZIP = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError)
MAX_TENSORS = 100_000  # of one file of PyTorch's
_BYTES_A_FILE = 300  # of a zip's list, of each file: 46, its name, and what archivers add


class BoundedZip(zipfile.ZipFile):
    """A zip of `most_files` at most, whose list is bounded before it is read.

    Raises InputError where it holds more, one of UNREADABLE_ZIP where it is none.
    """

    _reader: BoundedReader | None = None

    def __init__(self, path: Path, most_files: int):
        self._reader = BoundedReader(path, _BYTES_A_FILE * most_files)
        try:
            super().__init__(self._reader)
            if len(self.filelist) > most_files:
                raise InputError(f"{path} holds more than {most_files:,} files")
        except BaseException:
            self._reader.close()
            raise
        self._reader.most_bytes = None

    def close(self) -> None:
        super().close()
        if self._reader:
            self._reader.close()


def is_folder(entry: zipfile.ZipInfo) -> bool:
    """Whether it stands for a folder; zipfile itself fails at a name of no letters."""
    return entry.filename.endswith("/")


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of one entry: what it says it has, and never more in memory.

    Raises one of UNREADABLE_ZIP where it is damaged, has another size, or is compressed otherwise
    than by deflate, since the other ways unpack a piece without bound.
    """
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NotImplementedError("it is compressed otherwise than zips commonly are")
    with archive.open(entry) as stream:
        data = stream.read(entry.file_size + 1)
    if len(data) != entry.file_size:
        raise zipfile.BadZipFile(f"it has {len(data):,} bytes, and says {entry.file_size:,}")
    return data


def require_stored(path: Path) -> None:
    """Raises ValueError for what is no zip, and for one whose entries are together larger than it.

    PyTorch's files are zips that are not compressed, and it reads others with all that they hold.
    """
    if not path.is_file():
        raise ValueError(f"it {not_regular(path)}")
    try:
        with BoundedZip(path, MAX_TENSORS) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except UNREADABLE_ZIP as error:
        raise ValueError(f"it is not whole, or of another kind ({error})") from error
    if unpacked > path.stat().st_size:
        size = format_bytes(path.stat().st_size)
        raise ValueError(f"it would unpack to {format_bytes(unpacked)}, and has {size}")
