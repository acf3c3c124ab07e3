#!/usr/bin/env python3
"""Trains variants of a recipe, each under the same budget, and says which makes the best images.

    .venv/bin/python tools/search_recipes.py photos.zip variants.toml --out search --budget 15m

`variants.toml` has a table for each variant, which says how it differs from a recipe:

    [small-batches]
    recipe = "dogs"  # or a TOML file beside this one
    train.batch_size = 8
    train.cooldown = 0.5

One run goes to each core that this program may use (`taskset -c 0` leaves it one), with one thread,
and the budget is that thread's own time, so that other work on the machine takes nothing away from
it; on a GPU runs come one after another, by the clock. Finished runs are found again, those that
were cut go on. OUT has a folder a run, `table.md`, and `sheet.png` with the first images of each.
"""

import argparse
import json
import os
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.queues import Queue
from pathlib import Path
from threading import Thread

import torch
from PIL import Image, ImageDraw

from doggan.data.build import build_imageset
from doggan.data.imageset import ImageSet, is_imageset, open_imageset
from doggan.gan.averages import load_averages
from doggan.gan.budget import fit_to_budget
from doggan.gan.history import read_history
from doggan.gan.pictures import make_grid, save_picture
from doggan.gan.run_folder import CHECKPOINT, RECIPE, RESULT
from doggan.gan.sampler import sample_seeds
from doggan.gan.trainer import train
from doggan.recipe import DataRecipe, Recipe, load_recipe, with_value
from doggan.scoring.judges.judge import load_judge
from doggan.scoring.reference import KAGGLE_CROP, Reference, read_reference, say_on_stderr
from doggan.scoring.score import score_generator
from doggan.support.deadline import Deadline, parse_duration
from doggan.support.device import choose_device
from doggan.support.errors import DogganError, InputError
from doggan.support.files import write_json, write_text

SHOWN = range(12)  # the seeds of a row of the sheet
NAME_PX = 220  # for a variant's name, left of its row


@dataclass(frozen=True, kw_only=True)
class Search:
    """What every run of a search shares: `budget` is in seconds, `count` the images judged, `lanes`
    the runs at once on a GPU."""

    photos: Path
    out: Path
    budget: float
    count: int
    judge: str
    device: str
    lanes: int = 1


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    search = Search(
        photos=args.photos,
        out=args.out,
        budget=args.budget,
        count=args.count,
        judge=args.judge,
        device=args.device,
    )
    try:
        runs = {
            f"{name}-seed{seed}": with_value(recipe, "seed", seed)
            for seed in args.seeds
            for name, recipe in read_variants(args.variants).items()
        }
        for line in run_all(search, runs):
            print(line, flush=True)
    except (DogganError, OSError) as error:
        print(f"search_recipes: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    table = args.out / "table.md"
    print(table.read_text("utf-8") if table.exists() else "no run has ended")
    return 0 if table.exists() else 1


def read_variants(path: Path) -> dict[str, Recipe]:
    """The recipes of a file of variants, by name; raises InputError where it is none."""
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} is not a file of variants: {error}") from error
    variants = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or not name.replace("-", "").replace(".", "").isalnum():
            raise InputError(f"{path}: expected [name] and its values; found {name!r}")
        recipe, overrides = table.pop("recipe", "dogs"), []
        for section, values in table.items():
            for key, value in values.items() if isinstance(values, dict) else [("", values)]:
                overrides.append(f"{section}.{key}".rstrip(".") + f"={json.dumps(value)}")
        if recipe.endswith(".toml"):  # one beside the variants
            recipe = str(path.parent / recipe)
        variants[name] = load_recipe(recipe, overrides)
    if not variants:
        raise InputError(f"{path} has no variant; write one like [name] and its values below")
    return variants


def run_all(search: Search, runs: dict[str, Recipe]) -> Iterator[str]:
    """Trains and judges the runs, and says a line of each as it ends or fails."""
    judge = load_judge(search.judge, device=choose_device(search.device))
    for recipe in runs.values():
        _build(search, recipe.data)
        frames = _build(search, _frames(recipe))
        read_reference([frames]).features(judge)  # kept for the runs
    on_gpu = choose_device(search.device).type == "cuda"
    cores = [None] * search.lanes if on_gpu else sorted(os.sched_getaffinity(0))
    context = get_context("spawn")
    free = context.Queue()
    for core in cores:
        free.put(core)
    pool = ProcessPoolExecutor(
        len(cores),
        mp_context=context,
        max_tasks_per_child=1,
        initializer=_start_worker,
        initargs=(free,),
    )
    with pool:
        waiting = {
            pool.submit(run_one, search, name, recipe): name for name, recipe in runs.items()
        }
        for run in as_completed(waiting):
            try:
                mifid = run.result()["scorecards"][0]["mifid"]
            except DogganError as error:  # such as rates that are too high
                yield f"{waiting[run]}: failed: {error}"
                continue
            write_summary(search.out)
            yield f"{waiting[run]}: MiFID {mifid:.1f}"


