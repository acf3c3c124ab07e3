"""What each half of the GAN minimises: a table of losses, each a pair of functions of logits.

What is added to a loss whatever its kind (penalties, consistency) stands in `regularisers.py`.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, relu, softplus

from doggan.recipe import TrainRecipe

CONFIDENT = 0.8  # the probability of being real past which `bce-margin` leaves a real image alone


class Loss(Protocol):
    """Both losses of one kind, [] fp32.

    They are given D's logits [N] fp32, positive for real: the n-th real image and the n-th fake one
    have the same label. A `relativistic` loss compares the two, so that its generator's loss needs
    the logits of real images too, which are None for the others.
    """

    relativistic: bool

    def discriminator_loss(
        self, real_logits: torch.Tensor, fake_logits: torch.Tensor
    ) -> torch.Tensor:
        """What the discriminator minimises."""

    def generator_loss(
        self, real_logits: torch.Tensor | None, fake_logits: torch.Tensor
    ) -> torch.Tensor:
        """What the generator minimises, through `fake_logits`."""


class BinaryCrossEntropy:
    """The GAN of Goodfellow et al. 2014 (arXiv:1406.2661), G's loss in its non-saturating form.

    Reals go towards `train.real_label` (one-sided smoothing, Salimans et al. 2016,
    arXiv:1606.03498), fakes towards 0 for D and towards 1 for G.
    """

    relativistic = False

    def __init__(self, recipe: TrainRecipe):
        self._real_label = recipe.real_label

    def discriminator_loss(self, real_logits, fake_logits):
        return _towards(self._real_label, real_logits) + _towards(0.0, fake_logits)

    def generator_loss(self, real_logits, fake_logits):
        return _towards(1.0, fake_logits)


class HardMarginBinaryCrossEntropy(BinaryCrossEntropy):
    """The same with a hard margin, as the DCGAN that led the public board in 2019 had it: a real
    image that D gives a probability past CONFIDENT costs D nothing."""

    def discriminator_loss(self, real_logits, fake_logits):
        unsure = real_logits.sigmoid() <= CONFIDENT
        of_real = binary_cross_entropy_with_logits(
            real_logits, torch.full_like(real_logits, self._real_label), reduction="none"
        )
        return (of_real * unsure).mean() + _towards(0.0, fake_logits)


class Hinge:
    """The hinge loss of Lim & Ye 2017 (arXiv:1705.02894): no gradient past a margin of 1."""

    relativistic = False

    def __init__(self, recipe: TrainRecipe):
        pass

    def discriminator_loss(self, real_logits, fake_logits):
        return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()

    def generator_loss(self, real_logits, fake_logits):
        return -fake_logits.mean()


class RelativisticLeastSquares:
    """RaLSGAN (Jolicoeur-Martineau 2018, arXiv:1807.00734): each logit against the other half's
    mean, 1 above it for what is to look more real, and 1 below it for the rest."""

    relativistic = True

    def __init__(self, recipe: TrainRecipe):
        pass

    def discriminator_loss(self, real_logits, fake_logits):
        return _above(real_logits, fake_logits)

    def generator_loss(self, real_logits, fake_logits):
        return _above(fake_logits, real_logits)


class RelativisticPairing:
    """RpGAN (Jolicoeur-Martineau 2018, arXiv:1807.00734): each fake against one real image.

    Huang et al. 2024 (R3GAN, arXiv:2501.05441) show that it converges with R1 and R2 together:
    set `train.gradient_penalty` beside it.
    """

    relativistic = True

    def __init__(self, recipe: TrainRecipe):
        pass

    def discriminator_loss(self, real_logits, fake_logits):
        return softplus(fake_logits - real_logits).mean()

    def generator_loss(self, real_logits, fake_logits):
        return softplus(real_logits - fake_logits).mean()


def _towards(label: float, logits: torch.Tensor) -> torch.Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def _above(upper: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
    """Least squares of `upper` towards 1 above the mean of `lower`, and of `lower` 1 below."""
    above = (upper - lower.mean() - 1).square().mean()
    return above + (lower - upper.mean() + 1).square().mean()


def most_real(
    part: float, real_logits: torch.Tensor | None, fake_logits: torch.Tensor
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """The pairs of logits whose fakes D finds most real: `part` (above 0, at most 1) of them,
    rounded, and at least one.

    The generator learns from these alone: top-k of Sinha et al. 2020 (arXiv:2002.06224), with a
    constant k.
    """
    count = max(1, round(part * len(fake_logits)))
    if count == len(fake_logits):
        return real_logits, fake_logits
    kept = fake_logits.topk(count).indices
    return None if real_logits is None else real_logits[kept], fake_logits[kept]


# Name -> what makes the loss of the recipe's training section.
LOSSES: dict[str, Callable[[TrainRecipe], Loss]] = {
    "bce": BinaryCrossEntropy,
    "bce-margin": HardMarginBinaryCrossEntropy,
    "hinge": Hinge,
    "rals": RelativisticLeastSquares,
    "rpgan": RelativisticPairing,
}
