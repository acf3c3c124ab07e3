"""Downloads one file over HTTP: resumed after a cut, verified, and whole or absent."""

import contextlib
import sys
from http import HTTPStatus
from http.client import responses
from pathlib import Path
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from doggan import __version__
from doggan.support.errors import DogganError, InputError
from doggan.support.files import format_bytes
from doggan.support.part_file import PartFile
from doggan.support.transfer import (
    ATTEMPTS,
    PASSING,
    TransferError,
    UnreachableError,
    get,
    read,
    repeat,
    stream,
)

# An attempt that brings this much starts the count of attempts anew: a file of N such steps takes
# at most N times `attempts`.
_STEP_BYTES = 1_000_000


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(PartFile(path, url, size=size, sha256=sha256)) as part:
            _Download(part, timeout, progress).run(attempts)
            part.move()
    except OSError as error:
        raise DogganError(f"cannot write {path}: {error.strerror or error}") from error
    return path


class _Download:
    """Fills `part`, in several attempts where it must."""

    def __init__(self, part: PartFile, timeout: float, progress: bool):
        self.part, self.timeout, self.progress = part, timeout, progress
        self.furthest = part.offset
        self.answered = False  # whether the server has begun to send the file

    def run(self, attempts: int) -> None:
        try:
            repeat(
                self._attempt,
                lambda error: isinstance(error, TransferError),
                attempts=attempts,
                advanced=self._advanced,
                tell=self._tell,
            )
        except TransferError as error:
            tries = "attempt" if attempts == 1 else "attempts in a row"
            offset = self.part.offset
            kept = f" and goes on at {format_bytes(offset)}" if offset else ""
            raise DogganError(
                f"{self.part.url}: {error} ({attempts} {tries} failed); running the same command "
                f"again tries again{kept}"
            ) from error

    def _attempt(self) -> None:
        """Fetches what is missing of the part, and verifies it."""
        if self.part.offset != self.part.total:
            with self._ask() as response:
                self._begin(response)
                self.answered = True
                self._receive(response)
        self.part.verify()

    def _advanced(self) -> bool:
        advanced = self.part.offset >= self.furthest + _STEP_BYTES
        self.furthest = max(self.furthest, self.part.offset)
        return advanced

    def _tell(self, error: Exception) -> None:
        if self.progress:
            tqdm.write(f"{self.part.path.name}: {error}; trying again", file=sys.stderr)

    def _ask(self) -> requests.Response:
        """Asks for the file, or for the rest of it where the part can be continued."""
        part, url = self.part, self.part.url
        headers = {"User-Agent": f"doggan/{__version__}", "Accept-Encoding": "identity"}
        if part.resumable:
            headers["Range"] = f"bytes={part.offset}-"
            headers["If-Range"] = part.validator  # requests leaves out what is None
        try:
            return get(url, headers, self.timeout)
        except UnreachableError as error:
            if self.answered:
                raise
            raise DogganError(f"{error}; check the network and try again") from error

    def _begin(self, response: requests.Response) -> None:
        """Holds the answer's status and headers against what is known of the file."""
        part, status = self.part, response.status_code
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

    def _receive(self, response: requests.Response) -> None:
        """Writes what the answer brings, and never more than it promised."""
        part = self.part
        with tqdm(
            desc=part.path.name,
            total=part.total,
            initial=part.offset,
            unit="B",
            unit_scale=True,
            disable=not self.progress,
        ) as bar:
            for piece in stream(response, part.total - part.offset, self.timeout):
                part.write(piece)
                bar.update(len(piece))
        if part.offset != part.total:
            got, total = format_bytes(part.offset), format_bytes(part.total)
            raise TransferError(f"the connection was cut after {got} of {total}")
        with contextlib.suppress(TransferError):
            if read(response, 1):
                raise DogganError(f"{part.url}: the server sends more than {part.total:,} bytes")
