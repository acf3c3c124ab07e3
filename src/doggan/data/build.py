"""Photos or idx files, wherever they lie -> a built set, or reference images in memory."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from doggan.data.archives import Files, UnreadableFileError, open_files
from doggan.data.crops import (
    UnreadablePhotoError,
    crop_windows,
    cut,
    decode_photo,
    place_boxes,
    usable_box,
)
from doggan.data.idx import IdxFiles, find_idx, read_idx
from doggan.data.imageset import (
    FORMAT_VERSION,
    MANIFEST,
    ImageSet,
    hash_images,
    is_imageset,
    open_imageset,
)
from doggan.data.stanford import Box, Photo, Photos, find_photos
from doggan.recipe import DataRecipe
from doggan.support.errors import InputError
from doggan.support.files import atomic_folder, require_free_space, write_json

# The public board's reference: whole frames, squashed.
REFERENCE_CROP = "full"
REFERENCE_SIDE_PX = 64
NO_LABEL = "unlabelled"  # of images that lie in no folder of their own


class Reference(NamedTuple):
    """What a score is taken against.

    `images` is [N, H, W, C] uint8; `name` says in words which they are, and how cropped and
    resized; `whole_frames` that this was done as for Kaggle's board.
    """

    images: np.ndarray
    name: str
    whole_frames: bool


@dataclass
class _Crops:
    """What one photo gives: [n, side, side, 3] uint8, and the reasons for what it does not."""

    images: np.ndarray | None
    origins: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)  # reason, name
    sha256: bytes = b""


class _SetWriter:
    """Gathers a set's images on disk, and the rest of it in memory."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._pixels = folder / "images.partial"
        self._stream = self._pixels.open("wb")
        self._grey = True  # until an image is found that is not
        self.origins: list[str] = []
        self.labels: list[int | str] = []

    def add(self, images: np.ndarray, labels: list, origins: list[str]) -> None:
        """Takes images [n, side, side, 1 or 3] uint8, a label and an origin for each."""
        self._shape = images.shape[1:]
        self._stream.write(np.ascontiguousarray(images))
        self._grey = self._grey and bool((images[..., :1] == images).all())
        self.origins += origins
        self.labels += labels

    def finish(self, labels: np.ndarray, manifest: dict, *, colour: bool) -> None:
        """Writes the set; of grey images only, one channel, unless `colour` is asked for."""
        self._stream.close()
        channels = 1 if self._grey and not colour else 3
        pixels = np.memmap(self._pixels, np.uint8, "r", shape=(len(self.origins), *self._shape))
        _write_npy(self._folder / "images.npy", pixels, channels)
        del pixels
        self._pixels.unlink()
        np.save(self._folder / "labels.npy", labels.astype(np.int64))
        images = np.load(self._folder / "images.npy", mmap_mode="r")
        content = {"format": FORMAT_VERSION, "images_sha256": hash_images(images), **manifest}
        write_json(self._folder / MANIFEST, {**content, "origins": self.origins})


def build_imageset(
    sources: list[Path],
    out: Path,
    recipe: DataRecipe,
    *,
    workers: int | None = None,
    colour: bool = False,
) -> ImageSet:
    """Builds the set `out` from photos or idx files, replacing an older set there.

    The same sources and recipe give the same bytes, whatever the number of `workers` (all cores).
    A set of grey images has one channel, or three equal ones with `colour`.
    Raises InputError where nothing is usable, or `out` is something else than a set.
    """
    out = Path(out)
    if out.exists() and not is_imageset(out) and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not a built set; choose another --out")
    idx = find_idx(sources)
    if idx:
        with atomic_folder(out) as folder:
            _write_idx_set(folder, _where(sources), idx, recipe, colour)
        return open_imageset(out)
    files = open_files(sources)
    photos = find_photos(files, _where(sources))
    require_free_space(out, len(photos.photos) * recipe.side_px**2 * 3)
    with atomic_folder(out) as folder:
        _write_set(folder, _where(sources), files, photos, recipe, workers, colour)
    return open_imageset(out)


def read_images(
    sources: list[Path], recipe: DataRecipe, *, workers: int | None = None
) -> np.ndarray:
    """The crops of photos, in memory: [N, side, side, 3] uint8, in the order a set has them."""
    where = _where(sources)
    files = open_files(sources)
    photos = find_photos(files, where)
    crops = [
        item.images
        for item in _crop_all(files, photos, recipe, workers, "read")
        if item.images is not None
    ]
    if not crops:
        raise InputError(f"{where}: none of {len(photos.photos):,} photos is usable")
    return np.concatenate(crops)


def read_reference(sources: list[Path], crop: str | None = None) -> Reference:
    """The reference of a score: a built set's images, or photos cropped by the policy `crop`.

    Without one, photos are squashed as whole frames, as for Kaggle's board.
    Raises InputError for a built set that was made with another crop than the given one.
    """
    where = _where(sources)
    if len(sources) == 1 and is_imageset(sources[0]):
        imageset = open_imageset(sources[0])
        images, made_with = imageset.images, imageset.manifest["crop"]
        if crop not in (None, made_with):
            raise InputError(
                f"{where} is a set built with crop '{made_with}', not '{crop}'; leave out "
                "--reference-crop, or give the photos as the reference"
            )
    else:
        made_with = crop or REFERENCE_CROP
        images = read_images(sources, DataRecipe(crop=made_with))
    height, width = images.shape[1:3]
    return Reference(
        images,
        f"{where}, crop '{made_with}', Lanczos to {width}x{height}",
        made_with == REFERENCE_CROP and height == width == REFERENCE_SIDE_PX,
    )


