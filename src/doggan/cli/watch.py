"""`doggan watch`: follow a training, a line an interval, until it ends or Ctrl-C."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from doggan.cli.options import Outcome, Say

EXAMPLE = "doggan watch runs/dogs"


def add_arguments(parser: ArgumentParser) -> None:
    what = "the folder of a run, going on or ended"
    parser.add_argument("run_folder", metavar="RUN", type=Path, help=what)


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.gan.history import describe_row, follow_history

    rows = []
    try:
        for row in follow_history(args.run_folder):
            rows.append(row)
            say(describe_row(row))
    except KeyboardInterrupt:  # the way to leave a run that goes on
        pass
    stopped_by = rows[-1].get("stopped_by", "") if rows else ""
    if stopped_by:
        say(f"{args.run_folder}: stopped by {stopped_by}")
    return {"run": str(args.run_folder), "stopped_by": stopped_by, "rows": rows}, 0
