"""The budget of a run: how much of it is over, and what rates and batches follow from that."""

import math

import pytest
import torch

from doggan.gan.history import read_history
from doggan.gan.run_folder import CHECKPOINT
from doggan.gan.schedule import batch_size_at, part_done, rate_factor, set_learning_rates
from doggan.gan.state import new_state
from doggan.gan.trainer import train
from doggan.recipe import TrainRecipe, with_value
from doggan.support.deadline import Deadline


@pytest.fixture
def state(tiny_set, tiny_recipe):
    return new_state(tiny_set, tiny_recipe, torch.device("cpu"), "fp32")


def test_the_budget_that_is_used_up_further_counts(state):
    state.images_seen, state.seconds = 250, 30.0
    assert part_done(state, 1000, math.inf) == 0.25
    assert part_done(state, 1000, 30.0) == 0.5
    assert part_done(state, 1000, 270.0) == 0.25
    assert part_done(state, 100, 30.0) == 1.0
    assert part_done(state, 1000, -5.0) == 1.0


def test_a_run_that_goes_on_after_its_end_finds_its_place_in_the_new_whole(state):
    state.seconds = 60.0
    assert part_done(state, 10**9, 0.0) == 1.0
    assert part_done(state, 10**9, 60.0) == 0.5
    assert part_done(state, 10**9, 180.0) == 0.25


def test_rates_fall_to_zero_over_the_last_part(state):
    recipe = TrainRecipe(
        cooldown=0.4, learning_rate_generator=1e-3, learning_rate_discriminator=2e-3
    )
    factors = {0.0: 1, 0.6: 1, 0.8: 0.5, 0.9: 0.25, 1.0: 0}
    for done, factor in factors.items():
        assert rate_factor(recipe, done) == pytest.approx(factor)
        set_learning_rates(state, recipe, done)
        (g_group,), (d_group,) = (
            optimizer.param_groups
            for optimizer in (state.generator_optimizer, state.discriminator_optimizer)
        )
        assert (g_group["lr"], d_group["lr"]) == pytest.approx((1e-3 * factor, 2e-3 * factor))
    assert [rate_factor(TrainRecipe(), done) for done in factors] == [1.0] * 5


def test_the_batch_doubles_at_equal_parts_of_the_run():
    recipe = TrainRecipe(batch_size=8, batch_doublings=2)
    sizes = {0.0: 8, 0.33: 8, 0.34: 16, 0.66: 16, 0.67: 32, 1.0: 32}
    assert {done: batch_size_at(recipe, done) for done in sizes} == sizes
    assert batch_size_at(TrainRecipe(batch_size=8), 1.0) == 8


@pytest.fixture
def annealed(tiny_recipe):
    recipe = tiny_recipe
    for key, value in {
        "images": 160,
        "batch_size": 8,
        "batch_doublings": 1,
        "cooldown": 0.5,
        "ema_parts": [0.05, 0.5],
    }.items():
        recipe = with_value(recipe, f"train.{key}", value)
    return recipe


def test_an_annealed_run_goes_on_exactly_after_a_cut(tiny_set, annealed, tmp_path, monkeypatch):
    train(tiny_set, tmp_path / "whole", annealed)
    from doggan.gan import trainer

    class Stop:
        """A request to stop that comes after so many steps, within the cooldown."""

        name, left = "SIGTERM", 13

        def __bool__(self):
            self.left -= 1
            return self.left <= 0

        def __enter__(self):
            return self

        def __exit__(self, *_): ...

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "stop_request", Stop)
        cut = train(tiny_set, tmp_path / "cut", annealed)
    assert (cut.stopped_by, 80 < cut.images < 160) == ("SIGTERM", True)
    train(tiny_set, tmp_path / "cut", annealed, resume=True)
    one, other = (
        torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("whole", "cut")
    )
    assert one["steps"] == other["steps"] == 10 + 5
    for name in ("generator", "discriminator", "emas"):
        assert all(map(torch.equal, one[name].values(), other[name].values()))
    assert list(one["emas"]) != list(one["generator"])
    (group,) = one["generator_optimizer"]["param_groups"]
    assert 0 < group["lr"] < 0.25 * annealed.train.learning_rate_generator


def test_under_a_time_limit_rates_fall_with_the_clock(tiny_set, annealed, tmp_path):
    """A clock that ticks at each look: the run ends by time, and its rates have fallen."""
    ticks = iter(range(10**6))
    recipe = with_value(annealed, "train.images", 10**6)
    recipe = with_value(recipe, "train.interval_images", 10**5)
    result = train(tiny_set, tmp_path, recipe, deadline=Deadline(400, lambda: next(ticks)))
    assert result.stopped_by == "time limit"
    assert read_history(tmp_path)[-1]["images"] == result.images < 10**5
    checkpoint = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    (group,) = checkpoint["generator_optimizer"]["param_groups"]
    assert group["lr"] < recipe.train.learning_rate_generator / 2


def test_each_part_has_its_average(tiny_set, annealed, tmp_path):
    train(tiny_set, tmp_path, annealed)
    averages = torch.load(tmp_path / CHECKPOINT, weights_only=True)["emas"]
    short, long = (
        [averages[name] for name in averages if name.startswith(f"{number}.")]
        for number in range(2)
    )
    assert len(short) == len(long)
    assert not all(map(torch.equal, short, long))
