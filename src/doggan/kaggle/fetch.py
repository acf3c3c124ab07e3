"""Gets the competition's photos through Kaggle's official client, as one zip, read in place."""

import contextlib
import io
import os
import shutil
import zipfile
from pathlib import Path

from doggan.competition import KAGGLE_FOLDERS, RULES_URL, SLUG
from doggan.data.fetch import FetchedFile, check_member, fetched
from doggan.kaggle.client import client_errors, connect
from doggan.kaggle.credentials import require_credentials
from doggan.support.background import in_background
from doggan.support.errors import DogganError
from doggan.support.files import format_bytes, require_free_space, writing
from doggan.support.zips import UNREADABLE_ZIP

KAGGLE_ZIP = f"{SLUG}.zip"
# The zip holds Stanford's photos (793,579,520 bytes as a tar) and their annotations.
KAGGLE_BYTES_AT_MOST = 1_000_000_000
MAX_UNPACKED_BYTES = 4_000_000_000

# The client waits up to 33 seconds between two attempts of its own.
STALL_SECONDS = 90.0


def fetch_kaggle(out: Path | str, *, progress: bool = True) -> tuple[FetchedFile, ...]:
    """Downloads the competition's generative-dog-images.zip into the folder `out`.

    Uses the official `kaggle` client and the user's own credentials. A readable zip that is there
    is kept. What has come before a cut stays in a hidden folder of `out`, from which the client
    goes on. Raises DogganError for every failure; for missing credentials, and where the rules of
    the competition are not accepted yet, it says where to go.
    """
    out = Path(out)
    path = out / KAGGLE_ZIP
    with contextlib.suppress(DogganError):
        _check_zip(path)
        return (fetched(path, downloaded=False),)
    require_credentials()
    folder = out / f".{SLUG}.partial"
    with writing(path):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            require_free_space(out, KAGGLE_BYTES_AT_MOST - _bytes_in(folder))
            _run_client(folder, progress)
            _move_zip(folder / KAGGLE_ZIP, path)
        finally:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only an empty one goes
    return (fetched(path, downloaded=True),)


def _check_zip(path: Path) -> None:
    """Reads the whole zip; raises DogganError where it is not the competition's."""
    try:
        with zipfile.ZipFile(path) as archive:
            for count, name in enumerate(archive.namelist()):
                check_member(path, name, count)
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > MAX_UNPACKED_BYTES:
                raise DogganError(f"{path} would unpack to {format_bytes(unpacked)}")
            tops = {name.partition("/")[0] for name in archive.namelist()}
            damaged = archive.testzip()
    except UNREADABLE_ZIP as error:
        raise DogganError(f"{path} is not a readable zip ({error})") from error
    if damaged:
        raise DogganError(f"{path} is damaged at {damaged!r}")
    if missing := set(KAGGLE_FOLDERS) - tops:
        raise DogganError(f"{path} has no folder {' and no folder '.join(sorted(missing))}")


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
                return outcome.result(STALL_SECONDS)
            if _bytes_in(folder) == before:
                raise DogganError(
                    f"Kaggle sent nothing for {STALL_SECONDS:.0f} seconds; run the same command "
                    "again, it goes on where it stopped"
                )


def _download_with_client(folder: Path, *, quiet: bool) -> None:
    refusals = {
        403: "Kaggle refuses these files (403): accept the competition's rules at "
        f"{RULES_URL}, then run the same command again",
        404: f"Kaggle knows no files of the competition '{SLUG}' (404); try again later",
    }
    with client_errors(refusals, "run the same command again, it goes on where it stopped"):
        connect().competition_download_files(SLUG, path=str(folder), quiet=quiet)


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
