"""The whole competition under one deadline: build, train, sample, zip, score."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from doggan.data.build import build_imageset, read_reference
from doggan.drawn_dogs.photos import draw_sample_dogs
from doggan.gan.generator_file import load_generator
from doggan.gan.networks import Generator, make_networks
from doggan.gan.pictures import make_grid, save_picture
from doggan.gan.recorder import GRID_COLUMNS, SEEDS
from doggan.gan.run_folder import (
    CHECKPOINT,
    GRID,
    PROGRESS,
    RECIPE,
    RESULT,
    SCORECARD,
    SET,
    ZIP,
    check_run_folder,
)
from doggan.gan.sampler import sample_seeds
from doggan.gan.trainer import TrainingResult, train
from doggan.recipe import Recipe, recipe_to_toml
from doggan.scoring.features import DeadlineExpiredError, extract_features, measure_rate
from doggan.scoring.judges import Judge, load_judge
from doggan.scoring.mifid import score_features
from doggan.scoring.reference import cache_entry
from doggan.scoring.scorecard import Scorecard, score_extracted
from doggan.submission import SubmissionCheck, check_submission, write_submission
from doggan.support.deadline import Deadline, format_duration
from doggan.support.device import choose_device
from doggan.support.errors import DogganError, InputError
from doggan.support.files import write_json

MARGIN = 1.25  # what was measured may take this much longer in the end
MARGIN_SECONDS = 2.0
SCORING_SHARE = 0.4  # scoring may take no more than this part of a time limit
MEASURED_IMAGES = 200

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a whole run left, and where. `scorecard` is None where `unscored` says why."""

    folder: str
    training: TrainingResult
    submission: SubmissionCheck
    scorecard: Scorecard | None
    unscored: str | None
    seconds: float

    def files(self) -> dict[str, str]:
        """What to look at, by what it is."""
        folder = Path(self.folder)
        files = {
            "generated images": folder / GRID,
            "the training as a GIF": folder / PROGRESS,
            "scorecard": folder / SCORECARD,
            "submission": folder / ZIP,
        }
        return {what: str(path) for what, path in files.items() if path.exists()}

    def as_dict(self) -> dict:
        """For --json and for result.json."""
        return asdict(self) | {
            "scorecard": self.scorecard and self.scorecard.as_dict(),
            "files": self.files(),
        }


@dataclass(kw_only=True)
class _Scoring:
    """What the end of a run will need to score it, and how long that will take."""

    judge: Judge
    reference: np.ndarray  # features [N, D]
    reference_name: str
    reference_sha256: str
    whole_frames: bool
    extraction_seconds: float
    mathematics_seconds: float

    @property
    def seconds(self) -> float:
        return self.extraction_seconds + self.mathematics_seconds


def run_competition(
    sources: list[Path],
    folder: Path,
    recipe: Recipe,
    *,
    deadline: Deadline,
    device: str = "auto",
    judge: str = "auto",
    weights: Path | None = None,
    resume: bool = False,
    say: Say = print,
) -> RunResult:
    """From photos to a scored images.zip in `folder`, before the deadline.

    What sampling, zipping and scoring will take is measured first and kept back from training.
    Where time is short scoring is dropped; the zip always comes. `say` gets a line a stage.
    `judge` is one of `load_judge`, or "none" for a run without a score.
    Raises what the stages raise: InputError for unusable input, DogganError for failures.
    """
    if recipe.data.side_px != 64:
        raise InputError(f"data.side_px is {recipe.data.side_px}; the competition wants 64")
    check_run_folder(folder, resume)
    say(f"Building the set from {', '.join(map(str, sources))}")
    imageset = build_imageset(sources, folder / SET, recipe.data, colour=True)
    say(f"  {imageset.describe()}")

    labels = len(imageset.label_names)
    zip_seconds = _measure_zip(folder, recipe, labels, device) * MARGIN + MARGIN_SECONDS
    scoring = _prepare_scoring(
        sources, recipe, judge, weights, device, deadline.minus(zip_seconds), say
    )
    reserve = zip_seconds + (scoring.seconds * MARGIN if isinstance(scoring, _Scoring) else 0)
    say(f"Training; {format_duration(reserve)} are kept back for what follows it")
    training = train(
        imageset, folder, recipe, device=device, deadline=deadline.minus(reserve), resume=resume
    )
    say(f"  stopped by {training.stopped_by} after {training.images:,} images")

    say("Writing the submission")
    images, submission = _write_zip(folder, recipe, device)
    say(f"  {submission.summary()}")
    if training.stopped_by.startswith("SIG"):
        scoring = f"the run was stopped by {training.stopped_by}"
    scorecard, unscored = _score(folder, images, scoring, deadline)
    say(scorecard.summary() if scorecard else f"Not scored: {unscored}")
    result = RunResult(
        folder=str(folder),
        training=training,
        submission=submission,
        scorecard=scorecard,
        unscored=unscored,
        seconds=deadline.elapsed(),
    )
    write_json(folder / RESULT, result.as_dict())
    return result


