"""`doggan kernel push`: fill kernel-metadata.json, check it, and send it with the script."""

import hashlib
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import asdict
from pathlib import Path

from doggan.cli.kernel import add_folder
from doggan.cli.options import Outcome, Say, add_recipe, duration, seed
from doggan.kaggle import metadata as rules
from doggan.kaggle.credentials import known_user
from doggan.kaggle.notebook import SETTINGS_CELL, read_cell, write_cell
from doggan.kaggle.settings import (
    FULL_SECONDS,
    read_script,
    read_settings,
    settings_of_recipe,
    settings_with,
    write_settings,
)
from doggan.support.deadline import format_duration, parse_duration
from doggan.support.errors import InputError
from doggan.support.files import format_bytes, write_text

EXAMPLE = "doggan kernel push --user someone --set train.batch_size=16 --run-time 8h45m"
LONGEST_SESSION = "12h"


def add_arguments(parser: ArgumentParser) -> None:
    add_folder(parser)
    add = parser.add_argument
    what = "whose kernel (default: the one of kernel-metadata.json, then of the credentials)"
    add("--user", metavar="NAME", help=what)
    add("--title", help="its title, which also makes its slug")
    add("--notebook", action="store_true", help="send the notebook, not the script")
    add_recipe(parser, default="the script's own")
    add("--seed", type=seed, help="where chance begins (default the script's own)")
    what = "when the script is done, such as 8h45m (at most 12h)"
    add("--run-time", type=session_duration, help=what)
    what = "when Kaggle ends the run, whatever it does, such as 9h (at most 12h)"
    add("--session-limit", type=session_duration, help=what)
    what = "go on with the training of the kernel's last version, whose output is attached"
    add("--continue", dest="goes_on", action="store_true", help=what)
    what = "attach this data set, in place of those of kernel-metadata.json; may be repeated"
    add("--dataset", metavar="OWNER/SLUG", dest="datasets", action="append", default=[], help=what)
    what = "without the organisers' Inception, as entries of 2019 had to be; the run has no score"
    add("--no-judge", dest="judge", action="store_false", help=what)
    add("--dry-run", action="store_true", help="check and show it, send nothing (no credentials)")


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.kaggle.client import Client
    from doggan.kaggle.push import push, require_checkpoint

    metadata = rules.load_metadata(args.folder)
    user = args.user
    if user is None and rules.owner_of(metadata) is None:
        # Only Kaggle knows whose a bare token is.
        user = known_user() or (None if args.dry_run else Client().user)
    metadata = rules.fill_metadata(
        metadata,
        user=user,
        title=args.title,
        datasets=args.datasets,
        judge=args.judge,
        goes_on=args.goes_on,
        notebook=args.notebook,
    )
    rules.require_valid(metadata, args.folder)
    script = args.folder / metadata["code_file"]
    text = _with_settings(args, metadata["id"], script)
    client = None if args.dry_run else Client()
    if client and args.goes_on and not args.datasets:  # which may hold an earlier version's
        require_checkpoint(client, rules.parse_kernel(metadata["id"]))
    sent = _describe(args, metadata, script, text, say)
    if client is None:
        say(f"Dry run: nothing was sent, and nothing in {args.folder} was written.")
        return {"dry_run": True, **sent}, 0
    write_text(script, text)
    rules.save_metadata(metadata, args.folder)
    pushed = push(client, args.folder, session_seconds=args.session_limit)
    say(f"Version {pushed.version} runs: {pushed.url}\nnext: doggan kernel status --wait")
    for source in pushed.dropped:
        say(f"  NOT attached, as Kaggle does not know it: {source}; stop the run on its page")
    return {"dry_run": False, **sent, **asdict(pushed)}, int(bool(pushed.dropped))


def _with_settings(args: Namespace, kernel: str, script: Path) -> str:
    """The script with the settings that are asked for; the others stay as they are."""
    file = text = read_script(script)
    if args.notebook:
        text = read_cell(file, SETTINGS_CELL)
    settings = read_settings(text)
    changes = {"CONTINUE": kernel if args.goes_on else None}
    if args.recipe:
        changes |= settings_of_recipe(args.recipe, args.set_values)
    elif args.set_values:
        changes |= settings_with(settings, args.set_values)
    if args.seed is not None:
        changes["SEED"] = args.seed
    if args.run_time is not None:
        changes["TIME_LIMIT"] = format_duration(args.run_time)
    limit = (settings | changes)["TIME_LIMIT"]
    run_seconds = FULL_SECONDS if limit is None else parse_duration(str(limit))
    if args.session_limit is not None and args.session_limit <= run_seconds:
        raise InputError(
            f"Kaggle would end the run before it is done, after {format_duration(run_seconds)}: "
            "make --session-limit longer, or --run-time shorter"
        )
    text = write_settings(text, changes)
    return write_cell(file, SETTINGS_CELL, text) if args.notebook else text


def _describe(args: Namespace, metadata: dict, path: Path, script: str, say: Say) -> dict:
    """Shows what goes to Kaggle; returns the same for programs."""
    data = script.encode()
    settings = read_settings(read_cell(script, SETTINGS_CELL) if args.notebook else script)
    size, sha256 = len(data), hashlib.sha256(data).hexdigest()
    say(f"{path}: {format_bytes(size)}, sha256 {sha256}")
    for name, value in (settings | metadata).items():
        say(f"  {name + ':':22} {_plain(value)}")
    limit = "Kaggle's own" if args.session_limit is None else format_duration(args.session_limit)
    say(f"  {'session limit:':22} {limit}")
    return {
        "script": {"path": str(path), "size_bytes": size, "sha256": sha256},
        "settings": settings,
        "metadata": metadata,
        "session_limit_seconds": args.session_limit,
    }


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def session_duration(text: str) -> float:
    """`9h` -> seconds, within what Kaggle gives one session."""
    seconds = duration(text)
    if seconds > duration(LONGEST_SESSION):
        raise ArgumentTypeError(f"'{text}' is over {LONGEST_SESSION}, Kaggle's own limit")
    return seconds
