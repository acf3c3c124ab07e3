"""What several commands share: options, the types of what people type, and a run's recipe."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from doggan.data.crops import CROPS
from doggan.scoring.judges import JUDGES, PRECISIONS
from doggan.support.deadline import parse_duration
from doggan.support.errors import InputError

if TYPE_CHECKING:
    from doggan.recipe import Recipe
    from doggan.scoring.judges.judge import Judge

Say = Callable[[str], None]
Outcome = tuple[dict, int]  # what --json prints, and the exit code


def new_command(
    commands: argparse._SubParsersAction, name: str, what: str
) -> argparse.ArgumentParser:
    """The parser of a command, with its help line and without arguments."""
    description = f"{what[0].upper()}{what[1:]}."
    form = argparse.RawDescriptionHelpFormatter
    return commands.add_parser(name, help=what, description=description, formatter_class=form)


def fill_command(
    parser: argparse.ArgumentParser,
    example: str,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace, Say], Outcome] | None,
) -> None:
    """Gives a command what its module says of it; one without `run` has commands of its own."""
    parser.epilog = f"example:\n  {example}"
    add_arguments(parser)
    if run is not None:
        what = "print one JSON object, nothing else"
        parser.add_argument("--json", action="store_true", help=what)
        parser.set_defaults(run=run)


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Where photos and annotations lie: one or more of whatever `doggan build` reads."""
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        type=Path,
        nargs="+",
        help="what fetch left; a folder, zip or tars of photos and annotations, in Kaggle's "
        "layout, in Stanford's, or plain; or MNIST's or Fashion-MNIST's idx files",
    )


def add_run_folder(parser: argparse.ArgumentParser) -> None:
    """A trained run, or its generator alone."""
    parser.add_argument(
        "run_folder",
        metavar="RUN",
        type=Path,
        help="a run folder, or its generator.safetensors alone",
    )


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Which recipe, and what to override in it."""
    from doggan.recipe import recipe_names

    parser.add_argument(
        "--recipe",
        metavar="NAME_OR_FILE",
        help=f"{', '.join(recipe_names())}, or a TOML file (default dogs)",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="set_values",
        action="append",
        default=[],
        help="override a value, such as train.batch_size=128",
    )


def add_training(parser: argparse.ArgumentParser) -> None:
    """Everything that says how a run trains, its recipe included."""
    parser.add_argument("--out", type=Path, required=True, help="the run folder")
    parser.add_argument("--time-limit", type=duration, help="such as 8h45m, 90m or 30s")
    parser.add_argument("--images", type=positive, help="stop after so many real images shown")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--dry-run", action="store_true", help="show the recipe and stop")
    add_recipe(parser)
    add_seed(parser)
    add_device(parser)


def add_seed(parser: argparse.ArgumentParser) -> None:
    """The seed of what is drawn by chance."""
    parser.add_argument("--seed", type=seed, help="for whatever is drawn by chance (default 0)")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Where networks compute."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="for whatever is computed by a network (default auto)",
    )


def add_judge(parser: argparse.ArgumentParser) -> None:
    """Which network scores."""
    parser.add_argument(
        "--judge",
        choices=("auto", *JUDGES),
        default="auto",
        help="the network that looks; only inception compares with Kaggle's board "
        "(default auto: inception if its weights can be had)",
    )
    parser.add_argument("--weights", metavar="FILE", type=Path, help="inception's weights")


def add_reference(parser: argparse.ArgumentParser) -> None:
    """What scores are taken against, by which network, and in which arithmetic."""
    parser.add_argument(
        "--reference",
        metavar="SOURCE_OR_SET",
        type=Path,
        nargs="+",
        required=True,
        help="photos (their whole frames, squashed, as Kaggle does) or a built set",
    )
    parser.add_argument(
        "--reference-crop",
        choices=CROPS,
        help="how photos become reference images (default full, Kaggle's)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="the judge's arithmetic (default auto)",
    )
    add_judge(parser)
    add_device(parser)


def duration(text: str) -> float:
    """`8h45m` -> seconds."""
    try:
        return parse_duration(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    return _whole_number(text, 1)


def seed(text: str) -> int:
    """A whole number of 0 or more."""
    return _whole_number(text, 0)


def _whole_number(text: str, least: int) -> int:
    if not text.isdecimal() or not least <= int(text) < 2**32:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of {least} or more")
    return int(text)


def run_recipe(args: argparse.Namespace, say: Say) -> "Recipe":
    """The recipe of a run: the named one, or on --resume the run's own; said before work."""
    from doggan.gan.run_folder import RECIPE
    from doggan.recipe import load_recipe, recipe_to_toml

    if args.resume:
        if args.recipe or args.set_values or args.seed is not None:
            raise InputError(
                "--resume goes on with the run's own recipe; leave out --recipe, "
                "--set and --seed, or start another --out"
            )
        recipe = load_recipe(str(args.out / RECIPE))
    else:
        recipe = with_seed(load_recipe(args.recipe or "dogs", args.set_values), args.seed)
    if args.images:
        recipe = replace(recipe, train=replace(recipe.train, images=args.images))
    say(recipe_to_toml(recipe))
    return recipe


def with_seed(recipe: "Recipe", seed: int | None) -> "Recipe":
    """The recipe with another seed, where one is given."""
    return recipe if seed is None else replace(recipe, seed=seed)


def judge_of(args: argparse.Namespace) -> "Judge":
    """The judge that the options of `add_reference` ask for."""
    from doggan.scoring.judges.judge import load_judge
    from doggan.support.device import choose_device

    return load_judge(
        args.judge,
        device=choose_device(args.device),
        precision=args.precision,
        weights=args.weights,
    )


def beside(run_or_file: Path, name: str) -> Path:
    """The file `name` in a run's folder, or beside a file."""
    return (run_or_file if run_or_file.is_dir() else run_or_file.parent) / name


def stop_code(stopped_by: str, folder: Path, say: Say) -> int:
    """The exit code of a training that ended so: 1, and how to go on, where it was interrupted."""
    if not stopped_by.startswith("SIG"):
        return 0
    say(f"Stopped by {stopped_by}; the same command with --resume --out {folder} goes on")
    return 1
