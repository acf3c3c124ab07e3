"""NORMS: what keeps a discriminator's layers in bounds, and the weights that it begins with."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

_WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Embedding)


class Norm(NamedTuple):
    """`batch`: whether batch norm stands between the layers. `finish` sets the initial weights of a
    whole discriminator, and adds what works on its weights."""

    batch: bool
    finish: Callable[[nn.Module], None]

    def layers(self, planes: int) -> list[nn.Module]:
        """What stands after a convolution."""
        return [SplitBatchNorm(planes)] if self.batch else []


class SplitBatchNorm(nn.BatchNorm2d):
    """Batch norm of a batch that is `splits` batches, one after another: each for itself.

    So a discriminator sees real and generated images together, and mixes them no more than if it
    saw one after the other.
    """

    splits = 1

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        norm = super().forward
        if self.splits == 1:
            return norm(maps)
        return torch.cat([norm(part) for part in maps.chunk(self.splits)])


class _FullPrecision(nn.Module):
    """A parametrisation that autocast leaves alone.

    On CUDA sigma would be multiplied out in 16 bits, and its gradient, a sum over all weights,
    would be the first to overflow fp16 under a loss scale.
    """

    def __init__(self, parametrisation: nn.Module):
        super().__init__()
        self.parametrisation = parametrisation

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        # On the meta device, which has no autocast of its own, the processor's is off anyway.
        with torch.autocast("cuda" if weight.is_cuda else "cpu", enabled=False):
            return self.parametrisation(weight)


def fill_normal(weight: torch.Tensor, mean: float, deviation: float) -> None:
    """Draws normal weights, but for the meta device's, which hold no numbers: PyTorch would load
    its compiler to draw none."""
    if not weight.is_meta:
        nn.init.normal_(weight, mean, deviation)


def initialise_normal(network: nn.Module) -> None:
    """Normal weights of deviation 0.02, as DCGAN's paper has them; batch norm's scale around 1
    alike. Dense layers keep PyTorch's."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            fill_normal(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d) and layer.affine:
            fill_normal(layer.weight, 1.0, 0.02)


def initialise_orthogonal(network: nn.Module) -> None:
    """Orthogonal weights (Saxe et al. 2013, arXiv:1312.6120), as BigGAN's: without a norm between
    them layers neither blow a signal up nor let it die, and each spectral norm is 1."""
    for layer in network.modules():
        if isinstance(layer, _WEIGHTED) and not layer.weight.is_meta:
            nn.init.orthogonal_(layer.weight)
            if getattr(layer, "bias", None) is not None:
                nn.init.zeros_(layer.bias)


def _spectral(network: nn.Module) -> None:
    """Each weight divided by its largest singular value (Miyato et al. 2018, arXiv:1802.05957)."""
    initialise_orthogonal(network)
    for layer in [layer for layer in network.modules() if isinstance(layer, _WEIGHTED)]:
        steps = spectral_norm(layer).parametrizations.weight
        steps[0] = _FullPrecision(steps[0])


NORMS = {
    "batch": Norm(True, initialise_normal),
    "spectral": Norm(False, _spectral),
    "none": Norm(False, initialise_orthogonal),
}
