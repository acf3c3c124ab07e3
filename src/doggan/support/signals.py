"""SIGINT and SIGTERM as a request to stop, so that what runs can end cleanly."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StopRequest:
    """Whether somebody asked for an end; `name` says how (`SIGINT`, `SIGTERM`)."""

    def __init__(self):
        self.name: str | None = None

    def __bool__(self) -> bool:
        return self.name is not None


def stop_without_parent() -> None:
    """In a process that multiprocessing started: gives itself SIGTERM once its parent has ended,
    however that came, so that it does not go on for nobody."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Yields a StopRequest that the first SIGINT or SIGTERM sets; a second one acts as usual.

    Outside the main thread, where Python handles no signals, the request is never set.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.getsignal(number) for number in numbers}

    def set_request(number: int, _frame: object) -> None:
        request.name = signal.Signals(number).name
        for other, handler in previous.items():
            signal.signal(other, handler)

    try:
        for number in numbers:
            signal.signal(number, set_request)
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
