"""What runs inside a Kaggle kernel: from what is attached to what lies in the output folder."""

import os
import platform
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import doggan
from doggan.competition import SIDE_PX
from doggan.gan.run_folder import NO_TENSORBOARD, RECIPE, SET, STATS, ZIP
from doggan.kaggle.inside.earlier import take_up
from doggan.kaggle.inside.inputs import Inputs, input_roots
from doggan.kaggle.inside.judge import choose_judge
from doggan.kaggle.inside.log import Log
from doggan.kaggle.inside.output import add_report, deliver, output_folder
from doggan.kaggle.settings import FULL_SECONDS
from doggan.recipe import Recipe, load_recipe, recipe_to_toml, with_value
from doggan.support.deadline import Deadline, format_duration, parse_duration
from doggan.support.errors import DogganError, InputError
from doggan.support.files import require_exists, write_bytes
from doggan.support.threads import available_cores

TRIAL_SECONDS = 5 * 60.0  # in the editor somebody is waiting
CLOSING_SECONDS = 10.0  # for copying the output and reading the zip back

LOG = "doggan.log"
PACKAGES = ("torch", "torchvision", "albumentations", "pillow", "numpy", "scipy", "safetensors")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a competitor sets at the top of the script.

    `time_limit` is such as `8h45m`, or None for Kaggle's; `photos` a folder, or None to search;
    `goes_on_from` the kernel whose checkpoint is attached, or None to begin.
    """

    recipe: str = "dogs"
    overrides: tuple[str, ...] = ()
    time_limit: str | None = None
    seed: int = 0
    only_zip: bool = False
    goes_on_from: str | None = None
    photos: str | None = None


def run_kernel(settings: Settings) -> int:
    """Trains, writes the submission to the output folder, and returns the exit code.

    0: a valid images.zip lies in the output, also where the run was stopped or failed after it had
    trained. 2: the input or a setting cannot be used. 1: anything else. The output folder is
    `/kaggle/working` where that exists, else the current one, or `$DOGGAN_KAGGLE_WORKING`.
    """
    scratch_folder = tempfile.TemporaryDirectory(prefix="doggan-run-", ignore_cleanup_errors=True)
    with _signals_and_events_of_a_kernel(), scratch_folder as scratch:
        folder, log = Path(scratch) / "run", Log(Path(scratch) / LOG)
        with log.instead_of_stderr():
            code = _guarded(log, lambda: _compete(settings, folder, log))
            trained, zipped = _has_trained(folder), (folder / ZIP).exists()
            if trained and not zipped and _is_entry(load_recipe(str(folder / RECIPE))):
                _guarded(log, lambda: _zip_last_generator(folder, log))
            if trained and not settings.only_zip:
                _guarded(log, lambda: add_report(folder, log))
            delivered = _guarded(log, lambda: deliver(folder, settings.only_zip, log))
            code = delivered if (folder / ZIP).exists() else code
        log.close()
        if not settings.only_zip:
            write_bytes(output_folder() / LOG, (Path(scratch) / LOG).read_bytes())
    return code


@contextmanager
def _signals_and_events_of_a_kernel() -> Iterator[None]:
    """SIGTERM does as SIGINT does, so that what is temporary is removed and the log is kept; and no
    events for TensorBoard are written, which nobody sees there. A notebook gets both back."""
    main, before = threading.current_thread() is threading.main_thread(), None
    if main:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    events = os.environ.get(NO_TENSORBOARD, "")
    os.environ[NO_TENSORBOARD] = "1"
    try:
        yield
    finally:
        os.environ[NO_TENSORBOARD] = events
        if main:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def time_limit_seconds(settings: Settings) -> float:
    """The limit that was set, else the trial's in Kaggle's editor, else the full one.

    Raises InputError where the setting is not a duration.
    """
    if settings.time_limit is not None:
        return parse_duration(str(settings.time_limit))
    interactive = os.environ.get("KAGGLE_KERNEL_RUN_TYPE") == "Interactive"
    return TRIAL_SECONDS if interactive else FULL_SECONDS


def _compete(settings: Settings, folder: Path, log: Log) -> None:
    _log_versions(log)
    # Check the settings before anything that takes time.
    deadline = Deadline(time_limit_seconds(settings))
    recipe = with_value(load_recipe(settings.recipe, settings.overrides), "seed", settings.seed)
    inputs = Inputs(input_roots())
    if settings.photos is not None:
        photos = require_exists(settings.photos, "what INPUT names")
    elif _is_entry(recipe):
        photos = inputs.find_photos()
    else:
        side = recipe.data.side_px
        raise InputError(
            f"{settings.recipe} trains on images of {side}x{side}, which are not the competition's;"
            " set INPUT to the folder that they lie in"
        )
    log(f"Input: {photos}")
    trial = ", a trial in the editor" if deadline.seconds == TRIAL_SECONDS else ""
    log(f"Time: {format_duration(deadline.seconds)}{trial}; output: {output_folder()}")
    if settings.goes_on_from is not None:
        checkpoint = inputs.find_checkpoint(settings.goes_on_from)
        log(f"Going on from {checkpoint}")
        recipe = take_up(checkpoint, recipe, folder)
    log(f"Recipe: {settings.recipe}\n{recipe_to_toml(recipe)}")

    # What follows loads all that trains and scores, which takes a while.
    from doggan.pipeline import Job, run_competition

    _log_gpus(log)
    if not _is_entry(recipe):
        return _train(photos, folder, recipe, deadline.minus(CLOSING_SECONDS), settings, log)
    judge, weights = choose_judge(inputs, log)
    run_competition(
        Job(
            sources=[photos],
            folder=folder,
            recipe=recipe,
            deadline=deadline.minus(CLOSING_SECONDS),
            judge=judge,
            weights=weights,
            resume=settings.goes_on_from is not None,
            say=log,
        )
    )


def _is_entry(recipe: Recipe) -> bool:
    """Whether its images are the competition's, which go into a zip."""
    return recipe.data.side_px == SIDE_PX