def run_demo(
    folder: Path,
    recipe: Recipe,
    *,
    photos: int,
    deadline: Deadline,
    device: str = "auto",
    judge: str = "auto",
    say: Say = print,
) -> RunResult:
    """The whole competition on drawn dogs, in `folder`.

    A finished demonstration of the same recipe is found again, one that was cut off is continued.
    """
    finished = _finished(folder, recipe)
    if finished:
        say(f"{folder} holds this demonstration already; remove it to start afresh")
        return finished
    source = folder / "photos"
    if not source.exists():
        say(f"Drawing {photos} photos of dogs with annotations in {source}")
        draw_sample_dogs(source, photos=photos, seed=recipe.seed)
    resume = (folder / CHECKPOINT).exists()
    return run_competition(
        [source],
        folder,
        recipe,
        deadline=deadline,
        device=device,
        judge=judge,
        resume=resume,
        say=say,
    )


def _finished(folder: Path, recipe: Recipe) -> RunResult | None:
    """The result of an earlier run in `folder`, if it had this recipe and its zip is valid."""
    try:
        same = (folder / RECIPE).read_text("utf-8") == recipe_to_toml(recipe)
        content = json.loads((folder / RESULT).read_text("utf-8"))
        content["training"] = TrainingResult(**content["training"])
        content["scorecard"] = content["scorecard"] and Scorecard(**content["scorecard"])
        del content["files"]
        count = recipe.submission.count
        content["submission"] = check_submission(folder / ZIP, count=count)
        result = RunResult(**content)
    except (DogganError, OSError, ValueError, KeyError, TypeError):
        return None
    return result if same and result.submission.valid else None


def sample_grid(generator: Generator, truncation: float, path: Path) -> None:
    """Writes the grid of the first seeds."""
    images = np.concatenate(list(sample_seeds(generator, SEEDS, truncation)))
    save_picture(make_grid(images, GRID_COLUMNS), path)


def _measure_zip(folder: Path, recipe: Recipe, label_count: int, device: str) -> float:
    """Seconds that sampling, encoding, writing and checking the whole zip will take."""
    count = min(MEASURED_IMAGES, recipe.submission.count)
    generator, _ = make_networks(
        recipe.networks, side=64, channels=3, label_count=label_count, seed=recipe.seed
    )
    generator = generator.eval().to(choose_device(device))
    random = np.random.default_rng(0)

    def noise() -> Iterator[np.ndarray]:
        # What an untrained generator makes compresses too well to stand for trained images.
        for batch in sample_seeds(generator, range(count), truncation=1.0):
            yield random.integers(0, 256, batch.shape, np.uint8)

    with tempfile.TemporaryDirectory(dir=folder, prefix=".measure.", suffix=".partial") as scratch:
        next(noise())  # the first batch pays for what is set up once
        started = time.perf_counter()
        write_submission(noise(), Path(scratch) / "zip", count=count)
        return (time.perf_counter() - started) * recipe.submission.count / count


