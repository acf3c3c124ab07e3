"""`doggan report`: show a run, or several side by side, as one HTML page."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

from doggan.cli.options import Outcome, Say
from doggan.gan.run_folder import REPORT
from doggan.support.files import format_bytes

EXAMPLE = """doggan report runs/dogs
  doggan report runs/a runs/b runs/c --out compared.html"""


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("runs", metavar="RUN", type=Path, nargs="+", help="a run folder; up to 8 are compared")
    add("--out", type=Path, help="the page (default: RUN/report.html; of several, report.html)")


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.report.page import write_report

    folder = args.runs[0] if len(args.runs) == 1 else Path()
    written = write_report(args.runs, args.out or folder / REPORT)
    for note in written.notes:
        say(f"note: {note}")
    say(f"{written.path}: {format_bytes(written.bytes)}; it opens in a browser, without a network")
    return asdict(written), 0
