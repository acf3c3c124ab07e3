"""`doggan kernel output`: download what the run left; images.zip is held against the rules."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

from doggan.cli.kernel import add_kernel, find_kernel
from doggan.cli.options import Outcome, Say
from doggan.competition import ENTRY
from doggan.support.files import format_bytes

EXAMPLE = "doggan kernel output --file images.zip --file scorecard.json --out collected"


def add_arguments(parser: ArgumentParser) -> None:
    add_kernel(parser)
    what = f"which file; may be repeated (default {ENTRY})"
    parser.add_argument("--file", metavar="NAME", dest="files", action="append", help=what)
    parser.add_argument("--out", type=Path, default=Path(), help="the folder (default: this one)")


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.kaggle.client import Client
    from doggan.kaggle.output import fetch_outputs
    from doggan.submission import check_submission

    kernel = find_kernel(args)
    files, checks = fetch_outputs(Client(), kernel, args.files or [ENTRY], args.out), []
    for file in files:
        say(f"{file.path}: {format_bytes(file.size_bytes)}")
        if file.name == ENTRY:
            checks.append(check_submission(file.path))
            say(checks[-1].summary())
    valid = all(check.valid for check in checks)
    if checks and valid:
        say(f"next: doggan submit {kernel}")
    result = {"kernel": str(kernel), "files": [asdict(file) for file in files]}
    return {**result, "checks": [check.as_dict() for check in checks]}, int(not valid)
