#!/usr/bin/env python3
"""How far real crops lie from real whole frames: the floor of each crop policy, before training.

    .venv/bin/python tools/measure_crops.py photos

Kaggle's public board compares with whole frames, squashed. The photos are split in two halves by
chance. One crop by each policy, of one dog in each photo of the first half, stands for what a
perfect generator would make of that policy. It is judged against the whole frames of the second
half, so that no photo is compared with itself, and against all whole frames, as `doggan run` does.
Lines on stderr show how far it is.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from doggan.competition import SIDE_PX
from doggan.data.archives import UnreadableFileError
from doggan.data.crops import CROPS, WITH_FRAMES, Size, Window, square
from doggan.data.fresh_crops import cut_windows, draw_windows
from doggan.data.photos import UnusableBoxError, cut, decode_photo, place_boxes, usable_box
from doggan.data.stanford import Box, Photo, Photos, find_photos
from doggan.recipe import DataRecipe
from doggan.scoring.features import extract_features
from doggan.scoring.frechet import feature_statistics, frechet_distance
from doggan.scoring.judges.judge import Judge, load_judge
from doggan.scoring.mifid import memorisation_distance
from doggan.support.device import choose_device
from doggan.support.errors import DogganError, InputError

RECIPE = DataRecipe()
FRAME = "full"
FRESH = "random square, as training cuts it"

Policy = Callable[[Box, Size, np.random.Generator], Window]


def one_of(name: str) -> Policy:
    """A policy of CROPS; one of its windows by chance where it has several."""

    def policy(box: Box, size: Size, random: np.random.Generator) -> Window:
        windows = CROPS[name](box, size)
        return windows[random.integers(len(windows))]

    return policy


def wider(factor: float) -> Policy:
    """The grown square with its side times `factor`, no wider than the frame."""

    def policy(box: Box, size: Size, random: np.random.Generator) -> Window:
        (x, y), half = box.center, max(box.width, box.height) * factor / 2
        return square(Box(x - half, y - half, x + half, y + half), size)[0]

    return policy


def random_square(smallest: float) -> Policy:
    """A square anywhere in the frame, of `smallest` to 1 shorter sides."""

    def policy(box: Box, size: Size, random: np.random.Generator) -> Window:
        side = round(min(size) * random.uniform(smallest, 1))
        left, top = (int(random.integers(length - side + 1)) for length in size)
        return left, top, left + side, top + side

    return policy


POLICIES: dict[str, Policy] = {
    **{name: one_of(name) for name in CROPS if name not in WITH_FRAMES},
    "square, its side x 1.25": wider(1.25),
    "square, its side x 1.5": wider(1.5),
    "the largest square around the dog": wider(1000),
    "random square, 1 shorter side": random_square(1),
    "random square, 0.8 to 1": random_square(0.8),
    "random square, 0.5 to 1": random_square(0.5),
}
# What each image is of in turn, by the names of POLICIES and FRESH.
MIXTURES = {
    "mixed: 1/2 square, 1/2 random": ("square", FRESH),
    "1/2 square, 1/4 random, 1/4 full": ("square", FRESH, "square", FRAME),
    "1/3 square, 1/3 random, 1/3 full": ("square", FRESH, FRAME),
    "1/2 square, 1/2 full": ("square", FRAME),
    "1/2 random, 1/2 full": (FRESH, FRAME),
    "1/4 square, 3/4 full": ("square", FRAME, FRAME, FRAME),
}


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    try:
        judge = load_judge("efficientnet-lite0", device=choose_device(args.device))
        print(table(measure(args.sources, judge, count=args.count, seed=args.seed)))
    except DogganError as error:
        print(f"measure_crops: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def measure(sources: list[Path], judge: Judge, *, count: int | None, seed: int) -> dict:
    """FID and distance of each policy and mixture, and how many images they are of.

    Of at most `count` photos. Raises InputError where a half has fewer than two usable ones.
    """
    source, random = find_photos(sources), np.random.default_rng(seed)
    order = random.permutation(len(source.photos))[:count]
    cropped, frames = [], []
    for place, number in enumerate(tqdm(order, desc="read", unit="photo", mininterval=0.5)):
        try:
            picture, box = read(source, source.photos[number])
        except UnreadableFileError:
            continue
        frames.append(cut(picture, [(0, 0, *picture.size)], SIDE_PX))
        if place % 2 == 0 and box:
            cropped.append((len(frames) - 1, crop(picture, box, random)))
    own = [number for number, _ in cropped]
    others = np.setdiff1d(np.arange(len(frames)), own)
    if min(len(own), len(others)) < 2:
        raise InputError(f"{source.where}: too few of {len(order):,} photos have a usable dog")
    frames = extract_features(np.concatenate(frames), judge, label="whole frames")
    features = {
        name: frames[own]
        if name == FRAME
        else extract_features(np.stack([crops[name] for _, crops in cropped]), judge, label=name)
        for name in (*POLICIES, FRESH)
    }
    for name, parts in MIXTURES.items():
        rows = np.arange(len(own))
        features[name] = np.stack([features[parts[row % len(parts)]][row] for row in rows])
    references = {"others": frames[others], "all": frames}
    scores = {name: {} for name in features}
    for against, reference in references.items():
        statistics = feature_statistics(reference)
        for name, rows in features.items():
            fid, _ = frechet_distance(*feature_statistics(rows), *statistics)
            scores[name][against] = (fid, abs(memorisation_distance(rows, reference)))
    return {"scores": scores, "images": len(own), "others": len(others), "all": len(frames)}


def read(source: Photos, photo: Photo) -> tuple[Image.Image, Box | None]:
    """A photo, and its first usable box; without any annotation in `source`, the whole frame."""
    picture, orientation = decode_photo(source.files.read(photo.name))
    if not source.annotations:
        return picture, Box(0, 0, *picture.size)
    boxes = place_boxes(photo.annotation, picture.size, orientation) if photo.annotation else []
    for box in boxes:
        try:
            return picture, usable_box(box, picture.size, RECIPE)
        except UnusableBoxError:
            continue
    return picture, None


def crop(picture: Image.Image, box: Box, random: np.random.Generator) -> dict[str, np.ndarray]:
    """The crop [64, 64, 3] uint8 by each of POLICIES, and FRESH."""
    windows = [policy(box, picture.size, random) for policy in POLICIES.values()]
    crops = dict(zip(POLICIES, cut(picture, windows, SIDE_PX), strict=True))
    frame = cut(picture, [(0, 0, *picture.size)], RECIPE.frame_side_px)
    window = draw_windows(np.array([picture.size]), random, full_part=0)
    fresh = cut_windows(torch.from_numpy(frame), torch.from_numpy(window), SIDE_PX)
    return crops | {FRESH: fresh[0].numpy()}


def table(result: dict) -> str:
    """Markdown: the nearest policy to the other half's whole frames comes first."""
    rows = sorted(result["scores"].items(), key=lambda item: item[1]["others"][0])
    lines = [
        f"| crops, {result['images']:,} each | FID to {result['others']:,} other whole frames "
        f"| distance | FID to all {result['all']:,} | distance |",
        "|---|---|---|---|---|",
    ]
    for name, scores in rows:
        (fid, distance), (fid_all, distance_all) = scores["others"], scores["all"]
        lines.append(
            f"| {name} | {fid:.2f} | {distance:.3f} | {fid_all:.2f} | {distance_all:.3f} |"
        )
    return "\n".join(lines)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures each crop policy on real photos.")
    parser.add_argument(
        "sources", metavar="SOURCE", type=Path, nargs="+", help="photos, as doggan build takes them"
    )
    parser.add_argument("--count", type=int, help="photos at most (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="for the split and the windows (0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
