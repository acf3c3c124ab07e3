"""A scorecard that was written down, read again; the file is anybody's, so it is checked."""

import json
from dataclasses import MISSING, fields
from pathlib import Path

from doggan import __version__
from doggan.gan.run_folder import SCORECARD
from doggan.scoring.scorecard import Scorecard
from doggan.support.errors import InputError
from doggan.support.files import format_bytes, require_exists

_MAX_BYTES = 1_000_000  # a scorecard has about 1,000
_LARGEST = 1e300  # neither infinity nor NaN is less, nor a whole number that no float holds


def read_scorecard(path: Path) -> Scorecard:
    """The scorecard in a JSON file, or in the `scorecard.json` of a run's or an entry's folder.

    Raises InputError where there is none, it is damaged, or another version's form.
    """
    path = require_exists(path, f"a {SCORECARD} or the folder of one")
    file = path / SCORECARD if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"{path} holds no {SCORECARD}; write one with: "
            f"doggan score {path} --reference PHOTOS --out {file}"
        )
    content = _read_json(file)
    if not isinstance(content, dict) or not {"mifid", "judge", "doggan"} <= content.keys():
        raise InputError(
            f"{file} is not a scorecard; doggan score --out writes one of a single score"
        )
    _check_form(content, file)
    for field in fields(Scorecard):
        if field.name in content and not _fits(content[field.name], field.type):
            raise InputError(
                f"{file} is damaged: {field.name} is {str(content[field.name])[:40]!r}; "
                "score the images again"
            )
    return Scorecard(**content)


def _read_json(file: Path) -> object:
    size = file.stat().st_size
    if size > _MAX_BYTES:
        raise InputError(f"{file} is not a scorecard: it has {format_bytes(size)}")
    try:
        return json.loads(file.read_text("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file} is damaged, or no scorecard ({error}); score the images again"
        ) from error


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}")


def _check_form(content: dict, file: Path) -> None:
    """Raises InputError where the names are not those of this version's scorecards."""
    known = {field.name for field in fields(Scorecard)}
    needed = {field.name for field in fields(Scorecard) if field.default is MISSING}
    wrong = sorted((content.keys() - known) | (needed - content.keys()))
    if wrong:
        raise InputError(
            f"{file} was written by doggan {content['doggan']}, and the scorecards of this "
            f"{__version__} differ in {', '.join(wrong)}; score the images again"
        )


def _fits(value: object, kind: type) -> bool:
    """Whether a value of JSON can be a field of that type: number, count, text, flag, interval."""
    if kind is float:
        return type(value) in (int, float) and abs(value) < _LARGEST
    if kind is int:
        return type(value) is int and value >= 0
    if kind == str | None and value is None:
        return True
    if kind in (str, str | None):
        # What goes to a terminal holds nothing that would steer it.
        return type(value) is str and value.isprintable()
    if kind is bool:
        return type(value) is bool
    pair = type(value) is list and len(value) == 2 and all(_fits(end, float) for end in value)
    return pair and value[0] <= value[1]
