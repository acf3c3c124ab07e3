"""The trained generator alone: one file that sampling, scoring and zipping need."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from doggan.gan.networks import Generator, make_networks
from doggan.recipe import Recipe, recipe_from_toml, recipe_to_toml
from doggan.support.errors import InputError
from doggan.support.tensor_file import SUFFIXES, find_tensors, read_tensors, save_tensors

FORMAT = "doggan generator 1"
STEM = "generator"
GENERATORS = tuple(STEM + suffix for suffix in SUFFIXES)  # of which a run has one


def save_generator(
    folder: Path,
    network: Generator,
    recipe: Recipe,
    images_seen: int,
    label_names: Sequence[str] = (),
) -> None:
    """Writes `generator.safetensors`: the weights, with recipe, side and channels as metadata.

    Without safetensors it is `generator.pt`, with the same content.
    Of a conditional generator also the names of its labels, of which none may be missing.
    """
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "recipe": recipe_to_toml(recipe),
        "side": str(network.side),
        "channels": str(network.channels),
        "images_seen": str(images_seen),
    }
    if network.conditional:
        assert len(label_names) == network.label_count
        metadata["label_names"] = json.dumps(list(label_names))
    save_tensors(folder, STEM, tensors, metadata)


def load_generator(run_or_file: Path, device: torch.device) -> tuple[Generator, Recipe]:
    """The EMA generator of a run folder, or of its generator's file alone, and its recipe.

    Raises InputError where there is none, or the file is damaged or foreign.
    """
    path = Path(run_or_file)
    path = find_tensors(path, STEM) if path.is_dir() else path
    if not path.is_file():
        raise InputError(
            f"{path} does not exist; expected a run folder or its {GENERATORS[0]} "
            "(doggan train writes one)"
        )
    try:
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != FORMAT:
            raise InputError(f"{path} is not a file of the format '{FORMAT}'")
        recipe = recipe_from_toml(metadata["recipe"], where=str(path))
        side, channels = int(metadata["side"]), int(metadata["channels"])
        label_names = _label_names(metadata)
        network, _ = make_networks(
            recipe.networks, side=side, channels=channels, label_count=len(label_names), seed=0
        )
        network.load_state_dict(tensors)
        network.label_names = label_names
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is not a readable generator: {error}") from error
    return network.eval().requires_grad_(False).to(device), recipe


def _label_names(metadata: dict[str, str]) -> tuple[str, ...]:
    """Raises ValueError where the names are not a list of texts; of unconditional ones, none."""
    names = json.loads(metadata.get("label_names", "[]"))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("its label_names are not a list of names")
    return tuple(names)
