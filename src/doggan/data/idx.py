"""The idx files of MNIST, Fashion-MNIST and their like -> images and labels.

The format: two zero bytes, the type of the values (8: unsigned bytes), the number of dimensions,
the size of each as a big-endian 32-bit number, then the values. Files may be gzipped.
"""

import contextlib
import gzip
import hashlib
import io
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from doggan.data.archives import Files, Source, UnreadableFileError, open_files
from doggan.support.errors import DogganError, InputError
from doggan.support.files import format_bytes

DIGITS = tuple("0123456789")
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
LABEL_NAMES = {"digits": DIGITS, "fashion": FASHION}
MAX_IMAGES = 1_000_000
MAX_SIDE_PX = 1024
MAX_BYTES = 1_000_000_000  # of one file, unpacked
DOWNLOADS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
_CONNECTION_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class IdxFiles(Source):
    """Pairs of image and label files inside a source; `dataset` is a name of LABEL_NAMES."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class IdxImages:
    """What one pair holds: images [N, H, W] uint8 and labels [N] int64; SHA-256 of both files."""

    images: np.ndarray
    labels: np.ndarray
    sha256: bytes


def find_idx(sources: list[Path]) -> IdxFiles | None:
    """The idx files of folders, zips or tars, or one `*images*idx3*` file; None where none is.

    Where there are training files (as in torchvision's folders), the test files are left alone.
    Raises InputError where labels are missing, or digits lie beside fashion.
    """
    path = Path(sources[0]).absolute()
    if len(sources) == 1 and path.is_file() and _is_images(path.name):
        place, image_names = path.parent, [path.name]
        siblings = (item for item in place.iterdir() if item.is_file())
        files = Files({item.name: (item.stat().st_size, item.read_bytes) for item in siblings})
    else:
        place, files = path, open_files(sources)
        # Of a file and its .gz, the one that is unpacked already.
        found = {_key(name): name for name in reversed(files.names()) if _is_images(name)}
        image_names = list(found.values())
    if not image_names:
        return None
    if len(sources) > 1:
        raise InputError(f"idx files lie in {place}; build a set of one folder of them at a time")
    train = [name for name in image_names if PurePosixPath(name).name.startswith("train")]
    wanted = sorted(train or image_names)
    # Of a file and its .gz, the one that is unpacked already.
    names = {_key(name): name for name in reversed(files.names())}
    pairs = tuple((name, _label_file_of(name, names, place)) for name in wanted)
    # Three parts, as of FashionMNIST/raw/train-images-idx3-ubyte: whoever works below a folder
    # called fashion may still have digits.
    ends = ["/".join((place / name).parts[-3:]).lower() for name, _ in pairs]
    datasets = {"fashion" if "fashion" in end else "digits" for end in ends}
    if len(datasets) > 1:
        raise InputError(f"{place} holds digits and fashion; build a set of each")
    dataset = datasets.pop()
    label_names, where = LABEL_NAMES[dataset], str(sources[0])
    return IdxFiles(files=files, where=where, dataset=dataset, label_names=label_names, pairs=pairs)


def read_idx(found: IdxFiles, pair: tuple[str, str]) -> IdxImages:
    """Reads one pair of `found`.

    Raises InputError, naming the file, for a wrong or truncated one, sizes out of bounds, counts
    that differ, and labels without a name.
    """
    (image_name, label_name), digest = pair, hashlib.sha256()
    images = _read_array(found.files, image_name, 3, digest)
    labels = _read_array(found.files, label_name, 1, digest)
    if len(images) != len(labels):
        raise InputError(
            f"{image_name} holds {len(images):,} images and {label_name} {len(labels):,} labels; "
            "they do not belong together"
        )
    if labels.max() >= len(found.label_names):
        raise InputError(
            f"{label_name} holds the label {labels.max()}; {found.dataset} have "
            f"0 to {len(found.label_names) - 1}"
        )
    return IdxImages(images=images, labels=labels.astype(np.int64), sha256=digest.digest())


def download_idx(name: str, folder: Path) -> None:
    """Downloads `mnist` or `fashion-mnist` into `folder` through torchvision, which checks MD5.

    What is there already is kept. Raises DogganError where the files cannot be had.
    """
    import socket

    from torchvision import datasets

    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECTION_SECONDS)  # torchvision sets none, and would wait for ever
    try:
        with contextlib.redirect_stdout(sys.stderr):
            getattr(datasets, DOWNLOADS[name])(str(folder), download=True)
    # RuntimeError: every mirror failed, or sent another MD5; the others: a file that it unpacked
    # before a kill, and now reads.
    except (RuntimeError, OSError, EOFError, zlib.error, AssertionError, ValueError) as error:
        raise DogganError(
            f"{name} could not be downloaded ({error}); empty {folder} and try again, or put the "
            "idx files there yourself and run the same without --download"
        ) from error
    finally:
        socket.setdefaulttimeout(previous)


def _read_array(files: Files, name: str, dimensions: int, digest: "hashlib._Hash") -> np.ndarray:
    try:
        data = files.read(name)
    except UnreadableFileError as error:
        raise InputError(f"{name} cannot be read: {error}") from error
    digest.update(data)
    packed = data[:2] == b"\x1f\x8b"
    with gzip.open(io.BytesIO(data)) if packed else io.BytesIO(data) as stream:
        try:
            return _parse(stream, dimensions)
        except (ValueError, OSError, EOFError, zlib.error) as error:
            raise InputError(f"{name} is not a usable idx file: {error}") from error


def _parse(stream: BinaryIO, dimensions: int) -> np.ndarray:
    """The array of an idx stream of unsigned bytes; raises ValueError where it is none.

    No more is unpacked than the header announces, and that is bounded first.
    """
    header = stream.read(4 + 4 * dimensions)
    expected = bytes((0, 0, 8, dimensions))
    if header[:4] != expected:
        raise ValueError(f"it begins with '{header[:4].hex()}'; expected '{expected.hex()}'")
    if len(header) < 4 + 4 * dimensions:
        raise ValueError("it ends within its header")
    shape = tuple(np.frombuffer(header, ">u4", dimensions, 4).tolist())
    sides, size = shape[1:], int(np.prod(shape, dtype=object))
    if not 1 <= shape[0] <= MAX_IMAGES or not all(1 <= side <= MAX_SIDE_PX for side in sides):
        raise ValueError(
            f"its header says {' x '.join(map(str, shape))}; expected at most {MAX_IMAGES:,} "
            f"images of at most {MAX_SIDE_PX} pixels a side, and at least one"
        )
    if size > MAX_BYTES:
        raise ValueError(f"{format_bytes(size)} are more than {format_bytes(MAX_BYTES)}")
    values = stream.read(size + 1)
    if len(values) != size:
        found = f"only {len(values):,}" if len(values) < size else "more"
        raise ValueError(f"its header announces {size:,} bytes, and {found} follow")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _is_images(name: str) -> bool:
    base = _key(PurePosixPath(name).name)
    return "images" in base and "idx3" in base


def _key(name: str) -> str:
    """The same for train-images-idx3-ubyte, train-images.idx3-ubyte and their .gz."""
    return name.lower().removesuffix(".gz").replace(".idx", "-idx")


def _label_file_of(image_name: str, names: dict[str, str], place: Path) -> str:
    path = PurePosixPath(image_name)
    wanted = path.with_name(_key(path.name).replace("images", "labels").replace("idx3", "idx1"))
    if name := names.get(_key(str(wanted))):
        return name
    raise InputError(
        f"{place / image_name} has no labels beside it; expected {wanted.name}, or its .gz"
    )
