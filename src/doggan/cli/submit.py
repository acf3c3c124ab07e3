"""`doggan submit`: a kernel's zip as an entry of the competition."""

import argparse
from dataclasses import asdict

from doggan.cli import options
from doggan.cli.kernel import add_which, named_kernel
from doggan.cli.options import Outcome, Say
from doggan.competition import ENTRY

EXAMPLE = "doggan submit someone/doggan-dcgan --wait"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_which(parser)
    parser.add_argument(
        "--version", type=options.positive, help="of the kernel (default: its latest)"
    )
    parser.add_argument("--file", default=ENTRY, help="what it left (default images.zip)")
    parser.add_argument("--message", default="doggan", help="your note to the entry")
    parser.add_argument("--wait", action="store_true", help="until there is a score")


def run(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.kaggle import submit as entries
    from doggan.kaggle.client import Client
    from doggan.kaggle.session import current_version

    kernel, client = named_kernel(args), Client()
    version = args.version or current_version(client, kernel)
    say(f"Submitting {args.file} of {kernel}, version {version}.")
    entry = entries.submit(client, kernel, version=version, file=args.file, message=args.message)
    if args.wait:
        entry = entries.wait_for_score(client, entry, say)
    say(entry.summary())
    return {"kernel": str(kernel), "version": version, **asdict(entry)}, int(entry.failed)
