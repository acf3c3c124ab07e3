"""Processes that tests start: none outlives its test, and none is waited for without end."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

# Far beyond what any of them takes, on a slow and busy machine too.
PATIENCE_SECONDS = 300.0
MARK = "DOGGAN_TEST_PROCESSES"
PROC = Path("/proc")


@contextlib.contextmanager
def none_left() -> Iterator[None]:
    """Kills, at its end, all processes that were started meanwhile, and those that they started.

    They are known by a variable of their environment, which reaches those of other groups and
    sessions too; where there is no /proc, `started` still ends a process's group.
    """
    resource_tracker.ensure_running()  # which serves all tests, so it gets no mark
    mark = uuid.uuid4().hex
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARK, mark)
        try:
            yield
        finally:
            for pid in marked(mark):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for child in multiprocessing.active_children():  # a fork server's have no mark
                child.kill()


def marked(mark: str) -> list[int]:
    """The processes that were started with this mark, and run."""
    found = []
    for folder in PROC.glob("[0-9]*"):
        # Other people's processes, those that have just ended, and those that only wait to be
        # reaped show nothing.
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


@contextlib.contextmanager
def started(arguments: Sequence[object], **options: object) -> Iterator[subprocess.Popen]:
    """A process for the length of a test: a group of its own, which is killed at the end."""
    words = [str(word) for word in arguments]
    with none_left():
        if "env" in options:
            options["env"] = {**options["env"], MARK: os.environ[MARK]}
        process = subprocess.Popen(words, start_new_session=True, text=True, **options)
        try:
            yield process
        finally:
            _kill(process)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()


def run(
    arguments: Sequence[object], *, seconds: float = PATIENCE_SECONDS, **options: object
) -> subprocess.CompletedProcess:
    """Runs a process to its end; what it prints is captured unless `options` say where it goes."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with started(arguments, **options) as process:
        out, err = process.communicate(timeout=seconds)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_until(
    ready: Callable[[], object], process: subprocess.Popen, seconds: float = PATIENCE_SECONDS
) -> None:
    """Waits for what a process does; the test fails, with its output, where it ends before."""
    until = time.monotonic() + seconds
    while not ready():
        late = time.monotonic() > until
        if late or process.poll() is not None:
            how = "was too slow" if late else f"ended with {process.returncode}"
            _kill(process)
            pytest.fail(f"the process {how}: {process.communicate(timeout=10)}")
        time.sleep(0.05)


def _kill(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # its group may live when it does not
    process.wait(10)
