"""A run folder as a report needs it: read with suspicion, for it may come from anywhere.

A file that is missing leaves a None or an empty value; one that is damaged, too large or leads out
of the folder leaves a note besides. Only a folder that is no run at all is an error.
"""

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from doggan.competition import IMAGES
from doggan.gan import run_folder
from doggan.recipe import MAX_RECIPE_BYTES
from doggan.scoring.neighbours import Nearest, parse_nearest
from doggan.scoring.scorecard import Scorecard, read_scorecard
from doggan.scoring.sweep import Sweep, parse_sweep
from doggan.submission import SubmissionCheck, check_submission, parse_check
from doggan.support.errors import InputError
from doggan.support.files import format_bytes
from doggan.support.json_values import is_number

MAX_TEXT_BYTES = 20_000_000
MAX_GRIDS = 100_000
MAX_SCORECARDS = 6
_MAX_NOTES = 12
_MAX_VALUES, _MAX_VALUE_LENGTH = 200, 300
_DAMAGE = (AttributeError, KeyError, TypeError, ValueError, RecursionError, OverflowError)

Parsed = TypeVar("Parsed")


class RunRecord:
    """What a run folder holds.

    `recipe` and `environment` are flat, `{"train.batch_size": "32"}`, all as text; `manifest` and
    `result` are JSON objects as they were found, still to be read with suspicion. `rows` are the
    training's, oldest first, of finite floats only; `grids` are (images seen, file), in order;
    `scorecards` are (file name, scorecard). `notes` are lines on what could not be used.
    """

    def __init__(self, folder: Path, name: str):
        """Reads `folder`, to be called `name`; its zip is held against the rules now.

        Raises InputError where `folder` is no run's folder.
        """
        if not (folder / run_folder.RECIPE).is_file():
            raise InputError(
                f"{folder} is not a run folder: it holds no {run_folder.RECIPE}; "
                "doggan run, doggan train and doggan demo leave one"
            )
        self.folder, self.name = folder, name
        self.notes: list[str] = []
        self.recipe: dict[str, str] = self._read_toml(run_folder.RECIPE)
        self.environment: dict[str, str] = self._read_json(run_folder.ENVIRONMENT, _flatten) or {}
        self.manifest: dict = self._read_json(f"{run_folder.SET}/manifest.json", _as_object) or {}
        self.result: dict = self._read_json(run_folder.RESULT, _as_object) or {}
        self.rows: list[dict[str, float]] = self._read_rows()
        self.grids: list[tuple[int, Path]] = self._find_grids()
        last_grid = self.grids[-1][1] if self.grids else None
        self.final_grid: Path | None = self._find(run_folder.GRID) or last_grid
        self.scorecards: list[tuple[str, Scorecard]] = self._read_scorecards()
        self.nearest: Nearest | None = self._read_json(run_folder.NEIGHBOURS, parse_nearest)
        self.pairs_picture: Path | None = self._find(run_folder.NEIGHBOURS_PAIRS)
        self.sweep: Sweep | None = self._read_json(run_folder.TRUNCATION, parse_sweep)
        self.check: SubmissionCheck | None = self._check_zip()

    def note(self, line: str) -> None:
        """Keeps a line for the page, within bounds; files are named as in the folder."""
        if len(self.notes) < _MAX_NOTES:
            line = line.replace(f"{self.folder}{os.sep}", "")
            self.notes.append(" ".join(line.split())[:_MAX_VALUE_LENGTH])

    def _find(self, name: str) -> Path | None:
        """A regular file inside the folder; a link that leads out of it could show any secret."""
        path = self.folder / name
        if not path.is_file():
            return None
        if not path.resolve().is_relative_to(self.folder.resolve()):
            self.note(f"{name} leads out of the run folder, and was left out")
            return None
        return path

    def _read_text(self, name: str, most_bytes: int = MAX_TEXT_BYTES) -> str | None:
        path = self._find(name)
        if path is None:
            return None
        try:
            if path.stat().st_size <= most_bytes:
                return path.read_text("utf-8")
            self.note(f"{name} has over {format_bytes(most_bytes)}, and was left out")
        except (OSError, ValueError) as error:
            self.note(f"{name} cannot be read: {error}")
        return None

    def _read_json(self, name: str, parse: Callable[[object], Parsed]) -> Parsed | None:
        """What `parse` makes of the file's JSON; an error of it is a note."""
        text = self._read_text(name)
        if text is None:
            return None
        try:
            return parse(json.loads(text))
        except _DAMAGE:
            self.note(f"{name} is damaged, and was left out")
            return None

    def _read_toml(self, name: str) -> dict[str, str]:
        try:
            return _flatten(tomllib.loads(self._read_text(name, MAX_RECIPE_BYTES) or ""))
        except (ValueError, RecursionError) as error:
            self.note(f"{name} is damaged: {error}")
            return {}

    def _read_rows(self) -> list[dict[str, float]]:
        lines = (self._read_text(run_folder.STATS) or "").splitlines()
        rows = [row for row in map(_parse_row, lines) if "images" in row]
        if len(rows) < len(lines):
            damaged = len(lines) - len(rows)
            self.note(f"{damaged:,} of {len(lines):,} lines of {run_folder.STATS} are damaged")
        return sorted(rows, key=lambda row: row["images"])

    def _find_grids(self) -> list[tuple[int, Path]]:
        name = run_folder.GRIDS
        files = self.folder.glob(f"{name}/*.png")
        grids = sorted(path.name for path in files if path.stem.isdecimal())
        if len(grids) > MAX_GRIDS:
            self.note(f"{name}/ holds over {MAX_GRIDS:,} pictures; the others were left out")
        paths = filter(None, (self._find(f"{name}/{grid}") for grid in grids[:MAX_GRIDS]))
        return sorted((int(path.stem[:15]), path) for path in paths)

    def _read_scorecards(self) -> list[tuple[str, Scorecard]]:
        """`scorecard.json` and its fellows by other judges, such as `scorecard-inception.json`."""
        found = []
        for name in sorted(path.name for path in self.folder.glob("scorecard*.json")):
            path = self._find(name) if len(found) < MAX_SCORECARDS else None
            if path:
                try:
                    found.append((name, read_scorecard(path)))
                except InputError as error:
                    self.note(str(error))
        return sorted(found, key=lambda card: card[0] != run_folder.SCORECARD)

    def _check_zip(self) -> SubmissionCheck | None:
        """The zip's check, taken now; where the zip is gone, the one that the run wrote down."""
        path, count = self._find(run_folder.ZIP), self.recipe.get("submission.count", "")
        try:
            if path:
                expected = int(count) if count.isdecimal() else 0
                return check_submission(path, count=expected or IMAGES)
            return parse_check(self.result["submission"]) if "submission" in self.result else None
        except (InputError, *_DAMAGE) as error:
            self.note(f"the submission's check cannot be shown: {error}")
            return None


def _as_object(content: object) -> dict:
    if not isinstance(content, dict):
        raise TypeError("not an object")
    return content


def _parse_row(line: str) -> dict[str, float]:
    """The finite numbers of a line; empty where it holds no object."""
    try:
        return {
            key: float(value)
            for key, value in json.loads(line).items()
            if is_number(value, below=1e30)
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
