"""A training's state on disk: saved whole, read whole, and never executed."""

import os
from pathlib import Path

import torch

from doggan.gan.generator_file import load_tensors, require_whole
from doggan.gan.run_folder import CHECKPOINT, PREVIOUS_CHECKPOINT
from doggan.gan.state import TrainingState
from doggan.recipe import Recipe, recipe_from_toml, recipe_to_toml, recipe_values
from doggan.support.errors import DogganError, InputError, in_short, is_out_of_memory
from doggan.support.files import atomic_path, format_bytes, require_free_space
from doggan.support.json_values import as_count, as_number, is_number

FORMAT_VERSION = 3

_COUNTERS = {
    "images_seen": as_count,
    "steps": as_count,
    "seconds": as_number,
    "skipped_steps": as_count,
    "slowdowns": as_count,
}


def save_checkpoint(
    folder: Path,
    state: TrainingState,
    recipe: Recipe,
    set_sha256: str,
    *,
    keep_previous: bool = True,
) -> None:
    """Writes `checkpoint.pt` atomically; what it was becomes `checkpoint-previous.pt`, unless it is
    of the same state.

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
            with temporary.open("rb") as file:
                os.fsync(file.fileno())  # which takes long, and the last one is the last until then
            if keep_previous:
                _keep_as_previous(folder)
    except DogganError as error:
        raise DogganError(
            f"{error}. {folder / CHECKPOINT} takes {format_bytes(size)} beside the previous one, "
            "which is kept: make room, and --resume goes on from it"
        ) from error


def load_checkpoint(
    folder: Path, state: TrainingState, recipe: Recipe, set_sha256: str
) -> tuple[Path, str]:
    """Fills `state` from the last good checkpoint; returns its path, and a line on it and why it
    was taken.

    Raises InputError as `read_last_checkpoint` does, and for a run with another recipe (its length
    and its zip aside) or another set. Nothing in it is executed.
    """
    content, path, damage = read_last_checkpoint(folder)
    require_same_course(recipe_from_toml(content["recipe"], str(path)), recipe, path)
    if content["set_sha256"] != set_sha256:
        raise InputError(f"{path} was trained on another image set; resume with that one")
    try:
        for name, part in state.parts().items():
            if isinstance(part, torch.optim.Optimizer):
                _require_own_groups(part, content[name])
            part.load_state_dict(content[name])
        state.random.set_state(content["random"].cpu())
        for name in _COUNTERS:
            setattr(state, name, content[name])
    # A foreign file fails in whatever part of PyTorch meets it.
    except Exception as error:
        raise InputError(f"{path} does not fit its recipe: {in_short(error)}") from error
    why = f"; {damage}" if damage else ""
    return path, f"goes on from {path}, at {state.images_seen:,} images{why}"


def _require_own_groups(optimizer: torch.optim.Optimizer, content: dict) -> None:
    """Raises an error of some kind unless the content is of an optimizer with the same settings,
    whose means have the parameters' shapes: PyTorch takes either as it comes."""
    own = optimizer.state_dict()["param_groups"]
    for group, found in zip(own, content["param_groups"], strict=True):
        if {**group, "lr": 0} != {**found, "lr": 0} or not is_number(found["lr"]):
            raise ValueError("its optimizers have other settings")
    parameters = [value for group in optimizer.param_groups for value in group["params"]]
    for number, means in content["state"].items():
        for name, value in means.items():
            expected = torch.Size() if name == "step" else parameters[number].shape
            if value.shape != expected:
                raise ValueError("its optimizers' means are of other networks")


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


def settle_checkpoint(good: Path) -> None:
    """Gives the last good checkpoint the last one's name, so that the next save does not take a
    damaged one for it."""
    good.replace(good.with_name(CHECKPOINT))


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
        content = load_tensors(path)
        _require_checkpoint(content, path.stat().st_size)
    # A torn or foreign file fails in whatever part of the unpickler meets it.
    except Exception as error:
        if is_out_of_memory(error):  # no fault of the file's
            raise
        raise InputError(f"{path} is not a readable checkpoint: {in_short(error)}") from error
    return content


def _require_checkpoint(content: object, size: int) -> None:
    """Raises an error of some kind unless it is what `save_checkpoint` writes to a file of so many
    bytes."""
    if not isinstance(content, dict) or content.get("format") != FORMAT_VERSION:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"its format is {found!r:.50}; this version reads {FORMAT_VERSION}")
    for name, check in _COUNTERS.items():
        check(content[name])
    texts = all(isinstance(content[name], str) for name in ("recipe", "set_sha256"))
    if not texts or not all(map(is_number, content["scaler"].values())):
        raise ValueError("it holds other things than a run's")
    require_whole(_tensors(content), size)


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
