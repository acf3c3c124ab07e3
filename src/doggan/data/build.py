"""Photos or idx files, wherever they lie -> a built set, or images in memory."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from doggan.data.crops import WITH_FRAMES
from doggan.data.idx import IdxFiles, find_idx, read_idx
from doggan.data.imageset import ImageSet, is_imageset, open_imageset
from doggan.data.imageset_writer import Part, write_imageset
from doggan.data.photos import crop_photo, squash
from doggan.data.stanford import Photos, find_photos
from doggan.recipe import DataRecipe
from doggan.support.errors import InputError
from doggan.support.files import atomic_folder, require_free_space
from doggan.support.progress import progress_bar
from doggan.support.threads import map_ahead, thread_count

_IDX_PART = 1024  # images that are squashed at a time


def build_imageset(
    sources: list[Path], out: Path, recipe: DataRecipe, *, colour: bool = False
) -> ImageSet:
    """Builds the set `out` from photos or idx files, replacing an older set there.

    The same sources and recipe give the same bytes, whatever the number of cores. Idx files are
    whole frames, whatever the recipe's crop.
    A set of grey images has one channel, or three equal ones with `colour`.
    Raises InputError where nothing is usable, or `out` is something else than a set.
    """
    out = Path(out)
    if out.exists() and not is_imageset(out) and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not a built set; choose another --out")
    idx = find_idx(sources)
    if idx:
        recipe = replace(recipe, crop="full")
        source, parts = idx, _read_idx(idx, out, recipe.side_px)
    else:
        source = find_photos(sources)
        frame = recipe.frame_side_px**2 if recipe.crop in WITH_FRAMES else 0
        require_free_space(out, len(source.photos) * (recipe.side_px**2 + frame) * 3)
        parts = _crop_photos(source, recipe, "build")
    with atomic_folder(out) as folder:
        write_imageset(folder, source, parts, recipe, colour=colour)
    return open_imageset(out)


def read_images(sources: list[Path], recipe: DataRecipe) -> np.ndarray:
    """The crops of photos, in memory: [N, side, side, 3] uint8, in the order a set has them.

    Raises InputError where no photo is usable.
    """
    source = find_photos(sources)
    parts = _crop_photos(source, recipe, "read")
    images = [part.images for part in parts if part.images is not None]
    if not images:
        raise InputError(f"{source.where}: none of {len(source.photos):,} photos is usable")
    return np.concatenate(images)


def _read_idx(idx: IdxFiles, out: Path, side: int) -> Iterator[Part]:
    for pair in idx.pairs:
        read = read_idx(idx, pair)
        count, fits = len(read.images), read.images.shape[1:] == (side, side)
        require_free_space(out, count * side**2 * 3)
        for start in range(0, count, _IDX_PART):
            part = slice(start, start + _IDX_PART)
            images = read.images[part]
            yield Part(
                photos=len(images),
                images=(images if fits else squash(images, side))[..., None],
                origins=[f"{pair[0]}#{start + number}" for number in range(len(images))],
                labels=[idx.label_names[label] for label in read.labels[part]],
                sha256=b"" if start else read.sha256,
            )


def _crop_photos(source: Photos, recipe: DataRecipe, label: str) -> Iterator[Part]:
    """A part for every photo, in the photos' order; `label` names the progress bar."""
    # Pillow decodes and resizes outside the interpreter's lock, so threads use every core.
    with ThreadPoolExecutor(thread_count()) as pool:
        parts = map_ahead(pool, lambda photo: crop_photo(source, photo, recipe), source.photos)
        yield from progress_bar(label, len(source.photos), of=parts, unit="photo")
