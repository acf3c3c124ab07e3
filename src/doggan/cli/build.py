"""`doggan build`: photos or idx files into a set of square images."""

import argparse
from dataclasses import replace
from pathlib import Path

from doggan.cli import options
from doggan.cli.options import Outcome, Say
from doggan.data.crops import CROPS
from doggan.support.errors import InputError

EXAMPLE = """doggan build photos --out data/dogs64 --crop four
  doggan build mnist --download mnist --out data/mnist28"""
CLASSICS = {"digits": "mnist-dcgan", "fashion": "fashion-dcgan"}  # the recipe of a set of idx files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_sources(parser)
    parser.add_argument("--out", type=Path, required=True, help="the folder of the built set")
    parser.add_argument(
        "--crop",
        choices=CROPS,
        help="how a box becomes a square (default: the recipe's, square)",
    )
    parser.add_argument(
        "--side",
        type=options.positive,
        help="pixels, 16 to 128 (default: the recipe's; 64, or 28 of idx files)",
    )
    parser.add_argument(
        "--download",
        choices=("mnist", "fashion-mnist"),
        help="first download these idx files into SOURCE, a folder",
    )
    options.add_recipe(parser)


def run(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.data.build import build_imageset
    from doggan.data.idx import download_idx, find_idx
    from doggan.recipe import load_recipe

    if args.download:
        if len(args.sources) > 1:
            raise InputError("--download puts the files into SOURCE; give one folder")
        download_idx(args.download, args.sources[0])
    idx = find_idx(args.sources)
    recipe = load_recipe(args.recipe or (CLASSICS[idx.dataset] if idx else "dogs"), args.set_values)
    data = recipe.data
    data = replace(data, crop=args.crop or data.crop, side_px=args.side or data.side_px)
    imageset = build_imageset(args.sources, args.out, data)
    counts = imageset.manifest["counts"]
    say(f"{args.out}: {imageset.describe()}, from {counts['photos']:,} photos")
    if idx:
        say(f"  labels of {idx.dataset}: {', '.join(imageset.label_names)}")
        say(f"next: doggan train {args.out} --recipe {CLASSICS[idx.dataset]} --out runs/classic")
    for reason, count in counts["skipped"].items():
        say(f"  skipped: {reason}: {count:,}")
    return {"set": str(args.out), "images_sha256": imageset.sha256, **counts}, 0
