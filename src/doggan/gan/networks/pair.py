"""Generator and discriminator, whatever their layers: what is done with z, labels and logits."""

from collections.abc import Callable

import torch
from torch import nn

from doggan.gan.networks.layers import Conditioned
from doggan.gan.networks.norms import SplitBatchNorm, fill_normal
from doggan.recipe import NetworksRecipe
from doggan.support.errors import InputError
from doggan.support.tables import choose

LABEL_FEATURES = 32  # length of the label's embedding
# Its initial deviation. As loud as z, 1, it drowns z: all images of a label then become alike.
LABEL_DEVIATION = 0.2

# How many features of the label are appended to the first layer's input, and to each condition.
CONDITIONINGS = {"latent": (LABEL_FEATURES, 0), "batch-norm": (0, LABEL_FEATURES)}


class Generator(nn.Module):
    """z [N, latent] -> images [N, channels, side, side] in [-1, 1].

    A conditional one also takes labels [N] int64, below label_count. An embedding of them is
    appended to z (Mirza & Osindero 2014, arXiv:1411.1784), or told to each stage's batch norm. A
    hierarchical z is split: its first chunk goes to the first layer, and to each stage one more
    (both Brock et al. 2018, arXiv:1809.11096). What cannot be split evenly goes to the first.
    """

    label_names: tuple[str, ...] = ()  # of a conditional one that was loaded from its file

    def __init__(
        self,
        recipe: NetworksRecipe,
        side: int,
        channels: int,
        label_count: int,
        stages: int,
        make_layers: Callable[[NetworksRecipe, int, int, int, int], list[nn.Module]],
    ):
        """`make_layers(recipe, inputs, condition, side, channels)` takes [N, inputs, 1, 1] to the
        images, or to somewhat larger ones, whose middle is taken. Where `condition` is not 0, it
        has `stages` Conditioned layers, each told a [N, condition] of its own.

        Raises InputError where z is shorter than the chunks are many.
        """
        super().__init__()
        self.latent, self.side, self.channels = recipe.latent, side, channels
        self.label_count, self.conditional = label_count, recipe.conditional
        self._chunks = _chunks(recipe, stages)
        inputs, condition = self._chunks[0], self._chunks[-1]
        if self.conditional:
            self.embedding = nn.Embedding(label_count, LABEL_FEATURES)
            fill_normal(self.embedding.weight, 0.0, LABEL_DEVIATION)
            told = choose(CONDITIONINGS, recipe.conditioning, "networks.conditioning")
            inputs, condition = inputs + told[0], condition + told[1]
            self._told = [told[0]] + [told[1]] * stages
        self.layers = nn.Sequential(*make_layers(recipe, inputs, condition, side, channels))

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Raises ValueError where the generator is conditional and there are no labels."""
        parts = z.split(self._chunks, dim=1)
        if self.conditional:
            label = self.embedding(_required(labels))
            told = zip(parts, self._told, strict=True)
            parts = [torch.cat([part, label[:, :features]], dim=1) for part, features in told]
        maps, conditions = parts[0][:, :, None, None], iter(parts[1:])
        for layer in self.layers:
            maps = layer(maps, next(conditions)) if isinstance(layer, Conditioned) else layer(maps)
        margin = (maps.shape[-1] - self.side) // 2
        return maps[..., margin : margin + self.side, margin : margin + self.side]


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
        self._norms = [layer for layer in self.modules() if isinstance(layer, SplitBatchNorm)]
        if self.conditional:
            self.embedding = nn.Embedding(label_count, feature_count)
            fill_normal(self.embedding.weight, 0.0, 0.02)

    def forward(
        self, images: torch.Tensor, labels: torch.Tensor | None = None, splits: int = 1
    ) -> torch.Tensor:
        """The images may be `splits` batches of one size, one after another, which batch norm keeps
        apart.

        Raises ValueError where the discriminator is conditional and there are no labels.
        """
        for norm in self._norms:
            norm.splits = splits
        features = self.layers[:-1](images)
        logits = self.layers[-1](features).flatten()
        if self.conditional:
            logits = logits + (features.flatten(1) * self.embedding(_required(labels))).sum(1)
        return logits


def _chunks(recipe: NetworksRecipe, stages: int) -> list[int]:
    """The lengths of the parts of z: the first layer's, and one for each stage."""
    each = recipe.latent // (stages + 1) if recipe.hierarchical_latent else 0
    if recipe.hierarchical_latent and not each:
        raise InputError(
            f"networks.latent is {recipe.latent}; with networks.hierarchical_latent the first "
            f"layer and {stages} stages each take a part of z, so give it {stages + 1} or more"
        )
    return [recipe.latent - stages * each] + [each] * stages


def _required(labels: torch.Tensor | None) -> torch.Tensor:
    if labels is None:
        raise ValueError("a conditional network needs labels")
    return labels
