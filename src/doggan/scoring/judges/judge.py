"""A network that turns images into features, and everything that makes its scores comparable."""

import math
import os
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import nn

from doggan.scoring.judges import JUDGES, PRECISIONS
from doggan.support.background import in_background
from doggan.support.errors import DogganError, InputError
from doggan.support.tables import choose
from doggan.support.threads import map_on_threads

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# How long `auto` waits for a download that does come along.
AUTO_SECONDS = 60.0
_BATCH_NORM_EPS = 1e-3
# On a CPU each thread judges so few images by itself: what flows between the layers stays in its
# cache, and no thread waits for another at every layer.
IMAGES_A_THREAD = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """A network that turns images into features, and what has to be known of its scores.

    `eps` is the threshold of the memorisation distance for these features, `dimensions` the number
    of features, `notice` what people must be told beside every score, "" where there is nothing.
    """

    name: str
    eps: float
    dimensions: int
    weights_sha256: str
    resize: str
    comparable_with_kaggle: bool
    notice: str
    precision: str
    device: str
    network: nn.Module = field(repr=False)

    @property
    def batch_size(self) -> int:
        """Images at a time: on a CPU some for each thread."""
        if torch.device(self.device).type != "cpu":
            return 256
        return 32 * math.ceil(torch.get_num_threads() * IMAGES_A_THREAD / 32)

    def features(self, images: np.ndarray | torch.Tensor) -> np.ndarray:
        """[N, H, W, 3] uint8 -> [N, dimensions] float32; raises InputError for other images."""
        is_uint8 = images.dtype in (np.uint8, torch.uint8)
        if images.ndim != 4 or images.shape[3] != 3 or not is_uint8:
            raise InputError(
                f"the judge takes images [N, H, W, 3] uint8; "
                f"found {images.dtype} of shape {list(images.shape)}"
            )
        if not isinstance(images, torch.Tensor):
            # A copy: the slice of a memory map is read-only, which torch has no notion of.
            images = torch.from_numpy(np.array(images))
        if torch.device(self.device).type == "cpu":
            parts = images.split(IMAGES_A_THREAD)
            return np.concatenate(list(map_on_threads(self._features, parts)))
        # GPUs would round fp32 convolutions to TF32, 10 bits, unless told otherwise.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return self._features(images)

    def _features(self, images: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():  # which holds for the thread that enters it
            return self.network(images.to(self.device)).cpu().numpy()


def load_judge(
    name: str, *, device: str | torch.device, precision: str = "auto", weights: Path | None = None
) -> Judge:
    """Loads a judge of JUDGES, or `auto`: the first of them whose weights can be had.

    For weights that have to be downloaded `auto` waits a minute, and seconds where there is no
    network; the judge that stands in says so in its `notice`. `weights` is a file to take instead
    of the published weights, under `auto` the first judge's. `precision` is fp32, bf16 or auto, the
    judge's own choice.
    Raises InputError for unknown names and for a `weights` file that is not what it should be;
    DogganError where weights cannot be had.
    """
    choose(dict.fromkeys(PRECISIONS), precision, "precision")
    choose(dict.fromkeys(["auto", *JUDGES]), name, "judge")
    if name == "auto" and weights is None:
        return _load_first(device, precision)
    module = import_module(JUDGES[next(iter(JUDGES)) if name == "auto" else name])
    path = module.find_weights(weights)
    return module.load(path, device=device, precision=precision, missing="")


def _load_first(device: str | torch.device, precision: str) -> Judge:
    failure = None
    for module in map(import_module, JUDGES.values()):
        try:
            path = in_background(module.find_weights).result(AUTO_SECONDS)
        except TimeoutError:  # what came until then is kept for the next time
            failure = DogganError(f"the download takes more than {AUTO_SECONDS:.0f} seconds")
        except DogganError as error:
            failure = error
        else:
            missing = str(failure or "")
            return module.load(path, device=device, precision=precision, missing=missing)
    raise failure


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/doggan`, or `~/.cache/doggan`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "doggan"


def fold_batch_norm(
    state: dict[str, torch.Tensor], convolution: str, norm: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias, float64, of the layer `convolution` with the batch norm `norm` folded in.

    Raises KeyError where `state` lacks a part of them.
    """
    mean, variance, scale, shift = (
        state[f"{norm}.{part}"].double()
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    scale = scale / (variance + _BATCH_NORM_EPS).sqrt()
    weight = state[f"{convolution}.weight"].double() * scale[:, None, None, None]
    return weight, shift - mean * scale
