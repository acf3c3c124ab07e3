"""`doggan demo`: the whole competition on drawn dogs."""

import argparse
from pathlib import Path

from doggan.cli import options
from doggan.cli.options import Outcome, Say
from doggan.cli.run import finish
from doggan.scoring.judges import JUDGES
from doggan.support.deadline import Deadline

EXAMPLE = "doggan demo --out runs/demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="the run folder (default runs/demo)"
    )
    parser.add_argument(
        "--time-limit",
        type=options.duration,
        default=options.duration("6m"),
        help="such as 90s or 6m (default 6m)",
    )
    parser.add_argument(
        "--photos", type=options.positive, default=400, help="how many (default 400)"
    )
    parser.add_argument("--count", type=options.positive, help="images in the zip (default 10,000)")
    parser.add_argument(
        "--judge", choices=("auto", *JUDGES), default="auto", help="see doggan score --help"
    )
    options.add_seed(parser)
    options.add_device(parser)


def run(args: argparse.Namespace, say: Say) -> Outcome:
    deadline = Deadline(args.time_limit)
    from doggan.pipeline import Job, run_demo
    from doggan.recipe import load_recipe

    overrides = [f"submission.count={args.count}"] if args.count else []
    recipe = options.with_seed(load_recipe("demo", overrides), args.seed)
    say("A demonstration on drawn dogs: it shows every step, and says nothing about real photos.")
    job = Job(
        folder=args.out,
        recipe=recipe,
        deadline=deadline,
        device=args.device,
        judge=args.judge,
        say=say,
    )
    return finish(run_demo(job, photos=args.photos), say)
