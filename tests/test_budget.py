"""The rule by which networks and batches grow with what a run can carry."""

import math
from types import SimpleNamespace

import pytest

from doggan.cli.main import main
from doggan.gan import budget
from doggan.gan.budget import fit_to_budget, images_per_second
from doggan.gan.run_folder import RECIPE
from doggan.gan.steps import Steps
from doggan.recipe import BudgetRecipe, load_recipe, recipe_from_toml, recipe_to_toml, with_value
from doggan.support.deadline import Deadline
from doggan.support.errors import InputError

RATES = {8: 1200.0, 16: 600.0, 32: 120.0, 64: 12.0}  # images/s of each width


@pytest.fixture
def recipe(tiny_recipe):
    recipe = tiny_recipe
    values = {
        "networks.channel_max": 24,  # three times its width
        "budget.widths": [8, 16, 32, 64],
        "budget.epochs": 50,
        "budget.most_batch_size": 32,
        "train.images": 10**9,
    }
    for key, value in values.items():
        recipe = with_value(recipe, key, value)
    return recipe


@pytest.fixture
def fit(tiny_set, monkeypatch):
    """Fits a recipe to seconds, with the speeds of RATES; returns it and what was measured."""
    measured = []

    def rate(recipe, imageset, device):
        width = recipe.networks.generator_width
        assert recipe.networks.discriminator_width == width
        measured.append(width)
        return RATES[width]

    monkeypatch.setattr(budget, "images_per_second", rate)

    def fit(recipe, seconds):
        measured.clear()
        clock = Deadline(seconds, lambda: 0.0)
        fitted = fit_to_budget(recipe, tiny_set, deadline=clock, say=lambda line: None)
        return fitted, list(measured)

    return fit


# The set has 12 images: width 8 shows it 100 times a second, 16 50 times, 32 10 times, 64 once.
@pytest.mark.parametrize(
    ("seconds", "width", "batch_size", "measured"),
    [
        (0.1, 8, 8, [8]),  # too few for any: the narrowest
        (0.6, 8, 8, [8, 16]),
        (0.999, 8, 8, [8, 16]),
        (1.0, 16, 8, [8, 16, 32]),
        (2.0, 16, 16, [8, 16, 32]),
        (4.9, 16, 32, [8, 16, 32]),
        (5.0, 32, 8, [8, 16, 32, 64]),
        (60.0, 64, 8, [8, 16, 32, 64]),
        (200.0, 64, 32, [8, 16, 32, 64]),
        (10_000.0, 64, 32, [8, 16, 32, 64]),
    ],
)
def test_the_widest_that_shows_the_set_often_enough_is_taken(
    fit, recipe, seconds, width, batch_size, measured
):
    fitted, found = fit(recipe, seconds)
    networks = fitted.networks
    assert (networks.generator_width, networks.discriminator_width) == (width, width)
    assert networks.channel_max == 3 * width
    assert fitted.train.batch_size == batch_size
    assert found == measured
    assert fitted.budget == BudgetRecipe()
    # Nothing else changes, and the recipe that is kept needs no fitting any more.
    back = with_value(fitted, "train.batch_size", recipe.train.batch_size)
    for name in ("generator_width", "discriminator_width", "channel_max"):
        back = with_value(back, f"networks.{name}", getattr(recipe.networks, name))
    assert back == with_value(recipe_without_budget(recipe), "seed", 0)
    assert fit(fitted, seconds) == (fitted, [])


def recipe_without_budget(recipe):
    for key, value in vars(BudgetRecipe()).items():
        recipe = with_value(recipe, f"budget.{key}", list(value) if key == "widths" else value)
    return recipe


def test_images_are_a_budget_too(fit, recipe):
    few = with_value(recipe, "train.images", 12 * 60)
    fitted, _ = fit(few, math.inf)
    assert fitted.networks.generator_width == 64
    assert fitted.train.batch_size == 8


def test_without_widths_nothing_is_measured(fit, tiny_recipe):
    assert fit(tiny_recipe, 60.0) == (tiny_recipe, [])


def test_under_torchrun_every_process_keeps_the_recipes_own(fit, recipe, monkeypatch):
    monkeypatch.setattr(budget, "started_by_torchrun", lambda: True)
    fitted, measured = fit(recipe, 60.0)
    assert measured == []
    assert fitted == recipe_without_budget(recipe)


@pytest.mark.parametrize(("doublings", "batch_size"), [(0, 8), (2, 16)])
def test_speed_is_that_of_the_middle_of_the_course_after_a_warm_up(
    tiny_set, tiny_recipe, monkeypatch, doublings, batch_size
):
    recipe, seconds, sizes = with_value(tiny_recipe, "train.batch_doublings", doublings), [0.0], []
    whole = Steps.train

    def step(self, real, fake, labels):
        sizes.append(len(real))
        seconds[0] += 0.25 if len(sizes) > 1 else 10  # the first takes long everywhere
        return whole(self, real, fake, labels)

    monkeypatch.setattr(Steps, "train", step)
    monkeypatch.setattr(budget, "time", SimpleNamespace(perf_counter=lambda: seconds[0]))
    assert images_per_second(recipe, tiny_set, "cpu") == 4 * batch_size
    assert set(sizes) == {batch_size}
    assert len(sizes) > 10


def test_a_run_keeps_what_was_chosen_and_goes_on_with_it(
    tiny_set, tmp_path, recipe, monkeypatch, capsys
):
    monkeypatch.setattr(budget, "images_per_second", lambda recipe, imageset, device: 1e9)
    recipe = with_value(with_value(recipe, "train.images", 64), "budget.widths", [4, 6])
    path, out = tmp_path / "my.toml", tmp_path / "run"
    path.write_text(recipe_to_toml(with_value(recipe, "budget.epochs", 1)))
    arguments = ["train", str(tiny_set.folder), "--out", str(out)]
    assert main([*arguments, "--recipe", str(path)]) == 0
    assert "width 6 and batches of 32 are taken" in capsys.readouterr().out
    kept = load_recipe(str(out / RECIPE))
    assert (kept.networks.generator_width, kept.train.batch_size) == (6, 32)
    assert kept.budget.widths == ()
    assert main([*arguments, "--resume"]) == 0


@pytest.mark.parametrize("widths", [[32, 16], [0], [16.5]])
def test_widths_are_whole_and_ascend(tiny_recipe, widths):
    with pytest.raises(InputError, match="expected whole numbers from 1 to 4096, ascending"):
        with_value(tiny_recipe, "budget.widths", widths)


def test_widths_survive_toml(recipe):
    assert recipe_from_toml(recipe_to_toml(recipe), "text") == recipe
