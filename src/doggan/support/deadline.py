"""One deadline for a whole run, on a clock that tests can replace."""

import math
import re
import time
from collections.abc import Callable

from doggan.support.errors import InputError

_DURATION = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d{1,9})?)s?)?")


class Deadline:
    """Counts down from `seconds`; `None` never expires.

    `clock` returns seconds and never runs backwards.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._start = clock()
        self.seconds = math.inf if seconds is None else seconds

    def elapsed(self) -> float:
        """Seconds since the deadline was set."""
        return self._clock() - self._start

    def remaining(self) -> float:
        """Seconds left: negative once overrun, `inf` without a limit."""
        return self.seconds - self.elapsed()

    def expired(self, reserve: float = 0.0) -> bool:
        """Whether no more than `reserve` seconds are left."""
        return self.remaining() <= reserve

    def minus(self, reserve: float) -> "Deadline":
        """The same deadline, `reserve` seconds earlier, on the same clock."""
        return Deadline(self.remaining() - reserve, self._clock)


def parse_duration(text: str) -> float:
    """Seconds in `8h45m`, `90m`, `1h30m10s`, `30s` or `45` (plain seconds).

    Raises InputError for anything else, and for zero.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    hours, minutes, seconds = match.groups() if match else (None, None, None)
    total = int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds or 0)
    if not total:
        raise InputError(f"'{text}' is not a duration; write it like 8h45m, 90m or 30s")
    return total


def format_duration(seconds: float) -> str:
    """`8h45m`, `4m05s` or `12s`: the two largest units."""
    if not math.isfinite(seconds):
        return "no limit"
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
