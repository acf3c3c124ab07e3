"""The name of every file in a run, and whether a folder holds one."""

from pathlib import Path

from doggan.competition import ENTRY
from doggan.support.errors import InputError
from doggan.support.leftovers import PREVIOUS, remove_unlocked

# What training leaves; the generator's file is named by `generator_file`.
RECIPE = "recipe.toml"
ENVIRONMENT = "environment.json"
STATS = "stats.jsonl"
TENSORBOARD = "tensorboard"
NO_TENSORBOARD = "DOGGAN_NO_TENSORBOARD"  # a variable: where it is set there are no such events
GRIDS = "grids"  # a picture an interval, named by the images seen
PROGRESS = "progress.gif"
CURVES = "curves.png"
CHECKPOINT = "checkpoint.pt"
PREVIOUS_CHECKPOINT = "checkpoint-previous.pt"  # the one before, for where that is damaged
# What a whole run adds.
SET = "set"
GRID = "grid.png"
ZIP = ENTRY
SCORECARD = "scorecard.json"
RESULT = "result.json"
RIVAL = "rival"  # the run of another seed, see `doggan.gan.rival`
# What commands leave beside it.
SAMPLE = "sample.png"
NEIGHBOURS = "neighbours.json"
NEIGHBOURS_PICTURE = "neighbours.png"
NEIGHBOURS_PAIRS = "neighbours-pairs.png"
TRUNCATION = "truncation.json"
REPORT = "report.html"


def remove_partials(folder: Path) -> None:
    """Removes what a kill left half written; a rival may be at work, and removes its own."""
    partials = [*folder.rglob(".*.partial"), *folder.rglob(f".*.partial{PREVIOUS}")]
    remove_unlocked(path for path in partials if not path.is_relative_to(folder / RIVAL))


def holds_run(folder: Path) -> bool:
    """Whether there is a checkpoint to go on from."""
    return any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS_CHECKPOINT))


def check_run_folder(folder: Path, resume: bool) -> None:
    """Raises InputError where a run would be overwritten, there is none to resume, or the folder
    has a name that safetensors and TensorBoard cannot open, or is written to and thinned out
    elsewhere, by a link."""
    try:
        str(folder).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"the name {folder} is not UTF-8; choose another --out") from error
    if link := next((name for name in (GRIDS, RIVAL) if (folder / name).is_symlink()), None):
        raise InputError(f"{folder / link} is a link; expected a folder of this run's own")
    held = holds_run(folder)
    if held and not resume:
        raise InputError(
            f"{folder} already holds a run; continue it with --resume, or choose another --out"
        )
    if resume and not held:
        raise InputError(f"{folder} holds no {CHECKPOINT}; there is nothing to resume")
