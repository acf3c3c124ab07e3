"""`doggan train`: train a GAN on a built set."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

from doggan.cli.options import Outcome, Say, add_training, recipe_of_run, stop_code
from doggan.competition import SIDE_PX
from doggan.support.deadline import Deadline

EXAMPLE = "doggan train data/dogs64 --out runs/dogs --time-limit 8h45m"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("set", metavar="SET", type=Path, help="a set that doggan build left")
    add_training(parser)


def run(args: Namespace, say: Say) -> Outcome:
    deadline = Deadline(args.time_limit)  # before PyTorch is loaded, which takes seconds
    recipe = recipe_of_run(args, say)
    if args.dry_run:
        return asdict(recipe), 0

    from doggan.data.imageset import open_imageset
    from doggan.gan.budget import fit_to_budget
    from doggan.gan.run_folder import check_run_folder
    from doggan.gan.trainer import train

    imageset = open_imageset(args.set)
    check_run_folder(args.out, args.resume)  # before speeds are measured
    recipe = fit_to_budget(recipe, imageset, device=args.device, deadline=deadline, say=say)
    result = train(
        imageset,
        args.out,
        recipe,
        device=args.device,
        deadline=deadline,
        resume=args.resume,
        say=say,
    )
    # Only such images can be handed in.
    following = "zip" if imageset.images.shape[1:] == (SIDE_PX, SIDE_PX, 3) else "sample"
    say(
        f"{args.out}: {result.images:,} images, stopped by {result.stopped_by}; "
        f"next: doggan {following} {args.out}"
    )
    return {"run": str(args.out), **asdict(result)}, stop_code(result.stopped_by, args.out, say)
