"""`doggan kernel push`: fill kernel-metadata.json, check it, and send it with the script."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import asdict

from doggan.cli.kernel import add_folder
from doggan.cli.options import Outcome, Say, duration
from doggan.kaggle import metadata as rules
from doggan.kaggle.credentials import known_user
from doggan.support.deadline import format_duration
from doggan.support.files import format_bytes, sha256_of

EXAMPLE = "doggan kernel push --user someone --dataset someone/inception-weights"
LONGEST_SESSION = "12h"


def add_arguments(parser: ArgumentParser) -> None:
    add_folder(parser)
    add = parser.add_argument
    what = "whose kernel (default: the one of kernel-metadata.json, then of the credentials)"
    add("--user", metavar="NAME", help=what)
    add("--title", help="its title, which also makes its slug")
    what = "attach this data set, in place of those of kernel-metadata.json; may be repeated"
    add("--dataset", metavar="OWNER/SLUG", dest="datasets", action="append", default=[], help=what)
    add("--time-limit", type=session, help="when Kaggle ends the run, such as 9h (at most 12h)")
    add("--dry-run", action="store_true", help="check and show it, send nothing (no credentials)")


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.kaggle.client import Client
    from doggan.kaggle.push import push

    metadata = rules.load_metadata(args.folder)
    user = args.user
    if user is None and rules.owner_of(metadata) is None:
        # Only Kaggle knows whose a bare token is.
        user = known_user() or (None if args.dry_run else Client().user)
    metadata = rules.fill_metadata(metadata, user=user, title=args.title, datasets=args.datasets)
    rules.require_valid(metadata, args.folder)
    client = None if args.dry_run else Client()
    sent = _describe(args, metadata, say)
    if client is None:
        say(f"Dry run: nothing was sent, and {rules.METADATA_NAME} was not written.")
        return {"dry_run": True, **sent}, 0
    rules.save_metadata(metadata, args.folder)
    pushed = push(client, args.folder, session_seconds=args.time_limit)
    say(f"Version {pushed.version} runs: {pushed.url}\nnext: doggan kernel status --wait")
    for source in pushed.dropped:
        say(f"  NOT attached, as Kaggle does not know it: {source}; stop the run on its page")
    return {"dry_run": False, **sent, **asdict(pushed)}, int(bool(pushed.dropped))


def _describe(args: Namespace, metadata: dict, say: Say) -> dict:
    """Shows what goes to Kaggle; returns the same for programs."""
    script = args.folder / metadata["code_file"]
    size, sha256 = script.stat().st_size, sha256_of(script)
    say(f"{script}: {format_bytes(size)}, sha256 {sha256}")
    for key, value in metadata.items():
        say(f"  {key + ':':22} {_plain(value)}")
    limit = "Kaggle's own" if args.time_limit is None else format_duration(args.time_limit)
    say(f"  {'time limit:':22} {limit}")
    file = {"path": str(script), "size_bytes": size, "sha256": sha256}
    return {"script": file, "metadata": metadata, "time_limit_seconds": args.time_limit}


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def session(text: str) -> float:
    """`9h` -> seconds, within what Kaggle gives one session."""
    seconds = duration(text)
    if seconds > duration(LONGEST_SESSION):
        raise ArgumentTypeError(f"'{text}' is over {LONGEST_SESSION}, Kaggle's own limit")
    return seconds
