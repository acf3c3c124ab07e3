"""What the architectures share: how often a map is doubled, and batch norm told a condition."""

import torch
from torch import nn


class Conditioned(nn.Module):
    """A layer that is called with a condition [N, features] beside its map."""


class ConditionalBatchNorm(Conditioned, nn.BatchNorm2d):
    """Batch norm whose scale and shift are linear in a condition: [N, planes, ...] -> the same.

    The scale is 1 + the map's first half, the shift its second: as BigGAN's (Brock et al. 2018,
    arXiv:1809.11096, appendix C), but with a bias in the map, since a condition of z alone has the
    mean 0 and could shift nothing for all images.
    """

    def __init__(self, planes: int, features: int):
        super().__init__(planes, affine=False)
        self.map = nn.Linear(features, 2 * planes)
        nn.init.orthogonal_(self.map.weight)
        nn.init.zeros_(self.map.bias)

    def forward(self, maps: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        told = self.map(condition)
        scale, shift = told.view(*told.shape, *[1] * (maps.ndim - 2)).chunk(2, dim=1)
        return torch.addcmul(shift, super().forward(maps), 1 + scale)

    def _check_input_dim(self, maps: torch.Tensor) -> None:
        """Dense layers' [N, planes] are taken too."""


def batch_norm(
    planes: int, features: int, plain: type[nn.Module] = nn.BatchNorm2d
) -> ConditionalBatchNorm | nn.Module:
    """Batch norm told `features` numbers an image, or a `plain` one where they are 0."""
    return ConditionalBatchNorm(planes, features) if features else plain(planes)


def normalise(norm: nn.Module, maps: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """`norm` of the maps, told the condition [N, features] if it is one that wants it."""
    return norm(maps, condition) if isinstance(norm, Conditioned) else norm(maps)


def channels_of_maps(width: int, most: int, count: int) -> list[int]:
    """Channels of `count` maps, the finest first: twice as many at half the side, up to `most`."""
    return [min(width << power, most) for power in range(count)]


def doublings(side: int) -> int:
    """How often a map of 4 to 8 pixels a side is doubled to reach `side`."""
    return (side // 4).bit_length() - 1


def smallest_map(side: int) -> int:
    """The side of a generator's first map, 4 to 8: side / 2^doublings, rounded up."""
    return -(-side >> doublings(side))