def _prepare_scoring(
    sources: list[Path],
    recipe: Recipe,
    judge_name: str,
    weights: Path | None,
    device: str,
    deadline: Deadline,
    say: Say,
) -> _Scoring | str:
    """Extracts the reference's features, or says why there will be no score."""
    if judge_name == "none":
        return "no judge was chosen"
    count = recipe.submission.count
    if count < 2:
        return "a score needs 2 images or more"
    judge = load_judge(judge_name, device=choose_device(device), weights=weights)
    if judge.notice:
        say(f"  {judge.notice}")
    images, name, whole_frames = read_reference(sources)
    if len(images) < 2:
        return "a score needs 2 reference images or more"
    entry = cache_entry(images, judge, say=say)
    reference = entry.read()
    rate = measure_rate(judge, side=64)
    extraction = count / rate
    to_judge = count if reference is not None else len(images) + count
    needed = to_judge / rate * MARGIN
    if needed > SCORING_SHARE * deadline.remaining():
        return (
            f"{judge.name} would take {format_duration(needed)} for {to_judge:,} "
            f"images, of {format_duration(deadline.remaining())} left"
        )
    if reference is None:
        say(f"Looking at {len(images):,} reference images with {judge.name}")
        started = time.perf_counter()
        reference = extract_features(images, judge, label="reference")
        extraction = (time.perf_counter() - started) / len(images) * count
        entry.write(reference)
    else:
        say(f"The features of {len(images):,} reference images are at hand from an earlier score")
    return _Scoring(
        judge=judge,
        reference=reference,
        reference_name=name,
        reference_sha256=entry.images_sha256,
        whole_frames=whole_frames,
        extraction_seconds=extraction,
        mathematics_seconds=_measure_mathematics(reference, count, judge.eps),
    )


def _measure_mathematics(reference: np.ndarray, count: int, eps: float) -> float:
    """Seconds from features to numbers, on random features of the same shape."""
    random = np.random.default_rng(0).random((count, reference.shape[1]), dtype=np.float32)
    started = time.perf_counter()
    score_features(random, reference, eps)
    return time.perf_counter() - started


def _write_zip(folder: Path, recipe: Recipe, device: str) -> tuple[np.ndarray, SubmissionCheck]:
    """Writes grid.png and images.zip; returns the images, [count, 64, 64, 3] uint8, and a check."""
    generator, _ = load_generator(folder, choose_device(device))
    truncation, count = recipe.submission.truncation, recipe.submission.count
    sample_grid(generator, truncation, folder / GRID)
    images = np.empty((count, 64, 64, 3), np.uint8)

    def keep() -> Iterator[np.ndarray]:
        start = 0
        for batch in sample_seeds(generator, range(count), truncation):
            images[start : start + len(batch)] = batch
            start += len(batch)
            yield batch

    return images, write_submission(keep(), folder / ZIP, count=count)


def _score(
    folder: Path, images: np.ndarray, scoring: _Scoring | str, deadline: Deadline
) -> tuple[Scorecard | None, str | None]:
    """Writes scorecard.json and returns the Scorecard, or the reason why there is none."""
    # A scorecard of an earlier part of the run would belong to other images.
    (folder / SCORECARD).unlink(missing_ok=True)
    if isinstance(scoring, str):
        return None, scoring
    started = time.perf_counter()
    try:
        features = extract_features(
            images,
            scoring.judge,
            deadline=deadline.minus(scoring.mathematics_seconds),
            label="generated",
        )
        scorecard = score_extracted(
            features,
            scoring.reference,
            scoring.judge,
            reference_name=scoring.reference_name,
            reference_sha256=scoring.reference_sha256,
            whole_frames=scoring.whole_frames,
            seconds=time.perf_counter() - started,
        )
    except DeadlineExpiredError:
        return None, (
            f"the time limit came, and scoring takes {format_duration(scoring.seconds)} here; "
            f"doggan score {folder / 'images.zip'} makes up for it"
        )
    except InputError as error:  # such as images that are all alike: the zip stands all the same
        return None, str(error)
    write_json(folder / SCORECARD, scorecard.as_dict())
    return scorecard, None
