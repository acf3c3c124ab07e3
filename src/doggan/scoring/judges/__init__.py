"""The networks that look at images: features, and everything that makes their scores comparable."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from doggan.scoring.judges import efficientnet, inception
from doggan.scoring.judges.inception import OFFICIAL_WEIGHTS, WeightsFile
from doggan.support.background import in_background
from doggan.support.device import choose_precision
from doggan.support.download import download
from doggan.support.errors import DogganError, InputError
from doggan.support.files import require_exists, sha256_of

JUDGES = ("auto", "inception", "efficientnet-lite0")
PRECISIONS = ("auto", "fp32", "bf16")
# Connecting, and every silence after that: without a network the wait is over by then.
_CONNECT_SECONDS = 5.0
# How long `auto` waits for a download that does come along.
_AUTO_SECONDS = 60.0
_LARGEST_WEIGHTS_BYTES = 500_000_000


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
        """Images at a time: on a CPU few, so that what flows between layers stays in its cache."""
        return 16 if torch.device(self.device).type == "cpu" else 256

    def features(self, images: np.ndarray | torch.Tensor) -> np.ndarray:
        """[N, H, W, 3] uint8 -> [N, dimensions] float32; raises InputError for other images."""
        if images.ndim != 4 or images.shape[3] != 3 or not _is_uint8(images):
            raise InputError(
                f"the judge takes images [N, H, W, 3] uint8; "
                f"found {images.dtype} of shape {list(images.shape)}"
            )
        if not isinstance(images, torch.Tensor):
            # A copy: the slice of a memory map is read-only, which torch has no notion of.
            images = torch.from_numpy(np.array(images))
        # GPUs would round fp32 convolutions to TF32, 10 bits, unless told otherwise.
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            return self.network(images.to(self.device)).cpu().numpy()


def load_judge(
    name: str,
    *,
    device: str | torch.device,
    precision: str = "auto",
    weights: Path | None = None,
    cache: Path | None = None,
    official: WeightsFile = OFFICIAL_WEIGHTS,
) -> Judge:
    """Loads the judge `auto`, `inception` or `efficientnet-lite0`.

    `inception` takes its weights from the file `weights`, else from the folder `cache`
    (`~/.cache/doggan` by default), where they are downloaded to once (`official`: 96 MB, checked by
    SHA-256). `auto` is inception where its weights can be had, within a minute if they have to be
    downloaded and within seconds if there is no network, and else efficientnet-lite0, whose
    `notice` says that its scores do not compare with Kaggle's.
    `precision` is fp32 or bf16; auto is fp32 for inception, for whose sake exactness comes first,
    and for efficientnet-lite0 bf16 where the hardware has it.

    Raises InputError for unknown names and for a `weights` file that is not what it should be;
    DogganError where weights cannot be had.
    """
    for value, known, what in ((name, JUDGES, "judge"), (precision, PRECISIONS, "precision")):
        if value not in known:
            raise InputError(f"there is no {what} '{value}'; choose one of {', '.join(known)}")
    if name == "efficientnet-lite0":
        if weights is not None:
            raise InputError("weights can be given for inception only; leave them out")
        return _efficientnet_judge(device, precision)
    if name == "inception" or weights is not None:
        path = _find_weights(weights, cache, official)
        return _inception_judge(path, device, precision, official)
    try:
        path = _find_weights_soon(cache, official)
    except DogganError as error:
        return _efficientnet_judge(device, precision, reason=str(error))
    return _inception_judge(path, device, precision, official)


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/doggan`, or `~/.cache/doggan`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "doggan"


def _inception_judge(
    path: Path, device: str | torch.device, precision: str, official: WeightsFile
) -> Judge:
    try:
        sha256 = sha256_of(path)
        network = inception.InceptionPool3(inception.read_weights(path))
    except (InputError, OSError) as error:
        raise InputError(f"{path}: {error}") from error
    precision = "fp32" if precision == "auto" else precision
    genuine = sha256 == official.sha256
    notices = []
    if not genuine:
        notices.append(
            f"THIS SCORE COMPARES WITH NOTHING: {path} are not the published Inception weights "
            f"(sha256 {sha256[:8]}..., expected {official.sha256[:8]}...)"
        )
    if precision != "fp32":
        notices.append("bf16 moves the score a little from Kaggle's; fp32 does not")
    return Judge(
        name="inception",
        eps=inception.EPS,
        dimensions=inception.DIMENSIONS,
        weights_sha256=sha256,
        resize=inception.RESIZE,
        comparable_with_kaggle=genuine,
        notice="; ".join(notices),
        precision=precision,
        device=str(device),
        network=_placed(network, device, precision),
    )


def _efficientnet_judge(device: str | torch.device, precision: str, reason: str = "") -> Judge:
    path, state = efficientnet.read_package_weights()
    if precision == "auto":
        fast = choose_precision("auto", torch.device(device)) == "bf16"
        precision = "bf16" if fast else "fp32"
    notice = (
        "THIS SCORE DOES NOT COMPARE WITH KAGGLE'S: the judge is EfficientNet-Lite0, and Kaggle's "
        "is Inception"
    )
    if reason:
        notice += f", whose weights could not be had ({reason})"
    return Judge(
        name="efficientnet-lite0",
        eps=efficientnet.EPS,
        dimensions=efficientnet.DIMENSIONS,
        weights_sha256=sha256_of(path),
        resize=efficientnet.RESIZE,
        comparable_with_kaggle=False,
        notice=notice,
        precision=precision,
        device=str(device),
        network=_placed(efficientnet.EfficientNetLite0(state), device, precision),
    )


def _placed(network: nn.Module, device: str | torch.device, precision: str) -> nn.Module:
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return network.to(device=device, dtype=dtype)


def _find_weights(weights: Path | None, cache: Path | None, official: WeightsFile) -> Path:
    """The file to load: the user's own, the cached one, or one that is downloaded now."""
    if weights is not None:
        path = require_exists(weights, f"the Inception weights ({official.name})")
        if not path.is_file() or path.stat().st_size > _LARGEST_WEIGHTS_BYTES:
            raise InputError(f"{path} is no file of Inception weights (some 96 MB)")
        return path
    path = (default_cache() if cache is None else Path(cache)) / official.name
    if _is_genuine(path, official):
        return path
    return download(
        official.url,
        path,
        size=official.size,
        sha256=official.sha256,
        attempts=1,
        timeout=_CONNECT_SECONDS,
    )


def _find_weights_soon(cache: Path | None, official: WeightsFile) -> Path:
    """`_find_weights`, given up after a minute; what came until then is kept for the next time."""
    search = in_background(lambda: _find_weights(None, cache, official))
    try:
        return search.result(_AUTO_SECONDS)
    except TimeoutError:
        raise DogganError(f"the download takes more than {_AUTO_SECONDS:.0f} seconds") from None


def _is_genuine(path: Path, official: WeightsFile) -> bool:
    try:
        # Length first: it is known at once, the hash takes a while.
        whole = path.is_file() and path.stat().st_size == official.size
        return whole and sha256_of(path) == official.sha256
    except OSError:
        return False


def _is_uint8(images: np.ndarray | torch.Tensor) -> bool:
    return images.dtype in (np.uint8, torch.uint8)
