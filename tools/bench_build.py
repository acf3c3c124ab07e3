#!/usr/bin/env python3
"""Times the building of a set against a loop of Pillow alone, side by side, on one machine.

    .venv/bin/python tools/bench_build.py                  # on drawn dogs of Stanford's size
    .venv/bin/python tools/bench_build.py --photos photos  # on photos in Stanford's layout

Pillow's loop decodes, crops and resizes one photo after another; a build also hashes each photo,
checks its boxes, and writes the set, but decodes a JPEG to no more pixels than its crops need. Each
runs in a process of its own, in turn, three times; medians are compared, and the crops of both.
`--quick` says only that the benchmark works.
"""

import argparse
import contextlib
import io
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from bench import Figures, in_own_process, make_parser, run_parts, seconds_of, side_by_side
from doggan.data.build import build_imageset, read_images
from doggan.data.crops import CROPS
from doggan.data.photos import UnusableBoxError, place_boxes, usable_box
from doggan.data.stanford import find_photos
from doggan.drawn_dogs.photos import draw_sample_dogs
from doggan.recipe import DataRecipe
from doggan.support.device import describe_processor
from doggan.support.threads import available_cores, use_threads

LONGER_SIDE = 500  # of a photo of Stanford's, in pixels
# How much is measured, in full and under --quick.
SIZES = {"photos": (1500, 12), "repeats": (3, 1)}


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("Times the building of a set against a loop of Pillow alone.", PARTS)
    parser.add_argument("--photos", type=Path, help="photos with annotations (else drawn)")
    return run_parts("bench_build", parser.parse_args(arguments), PARTS, SIZES, prepare)


def prepare(args: argparse.Namespace, scratch: Path) -> dict:
    """Draws photos where none are given."""
    if not args.photos:
        args.photos = scratch / "photos"
        draw_sample_dogs(args.photos, photos=args.sizes.photos, seed=0)
        for path in args.photos.rglob("*.jpg"):
            enlarge(path)
    return {"hardware": describe_processor(), "cores": available_cores()}


def enlarge(path: Path) -> None:
    """Makes a photo as large as Stanford's. Its boxes follow: they are told for the old frame."""
    with Image.open(path) as photo:
        scale = LONGER_SIDE / max(photo.size)
        large = photo.resize([round(side * scale) for side in photo.size], Image.BICUBIC)
    large.save(path, quality=90)


def measure_build(args: argparse.Namespace) -> Figures:
    """Pillow's loop on one core, and builds on one core and on all."""
    runs = {
        "pillow": partial(in_own_process, run_pillow, args.photos),
        "one_core": partial(in_own_process, run_build, args.photos, 1),
        "all_cores": partial(in_own_process, run_build, args.photos, available_cores()),
    }
    found = side_by_side(runs, args.sizes.repeats)
    speeds = {name: figures["photos_per_second"] for name, figures in found.items()}
    return {
        "one_core_over_pillow_ratio": speeds["one_core"] / speeds["pillow"],
        "all_cores_over_pillow_ratio": speeds["all_cores"] / speeds["pillow"],
        "all_cores_over_one_ratio": speeds["all_cores"] / speeds["one_core"],
        **{f"{name}_photos_per_second": speed for name, speed in speeds.items()},
    }


def measure_pixels(args: argparse.Namespace) -> Figures:
    """How far the crops of a build, which reduces JPEGs as it decodes them, are from Pillow's."""
    built = read_images([args.photos], DataRecipe()).astype(np.int16)
    difference = np.abs(built - pillow_squares(args.photos))
    return {
        "mean_difference_grey_levels": float(difference.mean()),
        "same_crops_percent": float(100 * (difference == 0).all(axis=(1, 2, 3)).mean()),
    }


PARTS = {"build": measure_build, "pixels": measure_pixels}


def run_build(photos: Path, threads: int) -> Figures:
    """Builds a set of squares with so many threads, once what a process loads is loaded."""
    import albumentations  # noqa: F401

    use_threads(threads)
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stderr(io.StringIO()):
        build = partial(build_imageset, [photos], Path(scratch) / "set", DataRecipe())
        return _figures(photos, seconds_of(build))


def run_pillow(photos: Path) -> Figures:
    """The same squares by Pillow alone."""
    return _figures(photos, seconds_of(partial(pillow_squares, photos)))


def pillow_squares(photos: Path) -> np.ndarray:
    """[N, side, side, 3] uint8: what a build makes of photos that lie upright."""
    recipe, source, squares = DataRecipe(), find_photos([photos]), []
    for photo in source.photos:
        with Image.open(io.BytesIO(source.files.read(photo.name))) as opened:
            picture = opened.convert("RGB")
        for box in place_boxes(photo.annotation, picture.size, orientation=1):
            with contextlib.suppress(UnusableBoxError):
                (window,) = CROPS["square"](usable_box(box, picture.size, recipe), picture.size)
                side = recipe.side_px, recipe.side_px
                squares.append(np.asarray(picture.crop(window).resize(side, Image.LANCZOS)))
    return np.stack(squares)


def _figures(photos: Path, seconds: float) -> Figures:
    return {"photos_per_second": len(find_photos([photos]).photos) / seconds}


if __name__ == "__main__":
    sys.exit(main())
