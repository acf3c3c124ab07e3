"""`doggan score`: images, or a run at one truncation or several, against a reference."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from doggan.cli.options import Outcome, Say, add_reference, add_seed, load_judge, numbers
from doggan.gan.run_folder import TRUNCATION
from doggan.support.errors import InputError

EXAMPLE = """doggan score images.zip --reference photos
  doggan score runs/dogs --truncation 0.6:1.2:0.1 --reference photos"""
MAX_TRUNCATIONS = 100


def add_arguments(parser: ArgumentParser) -> None:
    what = (
        "a zip, folder or built set; or a run folder or its generator.safetensors, whose "
        "images of the seeds 0, 1, ... are scored without being written"
    )
    parser.add_argument("images", metavar="IMAGES_OR_RUN", type=Path, help=what)
    what = "for a run: scale of z, or a sweep of several (default: the recipe's, 1.0)"
    parser.add_argument("--truncation", metavar="T_OR_FROM:TO:STEP", type=truncations, help=what)
    parser.add_argument("--out", type=Path, help="also write the result to this JSON file")
    add_seed(parser, default=0)
    add_reference(parser)


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.data.images import load_images
    from doggan.gan.generator_file import is_run
    from doggan.scoring.reference import read_reference
    from doggan.scoring.score import score_images
    from doggan.support.files import write_json

    if is_run(args.images):
        result, summary = _score_run(args, say)
    elif args.truncation:
        raise InputError(
            f"{args.images} is neither a run's folder nor its generator.safetensors, "
            "and --truncation needs one"
        )
    else:
        images = load_images(args.images)
        reference = read_reference(args.reference, args.reference_crop)
        scorecard = score_images(images, reference, load_judge(args))
        result, summary = scorecard.as_dict(), scorecard.summary()
    say(summary)
    if args.out:
        write_json(args.out, result)
    return result, 0


def _score_run(args: Namespace, say: Say) -> tuple[dict, str]:
    """The result and the summary of one truncation, or of a sweep of several."""
    from doggan.gan.generator_file import load_generator
    from doggan.scoring import sweep
    from doggan.scoring.reference import read_reference
    from doggan.support.files import write_json

    generator, recipe = load_generator(args.images, args.device)
    reference = read_reference(args.reference, args.reference_crop)
    seeds = range(args.seed, args.seed + recipe.submission.count)
    chosen = args.truncation or (recipe.submission.truncation,)
    scores = sweep.score_truncations(generator, seeds, chosen, reference, load_judge(args))
    if len(chosen) == 1:
        _, scorecard = next(scores)
        return scorecard.as_dict(), scorecard.summary()
    scorecards = {}
    for truncation, scorecard in scores:
        scorecards[truncation] = scorecard
        say(f"truncation {truncation:g}: MiFID {scorecard.mifid:.2f}")
    result = sweep.sweep_as_dict(scorecards)
    if args.images.is_dir():
        write_json(args.images / TRUNCATION, result)
    return result, sweep.summarise_sweep(sweep.rank_truncations(scorecards))


def truncations(text: str) -> tuple[float, ...]:
    """`0.8` -> (0.8,), and `0.6:1.2:0.2` -> (0.6, 0.8, 1.0, 1.2); all within 0 to 2."""
    match numbers(text):
        case [value]:
            return (value,)
        case [first, last, step] if first <= last and step > 0:
            steps = int((last - first) / step * (1 + 1e-9))  # the last one is not lost to rounding
            if steps < MAX_TRUNCATIONS:
                return tuple(round(first + index * step, 6) for index in range(steps + 1))
    raise ArgumentTypeError(
        f"'{text}' is neither a number nor FROM:TO:STEP, such as 0.6:1.2:0.1, within 0 to 2 and "
        f"of {MAX_TRUNCATIONS} values at most"
    )
