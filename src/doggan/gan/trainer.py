"""The training loop."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from doggan.data.batches import Batches
from doggan.data.imageset import ImageSet
from doggan.gan.checkpoint import CHECKPOINT, TrainingState, load_checkpoint, save_checkpoint
from doggan.gan.ema import EMA
from doggan.gan.generator_file import save_generator
from doggan.gan.losses import discriminator_loss, generator_loss
from doggan.gan.networks import make_networks
from doggan.gan.sampler import latents, sample
from doggan.recipe import Recipe, recipe_to_toml
from doggan.reporting.history import History
from doggan.reporting.pictures import make_grid, save_gif, save_picture
from doggan.support.deadline import Deadline, format_duration
from doggan.support.device import choose_device, choose_precision, describe_environment
from doggan.support.errors import DogganError, InputError
from doggan.support.files import write_json, write_text
from doggan.support.signals import stop_request

GRID_COLUMNS, GRID_ROWS = 10, 5
AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class NonFiniteLossError(DogganError):
    """A loss became infinite or not a number."""


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
) -> TrainingResult:
    """Trains until `recipe.train.images` were shown or the deadline comes, whichever is first.

    Leaves in `folder`: recipe.toml, environment.json, stats.jsonl, grids/, progress.gif,
    checkpoint.pt and generator.safetensors, whole at any time and current after every interval.
    Raises NonFiniteLossError (the last checkpoint is kept), and InputError where `folder` holds a
    run and `resume` is not set, or holds none that can be resumed.
    """
    deadline = deadline or Deadline(None)
    options = recipe.train
    place = choose_device(device)
    precision = choose_precision(options.precision, place)
    check_run_folder(folder, resume)

    # Make everything that the next step depends on, or load it.
    state = new_state(imageset, recipe, place, precision)
    if resume:
        load_checkpoint(folder, state, recipe, imageset.sha256)
    write_text(folder / "recipe.toml", recipe_to_toml(recipe))
    write_json(folder / "environment.json", describe_environment(place, precision))
    keeper = _Keeper(folder, recipe, imageset.sha256, state.images_seen)
    keeper.save(state)

    # Load the set.
    batches = Batches(
        imageset.images, options.batch_size, seed=recipe.seed, flip=options.flip, device=place
    )
    interval = _Interval(place)
    stopped_by = "images" if state.images_seen >= options.images else ""

    with stop_request() as stop, _progress_bar() as bar:
        while not stopped_by:
            started = time.perf_counter()

            # Take real images, and make fake ones.
            real = batches.at(state.images_seen)
            z = torch.randn(len(real), recipe.networks.latent, generator=state.random, device=place)
            with _autocast(place, precision):
                fake = state.generator(z)

            # Train the discriminator on both, then the generator against it.
            real_logits, fake_logits, d_loss = discriminator_step(
                state, real, fake, options.real_label, precision
            )
            g_loss = generator_step(state, fake, precision)
            update_scaler(state)

            # Update the EMA and the counters.
            state.images_seen += len(real)
            state.ema.update(state.generator, len(real), state.images_seen)
            interval.add(d_loss, g_loss, real_logits, fake_logits)
            seconds = time.perf_counter() - started
            interval.seconds += seconds
            state.seconds += seconds

            # Decide whether this was the last step.
            if state.images_seen >= options.images:
                stopped_by = "images"
            elif stop:
                stopped_by = stop.name
            elif deadline.expired(reserve=seconds + keeper.closing_seconds):
                stopped_by = "time limit"

            # Show, log, draw and save.
            at_interval = state.images_seen % options.interval_images < len(real)
            if at_interval or stopped_by or interval.steps % 10 == 0:
                row = interval.row(state)
                bar.set_postfix_str(_postfix(row, options.images, deadline), refresh=False)
                bar.update(_progress(state.images_seen, options.images, deadline) - bar.n)
            if at_interval or stopped_by:
                keeper.save(state, row)
                interval = _Interval(place)

    keeper.save_gif()
    return TrainingResult(images=state.images_seen, seconds=state.seconds, stopped_by=stopped_by)


def check_run_folder(folder: Path, resume: bool) -> None:
    """Raises InputError where a run would be overwritten, or there is none to resume."""
    holds_run = (folder / CHECKPOINT).exists()
    if holds_run and not resume:
        raise InputError(
            f"{folder} already holds a run; continue it with --resume, or choose another --out"
        )
    if resume and not holds_run:
        raise InputError(f"{folder} holds no {CHECKPOINT}; there is nothing to resume")


def discriminator_step(
    state: TrainingState,
    real: torch.Tensor,
    fake: torch.Tensor,
    real_label: float,
    precision: str,
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """One step of the discriminator on [N, C, H, W] real and fake images in [-1, 1].

    Returns the logits [N] of both, detached, and the loss.
    """
    with _autocast(real.device, precision):
        real_logits = state.discriminator(real)
        fake_logits = state.discriminator(fake.detach())
    real_logits, fake_logits = real_logits.float(), fake_logits.float()
    loss = discriminator_loss(real_logits, fake_logits, real_label)
    _step(state, state.discriminator_optimizer, loss, "discriminator")
    return real_logits.detach(), fake_logits.detach(), loss.item()


def generator_step(state: TrainingState, fake: torch.Tensor, precision: str) -> float:
    """One step of the generator through the discriminator's view of its [N, C, H, W] fakes.

    Returns the loss.
    """
    state.discriminator.requires_grad_(False)
    with _autocast(fake.device, precision):
        logits = state.discriminator(fake)
    loss = generator_loss(logits.float())
    _step(state, state.generator_optimizer, loss, "generator")
    state.discriminator.requires_grad_(True)
    return loss.item()


def update_scaler(state: TrainingState) -> None:
    """Adapts the fp16 scale, and counts the step if the scaler skipped it."""
    before = state.scaler.get_scale()
    state.scaler.update()
    state.skipped_steps += int(state.scaler.get_scale() < before)


def new_state(
    imageset: ImageSet, recipe: Recipe, device: torch.device, precision: str
) -> TrainingState:
    """The state before the first step, on the device, for the set's image side and channels."""
    _, side, _, channels = imageset.images.shape
    generator, discriminator = (
        network.to(device, memory_format=torch.channels_last)
        for network in make_networks(recipe.networks, side, channels, recipe.seed)
    )
    options = recipe.train

    def adam(network: torch.nn.Module, learning_rate: float) -> torch.optim.Adam:
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


