"""Things that come in kinds stand in tables, name -> thing; a name is looked up here."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

from doggan.support.errors import InputError

Thing = TypeVar("Thing")


def choose(table: Mapping[str, Thing], name: str, what: str) -> Thing:
    """The entry of `table` called `name`; `what` says in an error what was asked for.

    Raises InputError, with the known names and the nearest one, where there is none.
    """
    if name in table:
        return table[name]
    name = name[:100]  # a file's own may have no end
    nearest = difflib.get_close_matches(name, table, n=1)
    hint = f"; the nearest is '{nearest[0]}'" if nearest else ""
    raise InputError(f"{what} is {name!r}; expected one of {', '.join(table)}{hint}")
