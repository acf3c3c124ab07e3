"""`doggan zip`: the submission of a trained run."""

import argparse
from pathlib import Path

from doggan.cli import options
from doggan.cli.options import Outcome, Say

EXAMPLE = "doggan zip runs/dogs --out images.zip"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run_folder(parser)
    parser.add_argument("--out", type=Path, help="the zip (default: RUN/images.zip)")
    parser.add_argument("--count", type=options.positive, help="how many images (default 10,000)")
    parser.add_argument("--truncation", type=float, help="scale of z (default: the recipe's, 1.0)")
    options.add_seed(parser)
    options.add_device(parser)


def run(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.gan.generator_file import load_generator
    from doggan.gan.run_folder import ZIP
    from doggan.gan.sampler import sample_seeds
    from doggan.submission import write_submission
    from doggan.support.device import choose_device

    generator, recipe = load_generator(args.run_folder, choose_device(args.device))
    count = args.count or recipe.submission.count
    truncation = recipe.submission.truncation if args.truncation is None else args.truncation
    first = args.seed or 0
    batches = sample_seeds(generator, range(first, first + count), truncation)
    out = args.out or options.beside(args.run_folder, ZIP)
    check = write_submission(batches, out, count=count)
    say(check.summary())
    return check.as_dict(), 0 if check.valid else 1
