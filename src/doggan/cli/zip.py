"""`doggan zip`: write the submission and verify it."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from doggan.cli.options import Outcome, Say, add_generator, beside, made
from doggan.gan.run_folder import ZIP

EXAMPLE = "doggan zip runs/dogs --out images.zip"


def add_arguments(parser: ArgumentParser) -> None:
    add_generator(parser)
    add = parser.add_argument
    add("--out", type=Path, help="the zip (default: RUN/images.zip)")
    add("--count", type=made, help="how many images (default 10,000)")
    add("--truncation", type=float, help="scale of z (default: the recipe's, 1.0)")


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.gan.generator_file import load_generator
    from doggan.gan.sampler import sample_seeds
    from doggan.submission import write_submission

    generator, recipe = load_generator(args.run_folder, args.device)
    count = args.count or recipe.submission.count
    truncation = recipe.submission.truncation if args.truncation is None else args.truncation
    batches = sample_seeds(generator, range(args.seed, args.seed + count), truncation)
    check = write_submission(batches, args.out or beside(args.run_folder, ZIP), count=count)
    say(check.summary())
    return check.as_dict(), 0 if check.valid else 1
