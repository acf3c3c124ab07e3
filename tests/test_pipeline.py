"""The whole competition in miniature: under one deadline, and the zip always comes."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conftest import LOUD, TINY, make_photos
from doggan import pipeline
from doggan.demo import run_demo
from doggan.gan import rival
from doggan.gan.generator_file import load_generator
from doggan.gan.history import read_history
from doggan.gan.recorder import Recorder
from doggan.pipeline import Job, run_competition
from doggan.recipe import load_recipe, with_value
from doggan.scoring import plan, score
from doggan.scoring.features import DeadlineExpiredError
from doggan.submission import check_submission
from doggan.support.deadline import Deadline
from doggan.support.errors import InputError
from processes import none_left

JUDGE = "efficientnet-lite0"
ENDLESS = load_recipe("dogs", [*TINY, LOUD, "train.images=1000000000"])


def silent(line):
    pass


def run(photos, folder, recipe, seconds=120.0, **options):
    return run_competition(make_job(photos, folder, recipe, deadline=Deadline(seconds), **options))


def make_job(photos, folder, recipe, **options):
    job = Job(
        sources=[photos],
        folder=folder,
        recipe=recipe,
        deadline=Deadline(None),
        judge=JUDGE,
        say=silent,
    )
    return replace(job, **options)


def test_photos_become_a_scored_zip(photos, tmp_path, tiny_recipe, curves):
    lines = []
    result = run_competition(make_job(photos, tmp_path / "run", tiny_recipe, say=lines.append))
    folder = tmp_path / "run"
    assert check_submission(folder / "images.zip", count=20).valid
    scorecard = json.loads((folder / "scorecard.json").read_text())
    assert scorecard == result.scorecard.as_dict()
    assert (scorecard["generated_images"], scorecard["reference_images"]) == (20, 12)
    assert "crop 'full'" in scorecard["reference"]
    assert not scorecard["comparable_with_kaggle"]
    # Written down without the folder's path, which may be moved.
    assert str(folder) not in (folder / "result.json").read_text()
    written = json.loads((folder / "result.json").read_text())
    own = {"folder": ".", "submission": written["submission"], "files": written["files"]}
    assert written == result.as_dict() | own
    assert [folder / name for name in written["files"].values()] == [
        Path(path) for path in result.files().values()
    ]
    assert (result.choice.images, len(result.choice.candidates)) == (20, 4)
    assert f"z x {result.choice.chosen.truncation:g}; by the other half" in "\n".join(lines)
    assert all((folder / name).exists() for name in ("grid.png", "progress.gif", "set"))
    assert list(result.files()) == [
        "generated images",
        "the training as a GIF",
        "scorecard",
        "submission",
    ]
    text = "\n".join(lines)
    assert "12 images of 64x64x3" in text
    assert "stopped by images after 64 images" in text
    assert "DOES NOT COMPARE" in text


def test_the_same_seed_gives_the_same_zip(photos, tmp_path, tiny_recipe):
    for name in ("a", "b"):
        run(photos, tmp_path / name, tiny_recipe, seconds=None)  # a choice depends on the time
    zips = [(tmp_path / name / "images.zip").read_bytes() for name in ("a", "b")]
    assert zips[0] == zips[1]


def test_a_second_run_finds_the_references_features(photos, tmp_path, tiny_recipe, monkeypatch):
    labels, cards, lines = [], [], []
    real = plan.extract_features

    def extract(images, judge, *, label=None, **options):
        labels.append(label)
        return real(images, judge, label=label, **options)

    monkeypatch.setattr(plan, "extract_features", extract)
    monkeypatch.setattr(score, "extract_features", extract)
    for name in ("a", "b"):
        result = run_competition(make_job(photos, tmp_path / name, tiny_recipe, say=lines.append))
        cards.append(replace(result.scorecard, seconds=0))
    assert list(filter(None, labels)) == ["reference", "generated", "generated"]
    assert cards[0] == cards[1]
    assert "The features of 12 reference images are at hand from an earlier score" in lines


def test_training_leaves_time_for_what_follows(photos, tmp_path, monkeypatch):
    limit, kept, real = Deadline(8), [], rival.train

    def train(*arguments, deadline, **options):
        kept.append(limit.remaining() - deadline.remaining())
        return real(*arguments, deadline=deadline, **options)

    monkeypatch.setattr(rival, "train", train)
    result = run_competition(make_job(photos, tmp_path / "run", ENDLESS, deadline=limit))
    assert kept[0] > 0.1
    # Other work may slow the end down; a run that heeded no deadline would take hours.
    assert limit.remaining() > -60
    assert result.training.stopped_by == "time limit"
    assert result.scorecard
    assert check_submission(tmp_path / "run" / "images.zip", count=20).valid


@pytest.fixture
def spare_gpu(monkeypatch):
    """An idle GPU, as far as the pipeline is told."""
    monkeypatch.setattr(pipeline, "idle_gpu", lambda recipe, device: 1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with none_left():
        yield


@pytest.mark.slow
def test_a_rival_of_the_next_seed_competes(photos, tmp_path, tiny_recipe, spare_gpu):
    lines, folder = [], tmp_path / "run"
    # Time enough to choose in, however busy the machine is; the training's end is in images.
    result = run(photos, folder, tiny_recipe, seconds=7200.0, say=lines.append)
    assert any("GPU 1 trains a rival" in line for line in lines)
    assert [candidate.rival for candidate in result.choice.candidates] == [False] * 4 + [True] * 4
    assert load_recipe(str(folder / "rival" / "recipe.toml")) == with_value(tiny_recipe, "seed", 1)
    assert read_history(folder / "rival")[-1]["images"] == tiny_recipe.train.images
    _, recipe = load_generator(folder)
    assert recipe.submission.truncation == result.choice.chosen.truncation
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.slow
def test_a_rival_that_fails_leaves_the_run_alone(photos, tmp_path, tiny_recipe, spare_gpu):
    lines, folder = [], tmp_path / "run"
    (folder / "rival" / "checkpoint.pt").mkdir(parents=True)
    result = run(photos, folder, tiny_recipe, seconds=7200.0, say=lines.append)
    assert any("the rival has failed" in line for line in lines)
    assert [candidate.rival for candidate in result.choice.candidates] == [False] * 4
    assert result.scorecard


def test_a_gpu_is_idle_where_one_process_trains_on_two(monkeypatch):
    recipe = load_recipe("dogs")
    assert rival.idle_gpu(recipe, "cpu") is None
    monkeypatch.setattr(rival, "choose_device", lambda device: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert rival.idle_gpu(recipe, "auto") == 1
    assert rival.idle_gpu(with_value(recipe, "train.batch_size", 128), "auto") is None
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert rival.idle_gpu(recipe, "auto") is None


def test_without_time_for_a_score_the_zip_comes_alone(photos, tmp_path, tiny_recipe):
    result = run(photos, tmp_path / "run", tiny_recipe, seconds=0.1)
    assert result.scorecard is None
    assert "would take" in result.unscored
    assert result.training.stopped_by == "time limit"
    # One step makes a generator that differs from grey too little to tell images apart.
    problems = check_submission(tmp_path / "run" / "images.zip", count=20).problems
    assert set(problems) <= {"the same picture twice"}


def test_a_score_that_runs_out_of_time_leaves_the_zip(photos, tmp_path, tiny_recipe, monkeypatch):
    real = score.extract_features

    def extract(images, judge, *, label=None, **options):
        if label == "generated":
            raise DeadlineExpiredError("late")
        return real(images, judge, label=label, **options)

    monkeypatch.setattr(score, "extract_features", extract)
    result = run(photos, tmp_path / "run", tiny_recipe)
    assert "the time limit came, and scoring takes" in result.unscored
    assert check_submission(tmp_path / "run" / "images.zip", count=20).valid
    assert not (tmp_path / "run" / "scorecard.json").exists()


def test_a_score_that_cannot_be_leaves_the_zip(photos, tmp_path, tiny_recipe):
    result = run(photos, tmp_path / "run", with_value(tiny_recipe, "submission.count", 1))
    assert result.unscored == "a score needs 2 images or more"
    assert check_submission(tmp_path / "run" / "images.zip", count=1).valid


def test_one_reference_photo_is_too_few_for_a_score(tmp_path, tiny_recipe):
    photos = make_photos(tmp_path / "photos", count=1)
    result = run(photos, tmp_path / "run", tiny_recipe)
    assert result.unscored == "a score needs 2 reference images or more"


def test_sigterm_still_leaves_a_zip(photos, tmp_path, monkeypatch):
    save, told = Recorder.save, []

    def save_and_be_told_to_stop(*arguments):
        save(*arguments)
        if not told:
            os.kill(os.getpid(), signal.SIGTERM)  # which the next step sees
        told.append(True)

    monkeypatch.setattr(Recorder, "save", save_and_be_told_to_stop)
    result = run(photos, tmp_path / "run", ENDLESS)
    assert result.training.stopped_by == "SIGTERM"
    assert result.unscored == "the run was stopped by SIGTERM"
    assert check_submission(tmp_path / "run" / "images.zip", count=20).valid


def test_a_run_goes_on_where_it_was(photos, tmp_path, tiny_recipe):
    first = run(photos, tmp_path / "run", tiny_recipe)
    longer = with_value(tiny_recipe, "train.images", 96)
    second = run(photos, tmp_path / "run", longer, resume=True)
    straight = run(photos, tmp_path / "straight", longer)
    assert (first.training.images, second.training.images) == (64, 96)
    zips = [(tmp_path / name / "images.zip").read_bytes() for name in ("run", "straight")]
    assert zips[0] == zips[1]
    assert straight.training.images == 96


def test_a_size_that_kaggle_refuses_is_said_first(photos, tmp_path, tiny_recipe):
    with pytest.raises(InputError, match=r"data\.side_px is 32; the competition wants 64"):
        run(photos, tmp_path / "run", with_value(tiny_recipe, "data.side_px", 32))


def test_the_demo_runs_and_is_found_again(tmp_path):
    recipe = load_recipe(
        "demo", ["train.images=64", "train.interval_images=32", "submission.count=20"]
    )
    results, lines = [], []
    job = Job(
        folder=tmp_path / "demo",
        recipe=recipe,
        deadline=Deadline(None),
        judge=JUDGE,
        say=lines.append,
    )
    for _ in range(2):
        results.append(run_demo(job, photos=16))
    assert results[0] == results[1]
    assert results[0].scorecard.reference_images == 16
    assert "holds this demonstration already" in lines[-1]
    # What is incomplete is finished: here the zip is gone, and training has nothing left to do.
    (tmp_path / "demo" / "images.zip").unlink()
    again = run_demo(job, photos=16)
    assert again.scorecard.fid == results[0].scorecard.fid
    assert check_submission(tmp_path / "demo" / "images.zip", count=20).valid
