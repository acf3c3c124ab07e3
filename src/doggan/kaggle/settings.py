"""The settings at the top of the script: read, and changed where they stand."""

import ast
import json
from collections.abc import Iterable
from pathlib import Path

from doggan.competition import SIDE_PX
from doggan.recipe import Recipe, load_recipe, recipe_names, recipe_values
from doggan.support.errors import InputError
from doggan.support.files import read_small_file

SETTINGS = ("RECIPE", "OVERRIDES", "TIME_LIMIT", "SEED", "ONLY_ZIP", "CONTINUE", "INPUT")
_MAX_BYTES = 10_000_000
# How long a run takes whose TIME_LIMIT is None. The competition gives a kernel 9 hours, and one
# that takes longer is ended and leaves nothing; the rest is for what no clock in there sees: the
# container's start, and the output's upload. Teams at the top stopped training at 32,000 s, 8h53m.
FULL_SECONDS = 8.75 * 3600
_BASE = "dogs"  # what a recipe of the user's own is told apart from


def read_script(path: Path) -> str:
    """A script's text. Raises InputError where it cannot be read as such."""
    try:
        return read_small_file(path, _MAX_BYTES)
    except InputError as error:
        raise InputError(f"{error}; run: doggan kernel build") from error


def read_settings(script: str) -> dict[str, object]:
    """Each setting's value. Raises InputError where the text is no script that doggan built."""
    return {name: ast.literal_eval(node) for name, node in _find(script).items()}


def write_settings(script: str, values: dict[str, object]) -> str:
    """The script with these settings changed, and not a byte more: comments stay.

    Raises InputError where the text is no script that doggan built.
    """
    lines = script.encode().splitlines(keepends=True)
    nodes = _find(script)
    # From the last one up, so that those above stay where they were found.
    for name in sorted(values, key=lambda name: nodes[name].lineno, reverse=True):
        node = nodes[name]
        before = lines[node.lineno - 1][: node.col_offset]
        after = lines[node.end_lineno - 1][node.end_col_offset :]
        value = _written(values[name]).encode()
        lines[node.lineno - 1 : node.end_lineno] = [before + value + after]
    return b"".join(lines).decode()


def settings_of_recipe(name_or_file: str, overrides: Iterable[str]) -> dict[str, object]:
    """RECIPE, OVERRIDES and SEED for a recipe; one in a file becomes what it overrides in `dogs`.

    Raises InputError where the recipe is not one of images of the competition's side.
    """
    recipe, overrides = load_recipe(name_or_file, overrides), list(overrides)
    if recipe.data.side_px != SIDE_PX:
        side = recipe.data.side_px
        raise InputError(f"data.side_px is {side} in {name_or_file}; the competition has {SIDE_PX}")
    if name_or_file not in recipe_names():
        name_or_file, overrides = _BASE, overrides_for(recipe, _BASE)
    return {"RECIPE": name_or_file, "OVERRIDES": overrides, "SEED": recipe.seed}


def settings_with(settings: dict[str, object], overrides: Iterable[str]) -> dict[str, object]:
    """RECIPE, OVERRIDES and SEED with more overrides, of which the last of a key counts; the seed
    stays unless one of them sets it.

    Raises InputError where they make no recipe of images of the competition's side.
    """
    added = list(overrides)
    by_key = {each.partition("=")[0].strip(): each for each in [*settings["OVERRIDES"], *added]}
    found = settings_of_recipe(str(settings["RECIPE"]), by_key.values())
    sets_seed = any(each.partition("=")[0].strip() == "seed" for each in added)
    return found if sets_seed else found | {"SEED": settings["SEED"]}


def overrides_for(recipe: Recipe, name: str) -> list[str]:
    """What makes `recipe` of the named one, but for the seed: `load_recipe(name, ...)` gives it."""
    found, base = recipe_values(recipe), recipe_values(load_recipe(name))
    changed = {key for key in found if found[key] != base[key]} - {"seed"}
    if changed:
        changed.add("budget.widths")  # else a width that is set by hand would switch them off
    return [f"{key}={json.dumps(found[key])}" for key in sorted(changed)]


def _find(script: str) -> dict[str, ast.expr]:
    """Where each setting's value stands."""
    try:
        body = ast.parse(script).body
    except (SyntaxError, ValueError) as error:
        raise InputError(f"this is no Python script ({error}); run: doggan kernel build") from error
    found = {}
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, node.value)
    if missing := [name for name in SETTINGS if name not in found]:
        raise InputError(
            f"this is not a script of this doggan: it has no setting {missing[0]}; "
            "run: doggan kernel build"
        )
    for name in SETTINGS:
        try:
            ast.literal_eval(found[name])
        except ValueError as error:
            raise InputError(f"the setting {name} is no plain value; write it as one") from error
    return {name: found[name] for name in SETTINGS}


def _written(value: object) -> str:
    """The value as Python, with double quotes."""
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
