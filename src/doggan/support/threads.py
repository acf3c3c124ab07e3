"""How many threads compute: one a core that this process may use, or as many as were asked for."""

import os
import sys

# What PyTorch and NumPy read when they are loaded.
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def use_threads(count: int) -> None:
    """Makes this process and those that it starts compute with so many threads."""
    os.environ.update(dict.fromkeys(VARIABLES, str(count)))
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def thread_count() -> int:
    """How many threads a pool of ours gets."""
    asked = os.environ.get(VARIABLES[0], "")
    return int(asked) if asked.isdecimal() and int(asked) else available_cores()


def available_cores() -> int:
    """The cores that this process may use, which a container or `taskset` can make fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
