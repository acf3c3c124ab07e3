"""The script as a notebook: its settings, its bundle and its run, and what came of it, inline."""

import json
import re

from doggan.competition import JUDGE_DATASET
from doggan.support.errors import InputError

SETTINGS_CELL = "settings"
_BUILD = "run: doggan kernel build --notebook"
# What Kaggle, Jupyter, Colab and pages made by nbconvert each call a cell that is folded away.
_FOLDED = {
    "_kg_hide-input": True,
    "jupyter": {"source_hidden": True},
    "cellView": "form",
    "tags": ["hide-input"],
}

_TITLE = f"""\
# Dogs by a GAN, from photos to a scored `images.zip`

Written by `doggan kernel build --notebook`: it holds the whole package, installs nothing and asks
no network. Run all cells.

- **On Kaggle** attach the competition *Generative Dog Images*, and the data set
  `{JUDGE_DATASET}` for a score; choose a GPU.
- **In Colab** put photos beside the notebook and set `INPUT` to their folder or zip. With
  `RECIPE = "mnist-dcgan"` set `INPUT` to the folder of MNIST's files, such as
  `torchvision.datasets.MNIST("digits", download=True)` leaves in `digits/MNIST/raw`.
"""
_RUN = """\
import tempfile

PACKAGE = tempfile.TemporaryDirectory(prefix="doggan-")  # which goes when the notebook does
unpack(PACKAGE.name)
if run():
    raise SystemExit("The run has failed; the lines above say why")
"""
# What each of the last cells shows: a heading, and the call.
_SHOWN = (
    ("The score", "show.scorecard()"),
    ("Dogs that the generator draws", 'show.picture("grid.png")'),
    ("The training's curves", 'show.picture("curves.png")'),
    ("The training as a GIF", 'show.picture("progress.gif")'),
    ("The photos that are nearest to the dogs", "show.neighbours(INPUT)"),
)


def as_notebook(script: str) -> str:
    """The notebook's JSON, of format 4.5, from the script's text."""
    sections = re.split(r"^# (?:Settings|The package|The start).*$", script, flags=re.MULTILINE)
    _, settings, package, start = (section.strip() for section in sections)
    functions = start.partition("\n\n\ndef main()")[0]
    cells = [
        _markdown("title", _TITLE),
        _markdown("about-settings", "## Settings, yours to edit"),
        _code(SETTINGS_CELL, settings),
        _markdown("about-package", "## The package, and its run"),
        _code("package", f"{package}\n\n\n{functions}", folded=True),
        _code("run", _RUN.strip()),
    ]
    for place, (heading, call) in enumerate(_SHOWN):
        importing = "from doggan.kaggle.inside import show\n\n" if place == 0 else ""
        cells.append(_markdown(f"about-shown-{place}", f"## {heading}"))
        cells.append(_code(f"shown-{place}", importing + call))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return _dump(notebook)


def read_cell(notebook: str, name: str) -> str:
    """The source of the cell of that id. Raises InputError where there is none."""
    return "".join(_find_cell(_parse(notebook), name)["source"])


def write_cell(notebook: str, name: str, source: str) -> str:
    """The notebook with that cell's source changed. Raises InputError where there is none."""
    content = _parse(notebook)
    _find_cell(content, name)["source"] = _lines(source)
    return _dump(content)


def _parse(notebook: str) -> dict:
    try:
        content = json.loads(notebook)
    except (ValueError, RecursionError) as error:
        raise InputError(f"this is no notebook ({error}); {_BUILD}") from error
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise InputError(f"this is no notebook: it has no cells; {_BUILD}")
    return content


def _find_cell(content: dict, name: str) -> dict:
    for cell in content["cells"]:
        if isinstance(cell, dict) and cell.get("id") == name:
            source = cell.get("source")
            if isinstance(source, str) or all(isinstance(line, str) for line in source or [0]):
                return cell
    raise InputError(f"the notebook has no cell {name!r}, as those of doggan have; {_BUILD}")


def _dump(content: dict) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _markdown(name: str, text: str) -> dict:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": _lines(text)}


def _code(name: str, text: str, folded: bool = False) -> dict:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": name,
        "metadata": dict(_FOLDED) if folded else {},
        "outputs": [],
        "source": _lines(text),
    }


def _lines(text: str) -> list[str]:
    return text.strip("\n").splitlines(keepends=True)
