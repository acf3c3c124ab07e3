"""Training: what it leaves, how it ends, that it can go on, and that it learns."""

import importlib
import itertools
import json
import os
import signal
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import STEADY, in_each_precision, saved_tensors
from doggan import support
from doggan.data.imageset import ImageSet
from doggan.gan import recorder, rollback, trainer
from doggan.gan import state as checkpoint
from doggan.gan.checkpoint import load_checkpoint
from doggan.gan.generator_file import load_generator
from doggan.gan.history import read_history
from doggan.gan.losses import LOSSES, BinaryCrossEntropy
from doggan.gan.recorder import Recorder
from doggan.gan.sampler import sample_seeds
from doggan.gan.state import new_state
from doggan.gan.steps import Steps
from doggan.gan.trainer import train
from doggan.recipe import load_recipe, recipe_from_toml, with_value
from doggan.support.deadline import Deadline
from doggan.support.device import choose_device, choose_precision, set_arithmetic
from doggan.support.errors import DogganError, InputError, NonFiniteLossError

CPU = torch.device("cpu")


def test_a_run_leaves_what_it_promises(tiny_set, tiny_recipe, tmp_path, curves):
    result = train(tiny_set, tmp_path / "run", tiny_recipe)
    folder = tmp_path / "run"
    assert (result.images, result.stopped_by) == (64, "images")
    assert recipe_from_toml((folder / "recipe.toml").read_text(), "x") == tiny_recipe
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    rows = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    assert [row["images"] for row in rows] == [32, 64]
    for row in rows:
        assert row["loss_d"] > 0
        assert 0 <= row["accuracy_real"] <= 1
        assert 0 <= row["accuracy_fake"] <= 1
    grids = sorted(path.name for path in (folder / "grids").iterdir())
    assert grids == ["000000000.png", "000000032.png", "000000064.png"]
    with Image.open(folder / "progress.gif") as gif:
        assert gif.n_frames == 3
    with Image.open(folder / "curves.png") as picture:
        assert min(picture.size) > 300
    assert not [path for path in folder.rglob("*") if path.suffix == ".partial"]


@in_each_precision
def test_resuming_gives_the_same_bytes_as_going_straight(
    tiny_set, tiny_recipe, tmp_path, precision
):
    recipe = with_value(tiny_recipe, "train.precision", precision)
    train(tiny_set, tmp_path / "straight", recipe)
    train(tiny_set, tmp_path / "halves", with_value(recipe, "train.images", 24))
    train(tiny_set, tmp_path / "halves", recipe, resume=True)
    straight, halves = saved_tensors(tmp_path / "straight"), saved_tensors(tmp_path / "halves")
    assert len(straight) == len(halves) > 50
    assert all(torch.equal(a, b) for a, b in zip(straight, halves, strict=True))
    rows = (tmp_path / "halves" / "stats.jsonl").read_text().splitlines()
    assert [json.loads(row)["images"] for row in rows] == [24, 32, 64]


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_training_is_in_the_precision_asked_for(tiny_set, tiny_recipe, tmp_path, precision):
    recipe = with_value(tiny_recipe, "train.precision", precision)
    train(tiny_set, tmp_path, with_value(recipe, "train.images", 8))
    environment = json.loads((tmp_path / "environment.json").read_text())
    expected = "fp32" if precision == "fp32" else choose_precision("auto", choose_device("auto"))
    assert environment["precision"] == expected


