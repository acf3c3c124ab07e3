"""The training loop."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from doggan.data.batches import Batches
from doggan.data.imageset import ImageSet, open_imageset
from doggan.gan.distributed import (
    check_batch,
    join_processes,
    launch,
    started_by_torchrun,
)
from doggan.gan.ema import EMA
from doggan.gan.health import discriminator_collapsed, modes_collapsed
from doggan.gan.history import describe_row, read_history
from doggan.gan.losses import discriminator_loss, generator_loss
from doggan.gan.monitor import Monitor, StepResult
from doggan.gan.networks import make_networks
from doggan.gan.recorder import RunFolder
from doggan.gan.run_folder import check_run_folder
from doggan.gan.state import TrainingState, load_checkpoint
from doggan.recipe import Recipe, TrainRecipe
from doggan.support.deadline import Deadline, format_duration
from doggan.support.device import (
    autocast,
    choose_device,
    choose_precision,
    describe_environment,
    set_determinism,
)
from doggan.support.signals import stop_request

LOG_STEPS = 10  # the host waits for the device once in so many steps


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """How a run ended: `stopped_by` is `images`, `time limit`, `SIGINT` or `SIGTERM`."""

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
) -> TrainingResult:
    """Trains until `recipe.train.images` were shown or the deadline comes, whichever is first.

    Leaves in `folder`: recipe.toml, environment.json, stats.jsonl, tensorboard/, grids/,
    progress.gif, curves.png, checkpoint.pt and generator.safetensors, whole at any time and current
    after every interval. `processes` share out each batch, one a GPU; by default as many as there
    are GPUs, or those that torchrun started.
    Raises NonFiniteLossError (the last checkpoint is kept), and InputError where `folder` holds a
    run and `resume` is not set, or holds none that can be resumed.
    """
    deadline = deadline or Deadline(None)
    place = choose_device(device)
    if processes is None:
        processes = torch.cuda.device_count() if place.type == "cuda" else 1
    if processes == 1 or started_by_torchrun():
        return train_here(imageset, folder, recipe, place, deadline, resume)
    check_run_folder(folder, resume)
    launch(processes, _train_launched, imageset.folder, folder, recipe, place, deadline, resume)
    end = read_history(folder)[-1]
    return TrainingResult(
        images=end["images"], seconds=end["seconds"], stopped_by=end["stopped_by"]
    )


def train_here(
    imageset: ImageSet,
    folder: Path,
    recipe: Recipe,
    device: torch.device,
    deadline: Deadline,
    resume: bool,
) -> TrainingResult:
    """`train` in this process, and in those beside it that torchrun started."""
    options, batch_size = recipe.train, recipe.train.batch_size
    with join_processes(device) as (processes, device), stop_request() as stop:
        check_batch(batch_size, processes)
        check_run_folder(folder, resume)
        precision = choose_precision(options.precision, device)
        set_determinism(options.deterministic)

        # Make everything that the next step depends on, or load it.
        state = new_state(imageset, recipe, device, precision)
        if resume:
            load_checkpoint(folder, state, recipe, imageset.sha256)
        processes.wait()
        generator = processes.parallel(state.generator)
        discriminator = processes.parallel(state.discriminator)
        share = (processes.rank, processes.count)
        batches = Batches(imageset, options, seed=recipe.seed, device=device, share=share)
        monitor = Monitor(device, state.seconds)
        stopped_by = "images" if state.images_seen >= options.images else ""
        show = None
        if processes.first:
            environment = describe_environment(device, precision) | {"processes": processes.count}
            show = _Show(RunFolder(folder, recipe, environment, imageset, state), options, deadline)

        while not stopped_by:
            started = time.perf_counter()

            # Take real images, and make fake ones of the same labels.
            real, labels = batches.at(state.images_seen)
            z = torch.randn(
                batch_size, recipe.networks.latent, generator=state.random, device=device
            )[share[0] :: share[1]]
            with autocast(device, precision):
                fake = generator(z, labels)

            # Train the discriminator on both, then the generator against it.
            d_step = discriminator_step(
                state, discriminator, real, fake, labels, monitor, options.real_label, precision
            )
            g_step = generator_step(state, fake, labels, monitor, precision)
            state.scaler.update()
            monitor.add(state.images_seen, d_step, g_step)

            # Update the EMA and the counters.
            state.images_seen += batch_size
            state.ema.update(state.generator, batch_size, state.images_seen)
            at_interval = state.images_seen % options.interval_images < batch_size
            at_log = at_interval or monitor.steps % LOG_STEPS == 0
            if at_log:
                monitor.check(batch_size)  # waits for the device, so that its time counts
            seconds = time.perf_counter() - started
            state.seconds += seconds

            # Decide whether this was the last step; a save comes before the next chance to.
            if state.images_seen >= options.images:
                stopped_by = "images"
            elif stop:
                stopped_by = stop.name
            elif show and deadline.expired(
                reserve=seconds + (1 + at_interval) * show.run.closing_seconds
            ):
                stopped_by = "time limit"
            stopped_by = processes.agree(stopped_by)

            # Show, log, draw and save.
            if at_log or stopped_by:
                row = monitor.row(state, batch_size, processes)
                if show:
                    show.progress(row)
            if at_interval or stopped_by:
                if show:
                    show.save(state, row | {"stopped_by": stopped_by})
                monitor.start_interval(state.seconds)

        if show:
            show.close()
    return TrainingResult(images=state.images_seen, seconds=state.seconds, stopped_by=stopped_by)


def discriminator_step(
    state: TrainingState,
    discriminator: nn.Module,
    real: torch.Tensor,
    fake: torch.Tensor,
    labels: torch.Tensor,
    monitor: Monitor,
    real_label: float,
    precision: str,
) -> StepResult:
    """One step of the discriminator on [N, C, H, W] real and fake images in [-1, 1].

    `discriminator` is the state's, or what averages its gradients over several processes.
    """
    with autocast(real.device, precision):
        real_logits = discriminator(real, labels)
        fake_logits = discriminator(fake.detach(), labels)
    real_logits, fake_logits = real_logits.float(), fake_logits.float()
    loss = discriminator_loss(real_logits, fake_logits, real_label)
    norm = _step(state, state.discriminator, state.discriminator_optimizer, loss, monitor)
    accuracy = ((real_logits > 0).float().mean(), (fake_logits < 0).float().mean())
    return StepResult(loss=loss.detach(), grad_norm=norm, accuracy=accuracy)


def generator_step(
    state: TrainingState,
    fake: torch.Tensor,
    labels: torch.Tensor,
    monitor: Monitor,
    precision: str,
) -> StepResult:
    """One step of the generator through the discriminator's view of its [N, C, H, W] fakes."""
    # The discriminator's own gradients would only be thrown away.
    state.discriminator.requires_grad_(False)
    with autocast(fake.device, precision):
        logits = state.discriminator(fake, labels)
    loss = generator_loss(logits.float())
    norm = _step(state, state.generator, state.generator_optimizer, loss, monitor)
    state.discriminator.requires_grad_(True)
    return StepResult(loss=loss.detach(), grad_norm=norm)


