"""Warnings of a collapse: each when it should come, never when not, once in a run."""

import pytest

from doggan.gan import health, trainer
from doggan.gan.health import COLLAPSE_IMAGES, discriminator_collapsed, modes_collapsed
from doggan.recipe import with_value

STEP = COLLAPSE_IMAGES // 5


def course(intervals, **last):
    """A run of that many healthy intervals, and then as many as COLLAPSE_IMAGES has of `last`."""
    healthy = {"accuracy_real": 0.8, "accuracy_fake": 0.8, "grad_norm_g": 2.0, "diversity": 50.0}
    rows = [healthy] * intervals + [healthy | last] * 5
    return [row | {"images": STEP * (place + 1)} for place, row in enumerate(rows)]


WON = {"accuracy_real": 0.999, "accuracy_fake": 0.996, "grad_norm_g": 0.01}


def test_a_discriminator_that_has_won_is_said():
    rows = course(3, **WON)
    assert "right on all images for 50,000 images" in discriminator_collapsed(rows)
    assert discriminator_collapsed(rows[:-1]) is None  # not yet for long enough


@pytest.mark.parametrize(
    "change", [{"accuracy_real": 0.99}, {"accuracy_fake": 0.99}, {"grad_norm_g": 0.05}]
)
def test_winning_takes_both_accuracies_and_a_vanished_gradient(change):
    assert discriminator_collapsed(course(3, **WON | change)) is None


def test_one_interval_of_the_last_that_was_not_won_is_enough():
    rows = course(3, **WON)
    rows[-3] = rows[-3] | {"accuracy_fake": 0.9}
    assert discriminator_collapsed(rows) is None


def test_modes_collapse_by_the_best_diversity_of_the_run():
    assert "diversity is 14.0, from 50.0 at best" in modes_collapsed(course(1, diversity=14.0))
    assert modes_collapsed(course(1, diversity=16.0)) is None


@pytest.mark.parametrize("warning", [discriminator_collapsed, modes_collapsed])
def test_a_healthy_run_or_none_gives_no_warning(warning):
    assert warning([]) is None
    assert warning(course(1)) is None
    assert warning(course(8)) is None


def test_training_warns_once_a_run(tiny_set, tiny_recipe, tmp_path, monkeypatch, capsys):
    for name, value in (
        ("COLLAPSE_IMAGES", 16),
        ("ACCURACY_WON", -1.0),
        ("GRADIENT_GONE", 2.0),
        ("DIVERSITY_LOST", 2.0),
    ):
        monkeypatch.setattr(health, name, value)
    recipe = with_value(tiny_recipe, "train.interval_images", 8)
    trainer.train(tiny_set, tmp_path / "run", recipe)
    err = capsys.readouterr().err
    assert err.count("Warning: the discriminator has been right") == 1
    assert err.count("Warning: the generated images have become alike") == 1


def test_a_healthy_training_does_not_warn(tiny_set, tiny_recipe, tmp_path, capsys):
    trainer.train(tiny_set, tmp_path / "run", tiny_recipe)
    assert "Warning" not in capsys.readouterr().err
