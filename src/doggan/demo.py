"""The demonstration: the whole competition on photos that it draws."""

import json
from dataclasses import replace
from pathlib import Path

from doggan.drawn_dogs.photos import draw_sample_dogs
from doggan.gan import run_folder
from doggan.gan.trainer import TrainingResult
from doggan.pipeline import CompetitionResult, Job, run_competition
from doggan.recipe import Recipe, recipe_to_toml
from doggan.scoring.choice import Choice
from doggan.scoring.scorecard import Scorecard
from doggan.submission import check_submission
from doggan.support.errors import DogganError
from doggan.support.files import read_small_file

_MAX_BYTES = 10_000_000  # of a result, which has some 10,000


def run_demo(job: Job, *, photos: int) -> CompetitionResult:
    """The whole competition on so many drawn photos of dogs.

    A finished demonstration of the same recipe is found again, one that was cut off is continued.
    """
    finished = _finished(job.folder, job.recipe)
    if finished:
        job.say(f"{job.folder} holds this demonstration already; remove it to start afresh")
        return finished
    source = job.folder / "photos"
    if not source.exists():
        job.say(f"Drawing {photos} photos of dogs with annotations in {source}")
        draw_sample_dogs(source, photos=photos, seed=job.recipe.seed)
    resume = run_folder.holds_run(job.folder)
    return run_competition(replace(job, sources=[source], resume=resume))


def _finished(folder: Path, recipe: Recipe) -> CompetitionResult | None:
    """The result of an earlier run in `folder`, if it had this recipe and its zip is valid."""
    try:
        same = read_small_file(folder / run_folder.RECIPE, _MAX_BYTES) == recipe_to_toml(recipe)
        content = json.loads(read_small_file(folder / run_folder.RESULT, _MAX_BYTES))
        content["training"] = TrainingResult(**content["training"])
        content["choice"] = content["choice"] and Choice.from_dict(content["choice"])
        content["scorecard"] = content["scorecard"] and Scorecard(**content["scorecard"])
        del content["files"]
        content["folder"] = str(folder)
        content["submission"] = check_submission(
            folder / run_folder.ZIP, count=recipe.submission.count
        )
        result = CompetitionResult(**content)
    except (DogganError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return result if same and result.submission.valid else None
