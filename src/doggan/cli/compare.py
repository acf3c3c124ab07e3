"""`doggan compare`: put scorecards side by side, with what is within noise."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from doggan.cli.options import Outcome, Say

EXAMPLE = "doggan compare runs/a runs/b submission/cpu-2h"


def add_arguments(parser: ArgumentParser) -> None:
    what = "a scorecard.json, or the folder of a run or an entry that holds one"
    parser.add_argument("entries", metavar="ENTRY", type=Path, nargs="+", help=what)


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.scoring import comparison
    from doggan.scoring.scorecard import read_scorecard

    entries = [comparison.Entry(str(path), read_scorecard(path)) for path in args.entries]
    rankings = comparison.compare(entries)
    say(comparison.summarise(rankings))
    groups = [ranking.as_dict() for ranking in rankings]
    return {"groups": groups, "differ_in": comparison.differing_conditions(rankings)}, 0
