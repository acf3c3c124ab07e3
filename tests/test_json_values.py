"""Values from a JSON file that may come from anywhere."""

import math
from dataclasses import dataclass

import pytest

from doggan.support.json_values import as_count, as_number, as_text, is_number, plain_fields


@dataclass
class Known:
    name: str
    images: int
    score: float
    rows: list


def test_plain_fields_are_read_and_the_others_are_left_to_the_caller():
    content = {"name": "a", "images": 3, "score": 2, "rows": [], "unknown": None}
    assert plain_fields(Known, content) == {"name": "a", "images": 3, "score": 2.0}
    assert as_text("x" * 1000) == "x" * 300


@pytest.mark.parametrize(
    ("read", "value"),
    [
        *((as_number, value) for value in (math.nan, math.inf, 10**400, True, "1", None)),
        *((as_count, value) for value in (-1, 1.0, True, 2**53, "1")),
        *((as_text, value) for value in (1, None, ["a"])),
    ],
)
def test_other_values_are_refused(read, value):
    with pytest.raises((TypeError, ValueError)):
        read(value)


@pytest.mark.parametrize("content", [{}, {"name": "a"}, [], "text", None, 7])
def test_what_lacks_a_field_is_refused(content):
    with pytest.raises((KeyError, TypeError)):
        plain_fields(Known, content)


def test_a_number_is_below_its_bound_either_way():
    assert is_number(-7, below=7.5)
    assert not is_number(-7, below=7)
    assert not is_number(7, below=7)
