"""A run's folder: cleaned of what a kill left, whole when the disk is full, drawn as promised."""

import errno
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from doggan.gan import recorder
from doggan.gan import state as checkpoint
from doggan.gan.checkpoint import read_checkpoint
from doggan.gan.history import read_history
from doggan.gan.recorder import END_SECONDS, Recorder
from doggan.gan.run_folder import CHECKPOINT
from doggan.gan.state import new_state
from doggan.gan.steps import Steps
from doggan.gan.trainer import train
from doggan.recipe import with_value
from doggan.support import files
from doggan.support.deadline import Deadline
from doggan.support.errors import DogganError, InputError
from test_history import make_row

CPU = torch.device("cpu")


@pytest.fixture
def half(tiny_set, tiny_recipe, tmp_path):
    """A run of 32 images of 64."""
    train(tiny_set, tmp_path / "run", with_value(tiny_recipe, "train.images", 32))
    return tmp_path / "run"


def test_what_a_kill_left_is_removed_by_the_next_start(half, tiny_set, tiny_recipe):
    left = [half / ".checkpoint.pt.x.partial", half / "grids" / ".000000032.png.x.partial"]
    for path in left:
        path.write_bytes(b"half")
    folder = half / ".set.x.partial"
    (folder / "inside").mkdir(parents=True)
    mine = half / "notes.partial"
    mine.write_text("no temporary file of ours")
    train(tiny_set, half, tiny_recipe, resume=True)
    assert not any(path.exists() for path in [*left, folder])
    assert mine.exists()


def refuse_space(monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage)


def fill_disk(monkeypatch):
    def save(content, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint.torch, "save", save)


def fail_inside_pytorch(monkeypatch):
    def save(content, path):
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")

    monkeypatch.setattr(checkpoint.torch, "save", save)


@pytest.mark.parametrize(
    ("fail", "words"),
    [
        (refuse_space, r"has 1\.0 kB free"),
        (fill_disk, r"cannot write .*checkpoint\.pt: No space left on device"),
        (fail_inside_pytorch, r"cannot write .*checkpoint\.pt: .*file write failed"),
    ],
)
def test_a_full_disk_keeps_the_last_checkpoint_and_says_what_it_needs(
    half, tiny_set, tiny_recipe, monkeypatch, fail, words
):
    before = (half / "checkpoint.pt").read_bytes()
    with monkeypatch.context() as patch:
        fail(patch)
        with pytest.raises(DogganError, match=words) as error:
            train(tiny_set, half, tiny_recipe, resume=True)
    assert "takes" in str(error.value)
    assert "kB beside the previous one, which is kept: make room, and --resume" in str(error.value)
    assert (half / "checkpoint.pt").read_bytes() == before
    assert not list(half.rglob("*.partial"))
    assert train(tiny_set, half, tiny_recipe, resume=True).images == 64


def test_everything_is_there_from_the_first_moment_on(tiny_set, tiny_recipe, tmp_path, curves):
    state = new_state(tiny_set, tiny_recipe, CPU, "fp32")
    folder = tmp_path / "run"
    run = Recorder(
        folder, tiny_recipe, {"torch": "1", "precision": "fp32"}, tiny_set, state, Deadline(None)
    )
    for name in (
        "recipe.toml",
        "environment.json",
        "progress.gif",
        "curves.png",
        "checkpoint.pt",
        "generator.safetensors",
        "grids/000000000.png",
    ):
        assert (folder / name).stat().st_size > 0
    assert run.closing_seconds > END_SECONDS  # saving and drawing were measured


def test_pictures_of_the_course_are_drawn_as_it_doubles_and_at_the_end(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    drawn = []
    whole = Recorder.draw_course

    def draw_course(self):
        drawn.append(len(self.history.rows))
        whole(self)

    monkeypatch.setattr(Recorder, "draw_course", draw_course)
    recipe = with_value(tiny_recipe, "train.interval_images", 8)
    train(tiny_set, tmp_path / "run", with_value(recipe, "train.images", 72))
    assert drawn == [0, 1, 3, 7, 9]
    drawn.clear()
    train(tiny_set, tmp_path / "run", with_value(recipe, "train.images", 120), resume=True)
    assert drawn == [9, 15]  # the last of the loop is the last of all


@pytest.mark.parametrize(("share", "saved_at"), [(1.0, [16, 32, 48, 64]), (0.0, [16, 64])])
def test_an_interval_goes_on_where_saves_would_take_more_than_their_share(
    tiny_set, tiny_recipe, tmp_path, share, saved_at
):
    recipe = with_value(tiny_recipe, "train.interval_images", 16)
    recipe = with_value(recipe, "train.max_saving_share", share)
    train(tiny_set, tmp_path, recipe)
    rows = read_history(tmp_path)
    assert [row["images"] for row in rows] == saved_at  # none was saved before the first
    assert rows[0]["saving_share"] == 0
    assert all(0 < row["saving_share"] < 1 for row in rows[1:])
    # An interval that went on is measured as one.
    for before, row in pairwise(rows):
        images, seconds = row["images"] - before["images"], row["seconds"] - before["seconds"]
        assert row["images_per_second"] * seconds == pytest.approx(images, rel=0.2)


def test_what_closing_will_take_grows_with_the_slowest_save(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    state, row = new_state(tiny_set, tiny_recipe, CPU, "fp32"), make_row(8, seconds=1.0)
    now, takes = [0.0], {"checkpoint": 5.0, "gif": 3.0}

    def taking(what, whole):
        def slow(*arguments, **options):
            whole(*arguments, **options)
            now[0] += takes[what]

        return slow

    monkeypatch.setattr(recorder, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    for what, name in (("checkpoint", "save_checkpoint"), ("gif", "save_gif")):
        monkeypatch.setattr(recorder, name, taking(what, getattr(recorder, name)))
    run = Recorder(
        tmp_path / "run", tiny_recipe, {"precision": "fp32"}, tiny_set, state, Deadline(None)
    )
    assert run.closing_seconds == 5 + 2 * 3 + END_SECONDS
    takes["checkpoint"], takes["gif"] = 7.0, 4.0
    run.save(state, row)
    takes["checkpoint"] = 1.0
    run.save(state, row)
    assert run.closing_seconds == 7 + 2 * 4 + END_SECONDS


def test_a_second_training_of_a_folder_is_refused_and_the_first_goes_on(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    train(tiny_set, tmp_path / "alone", tiny_recipe, device="cpu")
    folder, step, refused = tmp_path / "run", Steps.train, []

    def meanwhile(*arguments):
        if not refused:
            refused.append(None)
            with pytest.raises(InputError, match="already holds a run; continue it with"):
                train(tiny_set, folder, tiny_recipe, device="cpu")
        return step(*arguments)

    monkeypatch.setattr(Steps, "train", meanwhile)
    train(tiny_set, folder, tiny_recipe, device="cpu")
    assert refused
    contents = [read_checkpoint(path / CHECKPOINT) for path in (folder, tmp_path / "alone")]
    for key in ("generator", "discriminator", "emas", "random", "images_seen"):
        torch.testing.assert_close(contents[0][key], contents[1][key], rtol=0, atol=0)
    assert [row["images"] for row in read_history(folder)] == [32, 64]
