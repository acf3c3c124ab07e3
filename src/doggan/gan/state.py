"""All that a training's next step depends on: made, saved whole and loaded whole."""

import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from doggan.data.imageset import ImageSet
from doggan.gan.ema import EMA
from doggan.gan.networks import make_networks
from doggan.gan.run_folder import CHECKPOINT
from doggan.recipe import Recipe, recipe_from_toml, recipe_to_toml, recipe_values
from doggan.support.errors import DogganError, InputError
from doggan.support.files import atomic_path, format_bytes, require_free_space

FORMAT_VERSION = 2


@dataclass(kw_only=True)
class TrainingState:
    """All that the next step depends on, beside the set and the recipe."""

    generator: nn.Module
    discriminator: nn.Module
    emas: list[EMA]
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    random: torch.Generator
    images_seen: int = 0
    steps: int = 0  # taken before the next one
    seconds: float = 0.0
    skipped_steps: int = 0

    def parts(self) -> dict[str, object]:
        """What has a state_dict, by its name in a checkpoint."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "emas": nn.ModuleList(ema.network for ema in self.emas),
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "scaler": self.scaler,
        }


_COUNTERS = ("images_seen", "steps", "seconds", "skipped_steps")


def new_state(
    imageset: ImageSet, recipe: Recipe, device: torch.device, precision: str
) -> TrainingState:
    """The state before the first step, on the device; the networks' shapes are the set's."""
    _, side, _, channels = imageset.images.shape
    label_count = len(imageset.label_names)
    generator, discriminator = (
        network.to(device, memory_format=torch.channels_last)
        for network in make_networks(
            recipe.networks, side=side, channels=channels, label_count=label_count, seed=recipe.seed
        )
    )
    options = recipe.train

    def adam(network: nn.Module, learning_rate: float) -> torch.optim.Adam:
        betas = (options.beta1, options.beta2)
        return torch.optim.Adam(network.parameters(), learning_rate, betas, fused=True)

    return TrainingState(
        generator=generator,
        discriminator=discriminator,
        emas=[EMA(generator, part, options.ema_half_life_images) for part in options.ema_parts],
        generator_optimizer=adam(generator, options.learning_rate_generator),
        discriminator_optimizer=adam(discriminator, options.learning_rate_discriminator),
        scaler=torch.amp.GradScaler(device.type, enabled=precision == "fp16"),
        random=torch.Generator(device).manual_seed(recipe.seed),
    )


def save_checkpoint(folder: Path, state: TrainingState, recipe: Recipe, set_sha256: str) -> None:
    """Writes `checkpoint.pt` atomically; the previous one stays good until then.

    Raises DogganError, saying how much space it takes, where it cannot be written.
    """
    content = {name: part.state_dict() for name, part in state.parts().items()}
    content |= {name: getattr(state, name) for name in _COUNTERS}
    content |= {
        "format": FORMAT_VERSION,
        "recipe": recipe_to_toml(recipe),
        "set_sha256": set_sha256,
        "random": state.random.get_state(),
    }
    size = sum(tensor.nbytes for tensor in _tensors(content))
    try:
        require_free_space(folder, size)
        with atomic_path(folder / CHECKPOINT) as temporary:
            try:
                torch.save(content, temporary)
            except RuntimeError as error:  # how PyTorch's writer reports a full disk
                raise OSError(error) from error
    except DogganError as error:
        raise DogganError(
            f"{error}. {folder / CHECKPOINT} takes {format_bytes(size)} beside the previous one, "
            "which is kept: make room, and --resume goes on from it"
        ) from error


def load_checkpoint(folder: Path, state: TrainingState, recipe: Recipe, set_sha256: str) -> None:
    """Fills `state` from `checkpoint.pt`.

    Raises InputError where the file is missing, damaged, of another version, or of a run with
    another recipe (its length and its zip aside) or another set. Nothing in it is executed.
    """
    path = folder / CHECKPOINT
    content = read_checkpoint(path)
    require_same_course(recipe_from_toml(content["recipe"], str(path)), recipe, path)
    if content["set_sha256"] != set_sha256:
        raise InputError(f"{path} was trained on another image set; resume with that one")
    try:
        for name, part in state.parts().items():
            part.load_state_dict(content[name])
        state.random.set_state(content["random"].cpu())
        for name in _COUNTERS:
            setattr(state, name, content[name])
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} does not fit its recipe: {error}") from error


def require_same_course(earlier: Recipe, recipe: Recipe, path: Path) -> None:
    """Raises InputError where the recipes differ in more than the run's length and the zip."""
    before, now = recipe_values(earlier), recipe_values(recipe)
    free = ("train.images", "train.processes", "submission.")
    if changed := [key for key in now if before[key] != now[key] and not key.startswith(free)]:
        found = ", ".join(f"{key} = {before[key]}, not {now[key]}" for key in changed)
        raise InputError(f"{path} was trained by another recipe: {found}")


def read_checkpoint(path: Path) -> dict:
    """What `save_checkpoint` wrote, on the CPU; raises InputError for another file."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} is not a readable checkpoint: {reason}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT_VERSION:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{path} has format {found!r}; this version reads {FORMAT_VERSION}")
    return content


def _tensors(value: object) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    values = list(value.values()) if isinstance(value, dict) else value
    nested = values if isinstance(values, list | tuple) else []
    return [tensor for item in nested for tensor in _tensors(item)]