def _train(
    source: Path, folder: Path, recipe: Recipe, deadline: Deadline, settings: Settings, log: Log
) -> None:
    """Trains on digits or other images that are not the competition's."""
    from doggan.data.build import build_imageset
    from doggan.gan.budget import fit_to_budget
    from doggan.gan.entry import write_grid
    from doggan.gan.generator_file import load_generator
    from doggan.gan.trainer import train

    imageset = build_imageset([source], folder / SET, recipe.data)
    log(f"  {imageset.describe()}")
    recipe = fit_to_budget(recipe, imageset, deadline=deadline, say=log)
    resume = settings.goes_on_from is not None
    result = train(imageset, folder, recipe, deadline=deadline, resume=resume, say=log)
    log(f"  stopped by {result.stopped_by} after {result.images:,} images")
    write_grid(folder, *load_generator(folder))


def _log_versions(log: Log) -> None:
    log(f"doggan {doggan.__version__}")
    versions = {"Python": platform.python_version()} | dict.fromkeys(PACKAGES, "missing")
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    log(", ".join(f"{name} {version}" for name, version in versions.items()))


def _log_gpus(log: Log) -> None:
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if names:
        log(f"GPUs: {len(names)}, {', '.join(names)}")
    else:
        cores = available_cores()
        log(f"GPUs: none; {cores} CPU cores train slowly (Session options, Accelerator)")


def _guarded(log: Log, work: Callable[[], None]) -> int:
    """Does the work; returns an exit code, and logs what went wrong."""
    try:
        work()
    except DogganError as error:
        log(f"Error: {error}")
        return error.exit_code
    except ImportError as error:
        log(f"Error: {error}; choose Kaggle's latest environment, which has what doggan needs")
    except KeyboardInterrupt:  # also SIGTERM; during training they end it cleanly instead
        log("Stopped by a signal")
    except Exception:  # a fault of doggan's: the log is all that anyone will have
        log(traceback.format_exc())
    else:
        return 0
    return 1


def _has_trained(folder: Path) -> bool:
    """Whether a generator was saved that has learned: in this session, or before it."""
    if not (folder / STATS).exists():
        return False
    from doggan.gan.generator_file import GENERATORS

    return any((folder / name).exists() for name in GENERATORS)


def _zip_last_generator(folder: Path, log: Log) -> None:
    """Writes the submission that a run did not come to, from the last generator it saved.

    On the processor: after an error on a GPU nothing works there until the process ends.
    """
    from doggan.gan.entry import write_entry

    log("Writing the submission from the last generator that was saved")
    _, check = write_entry(folder, "cpu")
    log(check.summary())
