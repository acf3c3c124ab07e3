"""Generator and discriminator: the DCGAN of Radford et al. 2015 (arXiv:1511.06434), or dense ones.

Both take any side from 16 to 128, grey or colour, and, where the recipe says so, a label.
"""

from collections.abc import Callable

import torch
from torch import nn

from doggan.recipe import MAX_SIDE_PX, MIN_SIDE_PX, NetworksRecipe
from doggan.support.errors import InputError
from doggan.support.tables import choose

LABEL_FEATURES = 32  # length of the label's embedding beside z
# Its initial deviation. As loud as z, 1, it drowns z: all images of a label then become alike.
LABEL_DEVIATION = 0.2


class Generator(nn.Module):
    """z [N, latent] -> images [N, channels, side, side] in [-1, 1].

    A conditional one also takes labels [N] int64, below label_count, and appends an embedding of
    them to z (Mirza & Osindero 2014, arXiv:1411.1784).
    """

    label_names: tuple[str, ...] = ()  # of a conditional one that was loaded from its file

    def __init__(
        self,
        recipe: NetworksRecipe,
        side: int,
        channels: int,
        label_count: int,
        make_layers: Callable[[NetworksRecipe, int, int, int], list[nn.Module]],
    ):
        """`make_layers(recipe, inputs, side, channels)` takes [N, inputs, 1, 1] to the images, or
        to somewhat larger ones, whose middle is taken."""
        super().__init__()
        self.latent, self.side, self.channels = recipe.latent, side, channels
        self.label_count, self.conditional = label_count, recipe.conditional
        inputs = recipe.latent
        if self.conditional:
            self.embedding = nn.Embedding(label_count, LABEL_FEATURES)
            nn.init.normal_(self.embedding.weight, 0.0, LABEL_DEVIATION)
            inputs += LABEL_FEATURES
        self.layers = nn.Sequential(*make_layers(recipe, inputs, side, channels))

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Raises ValueError where the generator is conditional and there are no labels."""
        if self.conditional:
            z = torch.cat([z, self.embedding(_required(labels))], dim=1)
        images = self.layers(z[:, :, None, None])
        margin = (images.shape[-1] - self.side) // 2
        return images[..., margin : margin + self.side, margin : margin + self.side]


class Discriminator(nn.Module):
    """Images [N, channels, side, side] in [-1, 1] -> logits [N], positive for real.

    A conditional one also takes labels [N] int64, and adds the product of the last features with
    the label's embedding: the projection of Miyato & Koyama 2018 (arXiv:1802.05637).
    """

    def __init__(
        self,
        recipe: NetworksRecipe,
        label_count: int,
        features: list[nn.Module],
        feature_count: int,
        head: nn.Module,
    ):
        """`features` take the images to `feature_count` numbers each, `head` takes those to one."""
        super().__init__()
        self.conditional = recipe.conditional
        self.layers = nn.Sequential(*features, head)
        if self.conditional:
            self.embedding = nn.Embedding(label_count, feature_count)
            nn.init.normal_(self.embedding.weight, 0.0, 0.02)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Raises ValueError where the discriminator is conditional and there are no labels."""
        features = self.layers[:-1](images)
        logits = self.layers[-1](features).flatten()
        if self.conditional:
            logits = logits + (features.flatten(1) * self.embedding(_required(labels))).sum(1)
        return logits


def make_networks(
    recipe: NetworksRecipe, *, side: int, channels: int, label_count: int, seed: int
) -> tuple[nn.Module, nn.Module]:
    """The two networks with seeded initial weights; side, channels and label_count are the set's.

    Raises InputError for a side outside MIN_SIDE_PX to MAX_SIDE_PX.
    """
    if not MIN_SIDE_PX <= side <= MAX_SIDE_PX:
        raise InputError(
            f"the networks make images of side {MIN_SIDE_PX} to {MAX_SIDE_PX}; the set's are {side}"
        )
    make = choose(ARCHITECTURES, recipe.architecture, "networks.architecture")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(recipe, side, channels, label_count)


