"""The command line: one command, one call into the library.

Nothing heavy is imported before a command runs, so that help comes at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from doggan import __version__, commands
from doggan.support.deadline import parse_duration
from doggan.support.errors import DogganError, InputError

EPILOG = """\
examples:
  doggan demo                                       everything, on drawn dogs, in minutes
  doggan fetch stanford --out photos                the real photos
  doggan run photos --out runs/dogs --time-limit 8h45m

exit codes: 0 done, 1 failed, 2 the input cannot be used"""
JUDGES = ("auto", "inception", "efficientnet-lite0")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. Errors are one line on standard error."""
    try:
        return _run(_parser().parse_args(arguments))
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


def _parser() -> argparse.ArgumentParser:
    parser = _new_parser(
        argparse.ArgumentParser,
        prog="doggan",
        epilog=EPILOG,
        description="Photos in, a scored and valid images.zip out: a kit for "
        "Kaggle's Generative Dog Images.",
    )
    parser.add_argument("--version", action="version", version=f"doggan {__version__}")
    commands_of = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        _add_fetch,
        _add_build,
        _add_train,
        _add_sample,
        _add_zip,
        _add_check,
        _add_score,
        _add_run,
        _add_demo,
    ):
        add(commands_of)
    return parser


def _add_fetch(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "fetch",
        commands.fetch,
        "download the photos",
        "doggan fetch stanford --out photos",
    )
    parser.add_argument(
        "source",
        choices=("stanford", "kaggle"),
        help="Stanford's two tars, or the competition's zip (needs an API token)",
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to put them in")


def _add_build(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "build",
        commands.build,
        "cut photos into a set of square images",
        "doggan build photos --out data/dogs64 --crop four",
    )
    _add_sources(parser)
    parser.add_argument("--out", type=Path, required=True, help="the folder of the built set")
    parser.add_argument(
        "--crop",
        choices=("square", "tight", "full", "four"),
        help="how a box becomes a square (default: the recipe's, square)",
    )
    _add_recipe(parser)


def _add_train(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "train",
        commands.train,
        "train a GAN on a built set",
        "doggan train data/dogs64 --out runs/dogs --time-limit 8h45m",
    )
    parser.add_argument("set", metavar="SET", type=Path, help="a set that doggan build left")
    _add_training(parser)


def _add_sample(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "sample",
        commands.sample,
        "draw a grid from a trained run",
        "doggan sample runs/dogs --count 8 --noise 1.0:0.0 --out strip.png",
    )
    _add_run_folder(parser)
    parser.add_argument("--out", type=Path, help="the PNG (default: RUN/sample.png)")
    parser.add_argument("--count", type=_positive, default=50, help="how many seeds (default 50)")
    parser.add_argument("--columns", type=_positive, default=10, help="images a row (default 10)")
    parser.add_argument(
        "--truncation",
        type=float,
        default=1.0,
        help="0 to 2; below 1 gives safer, less varied images (default 1.0)",
    )
    parser.add_argument(
        "--truncation-by",
        choices=("scale", "resample"),
        default="scale",
        help="multiply z, or draw again what lies outside (default scale)",
    )
    parser.add_argument(
        "--noise",
        metavar="FROM:TO",
        type=_noise_range,
        help="a row a seed, its z scaled from FROM to TO in steps of 0.1",
    )


def _add_zip(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "zip",
        commands.zip_images,
        "write the submission and verify it",
        "doggan zip runs/dogs --out images.zip",
    )
    _add_run_folder(parser)
    parser.add_argument("--out", type=Path, help="the zip (default: RUN/images.zip)")
    parser.add_argument("--count", type=_positive, help="how many images (default 10,000)")
    parser.add_argument("--truncation", type=float, help="scale of z (default: the recipe's, 1.0)")


def _add_check(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "check",
        commands.check,
        "hold a zip against the rules",
        "doggan check images.zip",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the zip")
    parser.add_argument(
        "--count",
        type=_positive,
        default=10_000,
        help="how many images it must hold (default 10,000, the competition's)",
    )


def _add_score(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "score",
        commands.score,
        "compute FID, distance and MiFID",
        "doggan score images.zip --reference photos",
    )
    parser.add_argument("images", metavar="IMAGES", type=Path, help="a zip, folder or built set")
    parser.add_argument(
        "--reference",
        metavar="SOURCE_OR_SET",
        type=Path,
        nargs="+",
        required=True,
        help="photos (their whole frames, squashed, as Kaggle does) or a built set",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="the judge's arithmetic (default auto)",
    )
    parser.add_argument("--out", type=Path, help="also write the scorecard to this JSON file")
    _add_judge(parser)


def _add_run(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "run",
        commands.run,
        "everything, under one time limit",
        "doggan run photos --out runs/dogs --time-limit 8h45m",
    )
    _add_sources(parser)
    _add_training(parser)
    _add_judge(parser)


def _add_demo(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "demo",
        commands.demo,
        "everything, on drawn dogs, in minutes",
        "doggan demo --out runs/demo",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="the run folder (default runs/demo)"
    )
    parser.add_argument(
        "--time-limit",
        type=_duration,
        default=_duration("6m"),
        help="such as 90s or 6m (default 6m)",
    )
    parser.add_argument("--photos", type=_positive, default=400, help="how many (default 400)")
    parser.add_argument("--count", type=_positive, help="images in the zip (default 10,000)")
    parser.add_argument("--judge", choices=JUDGES, default="auto", help="see doggan score --help")


def _add(
    commands_of: argparse._SubParsersAction, name: str, command: Callable, what: str, example: str
) -> argparse.ArgumentParser:
    parser = _new_parser(
        commands_of.add_parser,
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=f"example:\n  {example}",
    )
    parser.set_defaults(command=command)
    common = parser.add_argument_group("options of every command")
    common.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    common.add_argument("--seed", type=_seed, help="for whatever is drawn by chance (default 0)")
    common.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="for whatever is computed by a network (default auto)",
    )
    return parser


def _new_parser(make: Callable, *names: str, **settings: str) -> argparse.ArgumentParser:
    return make(*names, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        type=Path,
        nargs="+",
        help="what fetch left, or a folder, zip or tars of photos and annotations, "
        "in Kaggle's layout, in Stanford's, or plain",
    )


def _add_run_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_folder",
        metavar="RUN",
        type=Path,
        help="a run folder, or its generator.safetensors alone",
    )


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe", metavar="NAME_OR_FILE", help="dogs, demo, or a TOML file (default dogs)"
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="set_values",
        action="append",
        default=[],
        help="override a value, such as train.batch_size=128",
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="the run folder")
    parser.add_argument("--time-limit", type=_duration, help="such as 8h45m, 90m or 30s")
    parser.add_argument("--images", type=_positive, help="stop after so many real images shown")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--dry-run", action="store_true", help="show the recipe and stop")
    _add_recipe(parser)


def _add_judge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--judge",
        choices=JUDGES,
        default="auto",
        help="the network that looks; only inception compares with Kaggle's board "
        "(default auto: inception if its weights can be had)",
    )
    parser.add_argument("--weights", metavar="FILE", type=Path, help="inception's weights")


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(text: str) -> int:
    return _whole_number(text, 1)


def _seed(text: str) -> int:
    return _whole_number(text, 0)


def _whole_number(text: str, least: int) -> int:
    if not text.isdecimal() or not least <= int(text) < 2**32:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of {least} or more")
    return int(text)


def _noise_range(text: str) -> tuple[float, float]:
    try:
        first, last = (float(part) for part in text.split(":"))
    except ValueError:
        first = last = -1.0
    if not (0 <= first <= 2 and 0 <= last <= 2):
        raise argparse.ArgumentTypeError(f"'{text}' is not FROM:TO, such as 1.0:0.0, within 0 to 2")
    return first, last
