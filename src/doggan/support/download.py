"""Downloads one file over HTTP: resumed after a cut, verified, and whole or absent."""

import contextlib
import sys
import time
from http import HTTPStatus
from http.client import responses
from pathlib import Path
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from doggan.support.errors import DogganError, InputError
from doggan.support.files import format_bytes, writing
from doggan.support.part_file import PartFile
from doggan.support.progress import progress_bar
from doggan.support.transfer import (
    ATTEMPTS,
    PASSING,
    TransferError,
    UnreachableError,
    get,
    read,
    stream,
    wait_seconds,
)

# An attempt that brings this much starts the count of attempts anew: a file of N such steps takes
# at most N times `attempts`.
STEP_BYTES = 1_000_000


def download(
    url: str,
    path: Path | str,
    *,
    size: int | None = None,
    sha256: str | None = None,
    progress: bool = True,
    attempts: int = ATTEMPTS,
    timeout: float = 10.0,
) -> Path:
    """Downloads `url` to `path`, which it replaces only by a whole and verified file.

    The bytes gather in `<path>.part`, which stays after a failure or a kill: the next call goes on
    from there if the server still has the same file (by ETag or Last-Modified, and length).
    `size` in bytes and `sha256` in hexadecimal are what the file must have; without `size` the
    server's Content-Length is. At most `attempts` attempts in a row bring less than 1 MB each.
    `timeout` in seconds bounds connecting and every silence; a server that cannot be reached at
    all is not tried twice, so that being offline costs seconds. `progress` draws a bar on stderr.

    Raises InputError for a URL that is not HTTP and for a `path` that is a folder, DogganError for
    every failure.
    """
    path = Path(path)
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise InputError(f"'{url}' cannot be downloaded; expected an http:// or https:// address")
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected the name of the file to download to")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(PartFile(path, url, size, sha256)) as part:
            _fill(part, progress, attempts, timeout)
    return path


def _fill(part: PartFile, progress: bool, attempts: int, timeout: float) -> None:
    """Brings what is missing of the part, in several attempts where it must, and finishes it."""
    failures, furthest, answered = 0, part.offset, False
    while True:
        try:
            if part.offset != part.total:
                with get(part.url, part.headers(), timeout) as response:
                    _begin(part, response)
                    answered = True
                    _receive(part, response, progress, timeout)
            return part.finish()
        except TransferError as error:
            if isinstance(error, UnreachableError) and not answered:
                raise DogganError(f"{error}; check the network and try again") from error
            failures = 1 if part.offset >= furthest + STEP_BYTES else failures + 1
            furthest = max(furthest, part.offset)
            if failures >= attempts:
                tries = "attempt" if attempts == 1 else "attempts in a row"
                kept = f" and goes on at {format_bytes(part.offset)}" if part.offset else ""
                raise DogganError(
                    f"{part.url}: {error} ({attempts} {tries} failed); running the same command "
                    f"again tries again{kept}"
                ) from error
            wait = wait_seconds(failures, error)
            if progress:
                tqdm.write(f"{part.path.name}: {error}; trying again", file=sys.stderr)
        time.sleep(wait)


def _begin(part: PartFile, response: requests.Response) -> None:
    """Holds the answer's status and headers against what is known of the file."""
    status = response.status_code
    answer = f"the server answered {status} {responses.get(status, '')}".rstrip()
    if status == HTTPStatus.OK:
        part.start(response.raw.length_remaining, response.headers)
    elif status == HTTPStatus.PARTIAL_CONTENT:
        part.resume(response.headers)
    elif status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.clear()
        raise TransferError(answer)
    elif status in PASSING:
        raise TransferError(answer, response=response)
    else:
        raise DogganError(f"{part.url}: {answer}; see whether this address opens in a browser")


def _receive(part: PartFile, response: requests.Response, progress: bool, timeout: float) -> None:
    """Writes what the answer brings, and never more than it promised."""
    label = part.path.name if progress else None
    sizes = {"initial": part.offset, "unit": "B", "unit_scale": True}
    with progress_bar(label, part.total, **sizes) as bar:
        for piece in stream(response, part.total - part.offset, timeout):
            part.write(piece)
            bar.update(len(piece))
    if part.offset != part.total:
        got, total = format_bytes(part.offset), format_bytes(part.total)
        raise TransferError(f"the connection was cut after {got} of {total}")
    with contextlib.suppress(TransferError):
        if read(response, 1):
            raise DogganError(f"{part.url}: the server sends more than {part.total:,} bytes")
