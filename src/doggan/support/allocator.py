"""Memory that is freed and soon wanted again."""

import ctypes

# What glibc's mallopt sets, by its malloc.h, and the values that switch each off.
_M_MMAP_MAX, _NONE = -4, 0
_M_TRIM_THRESHOLD, _NEVER = -1, -1


def keep_freed_memory() -> bool:
    """Makes this process keep what it frees for its next buffers; returns whether it can.

    By itself glibc gives large buffers back to the system, which clears every page that it hands
    out again: on a CPU a training, whose maps have some MB, would wait for that at each layer.
    Other allocators stay as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, _NONE) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
