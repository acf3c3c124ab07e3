"""The training loop."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from doggan.data.batches import Batches
from doggan.data.imageset import ImageSet, open_imageset
from doggan.gan.checkpoint import load_checkpoint, read_last_checkpoint, settle_checkpoints
from doggan.gan.distributed import (
    LostProcessError,
    check_batch,
    choose_processes,
    join_processes,
    launch,
    started_by_torchrun,
)
from doggan.gan.history import last_row
from doggan.gan.memory import require_memory
from doggan.gan.monitor import Monitor
from doggan.gan.progress import progress_told
from doggan.gan.recorder import NoRecorder, Recorder
from doggan.gan.run_folder import CHECKPOINT, check_run_folder
from doggan.gan.schedule import (
    MOST_SLOWDOWNS,
    SLOWDOWN,
    batch_size_at,
    part_done,
    set_learning_rates,
)
from doggan.gan.state import new_state
from doggan.gan.steps import make_steps
from doggan.recipe import Recipe
from doggan.support.deadline import Deadline
from doggan.support.device import (
    choose_device,
    choose_precision,
    describe_environment,
    set_determinism,
)
from doggan.support.errors import InputError, NonFiniteLossError
from doggan.support.lock import held
from doggan.support.signals import stop_request

LOG_STEPS = 10  # the host waits for the device once in so many steps


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """How a run ended: `stopped_by` is `images`, `time limit`, `SIGINT` or `SIGTERM`; in a whole
    competition also `divergence`."""

    images: int
    seconds: float
    stopped_by: str


def train(
    imageset: ImageSet,
    folder: Path,
    recipe: Recipe,
    *,
    device: str = "auto",
    deadline: Deadline | None = None,
    resume: bool = False,
    processes: int | None = None,
    say: Callable[[str], None] = print,
) -> TrainingResult:
    """Trains until `recipe.train.images` were shown or the deadline comes, whichever is first.

    Leaves in `folder`: recipe.toml, environment.json, stats.jsonl, tensorboard/, grids/,
    progress.gif, curves.png, checkpoint.pt and generator.safetensors, whole at any time and current
    after every interval. `processes` share out each batch, one a GPU; by default as many as
    `choose_processes` says, or those that torchrun started. Where one of them is lost, one goes on
    alone from the last checkpoint. A training that diverges goes back to that, too, and on with
    lower rates, MOST_SLOWDOWNS times. `say` gets a line about either.
    Raises NonFiniteLossError after that (the last checkpoint is kept), and InputError where another
    process trains in `folder`, it holds a run and `resume` is not set, or none that can be resumed.
    """
    deadline = deadline or Deadline(None)
    place = choose_device(device)
    if started_by_torchrun():
        return _train(imageset, folder, recipe, place, deadline, resume)
    if processes is None:
        gpus = torch.cuda.device_count() if place.type == "cuda" else 0
        processes, why = choose_processes(recipe.train, gpus)
        if why:
            say(f"  {why}")
    check_batch(recipe.train.batch_size, processes)
    check_run_folder(folder, resume)
    require_memory(imageset, recipe, place, processes)
    slowdowns = 0
    with held(folder):
        while True:
            options = (imageset, folder, recipe, place, deadline, resume, slowdowns)
            try:
                return _train_on(processes, options, say)
            except NonFiniteLossError as error:
                slowdowns = _slow_down(folder, slowdowns, error, say)
                resume = True


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


def _train_on(processes: int, options: tuple, say: Callable[[str], None]) -> TrainingResult:
    """`_train(*options)` here, or in so many new processes; alone where one of them is lost."""
    if processes == 1:
        return _train(*options)
    imageset, folder, *others = options
    try:
        with progress_told(folder):
            stopped_by = launch(processes, _train_launched, imageset.folder, folder, *others)
    except LostProcessError as error:
        say(f"Warning: {error}; one goes on alone, from the last checkpoint if there is one")
        recipe, place, deadline, _, slowdowns = others
        resume = (folder / CHECKPOINT).exists()
        return _train(imageset, folder, recipe, place, deadline, resume, slowdowns)
    # A signal may come before the first of them has taken a step.
    end = last_row(folder)
    return TrainingResult(
        images=end["images"],
        seconds=end["seconds"],
        # One that had shown all its images before writes no row.
        stopped_by=stopped_by or end["stopped_by"] or "images",
    )


def _train_launched(set_folder: Path, *arguments: object) -> None:
    """`_train` in a new process, which opens the set for itself.

    The deadline is the same in all processes of a machine: so is its monotonic clock.
    """
    _train(open_imageset(set_folder), *arguments)


def _train(
    imageset: ImageSet,
    folder: Path,
    recipe: Recipe,
    device: torch.device,
    deadline: Deadline,
    resume: bool,
    slowdowns: int = 0,
) -> TrainingResult:
    """`train` in this process, and in those beside it that torchrun started."""
    options = recipe.train
    with join_processes(device) as (processes, device), stop_request() as stop:
        check_batch(options.batch_size, processes.count)
        check_run_folder(folder, resume)
        precision = choose_precision(options.precision, device)
        set_determinism(options.deterministic)

        # Make everything that the next step depends on, or load it.
        state = new_state(imageset, recipe, device, precision)
        taken_up = load_checkpoint(folder, state, recipe, imageset.sha256) if resume else ""
        state.slowdowns = max(state.slowdowns, slowdowns)
        processes.wait()
        generator = processes.parallel(state.generator)
        share = (processes.rank, processes.count)
        batches = Batches(imageset, options, seed=recipe.seed, device=device, share=share)
        monitor = Monitor(device, state.images_seen, state.seconds)
        discriminator = processes.parallel(state.discriminator)
        steps = make_steps(state, discriminator, options, monitor, precision, share)
        stopped_by = "images" if state.images_seen >= options.images else ""
        recorder = NoRecorder()
        if processes.first:
            if resume:
                settle_checkpoints(folder)
            environment = describe_environment(device, precision) | {"processes": processes.count}
            recorder = Recorder(folder, recipe, environment, imageset, state, deadline, taken_up)

        def budget() -> float:
            seconds_left = deadline.remaining() - recorder.closing_seconds
            return part_done(state, options.images, seconds_left)

        stopped_by, done, _ = processes.agree(stopped_by, budget())
        while not stopped_by:
            started = deadline.elapsed()
            batch_size = batch_size_at(options, done)
            set_learning_rates(state, options, done)

            # Take real images, and make fake ones of the same labels.
            real, labels = batches.at(state.images_seen, batch_size)
            fake = steps.fakes(generator, labels)

            # Train the discriminator on both, and the generator against it.
            d_step, g_step = steps.train(real, fake, labels)
            state.scaler.update()
            monitor.add(state.images_seen, state.steps, d_step, g_step)

            # Update the averages and the counters.
            state.images_seen += batch_size
            state.steps += 1
            for ema in state.emas:
                ema.update(state.generator, batch_size, state.images_seen)
            at_interval = state.images_seen % options.interval_images < batch_size
            at_log = at_interval or monitor.steps % LOG_STEPS == 0
            if at_log:
                monitor.check()  # waits for the device, so that its time counts

            # Decide whether this was the last step; a save comes before the next chance to.
            save = at_interval and recorder.may_save(state.seconds + deadline.elapsed() - started)
            reserve = deadline.elapsed() - started + (1 + save) * recorder.closing_seconds
            if state.images_seen >= options.images:
                stopped_by = "images"
            elif stop:
                stopped_by = stop.name
            elif processes.first and deadline.expired(reserve):
                stopped_by = "time limit"
            stopped_by, done, save = processes.agree(stopped_by, budget(), save)
            state.seconds += deadline.elapsed() - started  # waiting for the others included

            # Show, log, draw and save.
            if at_log or stopped_by:
                row = monitor.row(state, processes)
                recorder.show(row)
            if save or stopped_by:
                recorder.save(state, row | {"stopped_by": stopped_by})
                monitor.start_interval(state.images_seen, state.seconds)

        recorder.close()
    return TrainingResult(images=state.images_seen, seconds=state.seconds, stopped_by=stopped_by)
