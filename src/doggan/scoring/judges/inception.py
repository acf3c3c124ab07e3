"""The judge `inception`: Kaggle's, with the weights that FID is computed with everywhere."""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch

from doggan.gan.generator_file import load_tensors, require_whole
from doggan.scoring.judges.inception_graph import is_graph, read_graph_weights
from doggan.scoring.judges.inception_network import DIMENSIONS, RESIZE, InceptionPool3, layer_names
from doggan.scoring.judges.judge import DTYPES, Judge, default_cache
from doggan.support.download import download
from doggan.support.errors import InputError
from doggan.support.files import is_file_of, require_exists, sha256_of

# The public board's threshold on the memorisation distance.
EPS = 0.1
# Connecting, and every silence after that: without a network the wait is over by then.
CONNECT_SECONDS = 5.0
LARGEST_WEIGHTS_BYTES = 500_000_000


@dataclass(frozen=True)
class WeightsFile:
    """A published file: where it is, how long in bytes, and its SHA-256."""

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rsplit("/", 1)[-1]


OFFICIAL_WEIGHTS = WeightsFile(
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth",
    size=95_628_359,
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
# The graph that those weights were taken from: its length in bytes and its MD5, as published for
# OpenAI's evaluation of guided diffusion, which uses it too. No SHA-256 of it is published.
OFFICIAL_GRAPH = (95_673_916, "e6bb154e85f5d4331c22abcddb5dcf31")


def find_weights(own: Path | None = None) -> Path:
    """The user's own file, the one in the cache, or the published one, downloaded to there (96 MB).

    Raises InputError where `own` cannot be a weights file, DogganError where the download fails.
    """
    if own is not None:
        path = require_exists(own, f"the Inception weights ({OFFICIAL_WEIGHTS.name})")
        if not path.is_file() or path.stat().st_size > LARGEST_WEIGHTS_BYTES:
            raise InputError(f"{path} is no file of Inception weights (some 96 MB)")
        return path
    path = default_cache() / OFFICIAL_WEIGHTS.name
    if is_file_of(path, OFFICIAL_WEIGHTS.size, OFFICIAL_WEIGHTS.sha256):
        return path
    return download(
        OFFICIAL_WEIGHTS.url,
        path,
        size=OFFICIAL_WEIGHTS.size,
        sha256=OFFICIAL_WEIGHTS.sha256,
        attempts=1,
        timeout=CONNECT_SECONDS,
    )


def are_weights(path: Path) -> bool:
    """Whether the file is the published one, or a graph, `*.pb`, with any weights of Inception.

    Raises InputError for another graph, DogganError where graphs cannot be read.
    """
    if path.suffix == ".pb" and path.is_file() and path.stat().st_size <= LARGEST_WEIGHTS_BYTES:
        InceptionPool3(read_weights(path))
        return True
    return is_file_of(path, OFFICIAL_WEIGHTS.size, OFFICIAL_WEIGHTS.sha256)


def load(weights: Path, *, device: str | torch.device, precision: str, missing: str) -> Judge:
    """The judge; `auto` is fp32, for exactness comes first where Kaggle's numbers are wanted.

    It is the first of all judges, so nothing is `missing`. Raises InputError where the file holds
    something else than Inception's weights.
    """
    try:
        sha256 = sha256_of(weights)
        network = InceptionPool3(read_weights(weights))
    except (InputError, OSError) as error:
        raise InputError(f"{weights}: {error}") from error
    precision = "fp32" if precision == "auto" else precision
    notices, official = [], sha256 == OFFICIAL_WEIGHTS.sha256 or _is_official_graph(weights)
    if not official:
        notices.append(
            f"THIS SCORE COMPARES WITH NOTHING: {weights} are not the published Inception weights "
            f"(sha256 {sha256[:8]}..., expected {OFFICIAL_WEIGHTS.sha256[:8]}...)"
        )
    if precision != "fp32":
        notices.append("bf16 moves the score a little from Kaggle's; fp32 does not")
    return Judge(
        name="inception",
        eps=EPS,
        dimensions=DIMENSIONS,
        weights_sha256=sha256,
        resize=RESIZE,
        comparable_with_kaggle=official,
        notice="; ".join(notices),
        precision=precision,
        device=str(device),
        network=network.to(device=device, dtype=DTYPES[precision]),
    )


def _is_official_graph(path: Path) -> bool:
    size, md5 = OFFICIAL_GRAPH
    if path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == md5


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Reads a state dict, or the organisers' graph as one, without running anything in it.

    Raises InputError where the file is neither, or is not whole and made of tensors alone.
    """
    if is_graph(path):
        return read_graph_weights(path, layer_names())
    try:
        if zipfile.is_zipfile(path):
            state = load_tensors(path)
        else:  # an older one
            state = torch.load(path, map_location="cpu", weights_only=True)
    # A torn or foreign file fails in whatever part of the unpickler meets it.
    except Exception as error:
        raise InputError(
            "not a PyTorch weights file, or cut short, or unsafe to open; "
            f"expected {OFFICIAL_WEIGHTS.name} or one like it"
        ) from error
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise InputError("it holds something other than names and tensors; expected a state dict")
    try:
        require_whole(state.values(), path.stat().st_size)
    except ValueError as error:
        raise InputError(str(error)) from error
    return state
