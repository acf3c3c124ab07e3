"""The bar of a training, which ends by its images or by its time."""

import sys

from doggan.gan.history import describe_row
from doggan.support.deadline import Deadline, format_duration
from doggan.support.progress import progress_bar


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

    def warn(self, words: str) -> None:
        """Says a warning above the bar."""
        self._bar.write(f"Warning: {words}", file=sys.stderr)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()
