"""The training loop."""

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from doggan.data.batches import Batches
from doggan.data.imageset import ImageSet, open_imageset
from doggan.gan.checkpoint import load_checkpoint, settle_checkpoint
from doggan.gan.distributed import (
    LostProcessError,
    Processes,
    check_batch,
    choose_processes,
    join_processes,
    launch,
    started_by_torchrun,
)
from doggan.gan.history import last_row
from doggan.gan.memory import require_memory
from doggan.gan.monitor import LOG_STEPS, Monitor
from doggan.gan.progress import progress_told
from doggan.gan.recorder import NoRecorder, Recorder
from doggan.gan.rollback import TrainingResult, until_it_holds
from doggan.gan.run_folder import check_run_folder, holds_run
from doggan.gan.schedule import batch_size_at, part_done, set_learning_rates
from doggan.gan.state import new_state
from doggan.gan.steps import make_steps
from doggan.recipe import Recipe
from doggan.support.deadline import Deadline
from doggan.support.device import (
    choose_device,
    choose_precision,
    describe_environment,
    set_arithmetic,
)
from doggan.support.errors import NonFiniteAtEndError, NonFiniteLossError
from doggan.support.lock import held
from doggan.support.signals import StopRequest, stop_request


class Task(NamedTuple):
    """What is trained on, where to, how, and until when."""

    imageset: ImageSet
    folder: Path
    recipe: Recipe
    deadline: Deadline


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
    Raises NonFiniteLossError after that (the last checkpoint is kept), DogganError where a GPU
    fails, and InputError where another process trains in `folder`, it holds a run and `resume` is
    not set, or none that can be resumed.
    """
    task = Task(imageset, folder, recipe, deadline or Deadline(None))
    place = choose_device(device)
    with stop_request() as stop:
        if started_by_torchrun():
            with join_processes(place) as joined:
                return _train_among(joined, task, resume, stop, say)
        if processes is None:
            gpus = torch.cuda.device_count() if place.type == "cuda" else 0
            processes, why = choose_processes(recipe.train, gpus)
            if why:
                say(f"  {why}")
        check_batch(recipe.train.batch_size, processes)
        check_run_folder(folder, resume)
        require_memory(imageset, recipe, place, processes)
        with held(folder):
            alone = partial(_train, Processes(), place, task, stop)
            several = partial(_launch, processes, place, task, stop, say)
            return until_it_holds(several if processes > 1 else alone, folder, resume, stop, say)


def _train_among(
    joined: tuple[Processes, torch.device],
    task: Task,
    resume: bool,
    stop: StopRequest,
    say: Callable[[str], None],
) -> TrainingResult:
    """`train` in one of the processes that torchrun started, of which the first holds the folder;
    all go back together where one has diverged."""
    processes, device = joined
    imageset, folder, recipe, _ = task
    check_batch(recipe.train.batch_size, processes.count)
    check_run_folder(folder, resume)
    require_memory(imageset, recipe, device, processes.count)
    with held(folder) if processes.first else nullcontext():
        processes.wait()
        attempt = partial(_train, processes, device, task, stop)
        return until_it_holds(attempt, folder, resume, stop, say if processes.first else str)


def _launch(
    count: int,
    place: torch.device,
    task: Task,
    stop: StopRequest,
    say: Callable[[str], None],
    resume: bool,
    slowdowns: int,
) -> TrainingResult:
    """`_train` in so many new processes; here alone where one of them is lost."""
    alone = partial(_train, Processes(), place, task, stop)
    if stop:  # before there is a process to pass it on to: one takes a step, and saves
        return alone(resume, slowdowns)
    sent = task._replace(imageset=task.imageset.folder)
    try:
        with progress_told(task.folder):
            stopped_by = launch(count, train_launched, sent, place, resume, slowdowns)
    except LostProcessError as error:
        say(f"Warning: {error}; one goes on alone, from the last checkpoint if there is one")
        return alone(holds_run(task.folder), slowdowns)
    # A signal may come before the first of them has taken a step.
    end = last_row(task.folder)
    return TrainingResult(
        images=end["images"],
        seconds=end["seconds"],
        # One that had shown all its images before writes no row.
        stopped_by=stopped_by or end["stopped_by"] or "images",
    )


def train_launched(sent: Task, place: torch.device, resume: bool, slowdowns: int) -> None:
    """`_train` in a new process, which opens the set, of which it was sent the folder, for itself;
    the deadline is the same in all processes of a machine: so is its monotonic clock."""
    task = sent._replace(imageset=open_imageset(sent.imageset))
    with stop_request() as stop, join_processes(place) as joined:
        _train(*joined, task, stop, resume, slowdowns)


def _train(
    processes: Processes,
    device: torch.device,
    task: Task,
    stop: StopRequest,
    resume: bool,
    slowdowns: int,
) -> TrainingResult:
    """One attempt of `train` in this process, one of `processes`."""
    imageset, folder, recipe, deadline = task
    began = deadline.elapsed()
    options = recipe.train
    with ExitStack() as stack:
        precision = choose_precision(options.precision, device)
        set_arithmetic(precision, options.deterministic)
        # Make everything that the next step depends on, or load it.
        state = new_state(imageset, recipe, device, precision)
        good, taken_up = None, ""
        if resume:
            good, taken_up = load_checkpoint(folder, state, recipe, imageset.sha256)
        state.slowdowns = max(state.slowdowns, slowdowns)
        processes.wait()
        batches = Batches(imageset, options, seed=recipe.seed, device=device, share=processes.share)
        monitor = Monitor(device, state.images_seen, state.seconds)
        steps = make_steps(state, options, monitor, precision, processes)
        stopped_by = "images" if state.images_seen >= options.images else ""
        recorder = NoRecorder()
        if processes.first:
            if good:
                settle_checkpoint(good)
            environment = describe_environment(device, precision) | {"processes": processes.count}
            recorder = stack.enter_context(
                Recorder(folder, recipe, environment, imageset, state, deadline, taken_up)
            )
        beginning = deadline.elapsed() - began

        def budget() -> float:
            seconds_left = deadline.remaining() - recorder.closing_seconds
            return part_done(state, options.images, seconds_left)

        stopped_by, done, _ = processes.agree(stopped_by, budget())
        while not stopped_by:
            started = deadline.elapsed()
            batch_size = batch_size_at(options, done)
            set_learning_rates(state, options, done)
            steps.take(batches, batch_size)
            at_interval = state.images_seen % options.interval_images < batch_size
            at_log = at_interval or monitor.steps % LOG_STEPS == 0
            if at_log:
                monitor.failure()  # waits for the device, so that its time counts

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

            # What has diverged is not saved; to go back takes as long as to begin did.
            if (at_log or stopped_by) and processes.any(bool(monitor.failure())):
                late = processes.first and deadline.expired(reserve + beginning)
                at_end = processes.any(late) or stopped_by not in ("", "images")
                kind = NonFiniteAtEndError if at_end else NonFiniteLossError
                raise kind(monitor.failure() or "training diverged in another process")

            # Show, log, draw and save.
            if at_log or stopped_by:
                row = monitor.row(state, processes)
                recorder.show(row)
            if save or stopped_by:
                recorder.save(state, row | {"stopped_by": stopped_by})
                monitor.start_interval(state.images_seen, state.seconds)
    return TrainingResult(images=state.images_seen, seconds=state.seconds, stopped_by=stopped_by)
