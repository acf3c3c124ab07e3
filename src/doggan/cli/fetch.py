"""`doggan fetch`: download the photos."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

from doggan.cli.options import Outcome, Say

EXAMPLE = "doggan fetch stanford --out photos"


def add_arguments(parser: ArgumentParser) -> None:
    what = "Stanford's two tars, or the competition's zip (needs an API token)"
    parser.add_argument("source", choices=("stanford", "kaggle"), help=what)
    parser.add_argument("--out", type=Path, required=True, help="the folder to put them in")


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.data.fetch import fetch_stanford
    from doggan.kaggle.fetch import fetch_kaggle

    files = {"stanford": fetch_stanford, "kaggle": fetch_kaggle}[args.source](args.out)
    say(f"The photos are in {args.out}; next: doggan build {args.out} --out data/dogs64")
    return {"files": [asdict(file) for file in files]}, 0
