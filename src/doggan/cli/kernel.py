"""`doggan kernel ...`: build, push and collect the script that Kaggle runs."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from doggan.cli import options
from doggan.cli.options import Outcome, Say
from doggan.competition import ENTRY
from doggan.support.errors import InputError

if TYPE_CHECKING:
    from doggan.kaggle.metadata import Kernel

FOLDER = Path("kernel")
LONGEST_SESSION = "12h"
EXAMPLE = """doggan kernel build                               the script, in kernel/
  doggan kernel push --user NAME --dry-run          what would be sent
  doggan kernel push --user NAME                    send it; it runs at once
  doggan kernel status --wait && doggan kernel output"""


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=FOLDER / "doggan_kernel.py",
        help="the script (default kernel/doggan_kernel.py)",
    )


def _build(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.kaggle.bundle import write_bundle
    from doggan.support.files import format_bytes, sha256_of

    bundle = write_bundle(args.out)
    script_sha256 = sha256_of(args.out)
    say(
        f"{args.out}: {format_bytes(bundle.size_bytes)}, sha256 {script_sha256}\n"
        f"  {bundle.files} files of doggan, sha256 {bundle.sha256}\n"
        "next: doggan kernel push --user NAME --dry-run"
    )
    return {**asdict(bundle), "path": str(args.out), "script_sha256": script_sha256}, 0


def _add_push(parser: argparse.ArgumentParser) -> None:
    _add_folder(parser)
    parser.add_argument(
        "--user",
        metavar="NAME",
        help="whose kernel (default: the one of kernel-metadata.json, then of the credentials)",
    )
    parser.add_argument("--title", help="its title, which also makes its slug")
    parser.add_argument(
        "--dataset",
        metavar="OWNER/SLUG",
        dest="datasets",
        action="append",
        default=[],
        help="attach this data set, in place of those of kernel-metadata.json; may be repeated",
    )
    parser.add_argument(
        "--time-limit", type=session, help="when Kaggle ends the run, such as 9h (at most 12h)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check and show it, send nothing (no credentials)"
    )


def _push(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.kaggle import metadata as rules
    from doggan.kaggle.client import Client
    from doggan.kaggle.push import push

    metadata = _filled(args)
    rules.require_valid(metadata, args.folder)
    client = None if args.dry_run else Client()
    sent = _describe_push(args, metadata, say)
    if client is None:
        say(f"Dry run: nothing was sent, and {rules.METADATA_NAME} was not written.")
        return {"dry_run": True, **sent}, 0
    rules.save_metadata(metadata, args.folder)
    pushed = push(client, args.folder, session_seconds=args.time_limit)
    say(f"Version {pushed.version} runs: {pushed.url}\nnext: doggan kernel status --wait")
    for source in pushed.dropped:
        say(f"  NOT attached, as Kaggle does not know it: {source}; stop the run on its page")
    return {"dry_run": False, **sent, **asdict(pushed)}, int(bool(pushed.dropped))


def _filled(args: argparse.Namespace) -> dict:
    """The metadata of the folder with the options put in; the user from wherever it is known."""
    from doggan.kaggle import metadata as rules
    from doggan.kaggle.client import Client
    from doggan.kaggle.credentials import known_user

    metadata = rules.load_metadata(args.folder)
    user = args.user
    if user is None and rules.owner_of(metadata) is None:
        # Only Kaggle knows whose a bare token is.
        user = known_user() or (None if args.dry_run else Client().user)
    return rules.fill_metadata(metadata, user=user, title=args.title, datasets=args.datasets)


def _describe_push(args: argparse.Namespace, metadata: dict, say: Say) -> dict:
    """Shows what goes to Kaggle; returns the same for programs."""
    from doggan.support.deadline import format_duration
    from doggan.support.files import format_bytes, sha256_of

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


def _add_status(parser: argparse.ArgumentParser) -> None:
    add_which(parser)
    parser.add_argument("--wait", action="store_true", help="until the run is over")


def _status(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.kaggle.client import Client
    from doggan.kaggle.session import gpu_quota, session_status, wait_for_session

    kernel, client = named_kernel(args), Client()
    run = wait_for_session(client, kernel, say) if args.wait else session_status(client, kernel)
    quota = gpu_quota(client)
    say(run.describe(quota))
    if run.over:
        say(f"next: doggan kernel {'logs' if run.failed else 'output'} {kernel}")
    return {**asdict(run), "gpu_quota": asdict(quota) if quota else None}, int(run.failed)


def _add_logs(parser: argparse.ArgumentParser) -> None:
    add_which(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="until the run is over")


def _logs(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.kaggle.client import Client
    from doggan.kaggle.logs import follow_log, read_log

    kernel, client = named_kernel(args), Client()
    lines = []
    for line in (follow_log if args.follow else read_log)(client, kernel):
        say(line)
        if args.json:
            lines.append(line)
    return {"kernel": str(kernel), "lines": lines}, 0


def _add_output(parser: argparse.ArgumentParser) -> None:
    add_which(parser)
    parser.add_argument(
        "--file",
        metavar="NAME",
        dest="files",
        action="append",
        help="which file; may be repeated (default images.zip)",
    )
    parser.add_argument("--out", type=Path, default=Path(), help="the folder (default: this one)")


def _output(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.kaggle.client import Client
    from doggan.kaggle.output import fetch_outputs
    from doggan.submission import check_submission
    from doggan.support.files import format_bytes

    kernel = named_kernel(args)
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


def add_which(parser: argparse.ArgumentParser) -> None:
    """Which kernel on Kaggle."""
    parser.add_argument(
        "kernel",
        metavar="OWNER/SLUG",
        nargs="?",
        help="the kernel (default: the one in kernel-metadata.json, as push left it)",
    )
    _add_folder(parser)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder",
        type=Path,
        default=FOLDER,
        help="where kernel-metadata.json and the script lie (default kernel)",
    )


def named_kernel(args: argparse.Namespace) -> "Kernel":
    """The kernel that is named, else the one that `doggan kernel push` last left in the folder."""
    from doggan.kaggle import metadata as rules

    if args.kernel is not None:
        return rules.parse_kernel(args.kernel)
    metadata = rules.load_metadata(args.folder)
    if rules.owner_of(metadata) is None:
        raise InputError(
            f"which kernel? {args.folder / rules.METADATA_NAME} names none yet; give OWNER/SLUG, "
            "as in the address of its page"
        )
    return rules.parse_kernel(metadata["id"])


def session(text: str) -> float:
    """`9h` -> seconds, within what Kaggle gives one session."""
    seconds = options.duration(text)
    if seconds > options.duration(LONGEST_SESSION):
        raise argparse.ArgumentTypeError(f"'{text}' is over {LONGEST_SESSION}, Kaggle's own limit")
    return seconds


# name -> help line, example, arguments, action.
SUBCOMMANDS = {
    "build": (
        "write the package as one script",
        "doggan kernel build --out kernel/doggan_kernel.py",
        _add_build,
        _build,
    ),
    "push": (
        "fill kernel-metadata.json, check it, and send it with the script; it runs at once",
        "doggan kernel push --user someone --dataset someone/inception-weights",
        _add_push,
        _push,
    ),
    "status": (
        "how the run does, and the GPU time left this week; exits with 1 if the run failed",
        "doggan kernel status --wait",
        _add_status,
        _status,
    ),
    "logs": ("what the run has printed", "doggan kernel logs -f", _add_logs, _logs),
    "output": (
        "download what the run left; images.zip is held against the rules",
        "doggan kernel output --file images.zip --file scorecard.json --out collected",
        _add_output,
        _output,
    ),
}
run = None  # the subcommands have theirs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (what, *surface) in SUBCOMMANDS.items():
        options.fill_command(options.new_command(commands, name, what), *surface)
