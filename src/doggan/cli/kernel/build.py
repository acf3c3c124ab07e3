"""`doggan kernel build`: write the package as one script, or as a notebook."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

from doggan.cli.kernel import FOLDER
from doggan.cli.options import Outcome, Say
from doggan.kaggle.bundle import write_bundle
from doggan.kaggle.metadata import NOTEBOOK_NAME, SCRIPT_NAME
from doggan.support.errors import InputError
from doggan.support.files import format_bytes, sha256_of

EXAMPLE = "doggan kernel build --out kernel/doggan_kernel.py"


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--notebook", action="store_true", help="a notebook, which shows what came of it")
    what = "where to (default kernel/doggan_kernel.py, or .ipynb)"
    add("--out", type=Path, help=what)


def run(args: Namespace, say: Say) -> Outcome:
    out = args.out or FOLDER / (NOTEBOOK_NAME if args.notebook else SCRIPT_NAME)
    if out.is_dir():
        raise InputError(f"{out} is a folder; expected a file's name, such as {out / SCRIPT_NAME}")
    bundle = write_bundle(out, notebook=args.notebook)
    script_sha256 = sha256_of(out)
    flag = " --notebook" if args.notebook else ""
    say(
        f"{out}: {format_bytes(bundle.size_bytes)}, sha256 {script_sha256}\n"
        f"  {bundle.files} files of doggan, sha256 {bundle.sha256}\n"
        f"next: doggan kernel push --user NAME{flag} --dry-run"
    )
    return {**asdict(bundle), "path": str(out), "script_sha256": script_sha256}, 0
