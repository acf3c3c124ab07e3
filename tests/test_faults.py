"""What breaks in the night, one fault each: nothing is lost but what came after the last save."""

import contextlib
import fcntl
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from conftest import saved_tensors
from doggan.cli.main import main
from doggan.data import photos as photos_module
from doggan.data.imageset import open_imageset
from doggan.gan import recorder, rival, trainer
from doggan.gan.checkpoint import read_last_checkpoint
from doggan.gan.distributed import launch
from doggan.gan.history import History, read_history
from doggan.gan.losses import BinaryCrossEntropy
from doggan.gan.pictures import save_gif
from doggan.gan.rollback import TrainingResult
from doggan.gan.run_folder import holds_run
from doggan.gan.trainer import train
from doggan.recipe import with_value
from doggan.support import threads
from doggan.support.deadline import Deadline
from doggan.support.errors import DogganError, InputError
from doggan.support.files import atomic_folder, write_text
from doggan.support.leftovers import lock, restore_folder
from doggan.support.lock import held
from doggan.support.part_file import PartFile
from doggan.support.threads import map_ahead
from processes import PATIENCE_SECONDS, none_left, started, wait_until


def losing(what, at):
    """A generator's loss that calls `what` at this call of all, and is no number from there on."""
    whole, calls = BinaryCrossEntropy.generator_loss, []

    def loss(*arguments):
        calls.append(1)
        if len(calls) == at:
            what()
        return whole(*arguments) * (float("nan") if len(calls) >= at else 1)

    return loss


