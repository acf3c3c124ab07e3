"""Runs work in a thread that can be abandoned."""

import threading
from collections.abc import Callable
from concurrent.futures import Future


def in_background(work: Callable[[], object]) -> Future:
    """Runs `work` in a thread that does not keep the program from ending."""
    outcome = Future()

    def run():
        try:
            outcome.set_result(work())
        # SystemExit too: the caller must hear of whatever ended the work.
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome
