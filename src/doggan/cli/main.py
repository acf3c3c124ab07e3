"""The command line: a table of commands, each a module; errors in one line.

To add a command, write its module here and a line in COMMANDS. A module has `EXAMPLE`,
`add_arguments(parser)` and `run(args, say)`, which does the work, says lines to people through
`say`, and returns what --json prints and the exit code. Only the module of the command that is
called is imported, and it imports nothing heavy before `run`, so that help comes at once.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence

from doggan import __version__
from doggan.cli import options
from doggan.support.errors import DogganError, InputError
from doggan.support.tables import choose

COMMANDS = {
    "fetch": "download the photos",
    "build": "cut photos into a set of square images",
    "train": "train a GAN on a built set",
    "watch": "follow a training, a line an interval, until it ends or Ctrl-C",
    "sample": "draw a grid from a trained run",
    "zip": "write the submission and verify it",
    "check": "hold a zip against the rules",
    "score": "compute FID, distance and MiFID",
    "neighbours": "show the generated images closest to a photo",
    "compare": "put scorecards side by side, with what is within noise",
    "report": "show a run, or several side by side, as one HTML page",
    "run": "everything, under one time limit",
    "demo": "everything, on drawn dogs, in minutes",
    "kernel": "build, push and collect the script that Kaggle runs",
    "submit": "enter a kernel's zip into the competition",
}
EPILOG = """\
examples:
  doggan demo                                       everything, on drawn dogs, in minutes
  doggan fetch stanford --out photos                the real photos
  doggan run photos --out runs/dogs --time-limit 8h45m

exit codes: 0 done, 1 failed, 2 the input cannot be used"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. Errors are one line on standard error."""
    try:
        return _run(_parse(sys.argv[1:] if arguments is None else arguments))
    except BrokenPipeError:  # whoever read our output left; there is nobody to tell
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 1


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What was typed; of all commands only the module of the one that is called is imported."""
    parser = argparse.ArgumentParser(
        prog="doggan",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
        description="Photos in, a scored and valid images.zip out: a kit for "
        "Kaggle's Generative Dog Images.",
    )
    parser.add_argument("--version", action="version", version=f"doggan {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    parsers = {name: options.new_command(commands, name, what) for name, what in COMMANDS.items()}
    called = next((word for word in arguments if not word.startswith("-")), None)
    if called is not None:
        try:
            called_parser = choose(parsers, called, "the command")
        except InputError as error:
            parser.error(str(error))
        module = importlib.import_module(f"doggan.cli.{called}")
        options.fill_command(called_parser, module.EXAMPLE, module.add_arguments, module.run)
    return parser.parse_args(arguments)


def _run(args: argparse.Namespace) -> int:
    try:
        result, code = args.run(args, _silent if args.json else _say)
    except DogganError as error:
        return _fail(str(error), error.exit_code, args.json)
    except KeyboardInterrupt:
        return _fail("interrupted", 1, args.json)
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"{error.strerror or error}: {error.filename or 'input or output'}"
        return _fail(message, 1, args.json)
    if args.json:
        print(json.dumps(result, indent=2), flush=True)
    return code


def _fail(message: str, code: int, as_json: bool) -> int:
    line = " ".join(message.split())
    print(f"doggan: {line}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": line}), flush=True)
    return code


def _say(line: str) -> None:
    print(line, flush=True)


def _silent(line: str) -> None:
    pass
