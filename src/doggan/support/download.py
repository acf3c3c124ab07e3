"""Downloads one file over HTTP: resumed after a cut, verified, and whole or absent."""

import contextlib
import fcntl
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, build_opener, getproxies

from tqdm import tqdm

from doggan import __version__
from doggan.support.errors import DogganError, InputError
from doggan.support.files import format_bytes, require_free_space, sha256_of, write_json

_PIECE_BYTES = 1 << 18
# An attempt that brings this much starts the count of attempts anew: a file of N such steps takes
# at most N times `attempts`.
_STEP_BYTES = 1_000_000
# Slower than this is a stall, however alive the connection looks: 800 MB would take nine days.
_SLOWEST_BYTES_PER_SECOND = 1000
_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 30.0
_RETRIED_STATUS = {408, 429, 500, 502, 503, 504}
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")


class _AttemptError(Exception):
    """This attempt ended early; what it brought is good, and the next one goes on from there."""


class _UnusablePartError(_AttemptError):
    """What has come so far cannot be continued; the next attempt starts at the first byte."""


class _UnreachableError(_AttemptError):
    """No connection came about."""


def download(
    url: str,
    path: Path | str,
    *,
    size: int | None = None,
    sha256: str | None = None,
    progress: bool = True,
    attempts: int = 6,
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
        with contextlib.closing(_Part(path, url, size=size, sha256=sha256)) as part:
            _fill(part, progress=progress, attempts=attempts, timeout=timeout)
            part.move()
    except OSError as error:
        raise DogganError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def in_background(work: Callable[[], object]) -> Future:
    """Runs `work` in a thread that can be abandoned: it does not keep the program from ending."""
    outcome = Future()

    def run():
        try:
            outcome.set_result(work())
        # SystemExit too: the caller must hear of whatever ended the work.
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome


class _Part:
    """The bytes that have come so far, in `<path>.part`, and in `<path>.part.json` of which file.

    `total` is the whole file's length, None before it is known. `validator` is the ETag or date
    by which the server knows this version of the file. `joined` says that the bytes come from more
    than one answer.
    """

    def __init__(self, path: Path, url: str, *, size: int | None, sha256: str | None):
        self.path, self.url, self.size, self.sha256 = path, url, size, sha256
        self.part_path = path.with_name(f"{path.name}.part")
        self.origin_path = path.with_name(f"{path.name}.part.json")
        self._file = _open_locked(self.part_path)
        self.offset = self._file.tell()
        self.total, self.validator = self._read_origin()
        self.joined = self.offset > 0
        if not self.resumable:
            self.clear()

    @property
    def whole(self) -> bool:
        return self.offset == self.total

    @property
    def resumable(self) -> bool:
        # Without a validator only the hash could tell that two versions were joined.
        known = self.validator is not None or self.sha256 is not None
        return known and self.total is not None and self.offset <= self.total

    def start(self, total: int, validator: str | None) -> None:
        """Begins at the first byte of a file of `total` bytes."""
        self.clear()
        require_free_space(self.path.parent, total)
        self.total, self.validator = total, validator
        write_json(self.origin_path, {"url": self.url, "total": total, "validator": validator})

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self.offset += len(piece)

    def clear(self) -> None:
        """Drops the bytes that have come so far."""
        self._file.truncate(0)
        self.offset, self.total, self.validator, self.joined = 0, None, None, False

    def verify(self) -> None:
        """Raises DogganError where the bytes are not those of `sha256`; they are dropped then."""
        self._file.flush()
        os.fsync(self._file.fileno())
        if self.sha256 is None or (found := sha256_of(self.part_path)) == self.sha256.lower():
            return
        message = f"its sha256 is {found}, expected {self.sha256}"
        joined = self.joined
        self.clear()
        if joined:
            raise _UnusablePartError(f"{message} (put together from several answers)")
        raise DogganError(f"{self.url}: {message}; nothing was kept of it")

    def move(self) -> None:
        """Gives the bytes their final name."""
        self.part_path.replace(self.path)
        self.origin_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the file; an empty one is not left behind."""
        # Before the lock goes with the file: the next holder's file is not to be removed.
        if not self.offset:
            self.part_path.unlink(missing_ok=True)
            self.origin_path.unlink(missing_ok=True)
        self._file.close()

    def _read_origin(self) -> tuple[int | None, str | None]:
        try:
            origin = json.loads(self.origin_path.read_bytes())
            total, validator = origin["total"], origin["validator"]
            same = origin["url"] == self.url and self.size in (None, total)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None, None
        fit = type(total) is int and (validator is None or _is_validator(validator))
        return (total, validator) if same and fit else (None, None)


def _open_locked(path: Path):
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The other download may have moved the file to its final name meanwhile.
        busy = not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat())
    except BlockingIOError:
        busy = True
    except OSError:  # a file system without locks
        busy = False
    if busy:
        file.close()
        raise DogganError(f"{path} is being downloaded by another process; wait for it to end")
    return file


def _fill(part: _Part, *, progress: bool, attempts: int, timeout: float) -> None:
    """Fetches what is missing of `part` and verifies it, in several attempts where it must."""
    failures, furthest, answered = 0, part.offset, False
    while True:
        try:
            if not part.whole:
                with _ask(part, timeout) as response:
                    answered = True
                    _receive(part, response, timeout, progress)
            return part.verify()
        except _AttemptError as error:
            reason = error
        if isinstance(reason, _UnreachableError) and not answered:
            raise DogganError(f"{reason}; check the network and try again") from reason
        if isinstance(reason, _UnusablePartError):
            part.clear()
        failures = 1 if part.offset >= furthest + _STEP_BYTES else failures + 1
        furthest = max(furthest, part.offset)
        if failures >= attempts:
            raise DogganError(_gave_up(part, failures, reason)) from reason
        if progress:
            tqdm.write(f"{part.path.name}: {reason}; trying again", file=sys.stderr)
        time.sleep(min(_FIRST_WAIT_SECONDS * 2 ** (failures - 1), _LONGEST_WAIT_SECONDS))


def _ask(part: _Part, timeout: float) -> HTTPResponse:
    """Asks for the file, or for the rest of it where the part can be continued."""
    headers = {"User-Agent": f"doggan/{__version__}", "Accept-Encoding": "identity"}
    if part.offset and part.resumable:
        headers["Range"] = f"bytes={part.offset}-"
        if part.validator is not None:
            headers["If-Range"] = part.validator
    try:
        _resolve(part.url, timeout)
        return build_opener().open(Request(part.url, headers=headers), timeout=timeout)
    except HTTPError as error:
        error.close()
        raise _refusal(part.url, error.code) from error
    except URLError as error:
        host = urlsplit(part.url).hostname
        raise _UnreachableError(f"cannot reach {host} ({_why(error.reason)})") from error
    except (OSError, HTTPException) as error:
        raise _AttemptError(_why(error)) from error


def _resolve(url: str, timeout: float) -> None:
    """Raises URLError where the host's name is not resolved within `timeout` seconds.

    The system's own resolution has no such limit, and takes a minute on some dead networks.
    """
    if getproxies():
        return  # the proxy resolves it
    host = urlsplit(url).hostname
    try:
        in_background(lambda: socket.getaddrinfo(host, None)).result(timeout)
    except (OSError, UnicodeError) as error:
        raise URLError(error) from error


def _receive(part: _Part, response: HTTPResponse, timeout: float, progress: bool) -> None:
    """Writes what the answer brings, and never more than it promised."""
    stop = _begin(part, response)
    with _bar(part, progress) as bar:
        _write_until(stop, part, response, timeout, bar)
    if not part.whole:
        got, total = format_bytes(part.offset), format_bytes(part.total)
        raise _AttemptError(f"the connection was cut after {got} of {total}")
    with contextlib.suppress(_AttemptError):
        if _read(response, 1):
            raise DogganError(f"{part.url}: the server sends more than {part.total:,} bytes")


def _write_until(stop: int, part: _Part, response: HTTPResponse, timeout: float, bar: tqdm) -> None:
    since, mark = time.monotonic(), part.offset
    while part.offset < stop:
        piece = _read(response, min(_PIECE_BYTES, stop - part.offset))
        if not piece:
            return
        part.write(piece)
        bar.update(len(piece))
        if (elapsed := time.monotonic() - since) > timeout:
            if part.offset - mark < _SLOWEST_BYTES_PER_SECOND * elapsed:
                raise _AttemptError(f"only {part.offset - mark} bytes came in {elapsed:.0f} s")
            since, mark = time.monotonic(), part.offset


def _begin(part: _Part, response: HTTPResponse) -> int:
    """Holds the answer's headers against the part; returns the offset at which the answer ends."""
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        return _continue(part, response)
    if response.status != HTTPStatus.OK:
        raise _refusal(part.url, response.status)
    total = part.size if response.length is None else response.length
    if total is None:
        raise DogganError(
            f"{part.url}: the server does not say how long the file is, so that a cut would go "
            "unnoticed; download it by other means"
        )
    if part.size not in (None, total):
        raise DogganError(
            f"{part.url}: the server offers {total:,} bytes, expected {part.size:,}; "
            "it is not the file that was published"
        )
    part.start(total, _validator(response.headers))
    return total


def _continue(part: _Part, response: HTTPResponse) -> int:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    first, last, total = (int(number) for number in match.groups()) if match else (None, -1, None)
    same = _validator(response.headers) in (None, part.validator) and total == part.total
    fit = first == part.offset <= last and response.length in (None, last + 1 - part.offset)
    if not (match and same and fit and last < total):
        raise _UnusablePartError("the server sent another part of the file than was asked for")
    require_free_space(part.path.parent, total - part.offset)
    part.joined = True
    return last + 1


def _read(response: HTTPResponse, count: int) -> bytes:
    """Up to `count` bytes, as soon as some are there; none at the end of the answer."""
    try:
        return response.read1(count)
    except (OSError, HTTPException) as error:
        raise _AttemptError(_why(error)) from error


def _refusal(url: str, status: int) -> Exception:
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    answer = f"the server answered {status} {phrase}".rstrip()
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return _UnusablePartError(answer)
    if status in _RETRIED_STATUS:
        return _AttemptError(answer)
    return DogganError(f"{url}: {answer}; see whether this address opens in a browser")


def _gave_up(part: _Part, failures: int, reason: Exception) -> str:
    tries = "attempt" if failures == 1 else "attempts in a row"
    kept = f" and goes on at {format_bytes(part.offset)}" if part.offset else ""
    return (
        f"{part.url}: {reason} ({failures} {tries} failed); running the same command again tries "
        f"again{kept}"
    )


def _validator(headers: HTTPMessage) -> str | None:
    """What names this version of the file in If-Range: a strong ETag, else Last-Modified."""
    etag, modified = headers.get("ETag", "W/"), headers.get("Last-Modified")
    value = modified if etag.startswith("W/") else etag
    return value if _is_validator(value) else None


def _is_validator(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _why(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # What a broken server wrote is not for the terminal.
    return f"a malformed answer, {type(error).__name__}"


def _bar(part: _Part, progress: bool) -> tqdm:
    return tqdm(
        desc=part.path.name,
        total=part.total,
        initial=part.offset,
        unit="B",
        unit_scale=True,
        disable=not progress,
    )
