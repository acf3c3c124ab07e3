"""The parser of the command line: a function a command."""

import argparse
from collections.abc import Callable
from pathlib import Path

from doggan import __version__
from doggan.cli import commands, options
from doggan.cli.parser_kernel import add_kernel, add_submit

EPILOG = """\
examples:
  doggan demo                                       everything, on drawn dogs, in minutes
  doggan fetch stanford --out photos                the real photos
  doggan run photos --out runs/dogs --time-limit 8h45m

exit codes: 0 done, 1 failed, 2 the input cannot be used"""


def make_parser() -> argparse.ArgumentParser:
    """The parser of `doggan`: `args.command` is the function to call."""
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
        _add_watch,
        _add_sample,
        _add_zip,
        _add_check,
        _add_score,
        _add_neighbours,
        _add_compare,
        _add_report,
        _add_run,
        _add_demo,
    ):
        add(commands_of)
    add_kernel(commands_of, _add)
    add_submit(commands_of, _add)
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
        "doggan build photos --out data/dogs64 --crop four\n"
        "  doggan build mnist --download mnist --out data/mnist28",
    )
    options.add_sources(parser)
    parser.add_argument("--out", type=Path, required=True, help="the folder of the built set")
    parser.add_argument(
        "--crop",
        choices=options.CROP_POLICIES,
        help="how a box becomes a square (default: the recipe's, square)",
    )
    parser.add_argument(
        "--side",
        type=options.positive,
        help="pixels, 16 to 128 (default: the recipe's; 64, or 28 of idx files)",
    )
    parser.add_argument(
        "--download",
        choices=("mnist", "fashion-mnist"),
        help="first download these idx files into SOURCE, a folder",
    )
    options.add_recipe(parser)


def _add_train(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "train",
        commands.train,
        "train a GAN on a built set",
        "doggan train data/dogs64 --out runs/dogs --time-limit 8h45m",
    )
    parser.add_argument("set", metavar="SET", type=Path, help="a set that doggan build left")
    options.add_training(parser)


def _add_watch(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "watch",
        commands.watch,
        "follow a training, a line an interval, until it ends or Ctrl-C",
        "doggan watch runs/dogs",
    )
    parser.add_argument(
        "run_folder", metavar="RUN", type=Path, help="the folder of a run, going on or ended"
    )


def _add_sample(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "sample",
        commands.sample,
        "draw a grid from a trained run",
        "doggan sample runs/dogs --count 8 --noise 1.0:0.0 --out strip.png\n"
        "  doggan sample runs/mnist --label 3 --interpolate --out threes.gif",
    )
    options.add_run_folder(parser)
    parser.add_argument(
        "--out", type=Path, help="the PNG, or of a walk the GIF (default: RUN/sample.png)"
    )
    parser.add_argument(
        "--count", type=options.positive, help="how many seeds (default 50; of a walk 8)"
    )
    parser.add_argument(
        "--columns", type=options.positive, default=10, help="images a row (default 10)"
    )
    parser.add_argument(
        "--label", help="of a conditional run: a label's name, part of it, or its number"
    )
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
    walk = parser.add_mutually_exclusive_group()
    walk.add_argument(
        "--noise",
        metavar="FROM:TO",
        type=options.noise_range,
        help="a row a seed, its z scaled from FROM to TO in steps of 0.1",
    )
    walk.add_argument(
        "--interpolate", action="store_true", help="a row a seed, its z turned into the next seed's"
    )


def _add_zip(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "zip",
        commands.zip_images,
        "write the submission and verify it",
        "doggan zip runs/dogs --out images.zip",
    )
    options.add_run_folder(parser)
    parser.add_argument("--out", type=Path, help="the zip (default: RUN/images.zip)")
    parser.add_argument("--count", type=options.positive, help="how many images (default 10,000)")
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
        type=options.positive,
        default=10_000,
        help="how many images it must hold (default 10,000, the competition's)",
    )


def _add_score(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "score",
        commands.score,
        "compute FID, distance and MiFID",
        "doggan score images.zip --reference photos\n"
        "  doggan score runs/dogs --truncation 0.6:1.2:0.1 --reference photos",
    )
    parser.add_argument(
        "images",
        metavar="IMAGES_OR_RUN",
        type=Path,
        help="a zip, folder or built set; or a run folder or its generator.safetensors, whose "
        "images of the seeds 0, 1, ... are scored without being written",
    )
    parser.add_argument(
        "--truncation",
        metavar="T_OR_FROM:TO:STEP",
        type=options.truncations,
        help="for a run: scale of z, or a sweep of several (default: the recipe's, 1.0)",
    )
    parser.add_argument("--out", type=Path, help="also write the result to this JSON file")
    options.add_reference(parser)


def _add_neighbours(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "neighbours",
        commands.neighbours,
        "show the generated images closest to a photo",
        "doggan neighbours images.zip --reference photos",
    )
    parser.add_argument(
        "images", metavar="IMAGES", type=Path, help="a zip, folder or built set, or a run's folder"
    )
    parser.add_argument(
        "--count", type=options.positive, default=12, help="how many pairs (default 12)"
    )
    parser.add_argument(
        "--out", type=Path, help="the PNG (default: IMAGES-neighbours.png, or RUN/neighbours.png)"
    )
    options.add_reference(parser)


def _add_compare(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "compare",
        commands.compare,
        "put scorecards side by side, with what is within noise",
        "doggan compare runs/a runs/b submission/cpu-45m",
    )
    parser.add_argument(
        "entries",
        metavar="ENTRY",
        type=Path,
        nargs="+",
        help="a scorecard.json, or the folder of a run or an entry that holds one",
    )


def _add_report(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "report",
        commands.report,
        "show a run, or several side by side, as one HTML page",
        "doggan report runs/dogs\n  doggan report runs/a runs/b runs/c --out compared.html",
    )
    parser.add_argument(
        "runs", metavar="RUN", type=Path, nargs="+", help="a run folder; up to 8 are compared"
    )
    parser.add_argument(
        "--out", type=Path, help="the page (default: RUN/report.html; of several, report.html)"
    )


def _add_run(commands_of: argparse._SubParsersAction) -> None:
    parser = _add(
        commands_of,
        "run",
        commands.run,
        "everything, under one time limit",
        "doggan run photos --out runs/dogs --time-limit 8h45m",
    )
    options.add_sources(parser)
    options.add_training(parser)
    options.add_judge(parser)


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
        type=options.duration,
        default=options.duration("6m"),
        help="such as 90s or 6m (default 6m)",
    )
    parser.add_argument(
        "--photos", type=options.positive, default=400, help="how many (default 400)"
    )
    parser.add_argument("--count", type=options.positive, help="images in the zip (default 10,000)")
    parser.add_argument(
        "--judge", choices=options.JUDGES, default="auto", help="see doggan score --help"
    )


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
    common.add_argument(
        "--seed", type=options.seed, help="for whatever is drawn by chance (default 0)"
    )
    common.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="for whatever is computed by a network (default auto)",
    )
    return parser


def _new_parser(make: Callable, *names: str, **settings: str) -> argparse.ArgumentParser:
    return make(*names, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)
