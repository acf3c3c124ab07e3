"""What `doggan kernel ...` and `doggan submit` do: one call into the library each."""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from doggan.support.errors import InputError

if TYPE_CHECKING:
    from doggan.kaggle.metadata import Kernel

Say = Callable[[str], None]
Outcome = tuple[dict, int]  # what --json prints, and the exit code


def build(args: argparse.Namespace, say: Say) -> Outcome:
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


def push(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.kaggle import metadata as rules
    from doggan.kaggle.client import Client
    from doggan.kaggle.push import push as push_kernel

    metadata = _filled(args)
    rules.require_valid(metadata, args.folder)
    client = None if args.dry_run else Client()
    sent = _describe_push(args, metadata, say)
    if client is None:
        say(f"Dry run: nothing was sent, and {rules.METADATA_NAME} was not written.")
        return {"dry_run": True, **sent}, 0
    rules.save_metadata(metadata, args.folder)
    pushed = push_kernel(client, args.folder, session_seconds=args.time_limit)
    say(f"Version {pushed.version} runs: {pushed.url}\nnext: doggan kernel status --wait")
    for source in pushed.dropped:
        say(f"  NOT attached, as Kaggle does not know it: {source}; stop the run on its page")
    return {"dry_run": False, **sent, **asdict(pushed)}, int(bool(pushed.dropped))


def status(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.kaggle import push as remote
    from doggan.kaggle.client import Client

    kernel, client = _kernel(args), Client()
    if args.wait:
        run = remote.wait_for_run(client, kernel, say)
    else:
        run = remote.run_status(client, kernel)
    quota = remote.gpu_quota(client)
    say(remote.describe_run(run, quota))
    if run.over:
        say(f"next: doggan kernel {'logs' if run.failed else 'output'} {kernel}")
    return {**asdict(run), "gpu_quota": asdict(quota) if quota else None}, int(run.failed)


def logs(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.kaggle.client import Client
    from doggan.kaggle.logs import follow_log, read_log

    kernel, client = _kernel(args), Client()
    lines = []
    for line in (follow_log if args.follow else read_log)(client, kernel):
        say(line)
        if args.json:
            lines.append(line)
    return {"kernel": str(kernel), "lines": lines}, 0


def output(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.kaggle.client import Client
    from doggan.kaggle.output import fetch_outputs
    from doggan.submission import check_submission
    from doggan.support.files import format_bytes

    kernel = _kernel(args)
    files, checks = fetch_outputs(Client(), kernel, args.files or ["images.zip"], args.out), []
    for file in files:
        say(f"{file.path}: {format_bytes(file.size_bytes)}")
        if file.name == "images.zip":
            checks.append(check_submission(file.path))
            say(checks[-1].summary())
    valid = all(check.valid for check in checks)
    if checks and valid:
        say(f"next: doggan submit {kernel}")
    result = {"kernel": str(kernel), "files": [asdict(file) for file in files]}
    return {**result, "checks": [check.as_dict() for check in checks]}, int(not valid)


def submit(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.kaggle import submit as entries
    from doggan.kaggle.client import Client
    from doggan.kaggle.push import current_version

    kernel, client = _kernel(args), Client()
    version = args.version or current_version(client, kernel)
    say(f"Submitting {args.file} of {kernel}, version {version}.")
    entry = entries.submit(client, kernel, version=version, file=args.file, message=args.message)
    if args.wait:
        entry = entries.wait_for_score(client, entry, say)
    say(entry.summary())
    return {"kernel": str(kernel), "version": version, **entry.as_dict()}, int(entry.failed)


def _filled(args: argparse.Namespace) -> dict:
    """The metadata of the folder with the options put in; the user from wherever it is known."""
    from doggan.kaggle import metadata as rules
    from doggan.kaggle.client import Client, known_user

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


def _kernel(args: argparse.Namespace) -> "Kernel":
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
