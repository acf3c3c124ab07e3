"""`doggan kernel logs`: what the run has printed."""

from argparse import ArgumentParser, Namespace

from doggan.cli.kernel import add_kernel, find_kernel
from doggan.cli.options import Outcome, Say

EXAMPLE = "doggan kernel logs -f"


def add_arguments(parser: ArgumentParser) -> None:
    add_kernel(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="until the run is over")


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.kaggle.client import Client
    from doggan.kaggle.logs import follow_log, read_log

    kernel, client = find_kernel(args), Client()
    lines = []
    for line in (follow_log if args.follow else read_log)(client, kernel):
        say(line)
        if args.json:
            lines.append(line)
    return {"kernel": str(kernel), "lines": lines}, 0
