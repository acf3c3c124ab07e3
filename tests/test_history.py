"""The history: what is kept on resume, what TensorBoard reads, curves, and following a run."""

import json
import os
import sys
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import write
from doggan.cli.main import main
from doggan.gan import history as history_module
from doggan.gan.history import (
    PANELS,
    History,
    describe_row,
    follow_history,
    read_history,
    save_curves,
)
from doggan.gan.run_folder import NO_TENSORBOARD, STATS
from doggan.gan.trainer import train
from doggan.recipe import with_value
from doggan.support.errors import InputError
from processes import run

GRID = np.zeros((4, 6, 3), np.uint8)


def make_row(images, **values):
    return {
        "images": images,
        "seconds": 1.0,
        "loss_d": 1.0,
        "loss_g": 2.0,
        "grad_norm_d": 0.5,
        "grad_norm_g": 0.25,
        "accuracy_real": 0.75,
        "accuracy_fake": 0.5,
        "images_per_second": 100.0,
        "stopped_by": "",
    } | values


def write_run(folder, *rows):
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").touch()
    (folder / STATS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_rows_beyond_the_checkpoint_are_dropped_on_resume(tmp_path):
    write_run(tmp_path, *(make_row(images) for images in (10, 20, 30)))
    history = History(tmp_path, images_seen=20)
    assert [row["images"] for row in history.rows] == [10, 20]
    history.append(make_row(30, loss_d=9.0), GRID)
    history.close()
    rows = read_history(tmp_path)
    assert [row["images"] for row in rows] == [10, 20, 30]
    assert rows[-1]["loss_d"] == 9.0


def read_events(folder):
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


def test_tensorboard_reads_scalars_and_the_grid(tmp_path):
    history = History(tmp_path)
    grid = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    history.append(make_row(10, loss_d=1.5), grid)
    history.append(make_row(20, loss_d=0.5), grid)
    history.close()
    events = read_events(tmp_path)
    assert [(item.step, item.value) for item in events.Scalars("loss_d")] == [(10, 1.5), (20, 0.5)]
    assert "stopped_by" not in events.Tags()["scalars"]
    image = events.Images("grid")[0]
    assert (image.step, image.width, image.height) == (10, 7, 5)


def test_tensorboard_forgets_what_was_beyond_the_checkpoint(tmp_path):
    history = History(tmp_path)
    for images in (10, 20, 30):
        history.append(make_row(images, loss_d=1.0), GRID)
    history.close()
    time.sleep(1)  # TensorBoard takes files in the order of the seconds that they were begun in
    resumed = History(tmp_path, images_seen=20)
    resumed.append(make_row(30, loss_d=2.0), GRID)
    resumed.close()
    scalars = read_events(tmp_path).Scalars("loss_d")
    assert [(item.step, item.value) for item in scalars] == [(10, 1.0), (20, 1.0), (30, 2.0)]


def test_tensorflow_is_left_alone_where_it_is_installed(tmp_path):
    package = tmp_path / "stubs" / "tensorflow" / "__init__.py"
    write(package, b"raise AttributeError('built for another NumPy')")
    code = (
        "import numpy, sys; from pathlib import Path; from doggan.gan.history import History; "
        "history = History(Path(sys.argv[1])); "
        "history.append({'images': 32, 'loss_d': 1.0}, numpy.zeros((8, 8, 3), numpy.uint8)); "
        "history.close()"
    )
    variables = os.environ | {"PYTHONPATH": str(tmp_path / "stubs")}
    ran = run([sys.executable, "-c", code, tmp_path], env=variables)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_tensorboard_that_fails_is_a_warning(tmp_path, monkeypatch):
    broken = SimpleNamespace(SummaryWriter=lambda *arguments, **options: 1 / 0)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", broken)
    with pytest.warns(UserWarning, match="no events for TensorBoard are written: ZeroDivision"):
        history = History(tmp_path)
    history.append({"images": 32, "seconds": 1.0}, GRID)
    assert read_history(tmp_path) == [{"images": 32, "seconds": 1.0}]


def test_where_nobody_would_see_events_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setenv(NO_TENSORBOARD, "1")
    History(tmp_path).append({"images": 32}, GRID)
    assert not (tmp_path / "tensorboard").exists()


def test_without_tensorboard_training_works_and_keeps_its_history(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    train(tiny_set, tmp_path / "run", tiny_recipe)
    assert [row["images"] for row in read_history(tmp_path / "run")] == [32, 64]
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_training_measures_every_column_that_is_drawn(tiny_set, tiny_recipe, tmp_path):
    train(tiny_set, tmp_path, tiny_recipe)
    drawn = [column for panel in PANELS for column in panel.curves]
    first, second = read_history(tmp_path)
    assert set(drawn) <= first.keys() & second.keys()
    assert len(set(drawn)) == len(drawn)


def test_curves_are_a_picture_of_the_values(tmp_path):
    def draw(name, losses):
        rows = [make_row(1000 * place, loss_d=loss) for place, loss in enumerate(losses, 1)]
        save_curves(rows, tmp_path / name)
        with Image.open(tmp_path / name) as picture:
            assert picture.format == "PNG"
            return np.asarray(picture.convert("RGB"))

    falling, rising, none = draw("a", [3, 2, 1]), draw("b", [1, 2, 3]), draw("c", [])
    assert falling.shape == (600, 1000, 3)
    assert (falling != rising).any()
    assert (falling != none).any()
    assert len(np.unique(falling.reshape(-1, 3), axis=0)) > 20


def test_a_damaged_history_is_one_sentence(tmp_path):
    for text in ("{", "[1]\n", '{"loss": 1}\n'):
        (tmp_path / STATS).write_text(text)
        with pytest.raises(InputError, match=r"stats\.jsonl cannot be read"):
            read_history(tmp_path)


def test_following_gives_each_row_once_until_the_end(tmp_path):
    rows = [make_row(10), make_row(20), make_row(30, stopped_by="images")]
    write_run(tmp_path)
    written = []

    def sleep(seconds):
        written.append(rows[len(written)])
        write_run(tmp_path, *written)

    assert list(follow_history(tmp_path, sleep)) == rows
    assert list(follow_history(tmp_path, None)) == rows  # ended: nothing to wait for


def watch_with(monkeypatch, *, sleep):
    """In place of waiting, `watch` calls `sleep`."""
    monkeypatch.setattr(history_module, "follow_history", partial(follow_history, sleep=sleep))


def test_watching_a_training_shows_its_intervals(
    tiny_set, tiny_recipe, tmp_path, capsys, monkeypatch
):
    folder = tmp_path / "run"
    train(tiny_set, folder, with_value(tiny_recipe, "train.images", 8))
    (first,) = read_history(folder)
    write_run(folder, first | {"stopped_by": ""})  # as one that goes on has it

    def go_on(seconds):
        assert len(read_history(folder)) == 1, "watch waits for a run that has ended"
        train(tiny_set, folder, tiny_recipe, resume=True)

    watch_with(monkeypatch, sleep=go_on)
    assert main(["watch", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:-1] == [describe_row(row) for row in read_history(folder)]
    assert [line.split()[0] for line in lines[:-1]] == ["8", "32", "64"]
    assert lines[-1] == f"{folder}: stopped by images"


def test_watch_json_is_one_object(tmp_path, capsys):
    rows = [make_row(10), make_row(20, stopped_by="SIGINT")]
    folder = write_run(tmp_path / "run", *rows)
    assert main(["watch", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"run": str(folder), "stopped_by": "SIGINT", "rows": rows}


def test_ctrl_c_leaves_a_watch_quietly(tmp_path, monkeypatch, capsys):
    def interrupt(seconds):
        raise KeyboardInterrupt

    watch_with(monkeypatch, sleep=interrupt)
    folder = write_run(tmp_path / "run", make_row(10))
    assert main(["watch", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (describe_row(make_row(10)) + "\n", "")


def test_watching_what_is_no_run_is_one_line(tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert main(["watch", str(folder)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.splitlines() == [
            f"doggan: {folder} is not a run's folder; doggan train --out makes one"
        ]


def test_skipped_steps_are_shown():
    row = {
        "images": 1000,
        "images_per_second": 10.0,
        "loss_d": 1.0,
        "loss_g": 1.0,
        "accuracy_real": 0.5,
        "accuracy_fake": 0.5,
    }
    assert "skipped" not in describe_row(row | {"skipped_steps": 0})
    assert describe_row(row | {"skipped_steps": 2}).endswith("2 steps skipped by the loss scale")
