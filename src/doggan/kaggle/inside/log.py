"""A kernel's log: each line on the console and in a file, with the time that has passed."""

import io
import os
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

from doggan.support.deadline import format_duration

PROGRESS_SECONDS = 60.0
_CURSOR_UP = "\x1b[A"  # how a bar below another one returns


class Log:
    """Call it with a line; the file `path` gets what the console gets.

    What lies in the file's own folder, which is temporary, is named without that.
    `clock` returns seconds and never runs backwards.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic):
        self._file = path.open("a", encoding="utf-8")
        self._folder = f"{path.parent}{os.sep}"
        self._clock, self._start = clock, clock()

    def __call__(self, text: str) -> None:
        """Logs the text; a second line and those after it stand below the first one."""
        passed = format_duration(self._clock() - self._start)
        lines = text.replace(self._folder, "").splitlines() or [""]
        text = "\n".join([f"{passed:>6}  {lines[0]}", *(f"{'':8}{line}" for line in lines[1:])])
        print(text, flush=True)
        print(text, file=self._file, flush=True)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def instead_of_stderr(self) -> redirect_stderr:
        """Within it, takes what `sys.stderr` gets: warnings, and progress bars a line a minute."""
        return stderr_as_lines(self, self._clock)


def stderr_as_lines(
    say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> redirect_stderr:
    """Within it, `say` gets what `sys.stderr` would: warnings, and bars a line a minute."""
    return redirect_stderr(_Progress(say, clock))


class _Progress(io.TextIOBase):
    """A stream that turns a bar, which rewrites its line twice a second, into lines of a log."""

    encoding = "utf-8"

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]):
        self._say, self._clock = say, clock
        self._said_at, self._line = clock(), ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *whole, rest = (self._line + text).split("\n")
        due = self._clock() - self._said_at >= PROGRESS_SECONDS
        for line in whole:
            if due or not line.endswith(_CURSOR_UP):
                self._emit(line)
        *rewritten, self._line = rest.rsplit("\r", 1)
        if rewritten and due:
            self._emit(self._line)
        return len(text)

    def _emit(self, line: str) -> None:
        line = line.rsplit("\r", 1)[-1].replace(_CURSOR_UP, "").rstrip()
        if line:
            self._said_at = self._clock()
            self._say(line)
