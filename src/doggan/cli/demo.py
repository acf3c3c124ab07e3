"""`doggan demo`: everything, on drawn dogs, in minutes."""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from doggan.cli import options
from doggan.cli.options import Outcome, Say, duration, made
from doggan.recipe import load_recipe
from doggan.scoring.judges import JUDGES
from doggan.support.deadline import Deadline

EXAMPLE = "doggan demo --out runs/demo"


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, default=Path("runs/demo"), help="the run folder (default runs/demo)")
    what = "such as 90s or 6m (default 6m)"
    add("--time-limit", type=duration, default=duration("6m"), help=what)
    add("--photos", type=made, default=400, help="how many (default 400)")
    add("--count", type=made, help="images in the zip (default 10,000)")
    names = ("auto", *JUDGES)
    options.add_name(parser, "--judge", names, "see doggan score --help", default="auto")
    options.add_seed(parser)
    options.add_device(parser)


def run(args: Namespace, say: Say) -> Outcome:
    deadline = Deadline(args.time_limit)  # before PyTorch is loaded, which takes seconds
    from doggan.demo import run_demo
    from doggan.pipeline import Job

    overrides = [f"submission.count={args.count}"] if args.count else []
    recipe = load_recipe("demo", overrides)
    if args.seed is not None:
        recipe = replace(recipe, seed=args.seed)
    say("A demonstration on drawn dogs: it shows every step, and says nothing about real photos.")
    job = Job(
        folder=args.out,
        recipe=recipe,
        deadline=deadline,
        device=args.device,
        judge=args.judge,
        say=say,
    )
    return options.conclude(run_demo(job, photos=args.photos), say)
