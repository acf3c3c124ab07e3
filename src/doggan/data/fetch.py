"""Gets the photos: Stanford's tars over HTTP, left as they come and read in place."""

import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from doggan.support.download import download
from doggan.support.errors import DogganError
from doggan.support.files import is_file_of, leaves_folder, require_free_space

STANFORD_URL = "http://vision.stanford.edu/aditya86/ImageNetDogs/"
MAX_MEMBERS = 200_000


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
    missing = [
        remote
        for remote in STANFORD_FILES
        if not is_file_of(out / remote.name, remote.size_bytes, remote.sha256)
    ]
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
    return tuple(fetched(out / remote.name, remote in missing) for remote in STANFORD_FILES)


def fetched(path: Path, downloaded: bool) -> FetchedFile:
    """The file at `path`, as it is there now."""
    return FetchedFile(path=str(path), size_bytes=path.stat().st_size, downloaded=downloaded)


def _check_tar(path: Path, members: str) -> None:
    """Lists the tar; raises DogganError where it is not what was published as such."""
    pattern, found = re.compile(members), 0
    try:
        with tarfile.open(path, "r:") as tar:
            for count, member in enumerate(tar):
                check_member(path, member.name, count)
                found += member.isreg() and bool(pattern.fullmatch(member.name.removeprefix("./")))
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DogganError(f"{path} is not a readable tar ({error})") from error
    if not found:
        raise DogganError(f"{path} holds no file named like {members}")


def check_member(path: Path, name: str, count: int) -> None:
    """Raises DogganError where an archive's member leads out of it, or `count` came before."""
    if leaves_folder(name):
        raise DogganError(f"{path} holds {name!r}, which points out of its folder")
    if count >= MAX_MEMBERS:
        raise DogganError(f"{path} holds more than {MAX_MEMBERS:,} files")
