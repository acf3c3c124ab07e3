"""A run folder as a report needs it: read with suspicion, for it may come from anywhere.

A file that is missing leaves a None or an empty value; one that is damaged, too large or leads out
of the folder leaves a note besides. Only a folder that is no run at all is an error.
"""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from doggan.gan.run_folder import (
    ENVIRONMENT,
    GRID,
    GRIDS,
    NEIGHBOURS,
    NEIGHBOURS_PAIRS,
    RECIPE,
    RESULT,
    SCORECARD,
    SET,
    STATS,
    TRUNCATION,
    ZIP,
)
from doggan.report.results import (
    Check,
    Nearest,
    Sweep,
    check_zip,
    parse_check,
    parse_nearest,
    parse_sweep,
)
from doggan.scoring.scorecard import Scorecard
from doggan.scoring.scorecard_file import read_scorecard
from doggan.support.errors import InputError
from doggan.support.files import format_bytes

MAX_TEXT_BYTES = 20_000_000
MAX_GRIDS = 100_000
MAX_SCORECARDS = 6
_LARGEST = 1e30  # NaN and infinity are not less
_MAX_NOTES = 12
_MAX_VALUES, _MAX_VALUE_LENGTH = 200, 300
_DAMAGE = (AttributeError, KeyError, TypeError, ValueError, RecursionError, OverflowError)

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run folder holds.

    `recipe` and `environment` are flat, `{"train.batch_size": "32"}`, all as text; `manifest` and
    `result` are JSON objects as they were found, still to be read with suspicion. `rows` are the
    training's, oldest first, of finite floats only; `grids` are (images seen, file), in order;
    `scorecards` are (file name, scorecard). `notes` are lines on what could not be used.
    """

    folder: Path
    name: str
    recipe: dict[str, str]
    environment: dict[str, str]
    manifest: dict
    result: dict
    rows: list[dict[str, float]]
    grids: list[tuple[int, Path]]
    final_grid: Path | None
    scorecards: list[tuple[str, Scorecard]]
    nearest: Nearest | None
    pairs_picture: Path | None
    sweep: Sweep | None
    check: Check | None
    notes: list[str] = field(default_factory=list)


def read_run(folder: Path, name: str) -> Run:
    """Everything in `folder` that a report shows; its zip is held against the rules now.

    Raises InputError where `folder` is no run's folder.
    """
    if not (folder / RECIPE).is_file():
        raise InputError(
            f"{folder} is not a run folder: it holds no {RECIPE}; "
            "doggan run, doggan train and doggan demo leave one"
        )
    files = _Files(folder)
    grids = files.grids()
    result = files.json(RESULT, _as_object) or {}
    recipe = files.toml(RECIPE)
    return Run(
        folder=folder,
        name=name,
        recipe=recipe,
        environment=_flatten(files.json(ENVIRONMENT, _as_object) or {}),
        manifest=files.json(f"{SET}/manifest.json", _as_object) or {},
        result=result,
        rows=files.rows(),
        grids=grids,
        final_grid=files.path(GRID) or (grids[-1][1] if grids else None),
        scorecards=files.scorecards(),
        nearest=files.json(NEIGHBOURS, parse_nearest),
        pairs_picture=files.path(NEIGHBOURS_PAIRS),
        sweep=files.json(TRUNCATION, parse_sweep),
        check=files.check(result, recipe.get("submission.count", "")),
        notes=files.notes,
    )


class _Files:
    """The files of one folder, and notes on those that cannot be used."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        if len(self.notes) < _MAX_NOTES:
            self.notes.append(" ".join(line.split())[:_MAX_VALUE_LENGTH])

    def path(self, name: str) -> Path | None:
        """A regular file inside the folder; a link that leads out of it could show any secret."""
        path = self._folder / name
        if not path.is_file():
            return None
        if not path.resolve().is_relative_to(self._folder.resolve()):
            self.note(f"{name} leads out of the run folder, and was left out")
            return None
        return path

    def text(self, name: str) -> str | None:
        path = self.path(name)
        if path is None:
            return None
        try:
            if path.stat().st_size > MAX_TEXT_BYTES:
                self.note(f"{name} has over {format_bytes(MAX_TEXT_BYTES)}, and was left out")
                return None
            return path.read_text("utf-8")
        except (OSError, ValueError) as error:
            self.note(f"{name} cannot be read: {error}")
            return None

    def json(self, name: str, parse: Callable[[object], Parsed]) -> Parsed | None:
        """What `parse` makes of the file's JSON; an error of it is a note."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return parse(json.loads(text))
        except _DAMAGE:
            self.note(f"{name} is damaged, and was left out")
            return None

    def toml(self, name: str) -> dict[str, str]:
        try:
            return _flatten(tomllib.loads(self.text(name) or ""))
        except (ValueError, RecursionError) as error:
            self.note(f"{name} is damaged: {error}")
            return {}

    def rows(self) -> list[dict[str, float]]:
        lines = (self.text(STATS) or "").splitlines()
        rows = [row for row in map(_row, lines) if "images" in row]
        if len(rows) < len(lines):
            self.note(f"{len(lines) - len(rows):,} of {len(lines):,} lines of {STATS} are damaged")
        return sorted(rows, key=lambda row: row["images"])

    def grids(self) -> list[tuple[int, Path]]:
        folder = self._folder / GRIDS
        names = sorted(path.name for path in folder.glob("*.png") if path.stem.isdecimal())
        if len(names) > MAX_GRIDS:
            self.note(f"grids/ holds over {MAX_GRIDS:,} pictures; the others were left out")
        paths = (self.path(f"grids/{name}") for name in names[:MAX_GRIDS])
        return sorted((int(path.stem[:15]), path) for path in paths if path)

    def scorecards(self) -> list[tuple[str, Scorecard]]:
        """`scorecard.json` and its fellows by other judges, such as `scorecard-inception.json`."""
        found = []
        for name in sorted(path.name for path in self._folder.glob("scorecard*.json")):
            path = self.path(name) if len(found) < MAX_SCORECARDS else None
            if path:
                try:
                    found.append((name, read_scorecard(path)))
                except InputError as error:
                    self.note(str(error))
        return sorted(found, key=lambda card: card[0] != SCORECARD)

    def check(self, result: dict, count: str) -> Check | None:
        """The zip's check, taken now; where the zip is gone, the one that the run wrote down."""
        path = self.path(ZIP)
        try:
            if path:
                return check_zip(path, int(count) if count.isdecimal() else None)
            return parse_check(result["submission"]) if "submission" in result else None
        except (InputError, *_DAMAGE) as error:
            self.note(f"the submission's check cannot be shown: {error}")
            return None


def _as_object(content: object) -> dict:
    if not isinstance(content, dict):
        raise TypeError("not an object")
    return content


def _row(line: str) -> dict[str, float]:
    """The finite numbers of a line; empty where it holds no object."""
    try:
        content = json.loads(line)
        return {
            key: float(value)
            for key, value in _as_object(content).items()
            if type(value) in (int, float) and abs(value) < _LARGEST
        }
    except _DAMAGE:
        return {}


def _flatten(content: dict, prefix: str = "") -> dict[str, str]:
    """`{"train": {"flip": True}}` -> `{"train.flip": "true"}`, within bounds."""
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            flat[f"{prefix}{key}"[:_MAX_VALUE_LENGTH]] = text[:_MAX_VALUE_LENGTH]
        if len(flat) >= _MAX_VALUES:
            break
    return dict(list(flat.items())[:_MAX_VALUES])
