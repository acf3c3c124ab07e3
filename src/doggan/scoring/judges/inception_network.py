"""The Inception network of 2015-12-05, as FID and the competition use it, up to `pool_3`.

The architecture is torchvision's Inception v3 with the changes that the TensorFlow graph calls
for: average pools leave padded zeros out of the mean, the last block takes a maximum instead, and
images are resized as TensorFlow 1 did. Batch norm is folded into the convolutions, and a pool that
a 1x1 convolution follows comes after it, where it has fewer channels; both give the same numbers to
float32's rounding.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import inception as stock

from doggan.scoring.judges.judge import fold_batch_norm
from doggan.support.errors import InputError

SIDE = 299
DIMENSIONS = 2048
RESIZE = "TensorFlow 1's bilinear to 299x299 (corners not aligned, no half-pixel centres)"


class InceptionPool3(nn.Module):
    """[N, H, W, 3] uint8 images of any size -> [N, 2048] float32, the graph's `pool_3`."""

    def __init__(self, state: dict[str, torch.Tensor]):
        """Takes the weights under their official names; raises InputError where they do not fit."""
        super().__init__()
        self.network = _build_network()
        folded = _fold_batch_norms(state)
        _check_fit(folded, self.network.state_dict())
        self.network.load_state_dict(folded, strict=False, assign=True)
        self.network.fc = nn.Identity()
        self.network.avgpool = _Mean()
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.permute(0, 3, 1, 2).float().contiguous()
        x = resize_like_tensorflow1(x, SIDE).sub_(128).div_(128)
        dtype = self.network.Conv2d_1a_3x3.conv.weight.dtype
        return self.network(x.to(dtype, memory_format=torch.channels_last))


def resize_like_tensorflow1(images: torch.Tensor, side: int) -> torch.Tensor:
    """[N, C, H, W] float32 -> [N, C, side, side], as `tf.image.resize_bilinear` of TensorFlow 1.

    Output pixel i lies at i * H / side of the input (in float32, as in TensorFlow's kernel),
    between its two neighbours; the last pixel stands in for what lies beyond the edge.
    """
    return _resize_axis(_resize_axis(images, 3, side), 2, side)


def _resize_axis(images: torch.Tensor, axis: int, side: int) -> torch.Tensor:
    length = images.shape[axis]
    scale = torch.tensor(length / side, dtype=torch.float32)
    position = torch.arange(side, dtype=torch.float32) * scale
    low = position.long().clamp_max(length - 1)
    high = (low + 1).clamp_max(length - 1)
    weight = (position - low).view([-1 if dim == axis else 1 for dim in range(4)])
    low, high, weight = (tensor.to(images.device) for tensor in (low, high, weight))
    first, second = images.index_select(axis, low), images.index_select(axis, high)
    # first + (second - first) * weight, without another copy of the largest tensors here.
    return second.sub_(first).mul_(weight).add_(first)


class _Convolution(nn.Module):
    """torchvision's BasicConv2d after its batch norm was folded into the convolution."""

    def __init__(self, in_channels: int, out_channels: int, **geometry):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=True, **geometry)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.conv(x), inplace=True)


def _pool_branch(branch: _Convolution, x: torch.Tensor) -> torch.Tensor:
    """Average pool without the padding, 1x1 convolution, ReLU.

    Both are linear and the means have weights that sum to 1, bias included, so they commute.
    """
    x = F.avg_pool2d(branch.conv(x), 3, stride=1, padding=1, count_include_pad=False)
    return F.relu(x, inplace=True)


class _BlockA(stock.InceptionA):
    def _forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return [
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            self.branch3x3dbl_3(double),
            _pool_branch(self.branch_pool, x),
        ]


class _BlockC(stock.InceptionC):
    def _forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return [self.branch1x1(x), single, double, _pool_branch(self.branch_pool, x)]


class _BlockE(stock.InceptionE):
    def _forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return [
            self.branch1x1(x),
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self._pool(x),
        ]

    def _pool(self, x: torch.Tensor) -> torch.Tensor:
        return _pool_branch(self.branch_pool, x)


class _LastBlockE(_BlockE):
    """Mixed_7c takes the maximum; an oddity of this graph that every FID since has kept."""

    def _pool(self, x: torch.Tensor) -> torch.Tensor:
        return self.branch_pool(F.max_pool2d(x, 3, stride=1, padding=1))


class _Mean(nn.Module):
    """The mean over all positions, in float32 whatever the network's precision."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3), dtype=torch.float32)


def _build_network() -> nn.Module:
    """The architecture without storage; loading weights gives it theirs."""
    blocks = (_BlockA, stock.InceptionB, _BlockC, stock.InceptionD, _BlockE)
    blocks = [partial(block, conv_block=_Convolution) for block in blocks]
    with torch.device("meta"):
        network = stock.Inception3(
            num_classes=1008,
            aux_logits=False,
            init_weights=False,
            # The last of the seven is the auxiliary classifier, which is not built.
            inception_blocks=[_Convolution, *blocks, None],
        )
        network.Mixed_7c = _LastBlockE(DIMENSIONS, conv_block=_Convolution)
    return network


def layer_names() -> list[str]:
    """The convolutions, each with its batch norm, by torchvision's names."""
    names = _build_network().state_dict()
    return [name.removesuffix(".conv.weight") for name in names if name.endswith(".conv.weight")]


def _fold_batch_norms(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`X.conv.weight` and `X.bn.*` -> `X.conv.weight` and `X.conv.bias`; the rest unchanged."""
    folded = {name: value for name, value in state.items() if ".bn." not in name}
    for name in [name for name in state if name.endswith(".bn.weight")]:
        layer = name.removesuffix(".bn.weight")
        try:
            weight, bias = fold_batch_norm(state, f"{layer}.conv", f"{layer}.bn")
        except (KeyError, RuntimeError, IndexError) as error:
            raise InputError(f"the weights of layer {layer} do not fit together") from error
        folded[f"{layer}.conv.weight"], folded[f"{layer}.conv.bias"] = weight.float(), bias.float()
    return folded


def _check_fit(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    for name, value in expected.items():
        found = list(state[name].shape) if name in state else "nothing"
        if found != list(value.shape):
            raise InputError(
                f"these are not the weights of FID's Inception: {name} should have shape "
                f"{list(value.shape)}, found {found}"
            )
