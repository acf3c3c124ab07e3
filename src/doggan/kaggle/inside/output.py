"""What a kernel leaves in the folder that Kaggle takes its output from."""

import os
from collections.abc import Callable
from pathlib import Path

from doggan.gan.run_folder import (
    CHECKPOINT,
    CURVES,
    GRID,
    PROGRESS,
    REPORT,
    RESULT,
    RIVAL,
    SCORECARD,
    STATS,
    ZIP,
)
from doggan.support.errors import DogganError
from doggan.support.files import format_bytes, write_bytes

# What the next session goes on from, a rival's included.
CONTINUED = (STATS, CHECKPOINT, f"{RIVAL}/{STATS}", f"{RIVAL}/{CHECKPOINT}")


def output_folder() -> Path:
    """Where Kaggle takes a kernel's output from."""
    kaggle = Path("/kaggle/working")
    chosen = os.environ.get("DOGGAN_KAGGLE_WORKING")
    return Path(chosen) if chosen else kaggle if kaggle.is_dir() else Path.cwd()


def deliver(folder: Path, only_zip: bool, log: Callable[[str], None]) -> None:
    """Copies what is worth keeping of a run, or its zip alone, to the output.

    Raises DogganError where the zip is not valid.
    """
    from doggan.gan.generator_file import GENERATORS
    from doggan.submission import check_submission

    check = fault = None
    if (folder / ZIP).exists():  # first, so that nothing else can keep it from coming
        _copy(folder, ZIP, log)
        try:
            check = check_submission(output_folder() / ZIP)
            fault = None if check.valid else DogganError(check.summary())
        except DogganError as error:
            fault = error
    kept = (SCORECARD, RESULT, REPORT, GRID, CURVES, PROGRESS, *GENERATORS, *CONTINUED)
    for name in () if only_zip else kept:
        try:
            _copy(folder, name, log)
        except DogganError as error:  # such as a full disk
            log(f"Not kept: {error}")
    if fault:
        raise fault
    if check:
        log(f"Done: {check.summary()}")


def _copy(folder: Path, name: str, log: Callable[[str], None]) -> None:
    if (folder / name).exists():
        path = output_folder() / name
        write_bytes(path, (folder / name).read_bytes())
        log(f"Output: {path} ({format_bytes(path.stat().st_size)})")


def add_report(folder: Path, log: Callable[[str], None]) -> None:
    """Writes the report of a run into its folder; commands on it name the output."""
    from doggan.report.page import write_report

    for note in write_report([folder], folder / REPORT, named=[output_folder()]).notes:
        log(f"note: {note}")
