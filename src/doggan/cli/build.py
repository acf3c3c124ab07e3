"""`doggan build`: photos, or idx files, cut into a set."""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from doggan.cli.options import Outcome, Say, add_name, add_recipe, add_sources, positive
from doggan.data.crops import CROPS
from doggan.recipe import load_recipe
from doggan.support.errors import InputError

EXAMPLE = """doggan build photos --out data/dogs64 --crop four
  doggan build mnist --download mnist --out data/mnist28"""
CLASSICS = {"digits": "mnist-dcgan", "fashion": "fashion-dcgan"}  # data set of idx files -> recipe


def add_arguments(parser: ArgumentParser) -> None:
    add_sources(parser)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="the folder of the built set")
    what = "how a box becomes a square (default: the recipe's, square)"
    add_name(parser, "--crop", CROPS, what)
    what = "pixels, 16 to 128 (default: the recipe's; 64, or 28 of idx files)"
    add("--side", type=positive, help=what)
    what = "first download these idx files into SOURCE, a folder"
    add("--download", choices=("mnist", "fashion-mnist"), help=what)
    add_recipe(parser)


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.data.build import build_imageset
    from doggan.data.idx import download_idx, find_idx

    if args.download:
        if len(args.sources) > 1:
            raise InputError("--download puts the files into SOURCE; give one folder")
        download_idx(args.download, args.sources[0])
    idx = find_idx(args.sources)
    recipe = args.recipe or (CLASSICS[idx.dataset] if idx else "dogs")
    data = load_recipe(recipe, args.set_values).data
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
