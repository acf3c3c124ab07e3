"""What a run has measured, interval by interval: stats.jsonl, TensorBoard's events, curves.png."""

import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from doggan.gan.run_folder import NO_TENSORBOARD, RECIPE, STATS, TENSORBOARD
from doggan.support.errors import InputError
from doggan.support.files import atomic_path, read_small_file, write_text
from doggan.support.json_values import as_count, as_number, as_text, is_number

_MAX_STATS_BYTES = 100_000_000  # a row has some 500

_POLL_SECONDS = 0.5


class Panel(NamedTuple):
    """Columns of stats.jsonl that are drawn in one plot over the images shown.

    `curves` names each column, of a value `decimals` are worth telling, and `unit` is that of the
    values times `factor`.
    """

    key: str
    title: str
    curves: dict[str, str]
    decimals: int
    unit: str = "mean of an interval"
    factor: float = 1.0


# What is drawn of a training, by the report and, except for memory, in curves.png.
PANELS = (
    Panel("loss", "Losses", {"loss_d": "discriminator", "loss_g": "generator"}, decimals=3),
    Panel(
        "accuracy",
        "How often the discriminator is right",
        {"accuracy_real": "on photos", "accuracy_fake": "on generated images"},
        decimals=1,
        unit="of 100",
        factor=100,
    ),
    Panel("speed", "Speed", {"images_per_second": "images/s"}, decimals=1, unit="images/s"),
    Panel(
        "gradients",
        "Gradient norms",
        {"grad_norm_d": "discriminator", "grad_norm_g": "generator"},
        decimals=3,
    ),
    Panel("memory", "Memory", {"memory_bytes": "memory"}, 2, unit="GB at most", factor=1e-9),
)


class History:
    """The rows of a run so far; every append leaves a whole file."""

    def __init__(self, folder: Path, images_seen: int = 0):
        """Continues the file in `folder`, up to the rows that a checkpoint at `images_seen` has."""
        self._path = folder / STATS
        self.rows = [row for row in read_history(folder) if row["images"] <= images_seen]
        self._events = _open_events(folder / TENSORBOARD, images_seen + 1)

    def append(self, row: dict, grid: np.ndarray) -> None:
        """Adds a row, which holds `images` and whatever else was measured, and a grid
        [H, W, 1 or 3] uint8 for TensorBoard."""
        self.rows.append(row)
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in self.rows))
        try:
            self._add_events(row, grid)
        except Exception as error:  # whatever it is, a training does without
            self._events = _no_events(error)

    def _add_events(self, row: dict, grid: np.ndarray) -> None:
        if self._events:
            for name, value in row.items():
                if isinstance(value, int | float) and name != "images":
                    self._events.add_scalar(name, value, row["images"])
            # Pictures take the most space: those of the rows 1, 2, 4, 8, ... and of the last.
            if math.log2(len(self.rows)).is_integer() or row.get("stopped_by"):
                self._events.add_image("grid", grid, row["images"], dataformats="HWC")
            self._events.flush()

    def close(self) -> None:
        """Ends TensorBoard's file."""
        if self._events:
            self._events.close()


def _open_events(folder: Path, step: int) -> object | None:
    """TensorBoard's writer from `step` on; None where there is none, or NO_TENSORBOARD is set."""
    if os.environ.get(NO_TENSORBOARD):
        return None
    # TensorBoard takes in TensorFlow where that is installed, which costs ten seconds and can fail.
    # A module of this name is how TensorBoard itself is built without.
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
    try:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder), purge_step=step)
    except ImportError:
        return None
    except Exception as error:
        return _no_events(error)


def _no_events(error: Exception) -> None:
    """Says that a training does without events, whatever TensorBoard has met."""
    warnings.warn(f"no events for TensorBoard are written: {error!r}", stacklevel=2)


def read_history(folder: Path) -> list[dict]:
    """The rows of a run, oldest first; none where nothing was written yet."""
    path = folder / STATS
    if not path.exists():
        return []
    try:
        text = read_small_file(path, _MAX_STATS_BYTES)
        rows = [json.loads(line) for line in text.splitlines()]
        for row in rows:
            as_count(row["images"]), as_number(row["seconds"]), as_text(row.get("stopped_by", ""))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        why = f"a line of it is not a row of a run ({error!r:.100})"
        raise InputError(f"{path} cannot be read: {why}") from error
    return rows


def last_row(folder: Path) -> dict:
    """The last row of a run; of one that has written none, how it is before its first step."""
    return {"images": 0, "seconds": 0.0, "stopped_by": ""} | ([{}, *read_history(folder)][-1])


def follow_history(folder: Path, sleep: Callable[[float], None] = time.sleep) -> Iterator[dict]:
    """The rows of a run as they come, until one says how the run ended (`stopped_by`).

    Raises InputError where `folder` is none.
    """
    if not (folder / RECIPE).is_file():  # which a run writes first
        raise InputError(f"{folder} is not a run's folder; doggan train --out makes one")
    shown = -1
    while True:
        rows = read_history(folder)
        for row in rows:
            if row["images"] > shown:
                shown = row["images"]
                yield row
        if rows and rows[-1].get("stopped_by"):
            return
        sleep(_POLL_SECONDS)


def describe_row(row: dict) -> str:
    """One line on an interval, for people; what a row lacks is `nan`."""
    value, skipped = partial(_number, row), row.get("skipped_steps")
    return (
        f"{row['images']:>11,} images, {value('images_per_second'):.0f}/s, "
        f"D {value('loss_d'):.2f} G {value('loss_g'):.2f}, "
        f"D right on {value('accuracy_real'):.0%} of real, {value('accuracy_fake'):.0%} of fake"
        + (f", {skipped:,} steps skipped by the loss scale" if is_number(skipped or "") else "")
    )


def _number(row: dict, column: str) -> float:
    return row[column] if is_number(row.get(column)) else math.nan


def save_curves(rows: list[dict], path: Path) -> None:
    """Draws all PANELS but memory over the images shown, as a PNG of 1000x600 pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    images = [row["images"] / 1000 for row in rows]
    drawn = [panel for panel in PANELS if panel.key != "memory"]
    for axes, panel in zip(figure.subplots(2, 2).flat, drawn, strict=True):
        for column, name in panel.curves.items():
            values = [_number(row, column) * panel.factor for row in rows]
            axes.plot(images, values, ".-", label=name, linewidth=1)
        axes.set_title(panel.title)
        axes.set_xlabel("thousand images")
        axes.set_ylabel(panel.unit)
        axes.grid(alpha=0.3)
        axes.set_ylim(bottom=0)
        if len(panel.curves) > 1:
            axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
