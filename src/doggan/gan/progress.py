"""The bar of a training, which ends by its images or by its time."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from doggan.gan.history import describe_row, read_history
from doggan.support.deadline import Deadline, format_duration
from doggan.support.progress import progress_bar

TOLD_SECONDS = 60.0


class ProgressBar:
    """Shows how far a run of `images` images is under its deadline, on standard error."""

    def __init__(self, images: int, deadline: Deadline):
        self._images, self._deadline = images, deadline
        layout = "{desc}: {percentage:3.0f}%|{bar:12}| {elapsed}{postfix}"
        self._bar = progress_bar("train", 1.0, bar_format=layout)

    def show(self, row: dict) -> None:
        """Moves the bar to what a row of the history says."""
        deadline = self._deadline
        seconds = (self._images - row["images"]) / row["images_per_second"]
        left = format_duration(min(seconds, deadline.remaining()))
        by_time = deadline.elapsed() / deadline.seconds if deadline.seconds > 0 else 1.0
        self._bar.set_postfix_str(f"{left} left, {describe_row(row)}", refresh=False)
        self._bar.update(min(1.0, max(row["images"] / self._images, by_time)) - self._bar.n)

    def say(self, words: str) -> None:
        """Says a line above the bar."""
        self._bar.write(words, file=sys.stderr)

    def warn(self, words: str) -> None:
        """Says a warning above the bar."""
        self.say(f"Warning: {words}")

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()


@contextmanager
def progress_told(folder: Path, seconds: float = TOLD_SECONDS) -> Iterator[None]:
    """Within it, what other processes train in `folder` is told on this one's standard error.

    Their own bars go where the system's standard error goes, which passes by a `sys.stderr` that
    has been put in its place; where it has not, nothing is told twice.
    """
    over, told = threading.Event(), -1

    def tell() -> None:
        nonlocal told
        while not over.wait(seconds):
            rows = read_history(folder)
            if rows and rows[-1]["images"] > told:
                told = rows[-1]["images"]
                print(f"train: {describe_row(rows[-1])}", file=sys.stderr)

    if sys.stderr is sys.__stderr__:
        yield
        return
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
