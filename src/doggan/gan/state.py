"""All that a training's next step depends on: made, saved whole and loaded whole."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from doggan.data.imageset import ImageSet
from doggan.gan.ema import EMA
from doggan.gan.networks import make_networks
from doggan.gan.run_folder import CHECKPOINT, PREVIOUS_CHECKPOINT
from doggan.recipe import Recipe, recipe_from_toml, recipe_to_toml, recipe_values
from doggan.support.errors import DogganError, InputError
from doggan.support.files import atomic_path, format_bytes, require_free_space
from doggan.support.json_values import as_count, as_number
from doggan.support.zips import require_stored

FORMAT_VERSION = 3


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
    slowdowns: int = 0  # how often both rates were lowered, see `schedule.SLOWDOWN`

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


_COUNTERS = {
    "images_seen": as_count,
    "steps": as_count,
    "seconds": as_number,
    "skipped_steps": as_count,
    "slowdowns": as_count,
}


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
    """Writes `checkpoint.pt` atomically; what it was becomes `checkpoint-previous.pt`.

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
            _keep_as_previous(folder)
    except DogganError as error:
        raise DogganError(
            f"{error}. {folder / CHECKPOINT} takes {format_bytes(size)} beside the previous one, "
            "which is kept: make room, and --resume goes on from it"
        ) from error


def load_checkpoint(folder: Path, state: TrainingState, recipe: Recipe, set_sha256: str) -> str:
    """Fills `state` from the last good checkpoint; returns a line on which it was, and why.

    Raises InputError as `read_last_checkpoint` does, and for a run with another recipe (its length
    and its zip aside) or another set. Nothing in it is executed.
    """
    content, path, damage = read_last_checkpoint(folder)
    require_same_course(recipe_from_toml(content["recipe"], str(path)), recipe, path)
    if content["set_sha256"] != set_sha256:
        raise InputError(f"{path} was trained on another image set; resume with that one")
    try:
        for name, part in state.parts().items():
            part.load_state_dict(content[name])
        state.random.set_state(content["random"].cpu())
        for name in _COUNTERS:
            setattr(state, name, content[name])
    # A foreign file fails in whatever part of PyTorch meets it.
    except Exception as error:
        raise InputError(f"{path} does not fit its recipe: {error}") from error
    why = f"; {damage}" if damage else ""
    return f"goes on from {path}, at {state.images_seen:,} images{why}"


def read_last_checkpoint(folder: Path) -> tuple[dict, Path, str]:
    """The last good checkpoint of a run, its path, and what is wrong with one after it, "" for
    nothing.

    A checkpoint is good that can be read, with numbers that are finite. Raises InputError where
    none is.
    """
    damage = []
    for path in (folder / CHECKPOINT, folder / PREVIOUS_CHECKPOINT):
        try:
            content = read_checkpoint(path)
        except InputError as error:
            damage.append(str(error))
            continue
        floats = (tensor for tensor in _tensors(content) if tensor.is_floating_point())
        if all(torch.isfinite(tensor).all() for tensor in floats):
            return content, path, "; ".join(damage)
        damage.append(f"{path} holds numbers that are not finite")
    raise InputError("; ".join(damage))


def _keep_as_previous(folder: Path) -> None:
    """Gives the checkpoint, while it is still the last one, the previous one's name as well."""
    path, previous = folder / CHECKPOINT, folder / PREVIOUS_CHECKPOINT
    if not path.exists():
        return
    second = previous.with_name(f".{previous.name}.partial")
    try:
        second.unlink(missing_ok=True)
        os.link(path, second)
        second.replace(previous)
    except OSError:  # a file system that gives a file one name alone
        path.replace(previous)


def require_same_course(earlier: Recipe, recipe: Recipe, path: Path) -> None:
    """Raises InputError where the recipes differ in more than the run's length and the zip."""
    before, now = recipe_values(earlier), recipe_values(recipe)
    free = ("train.images", "train.processes", "budget.", "submission.")
    if changed := [key for key in now if before[key] != now[key] and not key.startswith(free)]:
        found = ", ".join(f"{key} = {before[key]}, not {now[key]}" for key in changed)
        raise InputError(f"{path} was trained by another recipe: {found}")


def read_checkpoint(path: Path) -> dict:
    """What `save_checkpoint` wrote, on the CPU; raises InputError for another file."""
    try:
        require_stored(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        _require_checkpoint(content)
    # A torn or foreign file fails in whatever part of the unpickler meets it.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} is not a readable checkpoint: {reason}") from error
    return content


def _require_checkpoint(content: object) -> None:
    """Raises an error of some kind unless it is what `save_checkpoint` writes."""
    if not isinstance(content, dict) or content.get("format") != FORMAT_VERSION:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"its format is {found!r:.50}; this version reads {FORMAT_VERSION}")
    for name, check in _COUNTERS.items():
        check(content[name])
    texts = all(isinstance(content[name], str) for name in ("recipe", "set_sha256"))
    # A tensor may repeat its numbers, and so seem far larger than what there is of it.
    whole = all(tensor.nbytes <= tensor.untyped_storage().nbytes() for tensor in _tensors(content))
    if not (texts and whole):
        raise ValueError("it holds other things than a run's")


def _tensors(content: object) -> list[torch.Tensor]:
    """Every tensor of nested dicts, lists and tuples, in any order."""
    found, waiting, seen = [], [content], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))  # what holds itself, or the same many times over, is met once
            waiting += value.values() if isinstance(value, dict) else value
    return found
