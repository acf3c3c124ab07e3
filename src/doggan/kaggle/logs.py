"""The log of a run on Kaggle: read once, or followed line by line until the run is over."""

import contextlib
import itertools
import json
import queue
import time
from collections.abc import Iterator
from concurrent.futures import Future

import requests
import urllib3

from doggan.kaggle.client import Client, client_errors
from doggan.kaggle.metadata import Kernel
from doggan.kaggle.session import not_there, session_output, session_status
from doggan.support.background import in_background
from doggan.support.errors import DogganError
from doggan.support.transfer import PASSING

# Kaggle's end of an idle stream comes after some minutes; a line is awaited for longer.
SILENCE_SECONDS = 600.0
_PAUSE_SECONDS = 5.0


def read_log(client: Client, kernel: Kernel) -> Iterator[str]:
    """The lines that the run has written so far, as Kaggle has them now."""
    log = session_output(client, kernel).log
    try:
        events = json.loads(log or "[]")
    except (ValueError, RecursionError):
        events = [{"data": log}]
    for event in events if isinstance(events, list) else [events]:
        yield from _lines(event)


def follow_log(client: Client, kernel: Kernel) -> Iterator[str]:
    """The lines of the run as they are written, from the first one on, until it is over.

    A stream that is cut is taken up again where it stopped: Kaggle sends it from the start, and
    what has been given before is passed over. Raises DogganError where it cannot be had.
    """
    given, over = 0, False
    while True:
        before = given
        with contextlib.suppress(_CutError):
            for event in itertools.islice(_events(client, kernel), given, None):
                given += 1
                yield from _lines(event)
            return
        if over and given == before:
            raise DogganError(f"the log of {kernel} is cut at every attempt; see {kernel.page}")
        over = session_status(client, kernel).over
        time.sleep(_PAUSE_SECONDS)


class _CutError(Exception):
    """The stream ended before the log did."""


def _events(client: Client, kernel: Kernel) -> Iterator[object]:
    """The events of one stream; read in the background, as the client's own wait has no end."""
    events = queue.SimpleQueue()

    def read():
        for event in client.api.kernels_logs_stream(kernel.reference):
            events.put(event)

    outcome = in_background(read)
    outcome.add_done_callback(events.put)
    while True:
        try:
            event = events.get(timeout=SILENCE_SECONDS)
        except queue.Empty:
            raise _CutError from None
        if event is outcome:
            return _raise_what_ended(outcome, kernel)
        yield event


def _raise_what_ended(outcome: Future, kernel: Kernel) -> None:
    with client_errors(not_there(kernel), "run the same command again"):
        try:
            outcome.result()
        except requests.HTTPError as error:
            if error.response.status_code in PASSING:
                raise _CutError from None
            raise
        except (requests.RequestException, urllib3.exceptions.HTTPError):
            raise _CutError from None
        except ValueError:  # so the client puts 401 and 403
            raise DogganError(not_there(kernel)[403]) from None


def _lines(event: object) -> Iterator[str]:
    """The lines of one event, without what could steer a terminal."""
    data = event.get("data") if isinstance(event, dict) else None
    for line in str("" if data is None else data).splitlines():
        yield "".join(c for c in line if c.isprintable() or c == "\t")
