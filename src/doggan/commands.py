"""What each command does: one call into the library, lines for people, a dict for programs."""

import argparse
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from doggan.support.deadline import Deadline
from doggan.support.errors import InputError

if TYPE_CHECKING:
    from doggan.pipeline import RunResult
    from doggan.recipe import Recipe

Say = Callable[[str], None]
Outcome = tuple[dict, int]  # what --json prints, and the exit code


def fetch(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.data.fetch import fetch_kaggle, fetch_stanford

    files = {"stanford": fetch_stanford, "kaggle": fetch_kaggle}[args.source](args.out)
    say(f"The photos are in {args.out}; next: doggan build {args.out} --out data/dogs64")
    return {"files": [asdict(file) for file in files]}, 0


def build(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.data.build import build_imageset

    recipe = _load(args.recipe or "dogs", args.set_values)
    if args.crop:
        recipe = replace(recipe, data=replace(recipe.data, crop=args.crop))
    imageset = build_imageset(args.sources, args.out, recipe.data)
    counts = imageset.manifest["counts"]
    say(f"{args.out}: {imageset.describe()}, from {counts['photos']:,} photos")
    for reason, count in counts["skipped"].items():
        say(f"  skipped: {reason}: {count:,}")
    return {"set": str(args.out), "images_sha256": imageset.sha256, **counts}, 0


def train(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.data.imageset import open_imageset
    from doggan.gan import trainer

    deadline = Deadline(args.time_limit)
    recipe = _run_recipe(args, say)
    if args.dry_run:
        return asdict(recipe), 0
    result = trainer.train(
        open_imageset(args.set),
        args.out,
        recipe,
        device=args.device,
        deadline=deadline,
        resume=args.resume,
    )
    say(
        f"{args.out}: {result.images:,} images, stopped by {result.stopped_by}; "
        f"next: doggan zip {args.out}"
    )
    return {"run": str(args.out), **asdict(result)}, _stop_code(result.stopped_by, args.out, say)


def sample(args: argparse.Namespace, say: Say) -> Outcome:
    import numpy as np

    from doggan.gan import sampler
    from doggan.gan.generator_file import load_generator
    from doggan.reporting.pictures import make_grid, save_picture
    from doggan.support.device import choose_device

    generator, _ = load_generator(args.run_folder, choose_device(args.device))
    first = args.seed or 0
    z = sampler.latents(
        range(first, first + args.count),
        generator.latent,
        truncation=args.truncation,
        by=args.truncation_by,
    )
    columns = args.columns
    if args.noise:
        levels = sampler.noise_levels(*args.noise)
        columns = len(levels)
        z = (z[:, None] * levels[None, :, None]).flatten(0, 1)  # a row a seed, a column a level
    out = args.out or _beside(args.run_folder, "sample.png")
    save_picture(make_grid(np.concatenate(list(sampler.sample(generator, z))), columns), out)
    say(f"{out}: {len(z)} images of seeds {first} to {first + args.count - 1}")
    return {"picture": str(out), "images": len(z), "first_seed": first, "columns": columns}, 0


def zip_images(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.gan.generator_file import load_generator
    from doggan.gan.sampler import sample_seeds
    from doggan.submission import write_submission
    from doggan.support.device import choose_device

    generator, recipe = load_generator(args.run_folder, choose_device(args.device))
    count = args.count or recipe.submission.count
    truncation = recipe.submission.truncation if args.truncation is None else args.truncation
    first = args.seed or 0
    out = args.out or _beside(args.run_folder, "images.zip")
    batches = sample_seeds(generator, range(first, first + count), truncation)
    check = write_submission(batches, out, count=count)
    say(check.summary())
    return check.as_dict(), 0 if check.valid else 1


def check(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.submission import check_submission

    check = check_submission(args.file, count=args.count)
    say(check.summary())
    return check.as_dict(), 0 if check.valid else 1


def score(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.data.build import read_reference
    from doggan.data.images import load_images
    from doggan.scoring.judges import load_judge
    from doggan.scoring.scorecard import score_images
    from doggan.support.device import choose_device
    from doggan.support.files import write_json

    images = load_images(args.images)
    reference, name = read_reference(args.reference)
    judge = load_judge(
        args.judge,
        device=choose_device(args.device),
        precision=args.precision,
        weights=args.weights,
    )
    scorecard = score_images(images, reference, judge, reference_name=name)
    say(scorecard.summary())
    if args.out:
        write_json(args.out, scorecard.as_dict())
    return scorecard.as_dict(), 0


def run(args: argparse.Namespace, say: Say) -> Outcome:
    deadline = Deadline(args.time_limit)
    recipe = _run_recipe(args, say)
    if args.dry_run:
        return asdict(recipe), 0

    from doggan.pipeline import run_competition

    result = run_competition(
        args.sources,
        args.out,
        recipe,
        deadline=deadline,
        device=args.device,
        judge=args.judge,
        weights=args.weights,
        resume=args.resume,
        say=say,
    )
    return _finish(result, say)


def demo(args: argparse.Namespace, say: Say) -> Outcome:
    deadline = Deadline(args.time_limit)
    overrides = [f"submission.count={args.count}"] if args.count else []
    recipe = _with_seed(_load("demo", overrides), args.seed)

    from doggan.pipeline import run_demo

    say("A demonstration on drawn dogs: it shows every step, and says nothing about real photos.")
    result = run_demo(
        args.out,
        recipe,
        photos=args.photos,
        deadline=deadline,
        device=args.device,
        judge=args.judge,
        say=say,
    )
    return _finish(result, say)


def _run_recipe(args: argparse.Namespace, say: Say) -> "Recipe":
    """The recipe of a run: the named one, or on --resume the run's own; printed before work."""
    from doggan.recipe import recipe_to_toml

    if args.resume:
        if args.recipe or args.set_values or args.seed is not None:
            raise InputError(
                "--resume goes on with the run's own recipe; leave out --recipe, "
                "--set and --seed, or start another --out"
            )
        recipe = _load(str(args.out / "recipe.toml"))
    else:
        recipe = _with_seed(_load(args.recipe or "dogs", args.set_values), args.seed)
    if args.images:
        recipe = replace(recipe, train=replace(recipe.train, images=args.images))
    say(recipe_to_toml(recipe))
    return recipe


def _load(name_or_file: str, overrides: list[str] | None = None) -> "Recipe":
    from doggan.recipe import load_recipe

    return load_recipe(name_or_file, overrides or [])


def _with_seed(recipe: "Recipe", seed: int | None) -> "Recipe":
    return recipe if seed is None else replace(recipe, seed=seed)


def _beside(run_or_file: Path, name: str) -> Path:
    return (run_or_file if run_or_file.is_dir() else run_or_file.parent) / name


def _finish(result: "RunResult", say: Say) -> Outcome:
    for what, path in result.files().items():
        say(f"{what + ':':24} {path}")
    say(f"{result.seconds:.0f} s in all")
    code = _stop_code(result.training.stopped_by, Path(result.folder), say)
    return result.as_dict(), code if result.submission.valid else 1


def _stop_code(stopped_by: str, folder: Path, say: Say) -> int:
    if not stopped_by.startswith("SIG"):
        return 0
    say(f"Stopped by {stopped_by}; the same command with --resume --out {folder} goes on")
    return 1
