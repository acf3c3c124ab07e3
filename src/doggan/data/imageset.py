"""A built set on disk: equal square images, their labels, and where they came from.

images.npy      [N, H, W, C] uint8, opened memory-mapped
labels.npy      [N] int64, an index into the manifest's `label_names`
frames.npy      [N, F, F, C] uint8, only where the policy cuts afresh: each image's whole frame
sizes.npy       [N, 2] int64, with it: the frame's width and height in pixels before it was squashed
manifest.json   source and hash, crop policy, counts, what was skipped and why
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from doggan.support.errors import InputError
from doggan.support.files import not_regular, read_small_file
from doggan.support.json_values import is_number
from doggan.support.leftovers import restore_folder

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
# Of a manifest: an image has some 100, and so has each photo that was skipped.
_MANIFEST_BYTES, _MANIFEST_BYTES_AN_IMAGE = 100_000_000, 1_000


@dataclass(frozen=True)
class Frames:
    """The whole frames that a set's images were cut from, for crops drawn anew in training.

    `pixels` is [N, F, F, C] uint8, squashed; `sizes` is [N, 2] int64, width and height before
    that. `fresh_part` (0 to 1) of the images that training shows are cut out of them: `full_part`
    (0 to 1) of these are the whole frame, the others random squares of the photo.
    """

    pixels: np.ndarray
    sizes: np.ndarray
    fresh_part: float
    full_part: float


@dataclass(frozen=True)
class ImageSet:
    """A built set. `images` is [N, H, W, C] uint8 (C is 1 or 3), `labels` is [N] int64.

    `frames` are theirs in the same order, where the crop policy keeps them.
    """

    folder: Path
    images: np.ndarray
    labels: np.ndarray
    manifest: dict
    frames: Frames | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def sha256(self) -> str:
        """The hash that names what a training sees: shape and pixels, and the frames if any."""
        if self.frames is None:
            return self.manifest["images_sha256"]
        names = [self.manifest["images_sha256"], self.manifest["frames_sha256"]]
        names += [self.frames.fresh_part, self.frames.full_part]
        return hashlib.sha256(repr(names).encode()).hexdigest()

    @property
    def label_names(self) -> list[str]:
        """The names that `labels` index."""
        return self.manifest["label_names"]

    def describe(self) -> str:
        """One line on what the set holds."""
        count, height, width, channels = self.images.shape
        line = (
            f"{count:,} images of {height}x{width}x{channels}, "
            f"{len(self.label_names)} labels, crop '{self.manifest['crop']}'"
        )
        if self.frames is None:
            return line
        fresh, side = self.frames.fresh_part, self.frames.pixels.shape[1]
        return f"{line}, {fresh:.0%} cut afresh from frames of {side}x{side}"


def is_imageset(path: Path | str) -> bool:
    """Whether `path` is a folder with a set's images and their manifest."""
    return all((Path(path) / name).is_file() for name in (MANIFEST, "images.npy"))


def open_imageset(folder: Path | str) -> ImageSet:
    """Opens a built set, checking it against its manifest.

    Raises InputError where the folder is no set, or its arrays are not those the manifest names.
    """
    folder = Path(folder)
    restore_folder(folder)
    if not is_imageset(folder):
        raise InputError(
            f"{folder} is not a built set (no {MANIFEST}); make one with: "
            f"doggan build PHOTOS --out {folder}"
        )
    images, labels = _load(folder / "images.npy"), _load(folder / "labels.npy")
    most_bytes = _MANIFEST_BYTES + _MANIFEST_BYTES_AN_IMAGE * (images.shape or [0])[0]
    manifest = _read(folder / MANIFEST, partial(_read_json, most_bytes=most_bytes))
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT_VERSION:
        raise InputError(
            f"{folder / MANIFEST} is not a manifest of format {FORMAT_VERSION}; build the set again"
        )
    if not _tells_all(manifest):
        raise InputError(f"{folder / MANIFEST} lacks what a set's has; build the set again")
    shaped = images.ndim == 4 and images.dtype == np.uint8 and images.shape[3] in (1, 3)
    shaped = shaped and len(images) > 0 and images.shape[1] == images.shape[2]
    if not shaped or labels.shape != (len(images),) or labels.dtype != np.int64:
        raise InputError(
            f"{folder}: expected images [N, S, S, 1 or 3] uint8 and labels [N] int64, "
            f"found {images.shape} {images.dtype} and {labels.shape} {labels.dtype}"
        )
    labels = np.array(labels)
    if hash_images(images) != manifest.get("images_sha256"):
        raise InputError(
            f"{folder}/images.npy is not the file that its manifest names; build the set again"
        )
    if not 0 <= labels.min() <= labels.max() < len(manifest["label_names"]):
        raise InputError(
            f"{folder}/labels.npy names labels that the manifest lacks; build it again"
        )
    frames = _open_frames(folder, manifest, images) if "frames_sha256" in manifest else None
    return ImageSet(folder, images, labels, manifest, frames)


