"""The trained generator alone: one file that sampling, scoring and zipping need."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from doggan.gan.networks import Generator, make_networks
from doggan.recipe import Recipe, recipe_from_toml, recipe_to_toml
from doggan.support.errors import InputError
from doggan.support.files import atomic_path

FORMAT = "doggan generator 1"
GENERATOR = "generator.safetensors"


def save_generator(folder: Path, network: Generator, recipe: Recipe, images_seen: int) -> None:
    """Writes `generator.safetensors`: the weights, with recipe, side and channels as metadata."""
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
    with atomic_path(folder / GENERATOR) as temporary:
        save_file(tensors, temporary, metadata)


def load_generator(run_or_file: Path, device: torch.device) -> tuple[Generator, Recipe]:
    """The EMA generator of a run folder, or of its `generator.safetensors` alone, and its recipe.

    Raises InputError where there is none, or the file is damaged or foreign.
    """
    path = Path(run_or_file)
    path = path / GENERATOR if path.is_dir() else path
    if not path.is_file():
        raise InputError(
            f"{path} does not exist; expected a run folder or its {GENERATOR} "
            "(doggan train writes one)"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT:
            raise InputError(f"{path} is not a file of the format '{FORMAT}'")
        recipe = recipe_from_toml(metadata["recipe"], where=str(path))
        side, channels = int(metadata["side"]), int(metadata["channels"])
        network, _ = make_networks(recipe.networks, side, channels, seed=0)
        network.load_state_dict(tensors)
    except (SafetensorError, OSError, KeyError, RuntimeError) as error:
        raise InputError(f"{path} is not a readable generator: {error}") from error
    return network.eval().requires_grad_(False).to(device), recipe
