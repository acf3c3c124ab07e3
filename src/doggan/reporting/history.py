"""stats.jsonl: one JSON object a line, one line an interval of training."""

import json
from pathlib import Path

from doggan.support.errors import InputError
from doggan.support.files import write_text

STATS = "stats.jsonl"


class History:
    """The rows of a run so far; every append leaves a whole file."""

    def __init__(self, folder: Path, images_seen: int = 0):
        """Continues the file in `folder`, up to the rows that a checkpoint at `images_seen` has."""
        self._path = folder / STATS
        self.rows = [row for row in read_history(folder) if row["images"] <= images_seen]

    def append(self, row: dict) -> None:
        """Adds a row, which holds `images` and whatever else was measured."""
        self.rows.append(row)
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in self.rows))


def read_history(folder: Path) -> list[dict]:
    """The rows of a run, oldest first; none where nothing was written yet."""
    path = folder / STATS
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
