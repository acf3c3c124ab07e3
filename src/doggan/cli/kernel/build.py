"""`doggan kernel build`: write the package as one script."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

from doggan.cli.kernel import FOLDER
from doggan.cli.options import Outcome, Say
from doggan.kaggle.bundle import write_bundle
from doggan.support.files import format_bytes, sha256_of

EXAMPLE = "doggan kernel build --out kernel/doggan_kernel.py"


def add_arguments(parser: ArgumentParser) -> None:
    what = "the script (default kernel/doggan_kernel.py)"
    parser.add_argument("--out", type=Path, default=FOLDER / "doggan_kernel.py", help=what)


def run(args: Namespace, say: Say) -> Outcome:
    bundle = write_bundle(args.out)
    script_sha256 = sha256_of(args.out)
    say(
        f"{args.out}: {format_bytes(bundle.size_bytes)}, sha256 {script_sha256}\n"
        f"  {bundle.files} files of doggan, sha256 {bundle.sha256}\n"
        "next: doggan kernel push --user NAME --dry-run"
    )
    return {**asdict(bundle), "path": str(args.out), "script_sha256": script_sha256}, 0
