"""The command line: one command, one call into the library; errors in one line.

Nothing heavy is imported before a command runs, so that help comes at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from doggan.cli.parser import make_parser
from doggan.support.errors import DogganError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. Errors are one line on standard error."""
    try:
        return _run(make_parser().parse_args(arguments))
    except BrokenPipeError:  # whoever read our output left; there is nobody to tell
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 1


def _run(args: argparse.Namespace) -> int:
    try:
        result, code = args.command(args, _silent if args.json else _say)
    except DogganError as error:
        return _fail(args, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail(args, "interrupted", 1)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(args, f"{error.strerror or error}: {error.filename or 'input or output'}", 1)
    if args.json:
        print(json.dumps(result, indent=2), flush=True)
    return code


def _fail(args: argparse.Namespace, message: str, code: int) -> int:
    line = " ".join(message.split())
    print(f"doggan: {line}", file=sys.stderr)
    if args.json:
        print(json.dumps({"error": line}), flush=True)
    return code


def _say(line: str) -> None:
    print(line, flush=True)


def _silent(line: str) -> None:
    pass
