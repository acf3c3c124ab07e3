"""How many threads compute: as many as were asked for, else one a core that is free."""

import math
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Barrier
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# What PyTorch and NumPy read when they are loaded.
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MOST_THREADS = 1024
CORE_TIMES = Path("/proc/stat")  # Linux's: what each core has done since the start, in ticks
CORE_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # a container's: so many microseconds of so many
_WATCHED_SECONDS = 0.5  # some 50 ticks
MOST_AHEAD = 256  # results, of a photo say, however many threads there are


def choose_threads(asked: int | None, say: Callable[[str], None]) -> None:
    """Makes this process and those that it starts compute with so many threads.

    Where none are `asked` for, nor by OMP_NUM_THREADS, it is one a core that is free now: threads
    that must share cores with another program wait for each other most of the time.
    """
    if not asked and not _asked_before():
        cores = available_cores()
        asked = free_cores()
        if asked < cores:
            say(
                f"Other programs keep cores busy here: {asked} of {cores} threads are used "
                "(--threads N chooses)"
            )
        elif cores == len(_own_cores()):
            return  # as PyTorch has it
    if asked:
        use_threads(asked)


def use_threads(count: int) -> None:
    """Makes this process and those that it starts compute with so many threads."""
    os.environ.update(dict.fromkeys(VARIABLES, str(count)))
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def thread_count() -> int:
    """How many threads a pool of ours gets."""
    return _asked_before() or available_cores()


def map_ahead(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T]
) -> Iterator[R]:
    """`pool.map`, of which no more than MOST_AHEAD results wait to be taken."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= MOST_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def map_on_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterable[R]:
    """`function` of each item, in order, by as many threads as PyTorch has, each one for itself.

    What PyTorch computes in one of these is not shared out among others.
    """
    import torch

    count = torch.get_num_threads()
    return map(function, items) if count == 1 else _own_threads(count).map(function, items)


@cache
def _own_threads(count: int) -> ThreadPoolExecutor:
    """So many threads, in each of which PyTorch computes with that one alone."""
    import torch

    all_here = Barrier(count)

    def start(_: int) -> None:
        torch.get_num_threads()  # a thread's first look sets its count
        torch.set_num_threads(1)
        all_here.wait()  # so that none of them starts twice

    pool = ThreadPoolExecutor(count)
    list(pool.map(start, range(count)))
    torch.set_num_threads(count)  # what is not of a thread alone is as before
    return pool


def available_cores() -> int:
    """The cores that this process may use, which a container or `taskset` can make fewer."""
    return max(1, round(min(len(_own_cores()), _cores_worth_of_time())))


def free_cores() -> int:
    """Those of them that are idle, watched for half a second; at least 1.

    All of them where the system does not tell as Linux does.
    """
    before = _core_times()
    time.sleep(_WATCHED_SECONDS)
    after = _core_times()
    idle = 0.0
    for core in _own_cores():
        ticks = [now - then for now, then in zip(after[core], before[core], strict=True)]
        idle += ticks[0] / ticks[1] if ticks[1] > 0 else 1
    return max(1, min(round(idle), available_cores()))


def _asked_before() -> int:
    """The threads that the environment asks for; 0 for none."""
    asked = os.environ.get(VARIABLES[0], "")
    return min(int(asked), MOST_THREADS) if asked.isdecimal() else 0


def _cores_worth_of_time() -> float:
    """How many cores' time a container is given, whichever cores it is; infinite if unlimited."""
    try:
        quota, period = CORE_QUOTA.read_text("ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no container, or "max"
        return math.inf


def _own_cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _core_times() -> dict[int, tuple[int, int]]:
    """Core -> (ticks in which it was idle or waited for a disk, all ticks); zeros if unknown."""
    times = dict.fromkeys(_own_cores(), (0, 0))
    try:
        lines = CORE_TIMES.read_text("ascii").splitlines()
    except (OSError, ValueError):
        return times
    for line in lines:
        if found := re.fullmatch(r"cpu(\d+) ([\d ]+)", line):
            # user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user.
            ticks = [int(count) for count in found[2].split()[:8]]
            times[int(found[1])] = (sum(ticks[3:5]), sum(ticks))
    return times