def test_deterministic_training_asks_for_it_and_gives_the_same_bits(
    tiny_set, tiny_recipe, tmp_path
):
    recipe = with_value(tiny_recipe, "train.deterministic", True)
    try:
        for name in ("one", "other"):
            train(tiny_set, tmp_path / name, recipe)
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.backends.cudnn.benchmark
    finally:
        set_arithmetic("fp32", deterministic=False)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark
    pairs = zip(saved_tensors(tmp_path / "one"), saved_tensors(tmp_path / "other"), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_an_interval_is_not_begun_when_its_save_leaves_no_time_to_close(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    # A step takes 1 s, a save 10 s, pictures nothing; the deadline is 30 s after the start.
    clock = Clock()
    recipe = with_value(with_value(tiny_recipe, "train.images", 800), "train.interval_images", 64)
    whole = recorder.save_checkpoint, Steps.train_generator

    def save(*arguments, **options):
        whole[0](*arguments, **options)
        clock.now += 10

    def step(*arguments):
        clock.now += 1
        return whole[1](*arguments)

    monkeypatch.setattr(recorder, "save_checkpoint", save)
    monkeypatch.setattr(Recorder, "closing_seconds", 10.0)
    monkeypatch.setattr(Steps, "train_generator", step)
    deadline = Deadline(36.0, clock)
    result = train(tiny_set, tmp_path / "run", recipe, deadline=deadline)
    # 10 s for the first save, 8 for the steps; an interval's save and another would end at 38.
    assert (result.images, result.stopped_by) == (64, "time limit")
    assert clock.now == 10 + 8 + 10 <= 36


def test_a_seed_decides_the_first_weights_and_what_is_drawn(tiny_set, tiny_recipe):
    one, same, other = (
        new_state(tiny_set, with_value(tiny_recipe, "seed", seed), CPU, "fp32")
        for seed in (0, 0, 1)
    )
    for network in ("generator", "discriminator"):
        first, again, changed = (
            [weight for weight in getattr(state, network).parameters() if weight.dim() > 1]
            for state in (one, same, other)
        )
        assert all(map(torch.equal, first, again))
        assert len(first) > 3
        assert not any(map(torch.equal, first, changed))
    first, again, changed = (torch.rand(9, generator=state.random) for state in (one, same, other))
    assert torch.equal(first, again)
    assert not torch.equal(first, changed)


def test_a_seed_decides_the_order_of_the_images_too(tiny_set, tiny_recipe, tmp_path, monkeypatch):
    def new_state_of_seed_0(imageset, recipe, device, precision):
        return new_state(imageset, with_value(recipe, "seed", 0), device, precision)

    monkeypatch.setattr(trainer, "new_state", new_state_of_seed_0)
    recipe = with_value(tiny_recipe, "train.images", 8)
    rows = []
    for name, seed in (("one", 0), ("other", 1)):
        train(tiny_set, tmp_path / name, with_value(recipe, "seed", seed))
        (row,) = read_history(tmp_path / name)
        rows.append((row["loss_d"], row["grad_norm_d"]))
    assert rows[0] != rows[1]


def test_the_deadline_ends_a_run_cleanly(tiny_set, tiny_recipe, tmp_path):
    recipe = with_value(tiny_recipe, "train.images", 10**9)
    result = train(tiny_set, tmp_path / "run", recipe, deadline=Deadline(1.0))
    assert result.stopped_by == "time limit"
    state = new_state(tiny_set, recipe, CPU, "fp32")
    load_checkpoint(tmp_path / "run", state, recipe, tiny_set.sha256)
    assert state.images_seen == result.images >= 8


@pytest.mark.parametrize(
    ("hours", "limit", "stopped_by"), [(1, 3600.0, "images"), (-1, 0.5, "time limit")]
)
def test_a_clock_that_is_set_moves_no_deadline(
    tiny_set, tiny_recipe, tmp_path, monkeypatch, hours, limit, stopped_by
):
    """Set forward by an hour at every look, it ends no run; set back, it keeps none going."""
    looks, now = itertools.count(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600 * hours * next(looks))
    # Loaded anew, so that a clock that is chosen when the module is loaded is the moved one too.
    monkeypatch.setattr(support, "deadline", support.deadline)  # which an import replaces
    monkeypatch.delitem(sys.modules, "doggan.support.deadline")
    fresh = importlib.import_module("doggan.support.deadline")
    recipe = with_value(tiny_recipe, "train.images", 64 if stopped_by == "images" else 6_000)
    recipe = with_value(recipe, "train.interval_images", 20_000)
    result = train(tiny_set, tmp_path / "run", recipe, deadline=fresh.Deadline(limit))
    assert result.stopped_by == stopped_by
    seconds = [row["seconds"] for row in read_history(tmp_path / "run")]
    assert seconds == sorted(seconds)
    assert 0 < seconds[0] <= seconds[-1] == pytest.approx(result.seconds, abs=0.001)
    assert result.seconds < 3600


def test_a_deadline_already_past_still_leaves_a_run(tiny_set, tiny_recipe, tmp_path):
    result = train(tiny_set, tmp_path / "run", tiny_recipe, deadline=Deadline(-5.0))
    assert result.images == 8
    assert load_generator(tmp_path / "run", "cpu")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_cleanly(tiny_set, tiny_recipe, tmp_path, monkeypatch, number):
    recipe = with_value(tiny_recipe, "train.images", 320)
    save, told = Recorder.save, []

    def save_and_be_told_to_stop(*arguments):
        save(*arguments)
        if not told:
            os.kill(os.getpid(), number)
        told.append(True)

    monkeypatch.setattr(Recorder, "save", save_and_be_told_to_stop)
    result = train(tiny_set, tmp_path / "run", recipe)
    assert result.images == 32 + 8  # the step after the first interval was the last
    assert result.stopped_by == number.name
    resumed = with_value(recipe, "train.images", result.images + 8)
    assert train(tiny_set, tmp_path / "run", resumed, resume=True).images == result.images + 8


def test_a_loss_that_is_no_number_stops_before_the_step(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    whole, calls = BinaryCrossEntropy.generator_loss, []

    def loss(*arguments):
        calls.append(1)
        return whole(*arguments) * (float("nan") if len(calls) == 6 else 1)

    monkeypatch.setattr(BinaryCrossEntropy, "generator_loss", loss)
    monkeypatch.setattr(rollback, "MOST_SLOWDOWNS", 0)
    with pytest.raises(NonFiniteLossError, match=r"at step 6, after 40 images.*generator's nan"):
        train(tiny_set, tmp_path / "run", tiny_recipe)
    assert len(calls) < 6 + trainer.LOG_STEPS  # it is looked at with the next line of the log
    state = new_state(tiny_set, tiny_recipe, CPU, "fp32")
    load_checkpoint(tmp_path / "run", state, tiny_recipe, tiny_set.sha256)
    assert state.images_seen == 32
    assert all(tensor.isfinite().all() for tensor in saved_tensors(tmp_path / "run"))


def test_a_run_is_not_overwritten_and_nothing_else_is_resumed(tiny_set, tiny_recipe, tmp_path):
    train(tiny_set, tmp_path / "run", tiny_recipe)
    with pytest.raises(InputError, match="already holds a run; continue it with --resume"):
        train(tiny_set, tmp_path / "run", tiny_recipe)
    with pytest.raises(InputError, match="nothing to resume"):
        train(tiny_set, tmp_path / "other", tiny_recipe, resume=True)
    with pytest.raises(InputError, match="by another recipe"):
        train(tiny_set, tmp_path / "run", with_value(tiny_recipe, "train.beta1", 0.1), resume=True)
    other = ImageSet(
        tiny_set.folder,
        tiny_set.images,
        tiny_set.labels,
        tiny_set.manifest | {"images_sha256": "0"},
    )
    with pytest.raises(InputError, match="on another image set"):
        train(other, tmp_path / "run", tiny_recipe, resume=True)


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch exploded",))


def test_a_checkpoint_that_is_none_is_refused(tiny_set, tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    train(tiny_set, folder, tiny_recipe)
    path = folder / "checkpoint.pt"
    (folder / "checkpoint-previous.pt").unlink()
    whole = path.read_bytes()
    content = torch.load(path, weights_only=True)

    def refused(message):
        with pytest.raises(InputError, match=message):
            train(tiny_set, folder, tiny_recipe, resume=True)

    path.write_bytes(whole[: len(whole) // 2])
    refused("not a readable checkpoint")
    torch.save(content | {"bomb": Bomb()}, path)
    refused("not a readable checkpoint")
    assert not (tmp_path / "exploded").exists()
    torch.save(content | {"format": 99}, path)
    refused("its format is 99; this version reads 3")
    torch.save([1], path)
    refused("its format is 'list'")
    torch.save(content | {"generator": {}}, path)
    refused("does not fit its recipe")


def test_a_full_disk_keeps_the_previous_checkpoint(tiny_set, tiny_recipe, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    train(tiny_set, folder, with_value(tiny_recipe, "train.images", 32))
    before = (folder / "checkpoint.pt").read_bytes()

    def fail(content, path):
        raise RuntimeError("write failed: no space left")

    monkeypatch.setattr(checkpoint.torch, "save", fail)
    with pytest.raises(DogganError, match=r"cannot write .*checkpoint\.pt: write failed"):
        train(tiny_set, folder, tiny_recipe, resume=True)
    assert (folder / "checkpoint.pt").read_bytes() == before


def test_a_generator_that_is_none_is_refused(tiny_set, tiny_recipe, tmp_path):
    folder = tmp_path / "run"
    train(tiny_set, folder, tiny_recipe)
    path = folder / "generator.safetensors"
    with pytest.raises(InputError, match="does not exist; expected a run folder"):
        load_generator(tmp_path, "cpu")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="not a readable generator"):
        load_generator(path, "cpu")
    checkpoint_only = torch.zeros(1)
    from safetensors.torch import save_file

    save_file({"x": checkpoint_only}, path)
    with pytest.raises(InputError, match="not a file of the format 'doggan generator 1'"):
        load_generator(folder, "cpu")


# Beside the plain losses, what is added to one: each alone, and all together.
LEARNING = {loss: [f"loss={loss}"] for loss in LOSSES} | {
    "penalty": ["loss=rpgan", "gradient_penalty=1", "gradient_penalty_interval=4"],
    "augment": ["augment=translation+cutout"],
    "consistency": ["consistency=10"],
    "top_k": ["top_k=0.5"],
    "one_pass": ["one_pass=true"],
}
LEARNING["all"] = [value for name in list(LEARNING)[-5:] for value in LEARNING[name]]


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNING)
def test_training_learns_the_colour_of_its_images(tmp_path, name):
    # Orange images of side 16: the mean of what is generated must approach theirs.
    random = np.random.default_rng(0)
    images = np.array([220, 120, 20]) + random.integers(-20, 20, (64, 16, 16, 3))
    imageset = ImageSet(
        tmp_path,
        images.astype(np.uint8),
        np.zeros(64, np.int64),
        {"images_sha256": "x", "label_names": ["orange"]},
    )
    recipe = load_recipe(
        "dogs",
        [
            *STEADY,
            "networks.latent=8",
            "networks.generator_width=8",
            "networks.discriminator_width=8",
            "train.batch_size=16",
            "train.images=6000",
            "train.ema_half_life_images=200",
            # The penalty needs a discriminator without batch norm.
            f"networks.discriminator_norm={'none' if name in ('penalty', 'all') else 'batch'}",
            *(f"train.{value}" for value in LEARNING[name]),
        ],
    )
    train(imageset, tmp_path / "run", recipe)
    generator, _ = load_generator(tmp_path / "run", "cpu")
    made = np.concatenate(list(sample_seeds(generator, range(50), 1.0))).mean(axis=(0, 1, 2))
    assert np.abs(made - [220, 120, 20]).max() < 25
