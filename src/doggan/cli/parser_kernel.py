"""The parsers of `doggan kernel ...` and `doggan submit`: a function a command."""

import argparse
from collections.abc import Callable
from pathlib import Path

from doggan.cli import commands_kernel as commands
from doggan.cli import options

FOLDER = Path("kernel")
LONGEST_SESSION = "12h"

EPILOG = """\
examples:
  doggan kernel build                               the script, in kernel/
  doggan kernel push --user NAME --dry-run          what would be sent
  doggan kernel push --user NAME                    send it; it runs at once
  doggan kernel status --wait && doggan kernel output"""


def add_kernel(commands_of: argparse._SubParsersAction, add: Callable) -> None:
    """`doggan kernel ...`; `add` makes the parser of one command."""
    parser = commands_of.add_parser(
        "kernel",
        help="build, push and collect the script that Kaggle runs",
        description="Build, push and collect the script that Kaggle runs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kernel_commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add_command in (_add_build, _add_push, _add_status, _add_logs, _add_output):
        add_command(kernel_commands, add)


def add_submit(commands_of: argparse._SubParsersAction, add: Callable) -> None:
    """`doggan submit`."""
    parser = add(
        commands_of,
        "submit",
        commands.submit,
        "enter a kernel's zip into the competition",
        "doggan submit someone/doggan-dcgan --wait",
    )
    _add_which(parser)
    parser.add_argument(
        "--version", type=options.positive, help="of the kernel (default: its latest)"
    )
    parser.add_argument("--file", default="images.zip", help="what it left (default images.zip)")
    parser.add_argument("--message", default="doggan", help="your note to the entry")
    parser.add_argument("--wait", action="store_true", help="until there is a score")


def _add_build(commands_of: argparse._SubParsersAction, add: Callable) -> None:
    parser = add(
        commands_of,
        "build",
        commands.build,
        "write the package as one script",
        "doggan kernel build --out kernel/doggan_kernel.py",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=FOLDER / "doggan_kernel.py",
        help="the script (default kernel/doggan_kernel.py)",
    )


def _add_push(commands_of: argparse._SubParsersAction, add: Callable) -> None:
    parser = add(
        commands_of,
        "push",
        commands.push,
        "fill kernel-metadata.json, check it, and send it with the script; it runs at once",
        "doggan kernel push --user someone --dataset someone/inception-weights",
    )
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


def _add_status(commands_of: argparse._SubParsersAction, add: Callable) -> None:
    parser = add(
        commands_of,
        "status",
        commands.status,
        "how the run does, and the GPU time left this week; exits with 1 if the run failed",
        "doggan kernel status --wait",
    )
    _add_which(parser)
    parser.add_argument("--wait", action="store_true", help="until the run is over")


def _add_logs(commands_of: argparse._SubParsersAction, add: Callable) -> None:
    parser = add(
        commands_of,
        "logs",
        commands.logs,
        "what the run has printed",
        "doggan kernel logs -f",
    )
    _add_which(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="until the run is over")


def _add_output(commands_of: argparse._SubParsersAction, add: Callable) -> None:
    parser = add(
        commands_of,
        "output",
        commands.output,
        "download what the run left; images.zip is held against the rules",
        "doggan kernel output --file images.zip --file scorecard.json --out collected",
    )
    _add_which(parser)
    parser.add_argument(
        "--file",
        metavar="NAME",
        dest="files",
        action="append",
        help="which file; may be repeated (default images.zip)",
    )
    parser.add_argument("--out", type=Path, default=Path(), help="the folder (default: this one)")


def _add_which(parser: argparse.ArgumentParser) -> None:
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


def session(text: str) -> float:
    """`9h` -> seconds, within what Kaggle gives one session."""
    seconds = options.duration(text)
    if seconds > options.duration(LONGEST_SESSION):
        raise argparse.ArgumentTypeError(f"'{text}' is over {LONGEST_SESSION}, Kaggle's own limit")
    return seconds
