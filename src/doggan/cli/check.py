"""`doggan check`: hold a zip against the rules."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from doggan.cli.options import Outcome, Say, positive
from doggan.competition import IMAGES

EXAMPLE = "doggan check images.zip"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="the zip")
    what = f"how many images it must hold (default {IMAGES:,}, the competition's)"
    parser.add_argument("--count", type=positive, default=IMAGES, help=what)


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.submission import check_submission

    check = check_submission(args.file, count=args.count)
    say(check.summary())
    return check.as_dict(), 0 if check.valid else 1
