"""A built set on disk: equal square images, their labels, and where they came from.

images.npy      [N, H, W, C] uint8, opened memory-mapped
labels.npy      [N] int64, an index into the manifest's `label_names`
manifest.json   source and hash, crop policy, counts, what was skipped and why
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from doggan.support.errors import InputError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ImageSet:
    """A built set. `images` is [N, H, W, C] uint8 (C is 1 or 3), `labels` is [N] int64."""

    folder: Path
    images: np.ndarray
    labels: np.ndarray
    manifest: dict

    def __len__(self) -> int:
        return len(self.images)

    @property
    def sha256(self) -> str:
        """The hash of shape and pixels that names the set's content."""
        return self.manifest["images_sha256"]

    @property
    def label_names(self) -> list[str]:
        """The names that `labels` index."""
        return self.manifest["label_names"]

    def describe(self) -> str:
        """One line on what the set holds."""
        count, height, width, channels = self.images.shape
        return (
            f"{count:,} images of {height}x{width}x{channels}, "
            f"{len(self.label_names)} labels, crop '{self.manifest['crop']}'"
        )


def is_imageset(path: Path | str) -> bool:
    """Whether `path` is a folder with a manifest."""
    return (Path(path) / MANIFEST).is_file()


def open_imageset(folder: Path | str) -> ImageSet:
    """Opens a built set, checking it against its manifest.

    Raises InputError where the folder is no set, or its arrays are not those the manifest names.
    """
    folder = Path(folder)
    if not is_imageset(folder):
        raise InputError(
            f"{folder} is not a built set (no {MANIFEST}); make one with: "
            f"doggan build PHOTOS --out {folder}"
        )
    manifest = _read_manifest(folder / MANIFEST)
    images = _load(folder / "images.npy", mmap_mode="r")
    labels = _load(folder / "labels.npy", mmap_mode=None)
    shaped = images.ndim == 4 and images.dtype == np.uint8 and images.shape[3] in (1, 3)
    if not shaped or len(images) == 0 or labels.shape != (len(images),) or labels.dtype != np.int64:
        raise InputError(
            f"{folder}: expected images [N, H, W, 1 or 3] uint8 and labels [N] int64, "
            f"found {images.shape} {images.dtype} and {labels.shape} {labels.dtype}"
        )
    if hash_images(images) != manifest.get("images_sha256"):
        raise InputError(
            f"{folder}/images.npy is not the file that its manifest names; build the set again"
        )
    if not 0 <= labels.min() <= labels.max() < len(manifest["label_names"]):
        raise InputError(
            f"{folder}/labels.npy names labels that the manifest lacks; build it again"
        )
    return ImageSet(folder, images, labels, manifest)


def hash_images(images: np.ndarray) -> str:
    """SHA-256 over shape and pixels of [N, H, W, C] uint8, read in pieces."""
    digest = hashlib.sha256(repr(images.shape).encode())
    for start in range(0, len(images), 1024):
        digest.update(np.ascontiguousarray(images[start : start + 1024]))
    return digest.hexdigest()


def _read_manifest(path: Path) -> dict:
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); build the set again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT_VERSION:
        raise InputError(
            f"{path} is not a manifest of format {FORMAT_VERSION}; build the set again"
        )
    return manifest


def _load(path: Path, mmap_mode: str | None) -> np.ndarray:
    try:
        return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}); build the set again") from error
