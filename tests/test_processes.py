"""The helper that ends what tests start: whatever they do, nothing outlives its test."""

import subprocess
import sys
import time

import pytest

from processes import PROC, none_left, run, started, wait_until

SLEEP = "import time; time.sleep(1000)"
# Starts one of its group and one of a session of its own, says their numbers, and sleeps or ends.
PARENT = f"""
import subprocess, sys
for new in (False, True):
    child = subprocess.Popen(
        [sys.executable, "-c", {SLEEP!r}], stdout=subprocess.DEVNULL, start_new_session=new
    )
    print(child.pid, flush=True)
"""


def is_alive(pid):
    """Whether a process runs; one that is dead and not yet reaped does not."""
    try:
        state = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def all_end(pids):
    until = time.monotonic() + 30
    while any(map(is_alive, pids)):
        assert time.monotonic() < until
        time.sleep(0.02)


needs_proc = pytest.mark.skipif(not PROC.exists(), reason="there is no /proc here")


@needs_proc
@pytest.mark.parametrize("then", [SLEEP, "pass"], ids=["runs on", "has ended"])
def test_a_failing_test_leaves_neither_its_process_nor_those_that_it_started(then):
    pids = []

    def fail():
        arguments = [sys.executable, "-c", PARENT + then]
        with started(arguments, stdout=subprocess.PIPE) as process:
            pids.extend([process.pid, *(int(process.stdout.readline()) for _ in range(2))])
            assert all(map(is_alive, pids[1:]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(pids) == 3
    all_end(pids)


@needs_proc
def test_what_is_started_otherwise_ends_too():
    with none_left():
        child = subprocess.Popen([sys.executable, "-c", SLEEP])
        assert child.poll() is None
    assert child.wait(30) < 0


def test_a_process_that_does_not_end_is_not_waited_for():
    with pytest.raises(subprocess.TimeoutExpired):
        run([sys.executable, "-c", SLEEP], seconds=0.5)


def test_a_run_gives_what_was_printed():
    found = run([sys.executable, "-c", "import sys; print('out'); sys.exit('err')"])
    assert (found.returncode, found.stdout, found.stderr) == (1, "out\n", "err\n")


@pytest.mark.parametrize(
    ("code", "words"),
    [("print('sorry')", r"ended with 0: \('sorry"), (SLEEP, "was too slow")],
    ids=["ended", "slow"],
)
def test_waiting_for_what_never_comes_fails_with_the_output(code, words):
    with (
        started([sys.executable, "-c", code], stdout=subprocess.PIPE) as process,
        pytest.raises(pytest.fail.Exception, match=words),
    ):
        wait_until(lambda: False, process, seconds=30 if "sorry" in code else 0.2)
