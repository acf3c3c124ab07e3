"""The whole competition under one deadline: build, train, sample, zip, score."""

import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from doggan.competition import SIDE_PX
from doggan.data.build import build_imageset
from doggan.gan import run_folder
from doggan.gan.averages import load_averages
from doggan.gan.budget import fit_to_budget
from doggan.gan.entry import measure_entry, write_entry
from doggan.gan.generator_file import find_generator, save_generator
from doggan.gan.history import last_row
from doggan.gan.memory import require_memory
from doggan.gan.rival import idle_gpu, rival_of, train_with_rival
from doggan.gan.trainer import TrainingResult
from doggan.recipe import Recipe, with_value
from doggan.scoring.choice import (
    Choice,
    choose_generator,
    images_to_judge,
    seconds_to_choose,
)
from doggan.scoring.judges.judge import load_judge
from doggan.scoring.plan import MARGIN, NoScoreError, ScoringPlan, plan_scoring
from doggan.scoring.reference import read_reference
from doggan.scoring.scorecard import Scorecard
from doggan.submission import SubmissionCheck
from doggan.support.deadline import Deadline, format_duration
from doggan.support.device import choose_device
from doggan.support.errors import DogganError, InputError, is_out_of_memory
from doggan.support.files import write_json
from doggan.support.lock import held

NO_JUDGE = "no judge was chosen"
MARGIN_SECONDS = 2.0  # beside MARGIN, for what follows training


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done, and where. `say` gets a line a stage.

    `judge` is one of `load_judge`, or "none" for a run without a score; `weights` are the judge's.
    A demonstration draws its own `sources`.
    """

    folder: Path
    recipe: Recipe
    deadline: Deadline
    sources: list[Path] = field(default_factory=list)
    device: str = "auto"
    judge: str = "auto"
    weights: Path | None = None
    resume: bool = False
    say: Callable[[str], None] = print

    def __post_init__(self):
        side = self.recipe.data.side_px
        if side != SIDE_PX:
            raise InputError(f"data.side_px is {side}; the competition wants {SIDE_PX}")


@dataclass(frozen=True, kw_only=True)
class CompetitionResult:
    """What a whole run left, and where. `scorecard` is None where `unscored` says why, `choice`
    where the recipe's own average and truncation were taken."""

    folder: str
    training: TrainingResult
    choice: Choice | None
    submission: SubmissionCheck
    scorecard: Scorecard | None
    unscored: str | None
    seconds: float

    def files(self) -> dict[str, str]:
        """What to look at, by what it is."""
        names = {
            "generated images": run_folder.GRID,
            "the training as a GIF": run_folder.PROGRESS,
            "scorecard": run_folder.SCORECARD,
            "submission": run_folder.ZIP,
        }
        paths = {what: Path(self.folder, name) for what, name in names.items()}
        return {what: str(path) for what, path in paths.items() if path.exists()}

    def as_dict(self) -> dict:
        """For --json."""
        return asdict(self) | {
            "scorecard": self.scorecard and self.scorecard.as_dict(),
            "files": self.files(),
        }

    def write(self) -> None:
        """Writes result.json; it names files as they lie beside it, as a folder may be moved."""
        check = {**self.as_dict()["submission"], "path": run_folder.ZIP}
        files = {what: Path(path).name for what, path in self.files().items()}
        here = {"folder": ".", "submission": check, "files": files}
        write_json(Path(self.folder, run_folder.RESULT), self.as_dict() | here)


def run_competition(job: Job) -> CompetitionResult:
    """From photos to a scored images.zip in the job's folder, before its deadline.

    What sampling, zipping and scoring will take is measured first and kept back from training.
    Where time is short nothing is chosen, and then fewer images are scored; the zip always comes.
    Raises what the stages raise: InputError for unusable input, DogganError for failures.
    """
    run_folder.check_run_folder(job.folder, job.resume)
    with held(job.folder):
        return _run(job)


