"""Gets the photos: Stanford's tars over HTTP, or Kaggle's files through the official client.

Both archives are left as they come; they are read in place.
"""

import contextlib
import io
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from doggan.support.download import download, in_background
from doggan.support.errors import DogganError
from doggan.support.files import format_bytes, require_free_space, sha256_of
from doggan.support.kaggle_client import client_errors, connect, require_credentials

STANFORD_URL = "http://vision.stanford.edu/aditya86/ImageNetDogs/"
KAGGLE_SLUG = "generative-dog-images"
KAGGLE_ZIP = f"{KAGGLE_SLUG}.zip"
# The zip holds Stanford's photos (793,579,520 bytes as a tar) and their annotations.
KAGGLE_BYTES_AT_MOST = 1_000_000_000
MAX_UNPACKED_BYTES = 4_000_000_000
MAX_MEMBERS = 200_000

_RULES_URL = f"https://www.kaggle.com/competitions/{KAGGLE_SLUG}/rules"
# The client waits up to 33 seconds between two attempts of its own.
_STALL_SECONDS = 90.0


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A tar as published, and what the names of its photos or annotations match."""

    name: str
    size_bytes: int
    sha256: str
    members: str


# Sizes and hashes: TensorFlow Datasets, url_checksums/stanford_dogs.txt.
STANFORD_FILES = (
    RemoteFile(
        name="annotation.tar",
        size_bytes=21_852_160,
        sha256="662ed36f707be6b195c2fda392d8e153e83af28cedc8e2134a649f198def30fd",
        members=r"Annotation/n\d{8}-[^/]+/[^/]+",
    ),
    RemoteFile(
        name="images.tar",
        size_bytes=793_579_520,
        sha256="a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
        members=r"Images/n\d{8}-[^/]+/[^/]+\.jpg",
    ),
)


@dataclass(frozen=True, kw_only=True)
class FetchedFile:
    """A file that is there now; `downloaded` is False where it was there, and intact, before."""

    path: str
    size_bytes: int
    downloaded: bool


def fetch_stanford(
    out: Path | str, *, base_url: str = STANFORD_URL, progress: bool = True
) -> tuple[FetchedFile, ...]:
    """Downloads annotation.tar (22 MB) and images.tar (794 MB) into the folder `out`.

    A tar that is there with the published size and hash is kept. An interrupted download goes on
    where it stopped. Raises DogganError for every failure.
    """
    out = Path(out)
    missing = [remote for remote in STANFORD_FILES if not _is_published(out / remote.name, remote)]
    parts = (out / f"{remote.name}.part" for remote in missing)
    got = sum(part.stat().st_size for part in parts if part.exists())
    require_free_space(out, sum(remote.size_bytes for remote in missing) - got)
    for remote in missing:
        download(
            f"{base_url.rstrip('/')}/{remote.name}",
            out / remote.name,
            size=remote.size_bytes,
            sha256=remote.sha256,
            progress=progress,
        )
    for remote in STANFORD_FILES:
        _check_tar(out / remote.name, remote.members)
    return tuple(_fetched(out / remote.name, remote in missing) for remote in STANFORD_FILES)


def fetch_kaggle(out: Path | str, *, progress: bool = True) -> tuple[FetchedFile, ...]:
    """Downloads the competition's generative-dog-images.zip into the folder `out`.

    Uses the official `kaggle` client and the user's own credentials. A readable zip that is there
    is kept. What has come before a cut stays in a hidden folder of `out`, from which the client
    goes on. Raises DogganError for every failure; for missing credentials, and where the rules of
    the competition are not accepted yet, it says where to go.
    """
    out = Path(out)
    path = out / KAGGLE_ZIP
    if _is_readable(path):
        return (_fetched(path, downloaded=False),)
    require_credentials()
    folder = out / f".{KAGGLE_SLUG}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        require_free_space(out, KAGGLE_BYTES_AT_MOST - _bytes_in(folder))
        _run_client(folder, progress)
        _move_zip(folder / KAGGLE_ZIP, path)
    except OSError as error:
        raise DogganError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only an empty one goes
    return (_fetched(path, downloaded=True),)


def _fetched(path: Path, downloaded: bool) -> FetchedFile:
    return FetchedFile(path=str(path), size_bytes=path.stat().st_size, downloaded=downloaded)


def _is_published(path: Path, remote: RemoteFile) -> bool:
    size = path.stat().st_size if path.is_file() else -1
    return size == remote.size_bytes and sha256_of(path) == remote.sha256


def _is_readable(path: Path) -> bool:
    with contextlib.suppress(DogganError):
        _check_zip(path)
        return True
    return False


def _check_tar(path: Path, members: str) -> None:
    """Lists the tar; raises DogganError where it is not what was published as such."""
    pattern, found = re.compile(members), 0
    try:
        with tarfile.open(path, "r:") as tar:
            for count, member in enumerate(tar):
                _check_member(path, member.name, count)
                found += member.isreg() and bool(pattern.fullmatch(member.name.removeprefix("./")))
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DogganError(f"{path} is not a readable tar ({error})") from error
    if not found:
        raise DogganError(f"{path} holds no file named like {members}")


def _check_zip(path: Path) -> None:
    """Reads the whole zip; raises DogganError where it is not the competition's."""
    try:
        with zipfile.ZipFile(path) as archive:
            for count, name in enumerate(archive.namelist()):
                _check_member(path, name, count)
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > MAX_UNPACKED_BYTES:
                raise DogganError(f"{path} would unpack to {format_bytes(unpacked)}")
            tops = {name.partition("/")[0] for name in archive.namelist()}
            damaged = archive.testzip()
    # RuntimeError: an encrypted entry; NotImplementedError, a subclass: an unknown compression.
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
        raise DogganError(f"{path} is not a readable zip ({error})") from error
    if damaged:
        raise DogganError(f"{path} is damaged at {damaged!r}")
    if missing := {"all-dogs", "annotation"} - tops:
        raise DogganError(f"{path} has no folder {' and no folder '.join(sorted(missing))}")


