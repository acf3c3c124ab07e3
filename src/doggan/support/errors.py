"""Errors meant for people: one sentence with what was found, what was expected, what to do."""


class DogganError(Exception):
    """Something failed that the user's input did not cause; the command exits with 1."""

    exit_code = 1


class InputError(DogganError):
    """The input cannot be used as it is; the command exits with 2."""

    exit_code = 2


class NonFiniteLossError(DogganError):
    """A loss or a gradient became infinite or not a number."""
