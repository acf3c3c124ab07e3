"""`doggan run`: from photos to a scored images.zip, under one time limit."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from doggan.cli import options
from doggan.cli.options import Outcome, Say
from doggan.support.deadline import Deadline

if TYPE_CHECKING:
    from doggan.pipeline import CompetitionResult

EXAMPLE = "doggan run photos --out runs/dogs --time-limit 8h45m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_sources(parser)
    options.add_training(parser)
    options.add_judge(parser)


def run(args: argparse.Namespace, say: Say) -> Outcome:
    deadline = Deadline(args.time_limit)
    recipe = options.run_recipe(args, say)
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
    return finish(run_competition(job), say)


def finish(result: "CompetitionResult", say: Say) -> Outcome:
    """Says what a whole run left, and where."""
    for what, path in result.files().items():
        say(f"{what + ':':24} {path}")
    say(f"{result.seconds:.0f} s in all")
    code = options.stop_code(result.training.stopped_by, Path(result.folder), say)
    return result.as_dict(), code if result.submission.valid else 1