def _start_worker(free: Queue) -> None:
    """Shows a new process the `free` cores, and has it end when the one that started it does."""
    global _free  # a queue reaches a new process in no other way
    _free = free

    def wait() -> None:
        parent_process().join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def run_one(search: Search, name: str, recipe: Recipe) -> dict:
    """Trains and judges one run, on a core of its own, and writes its result.json and log.txt.

    Returns the result; what a finished run left is returned as it is.
    """
    folder = search.out / "runs" / name
    if (folder / RESULT).exists():
        return json.loads((folder / RESULT).read_text("utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    core = _free.get()
    try:
        if core is not None:
            os.sched_setaffinity(0, {core})
            torch.set_num_threads(1)
        clock = time.monotonic if core is None else time.process_time
        with (folder / "log.txt").open("a") as log, redirect_stderr(log):
            _train(search, folder, recipe, open_imageset(set_folder(search, recipe.data)), clock)
            reference = read_reference([set_folder(search, _frames(recipe))])
            result = _judge(search, folder, recipe, reference)
        write_json(folder / RESULT, result)
        return result
    finally:
        _free.put(core)


def write_summary(out: Path) -> None:
    """Writes table.md and sheet.png of all finished runs, the best first."""
    results = [
        json.loads(path.read_text("utf-8")) | {"folder": path.parent}
        for path in (out / "runs").glob(f"*/{RESULT}")
    ]
    results.sort(key=lambda result: result["scorecards"][0]["mifid"])
    rows = [
        "| run | MiFID (95%) | FID | distance | FID of each average | images shown | images/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        card = result["scorecards"][0]
        low, high = card["mifid_interval"]
        averages = ", ".join(
            f"{part:g}: {other['fid']:.1f}"
            for part, other in zip(result["ema_parts"], result["scorecards"], strict=True)
        )
        rows.append(
            f"| {result['folder'].name} | {card['mifid']:.1f} ({low:.1f} to {high:.1f}) "
            f"| {card['fid']:.1f} | {card['distance']:.3f} | {averages} "
            f"| {result['images']:,} | {result['images'] / result['seconds']:.0f} |"
        )
    write_text(out / "table.md", "\n".join(rows) + "\n")
    strips = [_strip(result["folder"]) for result in results]
    sheet = Image.new("RGB", (strips[0].width, sum(strip.height for strip in strips)), "white")
    for row, strip in enumerate(strips):
        sheet.paste(strip, (0, row * strip.height))
    save_picture(sheet, out / "sheet.png")


def set_folder(search: Search, recipe: DataRecipe) -> Path:
    """Where the search keeps the set of these crops."""
    return search.out / "sets" / "-".join(str(value) for value in vars(recipe).values())


def _frames(recipe: Recipe) -> DataRecipe:
    """The whole frames that a run is judged against, of its images' side."""
    return DataRecipe(crop=KAGGLE_CROP, side_px=recipe.data.side_px)


def _build(search: Search, recipe: DataRecipe) -> Path:
    """The folder of the recipe's set, which is built once for all runs."""
    folder = set_folder(search, recipe)
    if not is_imageset(folder):
        build_imageset([search.photos], folder, recipe, colour=True)
    return folder


def _train(
    search: Search,
    folder: Path,
    recipe: Recipe,
    imageset: ImageSet,
    clock: Callable[[], float],
) -> None:
    """Trains until the budget is used up, going on where an earlier search was cut."""
    resume = (folder / CHECKPOINT).exists()
    rows = read_history(folder) if resume else []
    if not rows or not rows[-1].get("stopped_by"):
        left = search.budget - (rows[-1]["seconds"] if rows else 0.0)
        deadline = Deadline(left, clock)
        if resume:
            recipe = load_recipe(str(folder / RECIPE))
        else:
            recipe = fit_to_budget(
                recipe, imageset, device=search.device, deadline=deadline, say=say_on_stderr
            )
        train(imageset, folder, recipe, deadline=deadline, resume=resume, device=search.device)


def _judge(search: Search, folder: Path, recipe: Recipe, reference: Reference) -> dict:
    """Scores each average of a run, and draws the first images of its own."""
    judge = load_judge(search.judge, device=choose_device(search.device))
    truncation = recipe.submission.truncation
    averages = load_averages(folder, search.device)
    images = next(sample_seeds(averages[0], SHOWN, truncation))
    save_picture(make_grid(images, len(SHOWN)), folder / "row.png")
    cards = [
        score_generator(average, range(search.count), truncation, reference, judge)
        for average in averages
    ]
    end = read_history(folder)[-1]
    return {
        "images": end["images"],
        "seconds": end["seconds"],
        "budget_seconds": search.budget,
        "ema_parts": list(recipe.train.ema_parts),
        "scorecards": [card.as_dict() for card in cards],
    }


def _strip(folder: Path) -> Image.Image:
    """A run's row of the sheet: its name and its first images."""
    with Image.open(folder / "row.png") as row:
        strip = Image.new("RGB", (NAME_PX + row.width, row.height), "white")
        strip.paste(row, (NAME_PX, 0))
    ImageDraw.Draw(strip).text((4, strip.height // 2 - 6), folder.name, "black")
    return strip


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Trains variants of a recipe and compares them.")
    parser.add_argument("photos", type=Path, help="photos, as doggan build takes them")
    parser.add_argument("variants", type=Path, help="a TOML file with a table for each variant")
    parser.add_argument("--out", type=Path, required=True, help="a folder for everything")
    parser.add_argument(
        "--budget", type=parse_duration, required=True, help="of each training, like 15m"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="runs of each variant")
    parser.add_argument("--count", type=int, default=3000, help="images that are judged")
    parser.add_argument("--judge", default="efficientnet-lite0")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
