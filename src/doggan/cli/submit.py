"""`doggan submit`: enter a kernel's zip into the competition."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from doggan.cli.kernel import add_kernel, find_kernel
from doggan.cli.options import Outcome, Say, positive
from doggan.competition import ENTRY

EXAMPLE = "doggan submit someone/doggan-dcgan --wait"


def add_arguments(parser: ArgumentParser) -> None:
    add_kernel(parser)
    add = parser.add_argument
    add("--version", type=positive, help="of the kernel (default: the one meant, else its latest)")
    add("--file", default=ENTRY, help=f"what it left (default {ENTRY})")
    add("--message", default="doggan", help="your note to the entry")
    add("--wait", action="store_true", help="until there is a score")


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.kaggle import submit
    from doggan.kaggle.client import Client
    from doggan.kaggle.session import current_version

    kernel, client = find_kernel(args), Client()
    version = args.version or current_version(client, kernel)
    say(f"Submitting {args.file} of {kernel}, version {version}.")
    entry = submit.submit(client, kernel, version=version, file=args.file, message=args.message)
    if args.wait:
        entry = submit.wait_for_score(client, entry, say)
    say(entry.summary())
    return {"kernel": str(kernel), "version": version, **asdict(entry)}, int(entry.failed)
