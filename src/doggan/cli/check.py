"""`doggan check`: any zip against the competition's rules."""

import argparse
from pathlib import Path

from doggan.cli import options
from doggan.cli.options import Outcome, Say
from doggan.competition import IMAGES

EXAMPLE = "doggan check images.zip"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="the zip")
    parser.add_argument(
        "--count",
        type=options.positive,
        default=IMAGES,
        help="how many images it must hold (default 10,000, the competition's)",
    )


def run(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.submission import check_submission

    check = check_submission(args.file, count=args.count)
    say(check.summary())
    return check.as_dict(), 0 if check.valid else 1