def _check_member(path: Path, name: str, count: int) -> None:
    if name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name:
        raise DogganError(f"{path} holds {name!r}, which points out of its folder")
    if count >= MAX_MEMBERS:
        raise DogganError(f"{path} holds more than {MAX_MEMBERS:,} files")


def _run_client(folder: Path, progress: bool) -> None:
    """Lets the client download into `folder`, and gives it up once that no longer grows.

    The client itself sets no time limit on its first answer: a silent server would hold it for
    ever. Its bar goes to stderr; what it prints is dropped, as that can name signed addresses.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        outcome = in_background(lambda: _download_with_client(folder, quiet=not progress))
        while True:
            before = _bytes_in(folder)
            with contextlib.suppress(TimeoutError):
                return outcome.result(_STALL_SECONDS)
            if _bytes_in(folder) == before:
                raise DogganError(
                    f"Kaggle sent nothing for {_STALL_SECONDS:.0f} seconds; run the same command "
                    "again, it goes on where it stopped"
                )


def _download_with_client(folder: Path, *, quiet: bool) -> None:
    refusals = {
        403: "Kaggle refuses these files (403): accept the competition's rules at "
        f"{_RULES_URL}, then run the same command again",
        404: f"Kaggle knows no files of the competition '{KAGGLE_SLUG}' (404); try again later",
    }
    with client_errors(refusals, "run the same command again, it goes on where it stopped"):
        connect().competition_download_files(KAGGLE_SLUG, path=str(folder), quiet=quiet)


def _move_zip(downloaded: Path, path: Path) -> None:
    try:
        _check_zip(downloaded)
    except DogganError as error:
        shutil.rmtree(downloaded.parent, ignore_errors=True)
        raise DogganError(f"{error}; nothing was kept of it, fetch it again") from error
    with downloaded.open("rb") as file:
        os.fsync(file.fileno())
    downloaded.replace(path)
    shutil.rmtree(downloaded.parent, ignore_errors=True)


def _bytes_in(folder: Path) -> int:
    total = 0
    for item in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # the client removes its marker at the end
            total += item.stat().st_size
    return total
