"""`doggan neighbours`: show the generated images closest to a photo."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from doggan.cli.options import Outcome, Say, add_reference, beside, load_judge, made
from doggan.gan.run_folder import NEIGHBOURS, NEIGHBOURS_PAIRS, NEIGHBOURS_PICTURE, ZIP

EXAMPLE = "doggan neighbours images.zip --reference photos"


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("images", metavar="IMAGES", type=Path, help="a zip, folder or built set, or a run's folder")
    add("--count", type=made, default=12, help="how many pairs (default 12)")
    add("--out", type=Path, help="the PNG (default: IMAGES-neighbours.png, or RUN/neighbours.png)")
    add_reference(parser)


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.data.images import load_images
    from doggan.gan.generator_file import is_run
    from doggan.gan.pictures import save_picture
    from doggan.report.neighbours_picture import draw_neighbours, draw_pairs
    from doggan.scoring.neighbours import MAX_PAIRS, find_neighbours
    from doggan.scoring.reference import read_reference
    from doggan.support.files import write_json

    in_run = args.images.is_dir() and is_run(args.images)
    path = beside(args.images, ZIP) if is_run(args.images) else args.images
    images = load_images(path)
    reference = read_reference(args.reference, args.reference_crop)
    found = find_neighbours(images, reference, load_judge(args))
    picture = NEIGHBOURS_PICTURE if in_run else f"{path.absolute().stem}-{NEIGHBOURS_PICTURE}"
    out = args.out or path.absolute().with_name(picture)
    save_picture(draw_neighbours(found, images, reference.images, args.count), out)
    if in_run:  # for the report
        count = min(args.count, MAX_PAIRS)
        pairs = draw_pairs(found, images, reference.images, count)
        save_picture(pairs, args.images / NEIGHBOURS_PAIRS)
        write_json(args.images / NEIGHBOURS, found.as_dict(count))
    say(f"{found.summary(args.count)}\n{out}: the picture")
    return {"picture": str(out), **found.as_dict(args.count)}, 0