def test_a_signal_in_the_window_of_a_divergence_ends_the_training(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    def terminate():
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(BinaryCrossEntropy, "generator_loss", losing(terminate, 6))
    said = []
    result = train(tiny_set, tmp_path / "run", tiny_recipe, say=said.append)
    assert (result.images, result.stopped_by) == (32, "SIGTERM")
    assert len(said) == 1
    assert "it was to end then" in said[0]
    assert all(tensor.isfinite().all() for tensor in saved_tensors(tmp_path / "run"))


def test_a_deadline_in_the_window_of_a_divergence_ends_the_training(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    now = [0.0]

    def pass_by():
        now[0] += 1_000.0

    monkeypatch.setattr(BinaryCrossEntropy, "generator_loss", losing(pass_by, 6))

    def clock():
        now[0] += 0.001
        return now[0]

    deadline = Deadline(900.0, clock)
    result = train(tiny_set, tmp_path / "run", tiny_recipe, deadline=deadline, say=str)
    assert (result.images, result.stopped_by) == (32, "time limit")


def test_a_lost_gpu_is_one_line_and_the_next_session_goes_on(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    def lose():
        raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be")

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(BinaryCrossEntropy, "generator_loss", losing(lose, 6))
        with pytest.raises(DogganError, match=r"the GPU failed .*checkpoint\.pt .*--resume"):
            train(tiny_set, folder, tiny_recipe)
    assert train(tiny_set, folder, tiny_recipe, resume=True).images == 64


def test_what_fails_ends_the_history_and_draws_nothing(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    def fail():
        raise ZeroDivisionError

    ended, drawn = [], []
    monkeypatch.setattr(History, "close", lambda self: ended.append(self))
    monkeypatch.setattr(recorder, "save_curves", lambda rows, path: drawn.append(len(rows)))
    monkeypatch.setattr(BinaryCrossEntropy, "generator_loss", losing(fail, 6))
    with pytest.raises(ZeroDivisionError):
        train(tiny_set, tmp_path / "run", tiny_recipe)
    assert len(ended) == 1
    assert drawn[-1] == 1  # after the first interval


@pytest.fixture
def by_torchrun(monkeypatch):
    """This process counts as the only one of those that torchrun started."""
    monkeypatch.setenv("WORLD_SIZE", "1")


HOLD = (
    "import sys, time; from pathlib import Path; from doggan.support.lock import held\n"
    "with held(Path(sys.argv[1])): Path(sys.argv[2]).touch(); time.sleep(600)"
)


def test_under_torchrun_a_folder_is_held_and_memory_is_asked_for(
    tiny_set, tiny_recipe, tmp_path, by_torchrun
):
    huge = with_value(tiny_recipe, "train.batch_size", 2**40)
    with pytest.raises(InputError, match="lower networks"):
        train(tiny_set, tmp_path / "run", huge)
    folder = tmp_path / "run"
    with started([sys.executable, "-c", HOLD, folder, tmp_path / "ready"]) as process:
        wait_until((tmp_path / "ready").exists, process)
        with pytest.raises(InputError, match="another process writes to"):
            train(tiny_set, folder, tiny_recipe)


def diverge_in_one(set_folder, folder, recipe):
    """Trains as torchrun would; the second process's loss is no number once."""
    torch.set_num_threads(1)
    trainer.LOG_STEPS = 1
    whole, calls = BinaryCrossEntropy.generator_loss, []

    def loss(*arguments):
        calls.append(1)
        bad = os.environ["RANK"] == "1" and len(calls) == 6
        return whole(*arguments) * (float("nan") if bad else 1)

    BinaryCrossEntropy.generator_loss = loss
    said = []
    train(open_imageset(set_folder), folder, recipe, device="cpu", say=said.append)
    write_text(folder / f"said-{os.environ['RANK']}", "\n".join(said))


@pytest.mark.slow
def test_under_torchrun_all_go_back_where_one_diverges(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = tmp_path / "run"
    with none_left():
        launch(2, diverge_in_one, tiny_set.folder, folder, tiny_recipe)
    assert read_history(folder)[-1]["images"] == 64
    assert read_last_checkpoint(folder)[0]["slowdowns"] == 1
    assert "goes back to" in (folder / "said-0").read_text()
    assert (folder / "said-1").read_text() == ""


ORPHAN = """
import multiprocessing, sys, time
from pathlib import Path
from doggan.support.signals import stop_request, stop_without_parent

def work(folder):
    with stop_request() as stop:
        stop_without_parent()
        (folder / "works").touch()
        while not stop:
            time.sleep(0.05)
        (folder / stop.name).touch()

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    multiprocessing.get_context("spawn").Process(target=work, args=(folder,)).start()
    time.sleep(600)
"""


def test_a_process_ends_cleanly_once_its_parent_was_killed(tmp_path):
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    with started([sys.executable, script, tmp_path]) as process:
        wait_until((tmp_path / "works").exists, process)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_SECONDS)
        until = time.monotonic() + PATIENCE_SECONDS
        while not (tmp_path / "SIGTERM").exists():
            assert time.monotonic() < until
            time.sleep(0.05)


def test_no_more_results_wait_than_may(monkeypatch):
    monkeypatch.setattr(threads, "MOST_AHEAD", 4)
    begun = []
    with ThreadPoolExecutor(2) as pool:
        found = map_ahead(pool, lambda item: begun.append(item) or item, range(100))
        assert next(found) == 0
        assert len(begun) <= 5
        assert list(found) == list(range(1, 100))


def test_one_large_photo_is_held_at_a_time(monkeypatch, photos):
    monkeypatch.setattr(photos_module, "LARGE_PHOTO_PIXELS", 96 * 80 - 1)
    data = next((photos / "Images").rglob("*.jpg")).read_bytes()
    second = threading.Thread(target=photos_module.decode_photo, args=(data,), daemon=True)
    with contextlib.ExitStack() as stack:
        photos_module.open_photo(data, stack)
        second.start()
        second.join(0.2)
        assert second.is_alive()
    second.join(PATIENCE_SECONDS)
    assert not second.is_alive()


def test_pipes_in_place_of_files_end_in_no_wait(tmp_path, tiny_set, tiny_recipe):
    folder = tmp_path / "run"
    folder.mkdir()
    os.mkfifo(folder / ".lock")
    with pytest.raises(InputError, match=r"\.lock is not a regular file"), held(folder):
        pass
    os.mkfifo(tmp_path / "x.tar.part")
    with pytest.raises(InputError, match=r"x\.tar\.part is not a regular file"):
        PartFile(tmp_path / "x.tar", "http://127.0.0.1/x", None, None)
    os.mkfifo(tmp_path / "y.tar.part.json")
    (tmp_path / "y.tar.part").write_bytes(b"begun")
    assert PartFile(tmp_path / "y.tar", "http://127.0.0.1/y", None, None).offset == 0
    (folder / ".lock").unlink()
    (folder / "grids").mkdir()
    os.mkfifo(folder / "grids" / "000000001.png")
    assert train(tiny_set, folder, tiny_recipe).images == 64


def test_a_note_of_a_part_that_nests_without_end_is_none(tmp_path):
    (tmp_path / "x.part").write_bytes(b"begun")
    (tmp_path / "x.part.json").write_text("[" * 90_000)
    assert PartFile(tmp_path / "x", "http://127.0.0.1/x", None, None).offset == 0


def test_grids_that_lie_elsewhere_are_left_alone(tiny_set, tiny_recipe, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "grids").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="grids is a link"):
        train(tiny_set, tmp_path / "run", tiny_recipe)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_frame_is_read_as_what_a_run_writes(tmp_path):
    (tmp_path / "000000001.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(OSError, match="cannot identify"):
        save_gif([tmp_path / "000000001.png"], tmp_path / "x.gif")


def test_a_run_with_the_previous_checkpoint_alone_is_one(tmp_path):
    assert not holds_run(tmp_path)
    (tmp_path / "checkpoint-previous.pt").touch()
    assert holds_run(tmp_path)


def test_a_deadline_of_months_is_waited_for_as_far_as_a_system_can_count(monkeypatch, tmp_path):
    joined = []
    process = SimpleNamespace(
        join=lambda seconds=0: joined.append(seconds), terminate=str, kill=str, exitcode=0
    )
    ended = TrainingResult(images=1, seconds=1.0, stopped_by="images")
    monkeypatch.setattr(rival, "start_rival", lambda *arguments: process)
    monkeypatch.setattr(rival, "train_to_an_end", lambda *arguments, **options: ended)
    imageset = SimpleNamespace(folder=tmp_path)
    for seconds in (100 * 86_400, None):
        options = {"deadline": Deadline(seconds), "say": str}
        rival.train_with_rival(imageset, tmp_path, None, 1, **options)
    assert 0 < max(joined) * 1000 < 2**31


def test_what_kills_left_goes_with_the_next_write(tmp_path):
    (tmp_path / ".x.json.abc.partial").touch()
    (tmp_path / ".x.json.def.partial").mkdir()
    (tmp_path / ".y.json.abc.partial").touch()  # of another file
    write_text(tmp_path / "x.json", "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".y.json.abc.partial", "x.json"]


def test_what_another_process_writes_stays(tmp_path):
    partial = tmp_path / ".x.json.abc.partial"
    with partial.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_text(tmp_path / "x.json", "1")
        assert partial.exists()
    write_text(tmp_path / "x.json", "2")
    assert not partial.exists()


def test_a_folder_whose_swap_was_cut_gets_its_name_back(tmp_path):
    folder, temporary = tmp_path / "set", tmp_path / ".set.abc.partial"
    previous = tmp_path / ".set.abc.partial.previous"
    previous.mkdir()
    (previous / "old").touch()
    temporary.mkdir()
    handle = os.open(temporary, os.O_RDONLY)
    assert lock(handle)
    restore_folder(folder)  # another process is between the two steps
    assert not folder.exists()
    os.close(handle)
    with pytest.raises(ZeroDivisionError), atomic_folder(folder):
        raise ZeroDivisionError
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_set_whose_swap_was_cut_is_opened(tiny_set):
    folder = tiny_set.folder
    folder.rename(folder.with_name(f".{folder.name}.abc.partial.previous"))
    assert len(open_imageset(folder)) == len(tiny_set)


def test_the_commands_end_with_1_where_the_gpu_fails(tmp_path, photos, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr("doggan.data.build.build_imageset", fail)
    assert main(["build", str(photos), "--out", str(tmp_path / "set")]) == 1
    assert "doggan: the GPU failed (CUDA error" in capsys.readouterr().err
