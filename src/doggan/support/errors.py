"""Errors meant for people: one sentence with what was found, what was expected, what to do."""

import errno


class DogganError(Exception):
    """Something failed that the user's input did not cause; the command exits with 1."""

    exit_code = 1


class InputError(DogganError):
    """The input cannot be used as it is; the command exits with 2."""

    exit_code = 2


class NonFiniteLossError(DogganError):
    """A loss or a gradient became infinite or not a number."""


class NonFiniteAtEndError(NonFiniteLossError):
    """The same where the training was to end then, by a signal or its time limit."""


def in_short(error: Exception) -> str:
    """An error's words on one line, 300 characters at most; its kind where it has none."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def is_lost_device(error: Exception) -> bool:
    """Whether a GPU failed, was lost, or what runs on it broke: no fault of the input's."""
    words = str(error).lower()
    told = ("cuda error", "cudnn error", "cublas", "nccl error", "device-side assert")
    return isinstance(error, RuntimeError) and any(word in words for word in told)


def is_out_of_memory(error: Exception) -> bool:
    """Whether the machine, or its GPU, had no memory left; PyTorch has no type for the former."""
    words = str(error).lower()
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    refused = isinstance(error, OSError) and error.errno == errno.ENOMEM
    # PyTorch's allocator, C++'s, Python's threads, and oneDNN, which makes code as it goes.
    told = ("allocate memory", "bad_alloc", "start new thread", "could not create a primitive")
    failed = isinstance(error, RuntimeError) and any(word in words for word in told)
    return named or refused or failed
