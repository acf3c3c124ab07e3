"""The generator and the discriminator that a recipe asks for.

All take any side from 16 to 128, grey or colour, and, where the recipe says so, a label.
"""

import torch
from torch import nn

from doggan.gan.networks.dcgan import make_dcgan
from doggan.gan.networks.dense import make_dense
from doggan.gan.networks.pair import Generator as Generator
from doggan.gan.networks.resnet import make_resnet
from doggan.recipe import MAX_SIDE_PX, MIN_SIDE_PX, NetworksRecipe
from doggan.support.errors import InputError
from doggan.support.tables import choose

# Given the recipe and the set's side, channels and number of labels, an architecture makes the
# generator (with the attributes of Generator) and the discriminator.
ARCHITECTURES = {"dcgan": make_dcgan, "dense": make_dense, "resnet": make_resnet}


def make_networks(
    recipe: NetworksRecipe, *, side: int, channels: int, label_count: int, seed: int
) -> tuple[nn.Module, nn.Module]:
    """The two networks with seeded initial weights; side, channels and label_count are the set's.

    Raises InputError for a side outside MIN_SIDE_PX to MAX_SIDE_PX, and where z is too short to be
    split as the recipe wants it.
    """
    if not MIN_SIDE_PX <= side <= MAX_SIDE_PX:
        raise InputError(
            f"the networks make images of side {MIN_SIDE_PX} to {MAX_SIDE_PX}; the set's are {side}"
        )
    make = choose(ARCHITECTURES, recipe.architecture, "networks.architecture")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(recipe, side, channels, label_count)