def _tells_all(manifest: dict) -> bool:
    """Whether a manifest has what others read of it, of the kinds that it is written with."""
    names, settings = manifest.get("label_names"), manifest.get("settings")
    return (
        isinstance(names, list)
        and all(isinstance(name, str) for name in names)
        and isinstance(manifest.get("crop"), str)
        and isinstance(manifest.get("counts"), dict)
        and isinstance(settings, dict)
        and all(is_number(settings.get(key, 0)) for key in ("fresh_part", "full_part"))
    )


def hash_images(images: np.ndarray) -> str:
    """SHA-256 over shape and pixels of [N, H, W, C] uint8, read in pieces."""
    digest = hashlib.sha256(repr(images.shape).encode())
    for piece in pieces(images):
        digest.update(np.ascontiguousarray(piece))
    return digest.hexdigest()


def hash_frames(pixels: np.ndarray, sizes: np.ndarray) -> str:
    """SHA-256 over frames [N, F, F, C] uint8 and their widths and heights [N, 2]."""
    return hashlib.sha256(repr([hash_images(pixels), sizes.tolist()]).encode()).hexdigest()


def pieces(images: np.ndarray) -> Iterator[np.ndarray]:
    """Up to 1,024 images at a time, since a set may be larger than the memory."""
    for start in range(0, len(images), 1024):
        yield images[start : start + 1024]


def _open_frames(folder: Path, manifest: dict, images: np.ndarray) -> Frames:
    pixels, sizes = _load(folder / "frames.npy"), _load(folder / "sizes.npy")
    count, channels = len(images), images.shape[3]
    shaped = pixels.ndim == 4 and pixels.shape[::3] == (count, channels)
    shaped = shaped and pixels.shape[1] == pixels.shape[2] > 0 and pixels.dtype == np.uint8
    shaped = shaped and sizes.shape == (count, 2) and sizes.dtype == np.int64
    if not shaped or sizes.min() < 1:
        raise InputError(
            f"{folder}: expected frames [{count}, F, F, {channels}] uint8 and sizes [{count}, 2], "
            f"found {pixels.shape} {pixels.dtype} and {sizes.shape} {sizes.dtype}"
        )
    sizes = np.array(sizes)
    if hash_frames(pixels, sizes) != manifest["frames_sha256"]:
        raise InputError(
            f"{folder}: frames.npy and sizes.npy are not those that the manifest names; "
            "build the set again"
        )
    settings = manifest["settings"]
    return Frames(pixels, sizes, settings["fresh_part"], settings["full_part"])


def _load(path: Path) -> np.ndarray:
    return _read(path, _read_array)


def _read_array(path: Path) -> np.ndarray:
    if not path.is_file():
        raise InputError(f"it {not_regular(path)}")
    return np.lib.format.open_memmap(path, "r")  # which takes no pickle and no archive


def _read_json(path: Path, most_bytes: int) -> object:
    return json.loads(read_small_file(path, most_bytes))


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(path)
    except Exception as error:  # a header that is none fails in whatever part of NumPy meets it
        raise InputError(f"{path} cannot be read ({error}); build the set again") from error
