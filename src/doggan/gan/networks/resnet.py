"""Residual networks as in SNGAN (Miyato et al. 2018, arXiv:1802.05957) and BigGAN (Brock et al.
2018, arXiv:1809.11096): two 3x3 convolutions a block, with activations before them."""

from itertools import pairwise

import torch
from torch import nn

from doggan.gan.networks.layers import (
    Conditioned,
    batch_norm,
    channels_of_maps,
    doublings,
    normalise,
    smallest_map,
)
from doggan.gan.networks.norms import NORMS, Norm, initialise_orthogonal
from doggan.gan.networks.pair import Discriminator, Generator
from doggan.recipe import NetworksRecipe
from doggan.support.tables import choose

MOST_PLANES = 16  # times the width: what BigGAN has at its smallest maps


class UpBlock(Conditioned):
    """[N, planes, H, W] -> [N, planes_out, 2H, 2W]; both batch norms are told the condition."""

    def __init__(self, planes: int, planes_out: int, condition: int):
        super().__init__()
        self.norms = nn.ModuleList([batch_norm(count, condition) for count in (planes, planes_out)])
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(count, planes_out, 3, 1, 1) for count in (planes, planes_out)]
        )
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.shortcut = _shortcut(planes, planes_out)

    def forward(self, maps: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        branch = self.enlarge(normalise(self.norms[0], maps, condition).relu_())
        branch = self.convolutions[0](branch)
        branch = self.convolutions[1](normalise(self.norms[1], branch, condition).relu_())
        # A 1x1 convolution gives the same before the enlargement, for a quarter of the work.
        return branch + self.enlarge(self.shortcut(maps))


class DownBlock(nn.Module):
    """[N, planes, H, W] -> [N, planes_out, H // 2, W // 2], or of the same side without `halve`.

    The first block of a network has no activation before its first convolution: it would take the
    dark half of the pixels away.
    """

    def __init__(
        self, planes: int, planes_out: int, norm: Norm, *, first: bool = False, halve: bool = True
    ):
        super().__init__()
        pool = [nn.AvgPool2d(2)] if halve else []
        self.branch = nn.Sequential(
            # Not in place: the shortcut has the same input.
            *([] if first else [*norm.layers(planes), nn.ReLU()]),
            nn.Conv2d(planes, planes_out, 3, 1, 1),
            *norm.layers(planes_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(planes_out, planes_out, 3, 1, 1),
            *pool,
        )
        self.shortcut = nn.Sequential(*pool, _shortcut(planes, planes_out))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.branch(maps) + self.shortcut(maps)


class SumPool(nn.Module):
    """[N, planes, H, W] -> [N, planes]."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.sum((2, 3))


def make_resnet(
    recipe: NetworksRecipe, side: int, channels: int, label_count: int
) -> tuple[Generator, Discriminator]:
    """A block for each doubling and halving; D has one more, at its smallest map."""
    norm = choose(NORMS, recipe.discriminator_norm, "networks.discriminator_norm")
    generator = Generator(recipe, side, channels, label_count, doublings(side), _layers)
    planes = _planes(recipe.discriminator_width, recipe.channel_max, side)
    features = [DownBlock(channels, planes[0], norm, first=True)]
    for halvings, (inner, outer) in enumerate(pairwise(planes), start=1):
        features.append(DownBlock(inner, outer, norm, halve=halvings < doublings(side)))
    features += [*norm.layers(planes[-1]), nn.ReLU(inplace=True), SumPool()]
    head = nn.Linear(planes[-1], 1)
    discriminator = Discriminator(recipe, label_count, features, planes[-1], head)
    initialise_orthogonal(generator.layers)
    norm.finish(discriminator)
    return generator, discriminator


def _layers(
    recipe: NetworksRecipe, inputs: int, condition: int, side: int, channels: int
) -> list[nn.Module]:
    """A small map from z, blocks that double it, and a convolution to the image."""
    planes = _planes(recipe.generator_width, recipe.channel_max, side)[::-1]
    layers = [nn.ConvTranspose2d(inputs, planes[0], smallest_map(side), 1, 0)]
    layers += [UpBlock(inner, outer, condition) for inner, outer in pairwise(planes)]
    layers += [nn.BatchNorm2d(planes[-1]), nn.ReLU(inplace=True)]
    return [*layers, nn.Conv2d(planes[-1], channels, 3, 1, 1), nn.Tanh()]


def _planes(width: int, most: int, side: int) -> list[int]:
    """Channels from the finest map on, up to `most`: BigGAN's at sides of 64 and 128."""
    return channels_of_maps(width, min(most, MOST_PLANES * width), doublings(side) + 1)


def _shortcut(planes: int, planes_out: int) -> nn.Module:
    return nn.Identity() if planes == planes_out else nn.Conv2d(planes, planes_out, 1)
