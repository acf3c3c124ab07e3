"""Values from a JSON file that may come from anywhere: what they must be, or an error.

The readers raise KeyError, TypeError or ValueError for anything else, and cut texts short.
"""

from dataclasses import fields


def is_number(value: object, below: float = 1e300) -> bool:
    """Whether it is a number of a size `below` that: not a flag, NaN, infinity or a huge int."""
    return type(value) in (int, float) and abs(value) < below


def as_number(value: object) -> float:
    """A number as `is_number` has it."""
    if not is_number(value):
        raise ValueError("not a finite number")
    return float(value)


def as_count(value: object) -> int:
    """A whole number from 0 to 2**53."""
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError("not a count")
    return value


def as_text(value: object) -> str:
    """The first 300 characters of a text."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value[:300]


def plain_fields(kind: type, content: object) -> dict[str, float | int | str]:
    """The values in `content` of those fields of a dataclass that are a number, count or text."""
    readers = {float: as_number, int: as_count, str: as_text}
    return {
        field.name: readers[field.type](content[field.name])
        for field in fields(kind)
        if field.type in readers
    }
