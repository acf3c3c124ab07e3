"""The trained generator alone: one file that sampling, scoring and zipping need.

It is safetensors', or PyTorch's own where that is missing, as Kaggle's image need not have it.
Either is read without running anything in it.
"""

import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from doggan.gan.networks import Generator, make_networks
from doggan.recipe import Recipe, recipe_from_toml, recipe_to_toml
from doggan.support.device import choose_device
from doggan.support.errors import InputError, in_short
from doggan.support.files import atomic_path
from doggan.support.zips import require_stored

FORMAT = "doggan generator 1"
SUFFIXES = (".safetensors", ".pt")
GENERATORS = tuple(f"generator{suffix}" for suffix in SUFFIXES)  # of which a run has one


def is_run(path: Path) -> bool:
    """Whether `path` is a run's folder with its generator, or a generator alone."""
    return path.suffix in SUFFIXES or any((path / name).is_file() for name in GENERATORS)


def find_generator(folder: Path) -> Path:
    """The generator's file of a run, of either kind; `generator.safetensors` if there is none."""
    paths = [folder / name for name in GENERATORS]
    return next(filter(Path.is_file, paths), paths[0])


def save_generator(
    folder: Path,
    network: Generator,
    recipe: Recipe,
    images_seen: int,
    label_names: Sequence[str] = (),
) -> None:
    """Writes the weights, with recipe, side and channels as metadata.

    Of a conditional generator also the names of its labels, of which none may be missing.
    """
    tensors = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
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
    save_tensors(folder, tensors, metadata)


def load_generator(run_or_file: Path, device: str = "auto") -> tuple[Generator, Recipe]:
    """The EMA generator of a run folder, or of its generator's file alone, and its recipe.

    `device` is `auto`, `cpu` or `cuda`. Raises InputError where there is none, or the file is
    damaged or foreign.
    """
    place, path = choose_device(device), Path(run_or_file)
    path = find_generator(path) if path.is_dir() else path
    if not path.is_file():
        raise InputError(
            f"{path} does not exist; expected a run folder or its {GENERATORS[0]} "
            "(doggan train writes one)"
        )
    try:
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != FORMAT:
            raise ValueError(f"it is not a file of the format '{FORMAT}'")
        recipe = recipe_from_toml(metadata["recipe"], where=str(path))
        side, channels = int(metadata["side"]), int(metadata["channels"])
        label_names = json.loads(metadata.get("label_names", "[]"))
        if not (isinstance(label_names, list) and all(isinstance(x, str) for x in label_names)):
            raise ValueError("its label_names are not a list of names")
        if channels not in (1, 3) or (recipe.networks.conditional and not label_names):
            raise ValueError(f"its images have {channels} channels and {len(label_names)} labels")
        # Nothing is allocated for what the file does not hold, such as a discriminator.
        with torch.device("meta"):
            network, _ = make_networks(
                recipe.networks,
                side=side,
                channels=channels,
                label_count=len(label_names),
                seed=0,
            )
        if _kinds(network.state_dict()) != _kinds(tensors):
            raise ValueError("its tensors are not those of its recipe")
        network.load_state_dict(tensors, assign=True)
        network.label_names = tuple(label_names)
    except (KeyError, ValueError, RuntimeError, InputError) as error:
        raise InputError(f"{path} is not a readable generator: {in_short(error)}") from error
    return network.eval().requires_grad_(False).to(place), recipe


def _kinds(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def save_tensors(folder: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> Path:
    """Writes `generator.safetensors`, or `generator.pt` without safetensors; returns its path."""
    try:
        from safetensors.torch import save_file
    except ImportError:
        save_file = None
    path, other = (folder / name for name in (GENERATORS if save_file else GENERATORS[::-1]))
    with atomic_path(path) as temporary:
        try:
            if save_file:
                save_file(tensors, temporary, metadata)
            else:
                torch.save({"metadata": metadata, "tensors": tensors}, temporary)
        # How either reports a full disk: SafetensorError is of no other kind.
        except Exception as error:
            raise OSError(str(error)) from error
    other.unlink(missing_ok=True)  # it would be of an earlier state
    return path


def require_whole(tensors: Iterable[torch.Tensor], most_bytes: int) -> None:
    """Raises ValueError where a tensor repeats its numbers, and so seems larger than what there is
    of it, is no plain one of the CPU's, or where all together take more than `most_bytes`."""
    storages = {}
    for tensor in tensors:
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise ValueError("it holds tensors of another kind")
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        if tensor.nbytes > storage.nbytes():
            raise ValueError("it holds fewer numbers than it tells of")
    if sum(storages.values()) > most_bytes:
        raise ValueError("it holds fewer numbers than it tells of")


def load_tensors(path: Path) -> object:
    """What `torch.save` wrote, on the CPU: tensors, numbers, text, and what holds them.

    Nothing in it is executed. Raises an error of some kind where it is damaged or foreign.
    """
    require_stored(path)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            # The one allowed call that takes any amount of memory.
            if name.endswith("/data.pkl") and b"bytearray" in archive.read(name):
                raise ValueError("it holds other things than tensors")
    return torch.load(path, map_location="cpu", weights_only=True)


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a file that `save_tensors` wrote, on the CPU.

    Raises ValueError where it is damaged or foreign, or needs safetensors and that is missing.
    """
    try:
        if path.suffix == ".pt":
            content = load_tensors(path)
            tensors, metadata = content["tensors"], content["metadata"]
        else:
            from safetensors import safe_open

            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                metadata = file.metadata() or {}
        texts = all(isinstance(value, str) for value in metadata.values())
        if not texts or not all(map(torch.is_tensor, tensors.values())):
            raise ValueError("it holds something other than tensors and text about them")
        require_whole(tensors.values(), path.stat().st_size)
    except ImportError as error:
        reason = "safetensors is missing; install it with: pip install safetensors"
        raise ValueError(reason) from error
    # A torn or foreign file fails in whatever part of the unpickler meets it.
    except Exception as error:
        raise ValueError(in_short(error)) from error
    return tensors, metadata
