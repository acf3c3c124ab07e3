"""Recipes: TOML there and back, overrides, and errors that name the nearest key."""

import pytest

from doggan.recipe import (
    Recipe,
    load_recipe,
    recipe_from_toml,
    recipe_names,
    recipe_to_toml,
    with_value,
)
from doggan.support.errors import InputError


@pytest.mark.parametrize("name", recipe_names())
def test_every_named_recipe_survives_toml(name):
    recipe = load_recipe(name)
    assert recipe_from_toml(recipe_to_toml(recipe), "text") == recipe


def test_the_default_recipe_is_the_competitions():
    recipe = load_recipe("dogs")
    assert (recipe.data.side_px, recipe.submission.count) == (64, 10_000)


def test_overrides_reach_their_place_with_their_type():
    recipe = load_recipe(
        "dogs", ["train.batch_size=128", "data.crop=four", "train.flip=false", "train.beta1=0"]
    )
    assert (recipe.train.batch_size, recipe.data.crop) == (128, "four")
    assert recipe.train.flip is False
    assert recipe.train.beta1 == 0.0
    assert isinstance(recipe.train.beta1, float)
    recipe = load_recipe("dogs", ["train.ema_parts=[0.05, 1]"])
    assert recipe.train.ema_parts == (0.05, 1.0)
    assert recipe_from_toml(recipe_to_toml(recipe), "text") == recipe


def test_what_an_override_sets_is_not_left_to_the_budget():
    widths = load_recipe("dogs").budget.widths
    assert widths
    assert load_recipe("dogs", ["networks.latent=16"]).budget.widths == widths
    for key in ("networks.generator_width", "networks.channel_max", "train.batch_size"):
        assert load_recipe("dogs", [f"{key}=16"]).budget.widths == ()
    both = ["budget.widths=[16, 32]", "networks.generator_width=16"]
    assert load_recipe("dogs", both).budget.widths == (16, 32)


def test_a_file_is_a_recipe_and_what_it_leaves_out_keeps_its_default(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("seed = 7\n[networks]\nlatent = 100\n")
    assert load_recipe(str(path)) == with_value(
        with_value(Recipe(), "seed", 7), "networks.latent", 100
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.batchsize=1", "nearest known one is 'train.batch_size'"),
        ("xyz=1", "the recipe has no 'xyz'"),
        ("train.batch_size=many", "must be a whole number; found 'many'"),
        ("train.batch_size=true", "must be a whole number; found True"),
        ("train.batch_size=1", "train.batch_size is 1; expected 2 or more"),
        ("train.precision=int8", "expected one of auto, fp32, tf32, bf16, fp16"),
        ("data.side_px=15", "expected 16 to 128"),
        ("data.side_px=129", "data.side_px is 129; expected 16 to 128"),
        ("networks.architecture=vit", "expected one of dcgan, dense"),
        ("networks.upsampling=cubic", "expected one of transposed, nearest"),
        ("networks.conditional=1", "must be a true or false; found 1"),
        ("train.ema_parts=0.1", "must be a list of numbers; found 0.1"),
        ("train.ema_parts=['a']", "must be a list of numbers"),
        ("train.ema_parts=[]", "expected one to five numbers from 0 to 1"),
        ("train.ema_parts=[0.1, 2]", "expected one to five numbers from 0 to 1"),
        ("train.cooldown=1.5", "expected 0 to 1"),
        ("train.images", "write it like train.batch_size=128"),
        ("train.real_label=0.2", "expected 0.5 to 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(override, message):
    with pytest.raises(InputError, match=message):
        load_recipe("dogs", [override])


def test_a_wrong_name_or_file_is_said(tmp_path):
    with pytest.raises(InputError, match=r"neither a recipe .*dogs.* nor a TOML file"):
        load_recipe("cats")
    with pytest.raises(InputError, match="nor a TOML file; the nearest is 'dogs'"):
        load_recipe("dgos")
    (tmp_path / "bad.toml").write_text("[train\n")
    with pytest.raises(InputError, match="not valid TOML"):
        load_recipe(str(tmp_path / "bad.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        load_recipe(str(tmp_path / "binary.toml"))
