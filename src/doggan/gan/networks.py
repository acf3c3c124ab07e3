"""The DCGAN of Radford et al. 2015 (arXiv:1511.06434), for any side that is a power of two."""

import torch
from torch import nn

from doggan.recipe import NetworksRecipe
from doggan.support.errors import InputError


class Generator(nn.Module):
    """z [N, latent] -> images [N, channels, side, side] in [-1, 1].

    A 4x4 map from z, then transposed convolutions that double it, batch norm and ReLU between.
    """

    def __init__(self, latent: int, width: int, side: int, channels: int):
        super().__init__()
        doublings = _doublings(side)
        planes = width << (doublings - 1)
        layers = [nn.ConvTranspose2d(latent, planes, 4, 1, 0, bias=False)]
        for _ in range(doublings - 1):
            layers += [nn.BatchNorm2d(planes), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(planes, planes // 2, 4, 2, 1, bias=False)]
            planes //= 2
        layers += [nn.BatchNorm2d(planes), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(planes, channels, 4, 2, 1), nn.Tanh()]
        self.latent, self.side, self.channels = latent, side, channels
        self.layers = nn.Sequential(*layers)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.layers(z[:, :, None, None])


class Discriminator(nn.Module):
    """Images [N, channels, side, side] in [-1, 1] -> logits [N], positive for real.

    Strided convolutions down to a 4x4 map, batch norm (but on the first) and leaky ReLU between.
    """

    def __init__(self, width: int, side: int, channels: int):
        super().__init__()
        layers = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for _ in range(_doublings(side) - 1):
            layers += [nn.Conv2d(width, width * 2, 4, 2, 1, bias=False)]
            layers += [nn.BatchNorm2d(width * 2), nn.LeakyReLU(0.2, inplace=True)]
            width *= 2
        layers += [nn.Conv2d(width, 1, 4, 1, 0)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images).flatten()


def make_networks(
    recipe: NetworksRecipe, side: int, channels: int, seed: int
) -> tuple[Generator, Discriminator]:
    """The two networks with seeded initial weights; side and channels are the set's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(recipe.latent, recipe.generator_width, side, channels)
        discriminator = Discriminator(recipe.discriminator_width, side, channels)
        return generator.apply(_initialise), discriminator.apply(_initialise)


def _initialise(module: nn.Module) -> None:
    # Normal with deviation 0.02, as the paper has it; batch norm's scale around 1 alike.
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def _doublings(side: int) -> int:
    if side not in (16, 32, 64, 128):
        raise InputError(f"the DCGAN makes images of side 16, 32, 64 or 128; the set's are {side}")
    return side.bit_length() - 3  # from the 4x4 map
