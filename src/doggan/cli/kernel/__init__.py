"""`doggan kernel`: build, push and collect the script that Kaggle runs; a module a command."""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from doggan.kaggle import metadata as rules
from doggan.support.errors import InputError

COMMANDS = {
    "build": "write the package as one script",
    "push": "fill kernel-metadata.json, check it, and send it with the script; it runs at once",
    "status": "how the run does, and the GPU time left this week; exits with 1 if the run failed",
    "logs": "what the run has printed",
    "output": "download what the run left; images.zip is held against the rules",
}
EPILOG = """examples:
  doggan kernel build                               the script, in kernel/
  doggan kernel push --user NAME --dry-run          what would be sent
  doggan kernel push --user NAME                    send it; it runs at once
  doggan kernel status --wait && doggan kernel output"""
FOLDER = Path("kernel")


def add_kernel(parser: ArgumentParser) -> None:
    """Which kernel on Kaggle."""
    what = "the kernel, or a version of it (default: what was pushed last from --folder)"
    parser.add_argument("kernel", metavar="OWNER/SLUG[/VERSION]", nargs="?", help=what)
    add_folder(parser)


def add_folder(parser: ArgumentParser) -> None:
    """The kernel's folder on this machine."""
    what = "where kernel-metadata.json and the script lie (default kernel)"
    parser.add_argument("--folder", type=Path, default=FOLDER, help=what)


def find_kernel(args: Namespace) -> rules.Kernel:
    """The kernel that is named, else the version that `doggan kernel push` sent last from there.

    Raises InputError if neither says which.
    """
    from doggan.kaggle.push import pushed_version

    if args.kernel is not None:
        return rules.parse_kernel(args.kernel)
    metadata = rules.load_metadata(args.folder)
    if rules.owner_of(metadata) is None:
        raise InputError(
            f"which kernel? {args.folder / rules.METADATA_NAME} names none yet; give OWNER/SLUG, "
            "as in the address of its page"
        )
    kernel = rules.parse_kernel(metadata["id"])
    return replace(kernel, version=pushed_version(args.folder, kernel))
