#!/usr/bin/env python3
"""Finds the eps of the judge efficientnet-lite0: below it a set of images counts as copied.

    .venv/bin/python tools/calibrate_eps.py photos

Real photos are split: most are the reference, the others stand for new dogs. Photos of the
reference that were re-saved, flipped, cropped by a few pixels or recoloured stand for copies. eps
lies midway between the mean distance of the new dogs and that of the least obvious copies. Lines
on stderr show how far it is.
"""

import argparse
import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from doggan.data.build import read_images
from doggan.recipe import DataRecipe
from doggan.scoring.features import extract_features
from doggan.scoring.judges.judge import load_judge
from doggan.scoring.mifid import memorisation_distance
from doggan.scoring.reference import KAGGLE_CROP
from doggan.support.device import choose_device
from doggan.support.errors import DogganError, InputError

JPEG_QUALITY = 75  # Pillow's default, and many other programs'
CROPPED_PX = 4  # of 64, in all, along each side
RECOLOURED = 0.3  # brightness, contrast and saturation change by up to this part
HUE_STEPS = 12  # of 256


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    try:
        result = calibrate(args.sources, held_out=args.held_out, seed=args.seed, device=args.device)
    except DogganError as error:
        print(f"calibrate_eps: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(result) if args.json else table(result))
    return 0


def calibrate(sources: list[Path], *, held_out: int, seed: int, device: str) -> dict:
    """The mean distance of each set, what they are of, and the eps between them.

    Raises InputError where there are too few photos, and where no eps separates the sets.
    """
    images = read_images(sources, DataRecipe(crop=KAGGLE_CROP))
    if held_out < 2 or len(images) < 2 * held_out:
        raise InputError(
            f"{len(images):,} photos do not give {held_out:,} new ones and as many copied ones "
            "(2 at least); give more photos, or a smaller --held-out"
        )
    judge = load_judge("efficientnet-lite0", device=choose_device(device))
    random = np.random.default_rng(seed)
    images = images[random.permutation(len(images))]
    unseen, reference = images[:held_out], images[held_out:]
    copied = reference[:held_out]
    reference = extract_features(reference, judge, label="reference")
    new = extract_features(unseen, judge, label="new photos")
    distances = {
        "new photos": memorisation_distance(new, reference),
        "new photos, half the reference": memorisation_distance(new, reference[::2]),
    }
    copies = {
        what: memorisation_distance(extract_features(changed, judge, label=what), reference)
        for what, changed in make_copies(copied, random).items()
    }
    return {
        "eps": best_eps(distances["new photos"], copies),
        "new": distances,
        "copies": copies,
        "images": held_out,
        "reference_images": len(reference),
        "judge": judge.name,
        "precision": judge.precision,
        "weights_sha256": judge.weights_sha256,
        "seed": seed,
    }


def best_eps(new: float, copies: dict[str, float]) -> float:
    """Midway between the new photos' distance and the copies' largest, to two digits.

    Raises InputError where new photos are no further away than some copies.
    """
    what = max(copies, key=copies.get)
    eps = round((new + copies[what]) / 2, 2)
    if not copies[what] < eps < new:
        raise InputError(
            f"no eps separates them: new photos lie at {new:.4f}, photos {what} at "
            f"{copies[what]:.4f}; are there photos twice?"
        )
    return eps


def make_copies(images: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Each way to pass off [N, 64, 64, 3] uint8 photos as new ones, and what it makes of them."""
    changes = {
        "re-saved": resave,
        "flipped": flip,
        "cropped": lambda image: crop(image, random),
        "recoloured": lambda image: recolour(image, random),
    }

    def all_of_it(image: Image.Image) -> Image.Image:
        for change in ("flipped", "cropped", "recoloured", "re-saved"):
            image = changes[change](image)
        return image

    return {
        what: np.stack([np.asarray(change(Image.fromarray(image))) for image in images])
        for what, change in (changes | {"changed in all these ways": all_of_it}).items()
    }


def resave(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=JPEG_QUALITY)
    return Image.open(stream).convert("RGB")


def flip(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def crop(image: Image.Image, random: np.random.Generator) -> Image.Image:
    left, top = random.integers(0, CROPPED_PX + 1, 2).tolist()
    box = (left, top, image.width - CROPPED_PX + left, image.height - CROPPED_PX + top)
    return image.resize(image.size, Image.Resampling.LANCZOS, box=box)


def recolour(image: Image.Image, random: np.random.Generator) -> Image.Image:
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(1 + random.uniform(-RECOLOURED, RECOLOURED))
    hue, saturation, value = image.convert("HSV").split()
    step = int(random.integers(-HUE_STEPS, HUE_STEPS + 1))
    hue = hue.point([(level + step) % 256 for level in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def table(result: dict) -> str:
    """The distances, nearest first, and where eps lies among them."""
    rows = sorted((result["new"] | result["copies"]).items(), key=lambda row: row[1])
    below = sum(distance < result["eps"] for _, distance in rows)
    rows.insert(below, ("eps", result["eps"]))
    lines = [f"{distance:.4f}  {what}" for what, distance in rows]
    return "\n".join(
        [
            *lines,
            f"means of {result['images']:,} images each, to {result['reference_images']:,} of "
            f"reference; {result['judge']}, {result['precision']}, weights "
            f"{result['weights_sha256'][:8]}, seed {result['seed']}",
        ]
    )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Finds the eps that separates copied photos from new ones."
    )
    parser.add_argument(
        "sources", metavar="SOURCE", type=Path, nargs="+", help="photos, as doggan build takes them"
    )
    parser.add_argument(
        "--held-out", type=int, default=2000, help="how many photos stand for new ones (2000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="for the split and the changes (0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
