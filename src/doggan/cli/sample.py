"""`doggan sample`: a grid, a strip or a GIF from a trained run."""

import argparse
from pathlib import Path

from doggan.cli import options
from doggan.cli.options import Outcome, Say
from doggan.support.errors import InputError

EXAMPLE = """doggan sample runs/dogs --count 8 --noise 1.0:0.0 --out strip.png
  doggan sample runs/mnist --label 3 --interpolate --out threes.gif"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
        type=noise_range,
        help="a row a seed, its z scaled from FROM to TO in steps of 0.1",
    )
    walk.add_argument(
        "--interpolate", action="store_true", help="a row a seed, its z turned into the next seed's"
    )
    options.add_seed(parser)
    options.add_device(parser)


def run(args: argparse.Namespace, say: Say) -> Outcome:
    from doggan.gan import sampler, walks
    from doggan.gan.generator_file import load_generator
    from doggan.gan.run_folder import SAMPLE
    from doggan.support.device import choose_device

    generator, _ = load_generator(args.run_folder, choose_device(args.device))
    walking = args.noise is not None or args.interpolate
    count = args.count or (8 if walking else 50)
    seeds = range(first := args.seed or 0, first + count)
    drawn = range(first, first + count + 1) if args.interpolate else seeds
    z = sampler.latents(drawn, generator.latent, truncation=args.truncation, by=args.truncation_by)
    labels = sampler.labels_asked_for(generator, seeds, args.label)
    out = args.out or options.beside(args.run_folder, SAMPLE)
    as_gif = out.suffix.lower() == ".gif"
    if args.noise is not None:
        z = walks.noise_walk(z, *args.noise)
    elif args.interpolate:
        steps = walks.GIF_STEPS if as_gif else args.columns
        z = walks.spherical_walk(z[:-1], z[1:], steps)
    else:
        z = z[:, None]
    if as_gif and not walking:
        raise InputError(f"{out} would not move; add --noise 1.0:0.0 or --interpolate")
    images = walks.sample_walk(generator, z, labels)
    columns = images.shape[1] if walking and not as_gif else args.columns
    walks.save_walk(images, columns, out)
    made = images.shape[0] * images.shape[1]
    say(f"{out}: {made} images of seeds {first} to {drawn[-1]}")
    return {"picture": str(out), "images": made, "first_seed": first, "columns": columns}, 0


def noise_range(text: str) -> tuple[float, float]:
    """`1.0:0.0` -> (1.0, 0.0), both within 0 to 2."""
    try:
        first, last = (float(part) for part in text.split(":"))
    except ValueError:
        first = last = -1.0
    if not (0 <= first <= 2 and 0 <= last <= 2):
        raise argparse.ArgumentTypeError(f"'{text}' is not FROM:TO, such as 1.0:0.0, within 0 to 2")
    return first, last
