"""Fields of dataclasses that say beside their default which values they take."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from doggan.support.errors import InputError
from doggan.support.tables import choose


def within(default: Any, fits: Callable[[Any], bool], expected: str) -> Any:
    """A field whose values must pass `fits`; `expected` says in an error which do."""

    def check(key: str, value: object) -> None:
        if not fits(value):
            raise InputError(f"{key} is {value!r:.100}; expected {expected}")

    return field(default=default, metadata={"check": check})


def at_least(least: float, default: Any) -> Any:
    """A field whose values are `least` or more, and finite: below 1e15, which no run reaches."""
    return within(default, lambda value: least <= value < 1e15, f"{least} or more, below 1e15")


def between(least: float, most: float, default: Any) -> Any:
    """A field whose values lie from `least` to `most`, both included."""
    return within(default, lambda value: least <= value <= most, f"{least:,} to {most:,}")


def name_in(table: str, default: str) -> Any:
    """A field whose values are the names of `table`, given as `module:TABLE`.

    The table stands in a room above this one, so it is looked up only when a recipe is checked.
    """

    def check(key: str, value: str) -> None:
        choose(pkgutil.resolve_name(table), value, key)

    return field(default=default, metadata={"check": check})


def split_names(text: str) -> list[str]:
    """The names of `one+another`, in their order; none of an empty text."""
    return text.split("+") if text else []


def names_in(table: str) -> Any:
    """A field whose values are names of `table` (see `name_in`) with `+` between; none at first."""

    def check(key: str, value: str) -> None:
        for name in split_names(value):
            choose(pkgutil.resolve_name(table), name, key)

    return field(default="", metadata={"check": check})


@dataclass(frozen=True, kw_only=True)
class Section:
    """Values that are checked as they are set, each by the check that stands beside it."""

    def __post_init__(self):
        section = type(self).__name__.removesuffix("Recipe").lower()  # TrainRecipe: train
        for item in fields(self):
            if "check" in item.metadata:
                key = f"{section}.{item.name}" if section else item.name
                item.metadata["check"](key, getattr(self, item.name))
