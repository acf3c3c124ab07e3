"""A night's run survives: another process in its folder, a damaged checkpoint, a divergence."""

import itertools
import random
import signal
import sys
import warnings

import pytest
import torch

from conftest import saved_tensors
from doggan.gan import trainer
from doggan.gan.checkpoint import read_last_checkpoint
from doggan.gan.history import read_history
from doggan.gan.losses import BinaryCrossEntropy
from doggan.gan.recorder import MOST_GRIDS, thin_out
from doggan.gan.schedule import MOST_SLOWDOWNS
from doggan.gan.trainer import train
from doggan.pipeline import Job, run_competition
from doggan.recipe import with_value
from doggan.support import lock
from doggan.support.deadline import Deadline
from doggan.support.errors import InputError, NonFiniteLossError
from doggan.support.lock import held
from processes import PATIENCE_SECONDS, started, wait_until

HOLD = (
    "import sys, time; from pathlib import Path; from doggan.support.lock import held\n"
    "with held(Path(sys.argv[1])): Path(sys.argv[2]).touch(); time.sleep(600)"
)


def hold(folder):
    with held(folder):
        pass


def test_a_folder_is_held_by_one_process_and_by_none_once_it_was_killed(tmp_path):
    folder = tmp_path / "run"
    with started([sys.executable, "-c", HOLD, folder, tmp_path / "ready"]) as process:
        wait_until((tmp_path / "ready").exists, process)
        with pytest.raises(InputError, match=r"another process writes to .*run; wait for it"):
            hold(folder)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_SECONDS)
    with held(folder), held(folder):
        pass
    assert list(folder.iterdir()) == []


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match=r"cannot be locked .*: see that nobody else writes to it"):
        hold(tmp_path)


def test_a_second_training_and_a_second_run_are_refused(tiny_set, tiny_recipe, tmp_path, photos):
    folder = tmp_path / "run"
    with started([sys.executable, "-c", HOLD, folder, tmp_path / "ready"]) as process:
        wait_until((tmp_path / "ready").exists, process)
        with pytest.raises(InputError, match="another process writes to"):
            train(tiny_set, folder, tiny_recipe)
        job = Job(sources=[photos], folder=folder, recipe=tiny_recipe, deadline=Deadline(None))
        with pytest.raises(InputError, match="another process writes to"):
            run_competition(job)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:1000])


def poison(path):
    """Whole, and of a training that has diverged."""
    content = torch.load(path, weights_only=True)
    next(iter(content["generator"].values())).fill_(float("nan"))
    torch.save(content, path)


def remove(path):
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (cut_short, "is not a readable checkpoint"),
        (poison, "holds numbers that are not finite"),
        (remove, "it does not exist"),
    ],
)
def test_a_damaged_checkpoint_has_a_predecessor(
    tiny_set, tiny_recipe, tmp_path, capsys, damage, why
):
    train(tiny_set, tmp_path / "whole", with_value(tiny_recipe, "train.images", 96))
    folder = tmp_path / "run"
    train(tiny_set, folder, tiny_recipe)
    damage(folder / "checkpoint.pt")
    content, path, _ = read_last_checkpoint(folder)
    assert path == folder / "checkpoint-previous.pt"
    assert content["images_seen"] == 32
    capsys.readouterr()
    train(tiny_set, folder, with_value(tiny_recipe, "train.images", 96), resume=True)
    said = capsys.readouterr().err
    assert "goes on from" in said
    assert "checkpoint-previous.pt, at 32 images" in said
    assert why in said
    # Nothing is lost but what came after it.
    pairs = zip(saved_tensors(folder), saved_tensors(tmp_path / "whole"), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert [row["images"] for row in read_history(folder)] == [32, 64, 96]
    assert read_last_checkpoint(folder)[1:] == (folder / "checkpoint.pt", "")


def test_where_a_file_has_one_name_alone_the_checkpoint_is_moved(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    def refuse(*arguments):
        raise PermissionError("hard links")

    monkeypatch.setattr("os.link", refuse)
    train(tiny_set, tmp_path / "run", tiny_recipe)
    for name, images in (("checkpoint.pt", 64), ("checkpoint-previous.pt", 32)):
        content = torch.load(tmp_path / "run" / name, weights_only=True)
        assert content["images_seen"] == images


def diverging(at):
    """A generator's loss that is no number at these calls, counted over all attempts."""
    whole, calls = BinaryCrossEntropy.generator_loss, []

    def loss(*arguments):
        calls.append(1)
        return whole(*arguments) * (float("nan") if len(calls) in at else 1)

    return loss


def test_a_training_that_diverges_goes_back_and_on_with_lower_rates(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr(trainer, "LOG_STEPS", 1)
    monkeypatch.setattr(BinaryCrossEntropy, "generator_loss", diverging({6, 8}))
    said = []
    result = train(tiny_set, tmp_path / "run", tiny_recipe, say=said.append)
    assert (result.images, result.stopped_by) == (64, "images")
    assert len(said) == 2
    assert "at 32 images, and on with 0.5 of the recipe's learning rates (1 of 3 times)" in said[0]
    assert "0.25 of the recipe's learning rates (2 of 3 times)" in said[1]
    content = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert content["slowdowns"] == 2
    rate = content["generator_optimizer"]["param_groups"][0]["lr"]
    assert rate == pytest.approx(tiny_recipe.train.learning_rate_generator / 4)
    assert all(tensor.isfinite().all() for tensor in saved_tensors(tmp_path / "run"))


def test_after_the_third_time_it_gives_up_and_the_next_session_counts_on(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr(trainer, "LOG_STEPS", 1)
    monkeypatch.setattr(BinaryCrossEntropy, "generator_loss", diverging(range(6, 1000)))
    said = []
    with pytest.raises(NonFiniteLossError, match="after 32 images"):
        train(tiny_set, tmp_path / "run", tiny_recipe, say=said.append)
    assert len(said) == MOST_SLOWDOWNS
    content, _, _ = read_last_checkpoint(tmp_path / "run")
    assert (content["images_seen"], content["slowdowns"]) == (32, MOST_SLOWDOWNS)


def diverge_from(step):
    return diverging(range(step, 10_000))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_competition_that_diverges_delivers_what_it_had(
    photos, tiny_recipe, tmp_path, monkeypatch, seed
):
    monkeypatch.setattr(trainer, "LOG_STEPS", 1)
    step = random.Random(seed).randint(5, 60)
    monkeypatch.setattr(BinaryCrossEntropy, "generator_loss", diverge_from(step))
    lines = []
    job = Job(
        sources=[photos],
        folder=tmp_path / "run",
        recipe=with_value(tiny_recipe, "train.images", 512),
        deadline=Deadline(None),
        judge="none",
        say=lines.append,
    )
    result = run_competition(job)
    assert result.training.stopped_by == "divergence"
    assert result.submission.valid
    assert any(
        "what follows takes the generator that was saved before it" in line for line in lines
    )


def test_grids_of_a_long_run_are_thinned_out_evenly(tmp_path):
    total = 5 * MOST_GRIDS
    for number in range(total):
        (tmp_path / f"{number:09d}.png").touch()
        thin_out(tmp_path)
    left = [int(path.stem) for path in sorted(tmp_path.iterdir())]
    assert len(left) < 2 * MOST_GRIDS
    assert (left[0], left[-1]) == (0, total - 1)
    gaps = [after - before for before, after in itertools.pairwise(left)]
    assert max(gaps) <= 3 * total / MOST_GRIDS


def test_nothing_warns_where_a_folder_can_be_locked(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hold(tmp_path)