class _Interval:
    """Sums over the steps since the last row of the history; kept on the device."""

    def __init__(self, device: torch.device):
        self.steps, self.images, self.seconds = 0, 0, 0.0
        self.losses = [0.0, 0.0]
        self.correct = torch.zeros(2, device=device)

    def add(
        self, d_loss: float, g_loss: float, real_logits: torch.Tensor, fake_logits: torch.Tensor
    ) -> None:
        self.steps += 1
        self.images += len(real_logits)
        self.losses = [self.losses[0] + d_loss, self.losses[1] + g_loss]
        self.correct += torch.stack([(real_logits > 0).sum(), (fake_logits < 0).sum()])

    def row(self, state: TrainingState) -> dict:
        accuracy_real, accuracy_fake = (self.correct / self.images).tolist()
        return {
            "images": state.images_seen,
            "seconds": round(state.seconds, 3),
            "loss_d": self.losses[0] / self.steps,
            "loss_g": self.losses[1] / self.steps,
            "accuracy_real": accuracy_real,
            "accuracy_fake": accuracy_fake,
            "images_per_second": self.images / self.seconds,
            "scale": state.scaler.get_scale(),
            "skipped_steps": state.skipped_steps,
        }


class _Keeper:
    """Writes what a run leaves at every interval, and knows how long the last writing will take."""

    def __init__(self, folder: Path, recipe: Recipe, set_sha256: str, images_seen: int):
        self._folder, self._recipe, self._set_sha256 = folder, recipe, set_sha256
        self._history = History(folder, images_seen)
        self._z = latents(range(GRID_COLUMNS * GRID_ROWS), recipe.networks.latent)
        self._save_seconds = self._gif_seconds = 0.0

    @property
    def closing_seconds(self) -> float:
        """What the last save and the GIF will take, by the slowest ones so far."""
        # The GIF is redrawn whenever its frames have doubled, so the last one costs at most twice
        # the one before.
        return self._save_seconds + 2 * self._gif_seconds

    def save(self, state: TrainingState, row: dict | None = None) -> None:
        started = time.perf_counter()
        if row:
            self._history.append(row)
        grid = make_grid(next(sample(state.ema.network, self._z)), GRID_COLUMNS)
        save_picture(grid, self._folder / "grids" / f"{state.images_seen:09d}.png")
        save_generator(self._folder, state.ema.network, self._recipe, state.images_seen)
        save_checkpoint(self._folder, state, self._recipe, self._set_sha256)
        self._save_seconds = max(self._save_seconds, time.perf_counter() - started)
        if math.log2(len(self._history.rows) + 1).is_integer():
            self.save_gif()

    def save_gif(self) -> None:
        started = time.perf_counter()
        save_gif(sorted((self._folder / "grids").glob("*.png")), self._folder / "progress.gif")
        self._gif_seconds = time.perf_counter() - started


def _step(
    state: TrainingState, optimizer: torch.optim.Optimizer, loss: torch.Tensor, name: str
) -> None:
    if not torch.isfinite(loss):
        raise NonFiniteLossError(
            f"the {name}'s loss became {loss.item()} after {state.images_seen:,} images; the last "
            "checkpoint is kept. Try a lower learning rate, or --set train.precision=fp32"
        )
    optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()
    state.scaler.step(optimizer)


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, AUTOCAST_TYPES[precision], enabled=precision != "fp32")


def _progress_bar() -> tqdm:
    """A bar from 0 to 1, since a run may end by its images or by its time."""
    layout = "{desc}: {percentage:3.0f}%|{bar:12}| {elapsed}{postfix}"
    return tqdm(desc="train", total=1.0, mininterval=0.5, bar_format=layout)


def _progress(images_seen: int, images: int, deadline: Deadline) -> float:
    by_time = deadline.elapsed() / deadline.seconds if deadline.seconds > 0 else 1.0
    return min(1.0, max(images_seen / images, by_time))


def _postfix(row: dict, images: int, deadline: Deadline) -> str:
    left = min((images - row["images"]) / row["images_per_second"], deadline.remaining())
    return (
        f"{format_duration(left)} left, {row['images']:,} images, "
        f"{row['images_per_second']:.0f}/s, D {row['loss_d']:.2f} G {row['loss_g']:.2f}, "
        f"D right on {row['accuracy_real']:.0%} of real, {row['accuracy_fake']:.0%} of fake"
    )