def _step(
    state: TrainingState,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: torch.Tensor,
    monitor: Monitor,
) -> torch.Tensor:
    """Updates the network unless the loss or its gradient is not finite; returns the norm."""
    optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()
    state.scaler.unscale_(optimizer)
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in network.parameters()])
    scaled = state.scaler.is_enabled()
    stop = monitor.guard(loss, norm, scaled=scaled)
    if not scaled:
        optimizer.found_inf = stop  # which the fused optimizers read on the device
    state.scaler.step(optimizer)
    return norm


def new_state(
    imageset: ImageSet, recipe: Recipe, device: torch.device, precision: str
) -> TrainingState:
    """The state before the first step, on the device; the networks' shapes are the set's."""
    _, side, _, channels = imageset.images.shape
    generator, discriminator = (
        network.to(device, memory_format=torch.channels_last)
        for network in make_networks(
            recipe.networks,
            side=side,
            channels=channels,
            label_count=len(imageset.label_names),
            seed=recipe.seed,
        )
    )
    options = recipe.train

    def adam(network: nn.Module, learning_rate: float) -> torch.optim.Adam:
        betas = (options.beta1, options.beta2)
        return torch.optim.Adam(network.parameters(), learning_rate, betas, fused=True)

    return TrainingState(
        generator=generator,
        discriminator=discriminator,
        ema=EMA(generator, options.ema_half_life_images),
        generator_optimizer=adam(generator, options.learning_rate_generator),
        discriminator_optimizer=adam(discriminator, options.learning_rate_discriminator),
        scaler=torch.amp.GradScaler(device.type, enabled=precision == "fp16"),
        random=torch.Generator(device).manual_seed(recipe.seed),
    )


def _train_launched(set_folder: Path, *arguments: object) -> None:
    """`train_here` in a new process, which opens the set for itself.

    The deadline is the same in all processes of a machine: so is its monotonic clock.
    """
    train_here(open_imageset(set_folder), *arguments)


class _Show:
    """What one of the processes shows and keeps: a bar, warnings, and the run's folder."""

    def __init__(self, run: RunFolder, options: TrainRecipe, deadline: Deadline):
        self.run, self._options, self._deadline = run, options, deadline
        self._warned = set()
        # From 0 to 1, since a run may end by its images or by its time.
        layout = "{desc}: {percentage:3.0f}%|{bar:12}| {elapsed}{postfix}"
        seconds = 0.5 if sys.stderr.isatty() else 10.0  # a log keeps every update
        self._bar = tqdm(desc="train", total=1.0, mininterval=seconds, bar_format=layout)

    def progress(self, row: dict) -> None:
        """Moves the bar."""
        images, deadline = self._options.images, self._deadline
        left = min((images - row["images"]) / row["images_per_second"], deadline.remaining())
        postfix = f"{format_duration(left)} left, {describe_row(row)}"
        by_time = deadline.elapsed() / deadline.seconds if deadline.seconds > 0 else 1.0
        self._bar.set_postfix_str(postfix, refresh=False)
        self._bar.update(min(1.0, max(row["images"] / images, by_time)) - self._bar.n)

    def save(self, state: TrainingState, row: dict) -> None:
        """Writes what an interval leaves, and warns, once each, of a collapse."""
        self.run.save(state, row)
        for warning in (discriminator_collapsed, modes_collapsed):
            words = warning(self.run.history.rows)
            if words and warning not in self._warned:
                self._warned.add(warning)
                self._bar.write(f"Warning: {words}", file=sys.stderr)

    def close(self) -> None:
        self.run.close()
        self._bar.close()
