"""What several commands share: options, the types of what people type, and what follows them."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from doggan.data.crops import CROPS
from doggan.gan.run_folder import RECIPE
from doggan.recipe import Recipe, load_recipe, recipe_names, recipe_to_toml
from doggan.scoring.judges import JUDGES, PRECISIONS
from doggan.support.deadline import parse_duration
from doggan.support.errors import InputError
from doggan.support.tables import choose
from doggan.support.threads import MOST_THREADS

if TYPE_CHECKING:
    from doggan.pipeline import CompetitionResult
    from doggan.scoring.judges.judge import Judge

Say = Callable[[str], None]  # shows a line to people
Outcome = tuple[dict, int]  # what --json prints, and the exit code


def add_sources(parser: ArgumentParser) -> None:
    """Where photos and annotations lie: one or more of whatever `doggan build` reads."""
    what = (
        "what fetch left; a folder, zip or tars of photos and annotations, in Kaggle's "
        "layout, in Stanford's, or plain; or MNIST's or Fashion-MNIST's idx files"
    )
    parser.add_argument("sources", metavar="SOURCE", type=Path, nargs="+", help=what)


def add_generator(parser: ArgumentParser) -> None:
    """A trained run, or its generator alone, and from which seed on it draws."""
    what = "a run folder, or its generator.safetensors alone"
    parser.add_argument("run_folder", metavar="RUN", type=Path, help=what)
    add_seed(parser, default=0)
    add_device(parser)


def add_recipe(parser: ArgumentParser, default: str = "dogs") -> None:
    """Which recipe, and what to override in it; `default` says in the help what it is else."""
    what = f"{', '.join(recipe_names())}, or a TOML file (default {default})"
    add = parser.add_argument
    add("--recipe", metavar="NAME_OR_FILE", help=what)
    what = "override a value, such as train.batch_size=128"
    add("--set", metavar="KEY=VALUE", dest="set_values", action="append", default=[], help=what)


def add_training(parser: ArgumentParser) -> None:
    """Everything that says how a run trains, its recipe included; see `recipe_of_run`."""
    add = parser.add_argument
    add("--out", type=Path, required=True, help="the run folder")
    add("--time-limit", type=duration, help="such as 8h45m, 90m or 30s")
    add("--images", type=positive, help="stop after so many real images shown")
    add("--resume", action="store_true", help="go on with the run in --out")
    add("--dry-run", action="store_true", help="show the recipe and stop")
    add_recipe(parser)
    add_seed(parser)
    add_device(parser)


def add_seed(parser: ArgumentParser, default: int | None = None) -> None:
    """Where chance begins; None is the recipe's own."""
    what = "for whatever is drawn by chance (default 0)"
    parser.add_argument("--seed", type=seed, default=default, help=what)


def add_device(parser: ArgumentParser) -> None:
    """Where networks are computed, and by how many threads."""
    add = parser.add_argument
    what = "for whatever is computed by a network (default auto)"
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help=what)
    what = "the processor's, fewer to share it (default one a core that is free at the start)"
    add("--threads", metavar="N", type=partial(whole_number, 1, MOST_THREADS), help=what)


def add_judge(parser: ArgumentParser) -> None:
    """Which network scores."""
    what = (
        "the network that looks; only inception compares with Kaggle's board "
        "(default auto: inception if its weights can be had)"
    )
    add_name(parser, "--judge", ("auto", *JUDGES), what, default="auto")
    parser.add_argument("--weights", metavar="FILE", type=Path, help="inception's weights")


def add_reference(parser: ArgumentParser) -> None:
    """What scores are taken against, by which network, and in which arithmetic."""
    add = parser.add_argument
    what = "photos (their whole frames, squashed, as Kaggle does) or a built set"
    add("--reference", metavar="SOURCE_OR_SET", type=Path, nargs="+", required=True, help=what)
    what = "how photos become reference images (default full, Kaggle's)"
    add_name(parser, "--reference-crop", CROPS, what)
    what = "the judge's arithmetic (default auto)"
    add("--precision", choices=PRECISIONS, default="auto", help=what)
    add_judge(parser)
    add_device(parser)


def add_name(
    parser: ArgumentParser, flag: str, names: Iterable[str], what: str, default: str | None = None
) -> None:
    """A name from a table; an unknown one is refused with the known ones and the nearest."""

    def known(text: str) -> str:
        try:
            choose(dict.fromkeys(names), text, "it")
        except InputError as error:
            raise ArgumentTypeError(str(error)) from error
        return text

    shown = f"{{{','.join(names)}}}"
    parser.add_argument(flag, type=known, metavar=shown, default=default, help=what)


def duration(text: str) -> float:
    """`8h45m` -> seconds."""
    try:
        return parse_duration(text)
    except InputError as error:
        raise ArgumentTypeError(str(error)) from error


def whole_number(least: int, most: int, text: str) -> int:
    """A whole number from `least` to `most`."""
    digits = text.isdecimal() and len(text) <= len(str(most))
    if not digits or not least <= int(text) <= most:
        raise ArgumentTypeError(f"'{text:.50}' is not a whole number from {least} to {most:,}")
    return int(text)


seed = partial(whole_number, 0, 2**32 - 1)
positive = partial(whole_number, 1, 2**32 - 1)
made = partial(whole_number, 1, 100_000)  # what a command makes so many of, and may hold at once


def numbers(text: str) -> tuple[float, ...]:
    """`0.6:1.2:0.1` -> (0.6, 1.2, 0.1); empty if one is not within 0 to 2, as truncations are."""
    try:
        values = tuple(float(part) for part in text.split(":"))
    except ValueError:
        return ()
    return values if all(0 <= value <= 2 for value in values) else ()


def beside(run_or_file: Path, name: str) -> Path:
    """The path of `name` in a folder, or in the folder of a file."""
    return (run_or_file if run_or_file.is_dir() else run_or_file.parent) / name


def recipe_of_run(args: Namespace, say: Say) -> Recipe:
    """The recipe of a run: the named one, or on --resume the run's own; printed before work."""
    if args.resume:
        if args.recipe or args.set_values or args.seed is not None:
            raise InputError(
                "--resume goes on with the run's own recipe; leave out --recipe, "
                "--set and --seed, or start another --out"
            )
        recipe = load_recipe(str(args.out / RECIPE))
    else:
        recipe = load_recipe(args.recipe or "dogs", args.set_values)
    if args.seed is not None:
        recipe = replace(recipe, seed=args.seed)
    if args.images:
        recipe = replace(recipe, train=replace(recipe.train, images=args.images))
    say(recipe_to_toml(recipe))
    return recipe


def load_judge(args: Namespace) -> "Judge":
    """The network that `add_reference` asked for."""
    from doggan.scoring.judges import judge
    from doggan.support.device import choose_device

    device = choose_device(args.device)
    return judge.load_judge(
        args.judge, device=device, precision=args.precision, weights=args.weights
    )


def conclude(result: "CompetitionResult", say: Say) -> Outcome:
    """Says where everything is that the whole competition left."""
    for what, path in result.files().items():
        say(f"{what + ':':24} {path}")
    say(f"{result.seconds:.0f} s in all")
    code = stop_code(result.training.stopped_by, Path(result.folder), say)
    return result.as_dict(), code if result.submission.valid else 1


def stop_code(stopped_by: str, folder: Path, say: Say) -> int:
    """The exit code of a training: 1, and how to go on, if a signal cut it off."""
    if not stopped_by.startswith("SIG"):
        return 0
    say(f"Stopped by {stopped_by}; the same command with --resume --out {folder} goes on")
    return 1
