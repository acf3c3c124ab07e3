"""`doggan run`: everything, under one time limit."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from doggan.cli import options
from doggan.cli.options import Outcome, Say
from doggan.support.deadline import Deadline

EXAMPLE = "doggan run photos --out runs/dogs --time-limit 8h45m"


def add_arguments(parser: ArgumentParser) -> None:
    options.add_sources(parser)
    options.add_training(parser)
    options.add_judge(parser)


def run(args: Namespace, say: Say) -> Outcome:
    deadline = Deadline(args.time_limit)  # before PyTorch is loaded, which takes seconds
    recipe = options.recipe_of_run(args, say)
    if args.dry_run:
        return asdict(recipe), 0

    from doggan.pipeline import Job, run_competition

    job = Job(
        sources=args.sources,
        folder=args.out,
        recipe=recipe,
        deadline=deadline,
        device=args.device,
        judge=args.judge,
        weights=args.weights,
        resume=args.resume,
        say=say,
    )
    return options.conclude(run_competition(job), say)
