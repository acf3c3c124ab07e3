"""What the files of a source give -> a built set on disk."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from doggan.data.archives import Source
from doggan.data.imageset import FORMAT_VERSION, MANIFEST, hash_frames, hash_images, pieces
from doggan.recipe import DataRecipe
from doggan.support.errors import InputError
from doggan.support.files import write_json


@dataclass(kw_only=True)
class Part:
    """What one file of a source gives to a set.

    `images` is [n, side, side, 1 or 3] uint8, or None; each has an origin and a label's name, and
    where the set keeps frames one of `frames`, [n, F, F, 3] uint8, and its width and height.
    `skipped` is what it does not give: reasons and names.
    """

    photos: int = 1
    images: np.ndarray | None = None
    frames: np.ndarray | None = None
    sizes: list[tuple[int, int]] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    sha256: bytes = b""


def write_imageset(
    folder: Path, source: Source, parts: Iterable[Part], recipe: DataRecipe, *, colour: bool
) -> None:
    """Writes the set of `parts`, which `source` gave, into an empty folder.

    Labels are numbered by the source's `label_names`, or else by those found, sorted. A set of grey
    images has one channel, or three equal ones with `colour`.
    Raises InputError where no part has an image.
    """
    with _Pixels(folder / "images") as images, _Pixels(folder / "frames") as frames:
        whole = _gather(source, parts, images, frames)
        skipped = defaultdict(list)
        for reason, name in sorted(whole.skipped):
            skipped[reason].append(name)
        counts = {reason: len(names) for reason, names in skipped.items()}
        if images.count == 0:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in counts.items())
            raise InputError(
                f"{source.where}: nothing usable in {whole.photos:,} photos ({reasons})"
            )
        channels = 1 if images.grey and frames.grey and not colour else 3
        hashes = {"images_sha256": hash_images(images.save(channels))}
        if frames.count:
            sizes = np.array(whole.sizes, np.int64)
            np.save(folder / "sizes.npy", sizes)
            hashes["frames_sha256"] = hash_frames(frames.save(channels), sizes)
    label_names = list(source.label_names) or sorted(set(whole.labels))
    numbers = {name: number for number, name in enumerate(label_names)}
    np.save(folder / "labels.npy", np.array([numbers[name] for name in whole.labels], np.int64))
    manifest = {
        "format": FORMAT_VERSION,
        **hashes,
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


class _Pixels:
    """Images [n, H, W, 1 or 3] uint8 that come in parts, and are one NPY file in the end.

    Until `save` they lie in a file of their own, since a set may be larger than the memory.
    """

    def __init__(self, path: Path):
        self.count, self.grey = 0, True
        self._path, self._shape = path, ()
        self._partial = path.with_suffix(".partial")

    def __enter__(self) -> "_Pixels":
        self._stream = self._partial.open("wb")
        return self

    def __exit__(self, *raised: object) -> None:
        self._stream.close()
        self._partial.unlink()

    def add(self, images: np.ndarray) -> None:
        self.count += len(images)
        self.grey = self.grey and bool((images[..., :1] == images).all())
        self._shape = images.shape[1:]
        self._stream.write(np.ascontiguousarray(images))

    def save(self, channels: int) -> np.ndarray:
        """Writes `path`.npy, with channels dropped or repeated, and returns it memory-mapped."""
        self._stream.flush()
        path, shape = self._path.with_suffix(".npy"), (self.count, *self._shape)
        images = np.memmap(self._partial, np.uint8, "r", shape=shape)
        with path.open("wb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": (*shape[:3], channels)}
            np.lib.format.write_array_header_1_0(stream, header)
            for piece in pieces(images[..., :channels]):
                piece = np.broadcast_to(piece, (*piece.shape[:3], channels))
                stream.write(np.ascontiguousarray(piece))
        return np.load(path, mmap_mode="r")


def _gather(source: Source, parts: Iterable[Part], images: _Pixels, frames: _Pixels) -> Part:
    """All parts in one, but for their pixels; the source's own skipped files are included."""
    whole, sha256 = Part(photos=0, skipped=list(source.skipped)), hashlib.sha256()
    for part in parts:
        whole.photos += part.photos
        whole.origins += part.origins
        whole.labels += part.labels
        whole.sizes += part.sizes
        whole.skipped += part.skipped
        sha256.update(part.sha256)
        if part.images is not None:
            images.add(part.images)
        if part.frames is not None:
            frames.add(part.frames)
    whole.sha256 = sha256.digest()
    return whole