def _write_set(
    folder: Path,
    where: str,
    files: Files,
    photos: Photos,
    recipe: DataRecipe,
    workers: int | None,
    colour: bool,
) -> None:
    skipped = {reason: list(names) for reason, names in photos.skipped.items()}
    writer, source_hash = _SetWriter(folder), hashlib.sha256()
    crops = _crop_all(files, photos, recipe, workers, "build")
    for photo, item in zip(photos.photos, crops, strict=True):
        source_hash.update(item.sha256)
        for reason, name in item.skipped:
            skipped.setdefault(reason, []).append(name)
        if item.images is not None:
            label = photo.label or NO_LABEL
            writer.add(item.images, [label] * len(item.images), item.origins)
    if not writer.origins:
        reasons = ", ".join(f"{reason}: {len(names)}" for reason, names in sorted(skipped.items()))
        raise InputError(f"{where}: nothing usable in {len(photos.photos):,} photos ({reasons})")
    label_names, labels = np.unique(writer.labels, return_inverse=True)
    manifest = {
        "source": where,
        "source_sha256": source_hash.hexdigest(),
        "crop": recipe.crop,
        "settings": asdict(recipe),
        "counts": {
            "images": len(writer.origins),
            "photos": len(photos.photos),
            "annotations": photos.annotations,
            "skipped": {reason: len(names) for reason, names in sorted(skipped.items())},
        },
        "label_names": label_names.tolist(),
        "skipped": {reason: sorted(names) for reason, names in sorted(skipped.items())},
    }
    writer.finish(labels, manifest, colour=colour)


def _write_idx_set(
    folder: Path, where: str, idx: IdxFiles, recipe: DataRecipe, colour: bool
) -> None:
    writer, source_hash = _SetWriter(folder), hashlib.sha256()
    for pair in idx.pairs:
        part = read_idx(idx, pair)
        source_hash.update(part.sha256)
        require_free_space(folder, len(part.images) * recipe.side_px**2 * 3)
        origins = [f"{pair[0]}#{index}" for index in range(len(part.images))]
        writer.add(_resize(part.images, recipe.side_px), part.labels.tolist(), origins)
    manifest = {
        "source": where,
        "source_sha256": source_hash.hexdigest(),
        "dataset": idx.dataset,
        "crop": "full",
        "settings": asdict(replace(recipe, crop="full")),
        "counts": {
            "images": len(writer.origins),
            "photos": len(writer.origins),
            "annotations": 0,
            "skipped": {},
        },
        "label_names": list(idx.label_names),
        "skipped": {},
    }
    writer.finish(np.array(writer.labels), manifest, colour=colour)


def _resize(images: np.ndarray, side: int) -> np.ndarray:
    """[N, H, W] uint8 -> [N, side, side, 1] by Lanczos; images of that side stay as they are."""
    if images.shape[1:] == (side, side):
        return images[..., None]
    resized = [
        Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS) for image in images
    ]
    return np.stack([np.asarray(image) for image in resized])[..., None]


def _crop_all(
    files: Files, photos: Photos, recipe: DataRecipe, workers: int | None, label: str
) -> Iterator[_Crops]:
    """The crops of every photo, in the photos' order; `label` names the progress bar."""

    def crop(photo: Photo) -> _Crops:
        return _crop_one(files, photo, photos.annotated, recipe)

    # Pillow decodes and resizes outside the interpreter's lock, so threads use every core.
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        yield from tqdm(
            pool.map(crop, photos.photos),
            total=len(photos.photos),
            desc=label,
            unit="photo",
            mininterval=0.5,
        )


def _crop_one(files: Files, photo: Photo, annotated: bool, recipe: DataRecipe) -> _Crops:
    whole_frame = recipe.crop == "full" or not annotated
    if photo.annotation is None and not whole_frame:
        return _Crops(None, skipped=[("photo without an annotation", photo.name)])
    try:
        data = files.read(photo.name)
    except UnreadableFileError:
        return _Crops(None, skipped=[("unreadable photo", photo.name)])
    digest = hashlib.sha256(data).digest()
    try:
        picture, orientation = decode_photo(data)
    except UnreadablePhotoError:
        return _Crops(None, skipped=[("unreadable photo", photo.name)], sha256=digest)
    if whole_frame:
        boxes = [Box(0, 0, *picture.size)]
    else:
        boxes = place_boxes(photo.annotation, picture.size, orientation)
    crops = _Crops(None, sha256=digest)
    windows = []
    for index, box in enumerate(boxes):
        name = f"{photo.name}#{index}"
        box = box if whole_frame else usable_box(box, picture.size, recipe)
        if isinstance(box, str):
            crops.skipped.append((box, name))
            continue
        cuts = crop_windows(box, picture.size, recipe.crop)
        windows += cuts
        crops.origins += [name] * len(cuts)
    if windows:
        crops.images = cut(picture, windows, recipe.side_px)
    return crops


def _write_npy(path: Path, images: np.ndarray, channels: int) -> None:
    """Writes images [N, H, W, 1 or 3] as [N, H, W, channels]: dropped or repeated, in pieces."""
    with path.open("wb") as stream:
        shape = (*images.shape[:3], channels)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, len(images), 1024):
            part = images[start : start + 1024]
            part = part[..., :1] if channels == 1 else part
            stream.write(np.ascontiguousarray(np.broadcast_to(part, (*part.shape[:3], channels))))


def _where(sources: list[Path]) -> str:
    return ", ".join(str(source) for source in sources)
