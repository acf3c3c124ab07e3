"""What a training shows and keeps: its bar, its warnings, and its folder, interval by interval."""

import json
import math
import time
from pathlib import Path

import numpy as np

from doggan.data.imageset import ImageSet
from doggan.gan.checkpoint import save_checkpoint
from doggan.gan.generator_file import save_generator
from doggan.gan.health import WARNINGS
from doggan.gan.history import History, save_curves
from doggan.gan.pictures import make_grid, save_gif, save_picture
from doggan.gan.progress import ProgressBar
from doggan.gan.run_folder import CURVES, ENVIRONMENT, GRIDS, PROGRESS, RECIPE, remove_partials
from doggan.gan.sampler import latents, sample
from doggan.gan.state import TrainingState
from doggan.recipe import Recipe, recipe_to_toml
from doggan.support.deadline import Deadline
from doggan.support.errors import InputError
from doggan.support.files import read_small_file, write_json, write_text

GRID_COLUMNS, GRID_ROWS = 10, 5
MOST_GRIDS = 256
_MAX_ENVIRONMENT_BYTES = 100_000
SEEDS = range(GRID_COLUMNS * GRID_ROWS)
END_SECONDS = 1.0  # the interpreter takes about so long to put away what PyTorch has loaded


class Recorder:
    """Shows a training and writes its folder, and knows how long the last writing will take."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        environment: dict,
        imageset: ImageSet,
        state: TrainingState,
        deadline: Deadline,
        taken_up: str = "",
    ):
        """Starts the folder, or goes on with it: everything is there from the first moment on.

        `taken_up` says where it goes on from.
        """
        remove_partials(folder)
        self._folder, self._recipe, self._imageset = folder, recipe, imageset
        write_text(folder / RECIPE, recipe_to_toml(recipe))
        before = _environment_of_run(folder) if state.images_seen else {}
        write_json(folder / ENVIRONMENT, environment)
        self.history = History(folder, state.images_seen)
        self._z = latents(SEEDS, recipe.networks.latent)
        self._save_seconds = self._picture_seconds = 0.0
        self._last_save_seconds = 0.0  # its pictures included
        self._drawn_rows = -1
        self._warned = set()
        save_curves(self.history.rows, folder / CURVES)  # what is loaded once is not measured
        self._save(state, keep_previous=False)
        self.draw_course()
        self._bar = ProgressBar(recipe.train.images, deadline)
        if taken_up:
            self._bar.say(f"The run {taken_up}")
        for what in ("precision", "threads"):
            was, now = before.get(what), environment.get(what)
            if was not in (None, now):
                self._bar.warn(
                    f"this run goes on with {what} {now}, and was begun with {what} {was}: its "
                    "bytes are no longer those of one that was never cut"
                )

    @property
    def closing_seconds(self) -> float:
        """What the last save, the last pictures and the process's end will take, by the slowest
        save and the last pictures so far."""
        # Pictures of the whole course are redrawn whenever its frames have doubled, so the last
        # ones cost at most twice those before.
        return self._save_seconds + 2 * self._picture_seconds + END_SECONDS

    def may_save(self, seconds: float) -> bool:
        """Whether saves keep to their share of the time with one more now, after so many seconds
        of training."""
        return self._saving_share(seconds) <= self._recipe.train.max_saving_share

    def _saving_share(self, seconds: float) -> float:
        """The last save's part of the time since it began."""
        since = seconds - (self.history.rows[-1]["seconds"] if self.history.rows else 0.0)
        return self._last_save_seconds / max(1e-9, self._last_save_seconds + since)

    def show(self, row: dict) -> None:
        """Moves the bar."""
        self._bar.show(row)

    def save(self, state: TrainingState, row: dict) -> None:
        """Writes the grid, the generator, the history and the checkpoint, and now and then the
        pictures of the whole course; warns, once each, of a collapse."""
        started = time.perf_counter()
        self._save(state, row | {"saving_share": self._saving_share(row["seconds"])})
        rows = self.history.rows
        if math.log2(len(rows) + 1).is_integer():
            self.draw_course()
        self._last_save_seconds = time.perf_counter() - started
        for warning in WARNINGS:
            words = warning(rows)
            if words and warning not in self._warned:
                self._warned.add(warning)
                self._bar.warn(words)

    def _save(
        self, state: TrainingState, row: dict | None = None, *, keep_previous: bool = True
    ) -> None:
        started = time.perf_counter()
        network = state.emas[0].network
        images = next(sample(network, self._z))
        grid = make_grid(images, GRID_COLUMNS)
        save_picture(grid, self._folder / GRIDS / f"{state.images_seen:09d}.png")
        thin_out(self._folder / GRIDS)
        save_generator(
            self._folder, network, self._recipe, state.images_seen, self._imageset.label_names
        )
        # The history comes before the checkpoint: rows beyond a checkpoint are dropped on resume.
        if row:
            row["diversity"] = float(images.std(axis=0).mean())
            self.history.append(row, np.atleast_3d(grid))
        sha256 = self._imageset.sha256
        save_checkpoint(self._folder, state, self._recipe, sha256, keep_previous=keep_previous)
        self._save_seconds = max(self._save_seconds, time.perf_counter() - started)

    def draw_course(self) -> None:
        """Draws the pictures of the whole course: progress.gif and curves.png."""
        started = time.perf_counter()
        grids = (self._folder / GRIDS).glob("*.png")
        save_gif(sorted(filter(Path.is_file, grids)), self._folder / PROGRESS)
        save_curves(self.history.rows, self._folder / CURVES)
        self._picture_seconds = time.perf_counter() - started
        self._drawn_rows = len(self.history.rows)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Draws the last pictures, unless something failed, and ends the history and the bar."""
        try:
            if not error and self._drawn_rows < len(self.history.rows):
                self.draw_course()
        finally:
            self.history.close()
            self._bar.close()


class NoRecorder:
    """What the other processes of a training have in a Recorder's place: it does nothing."""

    closing_seconds = 0.0

    def may_save(self, seconds: float) -> bool:
        return False

    def show(self, row: dict) -> None: ...
    def save(self, state: TrainingState, row: dict) -> None: ...
    def __enter__(self) -> "NoRecorder":
        return self

    def __exit__(self, *_: object) -> None: ...


def thin_out(folder: Path) -> None:
    """Once there are twice MOST_GRIDS, leaves so many, spaced by the images seen as evenly as they
    come, the first and the last among them.

    So a long run has some hundred MB of them at most; its GIF shows fewer.
    """
    grids = sorted(path for path in folder.glob("*.png") if path.stem.isdecimal())
    if len(grids) < 2 * MOST_GRIDS:
        return
    seen = np.array([int(grid.stem) for grid in grids])
    wanted = np.linspace(seen[0], seen[-1], MOST_GRIDS)
    kept = set(np.searchsorted(seen, wanted).tolist())
    for place, grid in enumerate(grids):
        if place not in kept:
            grid.unlink(missing_ok=True)


def _environment_of_run(folder: Path) -> dict:
    """What the run in `folder` was computed in and by so far; empty if it cannot be read."""
    try:
        return dict(json.loads(read_small_file(folder / ENVIRONMENT, _MAX_ENVIRONMENT_BYTES)))
    except (InputError, ValueError, TypeError, RecursionError):
        return {}
