"""What each half of the GAN minimises, on fp32 logits [N]."""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits


def discriminator_loss(real: torch.Tensor, fake: torch.Tensor, real_label: float) -> torch.Tensor:
    """Binary cross-entropy, reals towards `real_label` (one-sided smoothing, Salimans et al. 2016,
    arXiv:1606.03498) and fakes towards 0."""
    real_loss = binary_cross_entropy_with_logits(real, torch.full_like(real, real_label))
    return real_loss + binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))


def generator_loss(fake: torch.Tensor) -> torch.Tensor:
    """The non-saturating loss: binary cross-entropy of fakes towards 1 (Goodfellow et al. 2014)."""
    return binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
