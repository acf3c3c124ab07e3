"""A built set on disk: equal square images, their labels, and where they came from.

images.npy      [N, H, W, C] uint8, opened memory-mapped
labels.npy      [N] int64, an index into the manifest's `label_names`
manifest.json   source and hash, crop policy, counts, what was skipped and why
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from doggan.data.archives import Source
from doggan.recipe import DataRecipe
from doggan.support.errors import InputError
from doggan.support.files import write_json

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


@dataclass(kw_only=True)
class Part:
    """What one file of a source gives to a set.

    `images` is [n, side, side, 1 or 3] uint8, or None; each has an origin and a label's name.
    `skipped` is what it does not give: reasons and names.
    """

    photos: int = 1
    images: np.ndarray | None = None
    origins: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    sha256: bytes = b""


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
    manifest = _read(folder / MANIFEST, lambda path: json.loads(path.read_text("utf-8")))
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT_VERSION:
        raise InputError(
            f"{folder / MANIFEST} is not a manifest of format {FORMAT_VERSION}; build the set again"
        )
    images = _read(folder / "images.npy", lambda path: np.load(path, "r", allow_pickle=False))
    labels = _read(folder / "labels.npy", lambda path: np.load(path, allow_pickle=False))
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


def write_imageset(
    folder: Path, source: Source, parts: Iterable[Part], recipe: DataRecipe, *, colour: bool
) -> None:
    """Writes the set of `parts`, which `source` gave, into an empty folder.

    Labels are numbered by the source's `label_names`, or else by those found, sorted. A set of grey
    images has one channel, or three equal ones with `colour`.
    Raises InputError where no part has an image.
    """
    partial = folder / "images.partial"
    whole = _gather(source, parts, partial)
    skipped = defaultdict(list)
    for reason, name in sorted(whole.skipped):
        skipped[reason].append(name)
    counts = {reason: len(names) for reason, names in skipped.items()}
    if whole.images is None:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in counts.items())
        raise InputError(f"{source.where}: nothing usable in {whole.photos:,} photos ({reasons})")
    _write_images(folder / "images.npy", whole.images, colour)
    whole.images = None  # unmapped, so that the file can go on Windows too
    partial.unlink()
    label_names = list(source.label_names) or sorted(set(whole.labels))
    numbers = {name: number for number, name in enumerate(label_names)}
    np.save(folder / "labels.npy", np.array([numbers[name] for name in whole.labels], np.int64))
    manifest = {
        "format": FORMAT_VERSION,
        "images_sha256": hash_images(np.load(folder / "images.npy", mmap_mode="r")),
        "source": source.where,
        "source_sha256": whole.sha256.hex(),
        **({"dataset": source.dataset} if source.dataset else {}),
        "crop": recipe.crop,
        "settings": asdict(recipe),
        "counts": {
            "images": len(whole.origins),
            "photos": whole.photos,
            "annotations": source.annotations,
            "skipped": counts,
        },
        "label_names": label_names,
        "skipped": skipped,
        "origins": whole.origins,
    }
    write_json(folder / MANIFEST, manifest)


def hash_images(images: np.ndarray) -> str:
    """SHA-256 over shape and pixels of [N, H, W, C] uint8, read in pieces."""
    digest = hashlib.sha256(repr(images.shape).encode())
    for piece in _pieces(images):
        digest.update(np.ascontiguousarray(piece))
    return digest.hexdigest()


def _gather(source: Source, parts: Iterable[Part], pixels: Path) -> Part:
    """All parts in one, the source's own skipped files included; `pixels` holds its images."""
    whole, sha256 = Part(photos=0, skipped=list(source.skipped)), hashlib.sha256()
    with pixels.open("wb") as stream:
        for part in parts:
            whole.photos += part.photos
            whole.origins += part.origins
            whole.labels += part.labels
            whole.skipped += part.skipped
            sha256.update(part.sha256)
            if part.images is not None:
                shape = part.images.shape[1:]
                stream.write(np.ascontiguousarray(part.images))
    whole.sha256 = sha256.digest()
    if whole.origins:
        whole.images = np.memmap(pixels, np.uint8, "r", shape=(len(whole.origins), *shape))
    return whole


def _write_images(path: Path, images: np.ndarray, colour: bool) -> None:
    """Writes [N, H, W, 1 or 3] uint8, in pieces, with channels dropped or repeated."""
    grey = all((piece[..., :1] == piece).all() for piece in _pieces(images))
    channels = 1 if grey and not colour else 3
    with path.open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": (*images.shape[:3], channels)}
        np.lib.format.write_array_header_1_0(stream, header)
        for piece in _pieces(images[..., :channels]):
            piece = np.broadcast_to(piece, (*piece.shape[:3], channels))
            stream.write(np.ascontiguousarray(piece))


def _pieces(images: np.ndarray) -> Iterator[np.ndarray]:
    """Up to 1,024 images at a time, since a set may be larger than the memory."""
    for start in range(0, len(images), 1024):
        yield images[start : start + 1024]


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(path)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}); build the set again") from error
