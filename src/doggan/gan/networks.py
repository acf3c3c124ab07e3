"""Generator and discriminator: the DCGAN of Radford et al. 2015 (arXiv:1511.06434), or dense ones.

Both take any side from 16 to 128, grey or colour, and, where the recipe says so, a label.
"""

import torch
from torch import nn

from doggan.recipe import MAX_SIDE_PX, MIN_SIDE_PX, NetworksRecipe
from doggan.support.errors import InputError

LABEL_FEATURES = 32  # length of the label's embedding beside z
# Its initial deviation. As loud as z, 1, it drowns z: all images of a label then become alike.
LABEL_DEVIATION = 0.2


class Generator(nn.Module):
    """z [N, latent] -> images [N, channels, side, side] in [-1, 1].

    A conditional one also takes labels [N] int64, below label_count, and appends an embedding of
    them to z (Mirza & Osindero 2014, arXiv:1411.1784).
    """

    label_names: tuple[str, ...] = ()  # of a conditional one that was loaded from its file

    def __init__(self, recipe: NetworksRecipe, side: int, channels: int, label_count: int):
        super().__init__()
        self.latent, self.side, self.channels = recipe.latent, side, channels
        self.label_count, self.conditional = label_count, recipe.conditional
        inputs = recipe.latent
        if self.conditional:
            self.embedding = nn.Embedding(label_count, LABEL_FEATURES)
            nn.init.normal_(self.embedding.weight, 0.0, LABEL_DEVIATION)
            inputs += LABEL_FEATURES
        make_layers = _dense_generator if recipe.architecture == "dense" else _dcgan_generator
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

    def __init__(self, recipe: NetworksRecipe, side: int, channels: int, label_count: int):
        super().__init__()
        self.conditional = recipe.conditional
        dense = recipe.architecture == "dense"
        make_layers = _dense_discriminator if dense else _dcgan_discriminator
        self.layers = nn.Sequential(*make_layers(recipe, side, channels))
        if self.conditional:
            self.embedding = nn.Embedding(label_count, self.layers[-1].weight.numel())
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
) -> tuple[Generator, Discriminator]:
    """The two networks with seeded initial weights; side, channels and label_count are the set's.

    Raises InputError for a side outside MIN_SIDE_PX to MAX_SIDE_PX.
    """
    if not MIN_SIDE_PX <= side <= MAX_SIDE_PX:
        raise InputError(
            f"the networks make images of side {MIN_SIDE_PX} to {MAX_SIDE_PX}; the set's are {side}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(recipe, side, channels, label_count)
        discriminator = Discriminator(recipe, side, channels, label_count)
        return generator.apply(_initialise), discriminator.apply(_initialise)


def _dcgan_generator(
    recipe: NetworksRecipe, inputs: int, side: int, channels: int
) -> list[nn.Module]:
    """A small map from z, then layers that double it, batch norm and ReLU between.

    Where no doubling leads to `side`, the result is larger by a few pixels, to be cropped.
    """
    doublings = _doublings(side)
    planes = recipe.generator_width << (doublings - 1)
    smallest = -(-side >> doublings)  # side / 2^doublings, rounded up: 4 to 8
    layers = [nn.ConvTranspose2d(inputs, planes, smallest, 1, 0, bias=False)]
    for _ in range(doublings - 1):
        layers += [nn.BatchNorm2d(planes), nn.ReLU(inplace=True)]
        layers += _double(recipe.upsampling, planes, planes // 2, bias=False)
        planes //= 2
    layers += [nn.BatchNorm2d(planes), nn.ReLU(inplace=True)]
    return [*layers, *_double(recipe.upsampling, planes, channels, bias=True), nn.Tanh()]


def _double(upsampling: str, planes: int, planes_out: int, bias: bool) -> list[nn.Module]:
    """[N, planes, H, W] -> [N, planes_out, 2H, 2W]."""
    if upsampling == "transposed":
        return [nn.ConvTranspose2d(planes, planes_out, 4, 2, 1, bias=bias)]
    return [
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(planes, planes_out, 3, 1, 1, bias=bias),
    ]


def _dcgan_discriminator(recipe: NetworksRecipe, side: int, channels: int) -> list[nn.Module]:
    """Strided convolutions to a small map, batch norm (but on the first) and leaky ReLU between."""
    planes, doublings = recipe.discriminator_width, _doublings(side)
    layers = [nn.Conv2d(channels, planes, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    for _ in range(doublings - 1):
        layers += [nn.Conv2d(planes, planes * 2, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(planes * 2), nn.LeakyReLU(0.2, inplace=True)]
        planes *= 2
    return [*layers, nn.Conv2d(planes, 1, side >> doublings, 1, 0)]


def _dense_generator(
    recipe: NetworksRecipe, inputs: int, side: int, channels: int
) -> list[nn.Module]:
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


def _dense_discriminator(recipe: NetworksRecipe, side: int, channels: int) -> list[nn.Module]:
    """Three hidden layers, each half as wide as the one before."""
    layers, inputs = [nn.Flatten()], channels * side**2
    for units in (recipe.discriminator_width << power for power in (2, 1, 0)):
        layers += [nn.Linear(inputs, units), nn.LeakyReLU(0.2, inplace=True)]
        inputs = units
    return [*layers, nn.Linear(inputs, 1)]


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