def _run(job: Job) -> CompetitionResult:
    folder, recipe, deadline, say = job.folder, job.recipe, job.deadline, job.say
    say(f"Building the set from {', '.join(map(str, job.sources))}")
    imageset = build_imageset(job.sources, folder / run_folder.SET, recipe.data, colour=True)
    say(f"  {imageset.describe()}")
    require_memory(imageset, recipe, choose_device(job.device), recipe.train.processes or 1)
    recipe = fit_to_budget(recipe, imageset, device=job.device, deadline=deadline, say=say)
    job = replace(job, recipe=recipe)

    # Measure what follows training.
    zipping = measure_entry(recipe, folder, job.device, len(imageset.label_names))
    reserve = zipping * MARGIN + MARGIN_SECONDS
    plan = choice = scorecard = unscored = None
    gpu = idle_gpu(recipe, job.device)
    images_to_choose_by = 0
    try:
        plan = _plan_scoring(job, deadline.minus(reserve))
        reserve += plan.seconds * MARGIN
        if recipe.submission.choose:
            options = (plan, recipe, 1 if gpu is None else 2)
            images_to_choose_by = images_to_judge(*options, deadline.minus(reserve), say)
    except NoScoreError as reason:
        unscored = str(reason)
    choosing = images_to_choose_by and seconds_to_choose(*options, images_to_choose_by) * MARGIN

    if gpu is not None and not images_to_choose_by:
        say(f"  GPU {gpu} stays idle: a rival would need a judge that chooses")
        gpu = None
    say(f"Training; {format_duration(reserve + choosing)} are kept back for what follows it")
    until = deadline.minus(reserve + choosing)
    training, rival = train_with_rival(
        imageset,
        folder,
        recipe,
        gpu,
        device=job.device,
        deadline=until,
        resume=job.resume,
        say=say,
    )
    say(f"  stopped by {training.stopped_by} after {training.images:,} images")
    if not find_generator(folder).exists():  # a signal may come before there is one
        raise DogganError(f"stopped by {training.stopped_by} before there was a generator")

    if training.stopped_by.startswith("SIG"):
        unscored = f"the run was stopped by {training.stopped_by}"
    elif images_to_choose_by:
        until = deadline.minus(reserve)
        choice = _choose(job, plan, images_to_choose_by, training.images, until, rival)

    say("Writing the submission")
    images, submission = write_entry(folder, job.device)
    say(f"  {submission.summary()}")

    # A scorecard of an earlier part of the run would belong to other images.
    (folder / run_folder.SCORECARD).unlink(missing_ok=True)
    if unscored is None:
        try:
            scorecard = plan.score(images, deadline)
            scorecard.write(folder / run_folder.SCORECARD)
        except NoScoreError as reason:
            unscored = str(reason)
    say(scorecard.summary() if scorecard else f"Not scored: {unscored}")

    result = CompetitionResult(
        folder=str(folder),
        training=training,
        choice=choice,
        submission=submission,
        scorecard=scorecard,
        unscored=unscored,
        seconds=deadline.elapsed(),
    )
    result.write()
    return result


def _plan_scoring(job: Job, deadline: Deadline) -> ScoringPlan:
    """Loads the judge and reads the reference; raises NoScoreError where there will be no score."""
    count = job.recipe.submission.count
    if job.judge == "none":
        raise NoScoreError(NO_JUDGE)
    if count < 2:
        raise NoScoreError("a score needs 2 images or more")
    judge = load_judge(job.judge, device=choose_device(job.device), weights=job.weights)
    if judge.notice:
        job.say(f"  {judge.notice}")
    reference = read_reference(job.sources, say=job.say)
    return plan_scoring(judge, reference, count, deadline, job.say)


def _choose(
    job: Job, plan: ScoringPlan, images: int, seen: int, deadline: Deadline, rival: Path | None
) -> Choice | None:
    """Makes the best average, at its truncation, the run's generator; None where it cannot.

    Those of the run in the folder `rival` compete.
    """
    job.say(f"Choosing the average and the truncation by {images:,} images of each")
    try:
        averages = load_averages(job.folder, job.device)
        rivals = load_averages(rival, job.device) if rival else ()
        choice, generator = choose_generator(averages, job.recipe, plan, images, deadline, rivals)
    # Such as images that are all alike, or no memory left: the zip comes all the same.
    except (InputError, MemoryError, RuntimeError) as error:
        if not isinstance(error, InputError) and not is_out_of_memory(error):
            raise
        job.say(f"  nothing was chosen: {error}")
        return None
    recipe = job.recipe
    if choice.chosen.rival:
        recipe, seen = rival_of(recipe), last_row(rival)["images"]
    recipe = with_value(recipe, "submission.truncation", choice.chosen.truncation)
    save_generator(job.folder, generator, recipe, seen, generator.label_names)
    job.say(textwrap.indent(choice.table(), "  "))
    return choice
