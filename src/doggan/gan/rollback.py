"""A training that diverges goes back to its last good checkpoint, and on with lower rates."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from doggan.gan.checkpoint import read_last_checkpoint
from doggan.gan.history import last_row
from doggan.gan.run_folder import CHECKPOINT
from doggan.gan.schedule import MOST_SLOWDOWNS, SLOWDOWN
from doggan.support.errors import (
    DogganError,
    InputError,
    NonFiniteAtEndError,
    NonFiniteLossError,
    in_short,
    is_lost_device,
)
from doggan.support.signals import StopRequest


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """How a run ended: `stopped_by` is `images`, `time limit`, `SIGINT` or `SIGTERM`; in a whole
    competition also `divergence`."""

    images: int
    seconds: float
    stopped_by: str


def until_it_holds(
    attempt: Callable[[bool, int], TrainingResult],
    folder: Path,
    resume: bool,
    stop: StopRequest,
    say: Callable[[str], None],
) -> TrainingResult:
    """`attempt`, which is told whether to resume and with how many slowdowns, and again from the
    last checkpoint where it diverges; a lost GPU is said."""
    slowdowns = 0
    while True:
        try:
            return attempt(resume, slowdowns)
        except NonFiniteAtEndError as error:
            say(f"Warning: {error}; it was to end then, and ends with what was saved before")
            end = last_row(folder)
            by = stop.name or "time limit"
            return TrainingResult(images=end["images"], seconds=end["seconds"], stopped_by=by)
        except NonFiniteLossError as error:
            slowdowns = _slow_down(folder, slowdowns, error, say)
            resume = True
        except RuntimeError as error:
            if not is_lost_device(error):
                raise
            raise DogganError(
                f"the GPU failed ({in_short(error)}); {folder / CHECKPOINT} is whole, and the same "
                "command with --resume goes on from it"
            ) from error


def _slow_down(
    folder: Path, slowdowns: int, error: NonFiniteLossError, say: Callable[[str], None]
) -> int:
    """How often rates are lowered once a training has diverged, which is said; raises the error
    again where that was often enough."""
    try:
        content, path, _ = read_last_checkpoint(folder)
    except InputError:  # there is nothing to go back to
        raise error from None
    slowdowns = 1 + max(slowdowns, content["slowdowns"])
    if slowdowns > MOST_SLOWDOWNS:
        raise error
    say(
        f"Warning: {error}; the training goes back to {path}, at {content['images_seen']:,} "
        f"images, and on with {SLOWDOWN**slowdowns:g} of the recipe's learning rates "
        f"({slowdowns} of {MOST_SLOWDOWNS} times)"
    )
    return slowdowns
