"""`doggan sample`: a grid, a strip or a GIF from a trained run."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from doggan.cli.options import Outcome, Say, add_generator, beside, made, numbers
from doggan.gan.run_folder import SAMPLE
from doggan.support.errors import InputError

EXAMPLE = """doggan sample runs/dogs --count 8 --noise 1.0:0.0 --out strip.png
  doggan sample runs/mnist --label 3 --interpolate --out threes.gif"""
MOST_OF_A_WALK, MAX_NOISE_STEPS = 100_000, 21  # images; from 2 to 0 in tenths


def add_arguments(parser: ArgumentParser) -> None:
    add_generator(parser)
    add = parser.add_argument
    add("--out", type=Path, help="the PNG, or of a walk the GIF (default: RUN/sample.png)")
    add("--count", type=made, help="how many seeds (default 50; of a walk 8)")
    add("--columns", type=made, default=10, help="images a row (default 10)")
    add("--label", help="of a conditional run: a label's name, part of it, or its number")
    what = "0 to 2; below 1 gives safer, less varied images (default 1.0)"
    add("--truncation", type=float, default=1.0, help=what)
    what = "multiply z, or draw again what lies outside (default scale)"
    add("--truncation-by", choices=("scale", "resample"), default="scale", help=what)
    add_walk = parser.add_mutually_exclusive_group().add_argument
    what = "a row a seed, its z scaled from FROM to TO in steps of 0.1"
    add_walk("--noise", metavar="FROM:TO", type=noise_range, help=what)
    what = "a row a seed, its z turned into the next seed's"
    add_walk("--interpolate", action="store_true", help=what)


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.gan import sampler, walks
    from doggan.gan.generator_file import load_generator
    from doggan.gan.pictures import MAX_GIF_FRAMES

    generator, _ = load_generator(args.run_folder, args.device)
    out = args.out or beside(args.run_folder, SAMPLE)
    as_gif, walking = out.suffix.lower() == ".gif", bool(args.noise or args.interpolate)
    if as_gif and not walking:
        raise InputError(f"{out} would not move; add --noise 1.0:0.0 or --interpolate")
    seeds = range(args.seed, args.seed + (args.count or (8 if walking else 50)))
    steps = MAX_GIF_FRAMES if as_gif else max(args.columns, MAX_NOISE_STEPS)
    if walking and len(seeds) * steps > MOST_OF_A_WALK:
        raise InputError(f"{len(seeds):,} walks of {steps} images are over {MOST_OF_A_WALK:,}")
    drawn = range(args.seed, seeds.stop + args.interpolate)  # each one walks to the next
    z = sampler.latents(drawn, generator.latent, truncation=args.truncation, by=args.truncation_by)
    labels = sampler.labels_asked_for(generator, seeds, args.label)
    if args.interpolate:
        z = walks.spherical_walk(z[:-1], z[1:], MAX_GIF_FRAMES if as_gif else args.columns)
    else:
        z = walks.noise_walk(z, *args.noise) if args.noise else z[:, None]
    images = walks.sample_walk(generator, z, labels)
    columns = images.shape[1] if walking and not as_gif else min(args.columns, len(seeds))
    walks.save_walk(images, columns, out)
    made = images.shape[0] * images.shape[1]
    say(f"{out}: {made} images of seeds {args.seed} to {drawn[-1]}")
    return {"picture": str(out), "images": made, "first_seed": args.seed, "columns": columns}, 0


def noise_range(text: str) -> tuple[float, ...]:
    """`1.0:0.0` -> (1.0, 0.0), both within 0 to 2."""
    values = numbers(text)
    if len(values) != 2:
        raise ArgumentTypeError(f"'{text}' is not FROM:TO, such as 1.0:0.0, within 0 to 2")
    return values