def _dcgan(
    recipe: NetworksRecipe, side: int, channels: int, label_count: int
) -> tuple[Generator, Discriminator]:
    planes, doublings = recipe.discriminator_width, _doublings(side)
    generator = Generator(recipe, side, channels, label_count, _dcgan_layers)
    # Strided convolutions to a small map; batch norm on all but the first.
    features = [nn.Conv2d(channels, planes, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    for _ in range(doublings - 1):
        features += [nn.Conv2d(planes, planes * 2, 4, 2, 1, bias=False)]
        features += [nn.BatchNorm2d(planes * 2), nn.LeakyReLU(0.2, inplace=True)]
        planes *= 2
    smallest = side >> doublings
    head = nn.Conv2d(planes, 1, smallest, 1, 0)
    discriminator = Discriminator(recipe, label_count, features, planes * smallest**2, head)
    return generator.apply(_initialise), discriminator.apply(_initialise)


def _dcgan_layers(recipe: NetworksRecipe, inputs: int, side: int, channels: int) -> list[nn.Module]:
    """A small map from z, then layers that double it, batch norm and ReLU between.

    Where no doubling leads to `side`, the result is larger by a few pixels, to be cropped.
    """
    double = choose(UPSAMPLINGS, recipe.upsampling, "networks.upsampling")
    doublings = _doublings(side)
    planes = recipe.generator_width << (doublings - 1)
    smallest = -(-side >> doublings)  # side / 2^doublings, rounded up: 4 to 8
    layers = [nn.ConvTranspose2d(inputs, planes, smallest, 1, 0, bias=False)]
    for _ in range(doublings - 1):
        layers += [nn.BatchNorm2d(planes), nn.ReLU(inplace=True)]
        layers += double(planes, planes // 2, bias=False)
        planes //= 2
    layers += [nn.BatchNorm2d(planes), nn.ReLU(inplace=True)]
    return [*layers, *double(planes, channels, bias=True), nn.Tanh()]


def _transposed(planes: int, planes_out: int, bias: bool) -> list[nn.Module]:
    """[N, planes, H, W] -> [N, planes_out, 2H, 2W]."""
    return [nn.ConvTranspose2d(planes, planes_out, 4, 2, 1, bias=bias)]


def _nearest(planes: int, planes_out: int, bias: bool) -> list[nn.Module]:
    """[N, planes, H, W] -> [N, planes_out, 2H, 2W]."""
    enlarge = nn.Upsample(scale_factor=2, mode="nearest")
    return [enlarge, nn.Conv2d(planes, planes_out, 3, 1, 1, bias=bias)]


def _dense(
    recipe: NetworksRecipe, side: int, channels: int, label_count: int
) -> tuple[Generator, Discriminator]:
    generator = Generator(recipe, side, channels, label_count, _dense_layers)
    # Three hidden layers, each half as wide as the one before.
    features, inputs = [nn.Flatten()], channels * side**2
    for units in (recipe.discriminator_width << power for power in (2, 1, 0)):
        features += [nn.Linear(inputs, units), nn.LeakyReLU(0.2, inplace=True)]
        inputs = units
    return generator, Discriminator(recipe, label_count, features, inputs, nn.Linear(inputs, 1))


def _dense_layers(recipe: NetworksRecipe, inputs: int, side: int, channels: int) -> list[nn.Module]:
    """Three hidden layers, each twice as wide as the one before, batch norm and leaky ReLU between.

    Without batch norm most digits were missing after 1,700 steps on MNIST.
    """
    layers = [nn.Flatten()]
    for units in (recipe.generator_width << power for power in range(3)):
        layers += [nn.Linear(inputs, units, bias=False), nn.BatchNorm1d(units)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
        inputs = units
    shape = (channels, side, side)
    return [*layers, nn.Linear(inputs, channels * side**2), nn.Tanh(), nn.Unflatten(1, shape)]


def _initialise(module: nn.Module) -> None:
    # Normal with deviation 0.02, as the paper has it; batch norm's scale around 1 alike.
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def _doublings(side: int) -> int:
    """How often a map of 4 to 8 pixels a side is doubled to reach `side`."""
    return (side // 4).bit_length() - 1


def _required(labels: torch.Tensor | None) -> torch.Tensor:
    if labels is None:
        raise ValueError("a conditional network needs labels")
    return labels


# Given the recipe and the set's side, channels and number of labels, an architecture makes the
# generator (with the attributes of Generator) and the discriminator.
ARCHITECTURES = {"dcgan": _dcgan, "dense": _dense}
UPSAMPLINGS = {"transposed": _transposed, "nearest": _nearest}
