"""The command line: a table of commands, each a module; errors in one line.

To add a command: its module in this folder and a line in COMMANDS. A module has

EXAMPLE                what to type
add_arguments(parser)  what the command takes
run(args, say)         what it does; `say` shows a line to people; returns what --json prints, a
                       dict, and the exit code

or, as a package of commands such as `kernel`, COMMANDS and EPILOG of its own. Only what is called
is imported, and it imports nothing heavy before `run`, so that help comes at once.
"""

import json
import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from doggan import __version__
from doggan.support.errors import (
    DogganError,
    InputError,
    in_short,
    is_lost_device,
    is_out_of_memory,
)
from doggan.support.tables import choose
from doggan.support.threads import choose_threads

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
EPILOG = """examples:
  doggan demo                                       everything, on drawn dogs, in minutes
  doggan fetch stanford --out photos                the real photos
  doggan run photos --out runs/dogs --time-limit 8h45m

exit codes: 0 done, 1 failed, 2 the input cannot be used"""
DESCRIPTION = (
    "Photos in, a scored and valid images.zip out: a kit for Kaggle's Generative Dog Images."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. Errors are one line on standard error."""
    words = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # not every file's name can be encoded
            stream.reconfigure(errors="backslashreplace")
    parser = ArgumentParser("doggan", description=DESCRIPTION, epilog=EPILOG)
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.add_argument("--version", action="version", version=f"doggan {__version__}")
    try:
        _add_commands(parser, "doggan.cli", COMMANDS, words)
        return _run(parser.parse_args(words))
    except BrokenPipeError:  # whoever read our output left; there is nobody to tell
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 1


def _add_commands(
    parser: ArgumentParser, package: str, lines: dict[str, str], words: Sequence[str]
) -> None:
    """Adds the commands of `package`, name -> help line; the first of `words` is filled in."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, line in lines.items():
        added = commands.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.")
        added.formatter_class = RawDescriptionHelpFormatter
    if not words or words[0].startswith("-"):
        return
    try:
        called = choose(commands.choices, words[0], "the command")
    except InputError as error:
        parser.error(str(error))
    _fill(called, f"{package}.{words[0]}", words[1:])


def _fill(parser: ArgumentParser, module_name: str, words: Sequence[str]) -> None:
    """Gives a parser what its module says: arguments, or commands of its own."""
    module = import_module(module_name)
    if hasattr(module, "COMMANDS"):
        parser.epilog = module.EPILOG
        _add_commands(parser, module_name, module.COMMANDS, words)
        return
    parser.epilog = f"example:\n  {module.EXAMPLE}"
    common = parser.add_argument_group("options of every command")
    common.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)


def _run(args: Namespace) -> int:
    say = (lambda line: None) if args.json else (lambda line: print(_shown(line), flush=True))
    if "threads" in args:
        choose_threads(args.threads, say)
    try:
        result, code = args.run(args, say)
    except DogganError as error:
        return _fail(args, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail(args, "interrupted", 1)
    except (MemoryError, RuntimeError) as error:
        what = {is_out_of_memory: "out of memory", is_lost_device: "the GPU failed"}
        found = next((words for is_it, words in what.items() if is_it(error)), None)
        if not found:
            raise
        return _fail(args, f"{found} ({in_short(error)}); what was saved before is whole", 1)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(args, f"{error.strerror or error}: {error.filename or 'input or output'}", 1)
    if args.json:
        print(json.dumps(result, indent=2), flush=True)
    return code


def _shown(text: str) -> str:
    """The text with what would command a terminal, from a file's name say, spelled out."""
    plain = (each if each.isprintable() or each in "\n\t" else repr(each)[1:-1] for each in text)
    return "".join(plain)


def _fail(args: Namespace, message: str, code: int) -> int:
    line = _shown(" ".join(message.split()))
    print(f"doggan: {line}", file=sys.stderr)
    if args.json:
        print(json.dumps({"error": line}), flush=True)
    return code
