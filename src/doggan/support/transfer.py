"""Requests over HTTP: when one may yet succeed, and answers read within bounds."""

import socket
import time
from collections.abc import Iterator, Mapping
from functools import partial
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import HTTPError, InvalidHeader, ProtocolError, ReadTimeoutError
from urllib3.util import Retry

from doggan.support.background import in_background
from doggan.support.errors import DogganError

ATTEMPTS = 6
PASSING = {408, 429, 500, 502, 503, 504}  # statuses of a server that may do better later
FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 30.0
_LONGEST_ASKED_SECONDS = 300.0
_PIECE_BYTES = 1 << 18
_PATIENCE = 6
# Slower than this is a stall, however alive the connection looks: 800 MB would take nine days.
SLOWEST_BYTES_PER_SECOND = 1000


class TransferError(requests.RequestException):
    """This attempt ended early, for a reason in words; another may bring the rest."""


class UnreachableError(TransferError):
    """No connection came about."""


def wait_seconds(
    failures: int, error: requests.RequestException, server: str = "the server"
) -> float:
    """Seconds to wait after so many failures in a row, of which `error` was the last.

    They are 1, 2, 4 ... 30, or what the Retry-After of the error's `response` asks for. Raises
    DogganError where `server` asks for more than 5 minutes.
    """
    headers = getattr(error.response, "headers", {})
    try:
        asked = Retry().parse_retry_after(headers.get("Retry-After", ""))
    except (InvalidHeader, ValueError):
        return min(FIRST_WAIT_SECONDS * 2 ** (failures - 1), _LONGEST_WAIT_SECONDS)
    if asked > _LONGEST_ASKED_SECONDS:
        minutes = min(asked, 1e9) / 60
        raise DogganError(
            f"{server} asks to wait {minutes:.0f} minutes; run the same command again then"
        )
    return asked


def skip_redirects_body(response: requests.Response, **_: object) -> None:
    """A hook of a request's responses: requests would read all that a redirect brings, of any
    length, into memory."""
    if response.is_redirect:
        response.raw.close()
        response.raw = None


def get(url: str, headers: Mapping[str, str | None], timeout: float) -> requests.Response:
    """The answer to a GET, whatever its status; its body is still to be read.

    `timeout` in seconds bounds connecting and every silence; all headers, of redirects too, take
    _PATIENCE times as long at most. Raises UnreachableError where no connection comes about,
    TransferError where it breaks, DogganError where redirects lead nowhere.
    """
    try:
        _resolve(url, timeout)
        hooks = {"response": skip_redirects_body}
        ask = partial(requests.get, url, headers=headers, stream=True, timeout=timeout, hooks=hooks)
        return in_background(ask).result(_PATIENCE * timeout)
    except TimeoutError as error:  # a header that comes letter by letter
        raise TransferError("no answer in time") from error
    except (requests.ConnectionError, requests.Timeout) as error:
        if isinstance(error.args[0], ProtocolError | ReadTimeoutError):
            raise TransferError(_why(error)) from error
        host = urlsplit(url).hostname
        raise UnreachableError(f"cannot reach {host} ({_why(error)})") from error
    # Sent on in circles, to what is not HTTP, or to what is no address.
    except (requests.RequestException, ValueError) as error:
        raise DogganError(
            f"{url}: it leads to no file ({type(error).__name__}); see whether this address opens "
            "in a browser"
        ) from error


def stream(response: requests.Response, limit: int, timeout: float) -> Iterator[bytes]:
    """The answer's bytes as they come, `limit` at most; the caller sees whether they are all.

    Raises TransferError where the connection fails, and where fewer than 1,000 bytes a second come
    for `timeout` seconds.
    """
    response.raw.enforce_content_length = False
    since, got = time.monotonic(), 0
    while limit and (piece := read(response, min(_PIECE_BYTES, limit))):
        yield piece
        limit, got = limit - len(piece), got + len(piece)
        if (elapsed := time.monotonic() - since) > timeout:
            if got < SLOWEST_BYTES_PER_SECOND * elapsed:
                raise TransferError(f"only {got} bytes came in {elapsed:.0f} s")
            since, got = time.monotonic(), 0


def read(response: requests.Response, count: int) -> bytes:
    """Up to `count` bytes, as soon as some are there; none at the end of the answer."""
    try:
        return response.raw.read1(count)
    except HTTPError as error:
        raise TransferError(_why(error)) from error


def _resolve(url: str, timeout: float) -> None:
    """Raises requests.ConnectionError where the host's name takes more than `timeout` seconds.

    The system's own resolution has no such limit, and takes a minute on some dead networks.
    """
    if select_proxy(url, get_environ_proxies(url)):
        return  # the proxy resolves it
    try:
        in_background(lambda: socket.getaddrinfo(urlsplit(url).hostname, None)).result(timeout)
    except (OSError, UnicodeError) as error:
        raise requests.ConnectionError(error) from error


def _why(error: BaseException) -> str:
    """The reason at the bottom of what requests and urllib3 wrap around it."""
    while inner := error.__cause__ or next(
        (item for item in error.args if isinstance(item, BaseException)), None
    ):
        error = inner
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # What a broken server wrote is not for the terminal.
    return f"a malformed answer, {type(error).__name__}"
