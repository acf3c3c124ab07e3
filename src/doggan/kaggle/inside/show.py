"""What a run left in the output folder, shown inline by a notebook."""

import base64
import json
from pathlib import Path

from doggan.gan.run_folder import GRID, NEIGHBOURS_PICTURE, RESULT, SCORECARD, ZIP
from doggan.kaggle.inside.inputs import Inputs, input_roots
from doggan.kaggle.inside.judge import HOW_TO, choose_judge
from doggan.kaggle.inside.log import stderr_as_lines
from doggan.kaggle.inside.output import output_folder

_PAIRS = 12


def scorecard() -> object:
    """The score in words, or why there is none, and how to get one."""
    from doggan.pipeline import NO_JUDGE
    from doggan.scoring.scorecard import read_scorecard

    path = output_folder() / SCORECARD
    if path.exists():
        return _text(read_scorecard(path).summary())
    if (output_folder() / GRID).exists() and not (output_folder() / ZIP).exists():
        return _text("Not scored: only images of the competition's size are.")
    try:
        reason = json.loads((output_folder() / RESULT).read_bytes())["unscored"]
    except (OSError, ValueError, LookupError, TypeError):
        reason = "the run did not come to its end"
    return _text(f"Not scored: {reason}. {HOW_TO if reason == NO_JUDGE else ''}")


def picture(name: str) -> object:
    """A picture of the output."""
    from IPython.display import HTML, Image

    path = output_folder() / name
    if not path.exists():
        return _text(f"There is no {path}.")
    if path.suffix == ".gif":  # which no page made by nbconvert shows, as Kaggle's are
        encoded = base64.b64encode(path.read_bytes()).decode()
        return HTML(f'<img alt="{name}" src="data:image/gif;base64,{encoded}">')
    return Image(filename=str(path))


def neighbours(photos: str | None) -> object:
    """The generated images that are nearest to one of the photos, beside it, searched for now."""
    path = output_folder() / ZIP
    if not path.exists():
        return _text(f"There is no {path}.")
    from doggan.data.images import load_images
    from doggan.gan.pictures import save_picture
    from doggan.report.neighbours_picture import draw_neighbours
    from doggan.scoring.judges.judge import load_judge
    from doggan.scoring.neighbours import find_neighbours
    from doggan.scoring.reference import read_reference
    from doggan.support.device import choose_device

    inputs = Inputs(input_roots())
    name, weights = choose_judge(inputs, lambda line: None)  # the run has said it
    if name == "none":
        return _text(f"No network looks for the nearest photos. {HOW_TO}")
    with stderr_as_lines(print):
        judge = load_judge(name, device=choose_device("auto"), weights=weights)
        reference = read_reference([Path(photos) if photos else inputs.find_photos()])
        images = load_images(path)
        found = find_neighbours(images, reference, judge)
    drawn = draw_neighbours(found, images, reference.images, _PAIRS)
    save_picture(drawn, output_folder() / NEIGHBOURS_PICTURE)
    return picture(NEIGHBOURS_PICTURE)


def _text(words: str) -> object:
    from IPython.display import Pretty

    return Pretty(words)
