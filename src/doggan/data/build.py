"""Photos, wherever they lie -> a built set, or reference images in memory."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from doggan.data.crops import (
    UnreadablePhotoError,
    crop_windows,
    cut,
    decode_photo,
    place_boxes,
    usable_box,
)
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
from doggan.support.archives import Files, UnreadableFileError, open_files
from doggan.support.errors import InputError
from doggan.support.files import atomic_folder, require_free_space, write_json

REFERENCE_CROP = "full"  # the public board's reference: whole frames, squashed


@dataclass
class _Crops:
    """What one photo gives: [n, side, side, 3] uint8, and the reasons for what it does not."""

    images: np.ndarray | None
    origins: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)  # reason, name
    sha256: bytes = b""


def build_imageset(
    sources: list[Path], out: Path, recipe: DataRecipe, *, workers: int | None = None
) -> ImageSet:
    """Builds the set `out` from photos (folders, zips, tars), replacing an older set there.

    The same photos and recipe give the same bytes, whatever the number of `workers` (all cores).
    Raises InputError where nothing is usable, or `out` is something else than a set.
    """
    out = Path(out)
    if out.exists() and not is_imageset(out) and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not a built set; choose another --out")
    where = ", ".join(str(source) for source in sources)
    files = open_files(sources)
    photos = find_photos(files, where)
    require_free_space(out, len(photos.photos) * recipe.side_px**2 * 3)
    with atomic_folder(out) as folder:
        _write_set(folder, where, files, photos, recipe, workers)
    return open_imageset(out)


def read_images(
    sources: list[Path], recipe: DataRecipe, *, workers: int | None = None
) -> np.ndarray:
    """The crops of photos, in memory: [N, side, side, 3] uint8, in the order a set has them."""
    where = ", ".join(str(source) for source in sources)
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


def read_reference(sources: list[Path]) -> tuple[np.ndarray, str]:
    """Reference images for a score, [N, H, W, C] uint8, and which they are, in words.

    Of a built set, its images; of photos, their whole frames squashed, as Kaggle's board has them.
    """
    where = ", ".join(str(source) for source in sources)
    if len(sources) == 1 and is_imageset(sources[0]):
        imageset = open_imageset(sources[0])
        return imageset.images, f"{where}, crop '{imageset.manifest['crop']}'"
    images = read_images(sources, DataRecipe(crop=REFERENCE_CROP))
    return images, f"{where}, crop '{REFERENCE_CROP}'"


def _write_set(
    folder: Path, where: str, files: Files, photos: Photos, recipe: DataRecipe, workers: int | None
) -> None:
    skipped = {reason: list(names) for reason, names in photos.skipped.items()}
    origins, labels, source_hash = [], [], hashlib.sha256()
    pixels = folder / "images.partial"
    with pixels.open("wb") as stream:
        crops = _crop_all(files, photos, recipe, workers, "build")
        for photo, item in zip(photos.photos, crops, strict=True):
            source_hash.update(item.sha256)
            for reason, name in item.skipped:
                skipped.setdefault(reason, []).append(name)
            if item.images is not None:
                stream.write(item.images)
                origins += item.origins
                labels += [photo.label] * len(item.images)
    if not origins:
        reasons = ", ".join(f"{reason}: {len(names)}" for reason, names in sorted(skipped.items()))
        raise InputError(f"{where}: nothing usable in {len(photos.photos):,} photos ({reasons})")
    shape = (len(origins), recipe.side_px, recipe.side_px, 3)
    _write_npy(folder / "images.npy", pixels, shape)
    label_names, label_indices = np.unique(labels, return_inverse=True)
    np.save(folder / "labels.npy", label_indices.astype(np.int64))
    settings = asdict(recipe)
    write_json(
        folder / MANIFEST,
        {
            "format": FORMAT_VERSION,
            "source": where,
            "source_sha256": source_hash.hexdigest(),
            "images_sha256": hash_images(np.load(folder / "images.npy", mmap_mode="r")),
            "crop": settings["crop"],
            "settings": settings,
            "counts": {
                "images": len(origins),
                "photos": len(photos.photos),
                "annotations": photos.annotations,
                "skipped": {reason: len(names) for reason, names in sorted(skipped.items())},
            },
            "label_names": label_names.tolist(),
            "skipped": {reason: sorted(names) for reason, names in sorted(skipped.items())},
            "origins": origins,
        },
    )


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


def _write_npy(path: Path, pixels: Path, shape: tuple[int, ...]) -> None:
    # The count is known only after the last photo, so the header is written in front at the end.
    with path.open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        with pixels.open("rb") as raw:
            shutil.copyfileobj(raw, stream, 1 << 20)
    pixels.unlink()
