"""Whether a training fits: what it will hold, by its networks' shapes, against what is free.

Nothing is allocated for it: PyTorch's meta device has shapes and no numbers.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from doggan.data.imageset import ImageSet
from doggan.gan.networks import make_networks
from doggan.recipe import Recipe, with_value
from doggan.support.errors import InputError
from doggan.support.files import format_bytes

_COPIES = 4  # of a network's numbers: they, their gradients, and Adam's two means
MEMINFO = Path("/proc/meminfo")
_COUNTED_IMAGES = 2  # that the maps are measured with: batch norm wants two


def require_memory(
    imageset: ImageSet, recipe: Recipe, device: torch.device, processes: int = 1
) -> None:
    """Raises InputError where the training takes more memory than the device has free; so many
    processes share a batch, each on a GPU of its own.

    A system that does not tell what is free is taken to have enough.
    """
    if device.type == "cuda":
        share = max(2, recipe.train.batch_size // processes)
        recipe = with_value(recipe, "train.batch_size", share)
    free = free_bytes(device)
    if free is None or most_bytes(imageset, recipe) <= free:
        return
    needed = training_bytes(imageset, recipe)
    if needed > free:
        raise InputError(
            f"this training takes some {format_bytes(needed)} and there are {format_bytes(free)} "
            "free: lower networks.generator_width, networks.discriminator_width, "
            "networks.channel_max or train.batch_size"
        )


def most_bytes(imageset: ImageSet, recipe: Recipe) -> int:
    """No less than `training_bytes`, at once: as if every map were as large as an image. To follow
    the maps themselves PyTorch loads its compiler, for seconds."""
    networks = _shapes(imageset, recipe)
    maps = [_most_map_bytes(network, imageset.images[0]) for network in networks]
    return _total(imageset, recipe, networks, maps)


def training_bytes(imageset: ImageSet, recipe: Recipe) -> int:
    """What a training holds at least: weights with all that belongs to them, the maps of its
    largest batch, and that batch's images, all in fp32."""
    _, side, _, channels = imageset.images.shape
    generator, discriminator = _shapes(imageset, recipe)
    with torch.device("meta"):
        labels = torch.zeros(_COUNTED_IMAGES, dtype=torch.int64)
        images = torch.zeros(_COUNTED_IMAGES, channels, side, side)
        labels = labels if recipe.networks.conditional else None
        z = torch.zeros(_COUNTED_IMAGES, generator.latent)
        maps = [
            _map_bytes(generator, z, labels) / _COUNTED_IMAGES,
            _map_bytes(discriminator, images, labels) / _COUNTED_IMAGES,
        ]
    return _total(imageset, recipe, (generator, discriminator), maps)


def free_bytes(device: torch.device) -> int | None:
    """What is free on the device; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text("ascii").splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, ValueError, LookupError):
        return None


def _shapes(imageset: ImageSet, recipe: Recipe) -> tuple[nn.Module, nn.Module]:
    """Both networks, without numbers."""
    _, side, _, channels = imageset.images.shape
    labels = len(imageset.label_names)
    with torch.device("meta"):
        return make_networks(
            recipe.networks, side=side, channels=channels, label_count=labels, seed=recipe.seed
        )


def _total(
    imageset: ImageSet, recipe: Recipe, networks: tuple[nn.Module, nn.Module], maps: list[float]
) -> int:
    """What a training holds whose networks' maps take so many bytes an image."""
    generator, discriminator = networks
    weights = _COPIES * (_bytes(generator) + _bytes(discriminator))
    weights += len(recipe.train.ema_parts) * _bytes(generator)
    batch = recipe.train.batch_size << recipe.train.batch_doublings
    image = 4 * imageset.images[0].size
    return weights + int(batch * (maps[0] + 2 * (maps[1] + image)))  # real and fake ones


def _most_map_bytes(network: nn.Module, image: np.ndarray) -> int:
    """No less than `_map_bytes` of one image [H, W, C] like this one."""
    numbers, total = image.size, 0
    for layer in network.modules():
        if hasattr(layer, "out_channels"):
            numbers = layer.out_channels * image[..., 0].size
        elif hasattr(layer, "out_features"):
            numbers = layer.out_features
        elif list(layer.children()):
            continue
        total += numbers  # of a layer without either as many as of the one before
    return 4 * total


def _bytes(network: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in network.state_dict().values())


def _map_bytes(network: nn.Module, images: torch.Tensor, labels: torch.Tensor | None) -> int:
    """What the outputs of all layers take together, which the way back needs."""
    sizes = []
    leaves = [layer for layer in network.modules() if not list(layer.children())]
    hooks = [
        layer.register_forward_hook(lambda layer, given, found: sizes.append(found.nbytes))
        for layer in leaves
    ]
    network.eval()(images, labels)
    for hook in hooks:
        hook.remove()
    return sum(sizes)
