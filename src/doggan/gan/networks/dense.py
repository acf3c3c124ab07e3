"""Fully connected networks, the classroom's."""

from torch import nn

from doggan.gan.networks.layers import batch_norm
from doggan.gan.networks.norms import NORMS
from doggan.gan.networks.pair import Discriminator, Generator
from doggan.recipe import NetworksRecipe
from doggan.support.tables import choose

_HIDDEN = 3  # layers in each half


def make_dense(
    recipe: NetworksRecipe, side: int, channels: int, label_count: int
) -> tuple[Generator, Discriminator]:
    """Hidden layers, each of D half as wide as the one before; D has no batch norm in any case."""
    norm = choose(NORMS, recipe.discriminator_norm, "networks.discriminator_norm")
    generator = Generator(recipe, side, channels, label_count, _HIDDEN, _layers)
    features, inputs = [nn.Flatten()], channels * side**2
    for units in (recipe.discriminator_width << power for power in reversed(range(_HIDDEN))):
        features += [nn.Linear(inputs, units), nn.LeakyReLU(0.2, inplace=True)]
        inputs = units
    discriminator = Discriminator(recipe, label_count, features, inputs, nn.Linear(inputs, 1))
    norm.finish(discriminator)
    return generator, discriminator


def _layers(
    recipe: NetworksRecipe, inputs: int, condition: int, side: int, channels: int
) -> list[nn.Module]:
    """Hidden layers, each twice as wide as the one before, batch norm and leaky ReLU between.

    Without batch norm most digits were missing after 1,700 steps on MNIST.
    """
    layers = [nn.Flatten()]
    for units in (recipe.generator_width << power for power in range(_HIDDEN)):
        layers += [nn.Linear(inputs, units, bias=False)]
        layers += [batch_norm(units, condition, nn.BatchNorm1d), nn.LeakyReLU(0.2, inplace=True)]
        inputs = units
    shape = (channels, side, side)
    return [*layers, nn.Linear(inputs, channels * side**2), nn.Tanh(), nn.Unflatten(1, shape)]
