"""`doggan score`: images, or a run at one truncation or several, against a reference."""

import argparse
from pathlib import Path

from doggan.cli import options
from doggan.cli.options import Outcome, Say
from doggan.support.errors import InputError

MAX_TRUNCATIONS = 100
EXAMPLE = """doggan score images.zip --reference photos
  doggan score runs/dogs --truncation 0.6:1.2:0.1 --reference photos"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "images",
        metavar="IMAGES_OR_RUN",
        type=Path,
        help="a zip, folder or built set; or a run folder or its generator.safetensors, whose "
        "images of the seeds 0, 1, ... are scored without being written",
    )
    parser.add_argument(
        "--truncation",
        metavar="T_OR_FROM:TO:STEP",
        type=truncations,
        help="for a run: scale of z, or a sweep of several (default: the recipe's, 1.0)",
    )
    parser.add_argument("--out", type=Path, help="also write the result to this JSON file")
    options.add_reference(parser)
    options.add_seed(parser)


def run(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.data.images import load_images
    from doggan.scoring.reference import read_reference
    from doggan.scoring.score import score_images
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
        reference = read_reference(args.reference, args.reference_crop)
        scorecard = score_images(images, reference, options.judge_of(args))
        result, summary = scorecard.as_dict(), scorecard.summary()
    say(summary)
    if args.out:
        write_json(args.out, result)
    return result, 0


def _score_run(args: argparse.Namespace, say: Say) -> tuple[dict, str]:
    """The result and the summary of one truncation, or of a sweep of several."""
    from doggan.gan.generator_file import load_generator
    from doggan.gan.run_folder import TRUNCATION
    from doggan.scoring import sweep
    from doggan.scoring.reference import read_reference
    from doggan.support.device import choose_device
    from doggan.support.files import write_json

    generator, recipe = load_generator(args.images, choose_device(args.device))
    reference = read_reference(args.reference, args.reference_crop)
    first = args.seed or 0
    seeds = range(first, first + recipe.submission.count)
    chosen = args.truncation or (recipe.submission.truncation,)
    scorecards = {}
    for truncation, scorecard in sweep.score_truncations(
        generator, seeds, chosen, reference, options.judge_of(args)
    ):
        if len(chosen) == 1:
            return scorecard.as_dict(), scorecard.summary()
        say(f"truncation {truncation:g}: MiFID {scorecard.mifid:.2f}")
        scorecards[truncation] = scorecard
    result = sweep.sweep_as_dict(scorecards)
    if args.images.is_dir():
        write_json(args.images / TRUNCATION, result)
    return result, sweep.summarise_sweep(sweep.rank_truncations(scorecards))


def truncations(text: str) -> tuple[float, ...]:
    """`0.8` -> (0.8,), and `0.6:1.2:0.2` -> (0.6, 0.8, 1.0, 1.2); all within 0 to 2."""
    try:
        values = [float(part) for part in text.split(":")]
    except ValueError:
        values = []
    if len(values) == 1 and 0 <= values[0] <= 2:
        return (values[0],)
    if len(values) == 3 and 0 <= values[0] <= values[1] <= 2 and 0 < values[2] <= 2:
        first, last, step = values
        steps = int((last - first) / step * (1 + 1e-9))  # the last one is not lost to rounding
        if steps < MAX_TRUNCATIONS:
            return tuple(round(first + index * step, 6) for index in range(steps + 1))
    raise argparse.ArgumentTypeError(
        f"'{text}' is neither a number nor FROM:TO:STEP, such as 0.6:1.2:0.1, within 0 to 2 and "
        f"of {MAX_TRUNCATIONS} values at most"
    )
