"""Options that several commands share, and the types of what people type."""

import argparse
from pathlib import Path

from doggan.support.deadline import parse_duration
from doggan.support.errors import InputError

JUDGES = ("auto", "inception", "efficientnet-lite0")
MAX_TRUNCATIONS = 100
CROP_POLICIES = ("square", "tight", "full", "four")


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
    parser.add_argument(
        "--recipe",
        metavar="NAME_OR_FILE",
        help="dogs, demo, mnist-dense, mnist-dcgan, fashion-dense, fashion-dcgan, or a TOML file "
        "(default dogs)",
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


def add_judge(parser: argparse.ArgumentParser) -> None:
    """Which network scores."""
    parser.add_argument(
        "--judge",
        choices=JUDGES,
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
        choices=CROP_POLICIES,
        help="how photos become reference images (default full, Kaggle's)",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="the judge's arithmetic (default auto)",
    )
    add_judge(parser)


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


def noise_range(text: str) -> tuple[float, float]:
    """`1.0:0.0` -> (1.0, 0.0), both within 0 to 2."""
    try:
        first, last = (float(part) for part in text.split(":"))
    except ValueError:
        first = last = -1.0
    if not (0 <= first <= 2 and 0 <= last <= 2):
        raise argparse.ArgumentTypeError(f"'{text}' is not FROM:TO, such as 1.0:0.0, within 0 to 2")
    return first, last


def truncations(text: str) -> tuple[float, ...]:
    """`0.8` -> (0.8,), and `0.6:1.2:0.2` -> (0.6, 0.8, 1.0, 1.2); all within 0 to 2."""
    try:
        values = [float(part) for part in text.split(":")]
    except ValueError:
        values = []
    if len(values) == 1 and 0 <= values[0] <= 2:
        return (values[0],)
    if len(values) == 3 and 0 <= values[0] <= values[1] <= 2 and 0 < values[2] <= 2:
        first, last, step = values
        steps = int((last - first) / step * (1 + 1e-9))  # the last one is not lost to rounding
        if steps < MAX_TRUNCATIONS:
            return tuple(round(first + index * step, 6) for index in range(steps + 1))
    raise argparse.ArgumentTypeError(
        f"'{text}' is neither a number nor FROM:TO:STEP, such as 0.6:1.2:0.1, within 0 to 2 and "
        f"of {MAX_TRUNCATIONS} values at most"
    )
