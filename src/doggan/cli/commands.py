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
    from doggan.scoring.judges import Judge

Say = Callable[[str], None]
Outcome = tuple[dict, int]  # what --json prints, and the exit code


def fetch(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.data.fetch import fetch_stanford
    from doggan.kaggle.fetch import fetch_kaggle

    files = {"stanford": fetch_stanford, "kaggle": fetch_kaggle}[args.source](args.out)
    say(f"The photos are in {args.out}; next: doggan build {args.out} --out data/dogs64")
    return {"files": [asdict(file) for file in files]}, 0


def build(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.data.build import build_imageset
    from doggan.data.idx import download_idx, find_idx

    if args.download:
        if len(args.sources) > 1:
            raise InputError("--download puts the files into SOURCE; give one folder")
        download_idx(args.download, args.sources[0])
    idx = find_idx(args.sources)
    classics = {"digits": "mnist-dcgan", "fashion": "fashion-dcgan"}
    data = _load(args.recipe or (classics[idx.dataset] if idx else "dogs"), args.set_values).data
    data = replace(data, crop=args.crop or data.crop, side_px=args.side or data.side_px)
    imageset = build_imageset(args.sources, args.out, data)
    counts = imageset.manifest["counts"]
    say(f"{args.out}: {imageset.describe()}, from {counts['photos']:,} photos")
    if idx:
        say(f"  labels of {idx.dataset}: {', '.join(imageset.label_names)}")
        say(f"next: doggan train {args.out} --recipe {classics[idx.dataset]} --out runs/classic")
    for reason, count in counts["skipped"].items():
        say(f"  skipped: {reason}: {count:,}")
    return {"set": str(args.out), "images_sha256": imageset.sha256, **counts}, 0


def train(args: argparse.Namespace, say: Say) -> Outcome:
    deadline = Deadline(args.time_limit)  # before PyTorch is loaded, which takes seconds
    recipe = _run_recipe(args, say)
    if args.dry_run:
        return asdict(recipe), 0

    from doggan.data.imageset import open_imageset
    from doggan.gan import trainer

    imageset = open_imageset(args.set)
    result = trainer.train(
        imageset,
        args.out,
        recipe,
        device=args.device,
        deadline=deadline,
        resume=args.resume,
    )
    # Only such images can be handed in.
    following = "zip" if imageset.images.shape[1:] == (64, 64, 3) else "sample"
    say(
        f"{args.out}: {result.images:,} images, stopped by {result.stopped_by}; "
        f"next: doggan {following} {args.out}"
    )
    return {"run": str(args.out), **asdict(result)}, _stop_code(result.stopped_by, args.out, say)


def watch(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.gan.history import describe_row, follow_history

    rows = []
    try:
        for row in follow_history(args.run_folder):
            rows.append(row)
            say(describe_row(row))
    except KeyboardInterrupt:  # the way to leave a run that goes on
        pass
    stopped_by = rows[-1].get("stopped_by", "") if rows else ""
    if stopped_by:
        say(f"{args.run_folder}: stopped by {stopped_by}")
    return {"run": str(args.run_folder), "stopped_by": stopped_by, "rows": rows}, 0


def sample(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.gan import sampler, walks
    from doggan.gan.generator_file import load_generator
    from doggan.support.device import choose_device

    generator, _ = load_generator(args.run_folder, choose_device(args.device))
    walking = args.noise is not None or args.interpolate
    count = args.count or (8 if walking else 50)
    seeds = range(first := args.seed or 0, first + count)
    drawn = range(first, first + count + 1) if args.interpolate else seeds
    z = sampler.latents(drawn, generator.latent, truncation=args.truncation, by=args.truncation_by)
    labels = sampler.labels_asked_for(generator, seeds, args.label)
    out = args.out or _beside(args.run_folder, "sample.png")
    as_gif = out.suffix.lower() == ".gif"
    if args.noise is not None:
        z = walks.noise_walk(z, *args.noise)
    elif args.interpolate:
        steps = walks.GIF_STEPS if as_gif else args.columns
        z = walks.spherical_walk(z[:-1], z[1:], steps)
    else:
        z = z[:, None]
    if as_gif and not walking:
        raise InputError(f"{out} would not move; add --noise 1.0:0.0 or --interpolate")
    images = walks.sample_walk(generator, z, labels)
    columns = images.shape[1] if walking and not as_gif else args.columns
    walks.save_walk(images, columns, out)
    made = images.shape[0] * images.shape[1]
    say(f"{out}: {made} images of seeds {first} to {drawn[-1]}")
    return {"picture": str(out), "images": made, "first_seed": first, "columns": columns}, 0


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
    from doggan.scoring.scorecard import score_images
    from doggan.scoring.sweep import is_run
    from doggan.support.files import write_json

    if args.truncation and not is_run(args.images):
        raise InputError(
            f"{args.images} is neither a run's folder nor its generator.safetensors, "
            "and --truncation needs one"
        )
    if is_run(args.images):
        result, summary = _score_run(args, say)
    else:
        images = load_images(args.images)
        reference, name, whole_frames = read_reference(args.reference, args.reference_crop)
        scorecard = score_images(
            images, reference, _judge(args), reference_name=name, whole_frames=whole_frames
        )
        result, summary = scorecard.as_dict(), scorecard.summary()
    say(summary)
    if args.out:
        write_json(args.out, result)
    return result, 0


def _score_run(args: argparse.Namespace, say: Say) -> tuple[dict, str]:
    """The result and the summary of one truncation, or of a sweep of several."""
    from doggan.data.build import read_reference
    from doggan.gan.generator_file import load_generator
    from doggan.gan.run_folder import TRUNCATION
    from doggan.scoring import sweep
    from doggan.support.device import choose_device
    from doggan.support.files import write_json

    generator, recipe = load_generator(args.images, choose_device(args.device))
    reference, name, whole_frames = read_reference(args.reference, args.reference_crop)
    first = args.seed or 0
    truncations = args.truncation or (recipe.submission.truncation,)
    scorecards = {}
    for truncation, scorecard in sweep.score_truncations(
        generator,
        range(first, first + recipe.submission.count),
        truncations,
        reference,
        _judge(args),
        reference_name=name,
        whole_frames=whole_frames,
    ):
        if len(truncations) == 1:
            return scorecard.as_dict(), scorecard.summary()
        say(f"truncation {truncation:g}: MiFID {scorecard.mifid:.2f}")
        scorecards[truncation] = scorecard
    ranking = sweep.rank_truncations(scorecards)
    result = {"truncations": list(scorecards), **ranking.as_dict()}
    if args.images.is_dir():
        write_json(args.images / TRUNCATION, result)
    return result, sweep.summarise_sweep(ranking)


def neighbours(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.data.build import read_reference
    from doggan.data.images import load_images
    from doggan.gan.pictures import save_picture
    from doggan.gan.run_folder import NEIGHBOURS, NEIGHBOURS_PAIRS
    from doggan.report.neighbours_picture import draw_neighbours, draw_pairs
    from doggan.report.results import MAX_PAIRS
    from doggan.scoring.neighbours import find_neighbours, reference_names
    from doggan.scoring.sweep import is_run
    from doggan.support.files import write_json

    in_run = args.images.is_dir() and is_run(args.images)
    path = _beside(args.images, "images.zip") if is_run(args.images) else args.images
    images = load_images(path)
    reference, name, _ = read_reference(args.reference, args.reference_crop)
    found = find_neighbours(
        images,
        reference,
        _judge(args),
        reference_name=name,
        reference_names=reference_names(args.reference),
    )
    beside = "neighbours.png" if in_run else f"{path.absolute().stem}-neighbours.png"
    out = args.out or path.absolute().with_name(beside)
    save_picture(draw_neighbours(found, images, reference, args.count), out)
    if in_run:  # for the report
        count = min(args.count, MAX_PAIRS)
        save_picture(draw_pairs(found, images, reference, count), args.images / NEIGHBOURS_PAIRS)
        write_json(args.images / NEIGHBOURS, found.as_dict(count))
    say(f"{found.summary(args.count)}\n{out}: the picture")
    return {"picture": str(out), **found.as_dict(args.count)}, 0


def compare(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.scoring import comparison
    from doggan.scoring.scorecard_file import read_scorecard

    entries = [comparison.Entry(str(path), read_scorecard(path)) for path in args.entries]
    rankings = comparison.compare(entries)
    say(comparison.summarise(rankings))
    groups = [ranking.as_dict() for ranking in rankings]
    return {"groups": groups, "differ_in": comparison.differing_conditions(rankings)}, 0


def report(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.report.page import write_report
    from doggan.support.files import format_bytes

    one = len(args.runs) == 1
    written = write_report(args.runs, args.out or Path(args.runs[0] if one else "", "report.html"))
    for note in written.notes:
        say(f"note: {note}")
    say(f"{written.path}: {format_bytes(written.bytes)}; it opens in a browser, without a network")
    return asdict(written), 0


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


def _judge(args: argparse.Namespace) -> "Judge":
    from doggan.scoring.judges import load_judge
    from doggan.support.device import choose_device

    return load_judge(
        args.judge,
        device=choose_device(args.device),
        precision=args.precision,
        weights=args.weights,
    )


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
