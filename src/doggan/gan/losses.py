"""What each half of the GAN minimises: a table of losses.

A loss is made from the recipe's training section and given both networks and the images, so that
gradient penalties and losses of pairs fit without a change to the loop.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from doggan.recipe import TrainRecipe


class DiscriminatorLoss(NamedTuple):
    """The loss [], and the logits [N] that it comes from, positive for real: all fp32."""

    loss: torch.Tensor
    real_logits: torch.Tensor
    fake_logits: torch.Tensor


class Loss(Protocol):
    """Both losses of one kind.

    `generator` and `discriminator` are modules; `real` and `fake` are images [N, C, H, W] in
    [-1, 1] with the same `labels` [N] int64. Networks run under autocast here, so logits are
    brought to fp32 before anything is computed of them.
    """

    def discriminator_loss(self, generator, discriminator, real, fake, labels) -> DiscriminatorLoss:
        """What the discriminator minimises; `fake` is detached from the generator."""

    def generator_loss(self, generator, discriminator, real, fake, labels) -> torch.Tensor:
        """What the generator minimises, [] fp32, through `fake`; D's weights want no gradient."""


class BinaryCrossEntropy:
    """The GAN of Goodfellow et al. 2014 (arXiv:1406.2661), G's loss in its non-saturating form.

    Reals go towards `train.real_label` (one-sided smoothing, Salimans et al. 2016,
    arXiv:1606.03498), fakes towards 0 for D and towards 1 for G.
    """

    def __init__(self, recipe: TrainRecipe):
        self._real_label = recipe.real_label

    def discriminator_loss(self, generator, discriminator, real, fake, labels):
        real_logits = discriminator(real, labels).float()
        fake_logits = discriminator(fake, labels).float()
        loss = _towards(self._real_label, real_logits) + _towards(0.0, fake_logits)
        return DiscriminatorLoss(loss, real_logits, fake_logits)

    def generator_loss(self, generator, discriminator, real, fake, labels):
        return _towards(1.0, discriminator(fake, labels).float())


class Hinge:
    """The hinge loss of Lim & Ye 2017 (arXiv:1705.02894): no gradient past a margin of 1."""

    def __init__(self, recipe: TrainRecipe):
        pass

    def discriminator_loss(self, generator, discriminator, real, fake, labels):
        real_logits = discriminator(real, labels).float()
        fake_logits = discriminator(fake, labels).float()
        loss = relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()
        return DiscriminatorLoss(loss, real_logits, fake_logits)

    def generator_loss(self, generator, discriminator, real, fake, labels):
        return -discriminator(fake, labels).float().mean()


class RelativisticLeastSquares:
    """RaLSGAN (Jolicoeur-Martineau 2018, arXiv:1807.00734): each logit against the other half's
    mean, 1 above it for what is to look more real, and 1 below it for the rest."""

    def __init__(self, recipe: TrainRecipe):
        pass

    def discriminator_loss(self, generator, discriminator, real, fake, labels):
        real_logits = discriminator(real, labels).float()
        fake_logits = discriminator(fake, labels).float()
        return DiscriminatorLoss(_above(real_logits, fake_logits), real_logits, fake_logits)

    def generator_loss(self, generator, discriminator, real, fake, labels):
        real_logits = discriminator(real, labels).float()
        return _above(discriminator(fake, labels).float(), real_logits)


def _towards(label: float, logits: torch.Tensor) -> torch.Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def _above(upper: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
    """Least squares of `upper` towards 1 above the mean of `lower`, and of `lower` 1 below."""
    above = (upper - lower.mean() - 1).square().mean()
    return above + (lower - upper.mean() + 1).square().mean()


# Name -> what makes the loss of the recipe's training section.
LOSSES: dict[str, Callable[[TrainRecipe], Loss]] = {
    "bce": BinaryCrossEntropy,
    "hinge": Hinge,
    "rals": RelativisticLeastSquares,
}
