"""The DCGAN of Radford et al. 2015 (arXiv:1511.06434)."""

from itertools import pairwise

from torch import nn

from doggan.gan.networks.layers import batch_norm, channels_of_maps, doublings, smallest_map
from doggan.gan.networks.norms import NORMS, initialise_normal
from doggan.gan.networks.pair import Discriminator, Generator
from doggan.recipe import NetworksRecipe
from doggan.support.tables import choose


def make_dcgan(
    recipe: NetworksRecipe, side: int, channels: int, label_count: int
) -> tuple[Generator, Discriminator]:
    """Strided convolutions, batch norm on all but the first and the last of each half."""
    norm = choose(NORMS, recipe.discriminator_norm, "networks.discriminator_norm")
    generator = Generator(recipe, side, channels, label_count, doublings(side), _layers)
    planes = channels_of_maps(recipe.discriminator_width, recipe.channel_max, doublings(side))
    features = [nn.Conv2d(channels, planes[0], 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    for inner, outer in pairwise(planes):
        features += [nn.Conv2d(inner, outer, 4, 2, 1, bias=not norm.batch)]
        features += [*norm.layers(outer), nn.LeakyReLU(0.2, inplace=True)]
    smallest = side >> doublings(side)
    head = nn.Conv2d(planes[-1], 1, smallest, 1, 0)
    discriminator = Discriminator(recipe, label_count, features, planes[-1] * smallest**2, head)
    initialise_normal(generator)
    norm.finish(discriminator)
    return generator, discriminator


def _layers(
    recipe: NetworksRecipe, inputs: int, condition: int, side: int, channels: int
) -> list[nn.Module]:
    """A small map from z, then layers that double it, batch norm and ReLU between.

    Where no doubling leads to `side`, the result is larger by a few pixels, to be cropped.
    """
    double = choose(UPSAMPLINGS, recipe.upsampling, "networks.upsampling")
    planes = channels_of_maps(recipe.generator_width, recipe.channel_max, doublings(side))[::-1]
    layers = [nn.ConvTranspose2d(inputs, planes[0], smallest_map(side), 1, 0, bias=False)]
    for inner, outer in pairwise(planes):
        layers += [batch_norm(inner, condition), nn.ReLU(inplace=True)]
        layers += double(inner, outer, bias=False)
    layers += [batch_norm(planes[-1], condition), nn.ReLU(inplace=True)]
    return [*layers, *double(planes[-1], channels, bias=True), nn.Tanh()]


def _transposed(planes: int, planes_out: int, bias: bool) -> list[nn.Module]:
    """[N, planes, H, W] -> [N, planes_out, 2H, 2W]."""
    return [nn.ConvTranspose2d(planes, planes_out, 4, 2, 1, bias=bias)]


def _nearest(planes: int, planes_out: int, bias: bool) -> list[nn.Module]:
    """[N, planes, H, W] -> [N, planes_out, 2H, 2W]."""
    enlarge = nn.Upsample(scale_factor=2, mode="nearest")
    return [enlarge, nn.Conv2d(planes, planes_out, 3, 1, 1, bias=bias)]


def _transposed_3x3(planes: int, planes_out: int, bias: bool) -> list[nn.Module]:
    """[N, planes, H, W] -> [N, planes_out, 2H, 2W]: a layer deeper, as in DCGANs of 2019."""
    middle = max(planes // 2, 1)  # and not planes_out, which are the image's 1 or 3 at the end
    layers = [*_transposed(planes, middle, bias=False), nn.BatchNorm2d(middle)]
    return [*layers, nn.ReLU(inplace=True), nn.Conv2d(middle, planes_out, 3, 1, 1, bias=bias)]


UPSAMPLINGS = {
    "transposed": _transposed,
    "nearest": _nearest,
    "transposed-3x3": _transposed_3x3,
}
