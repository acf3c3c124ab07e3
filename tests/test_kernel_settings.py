"""A script's settings are read and changed where they stand, and nothing else changes."""

import pytest

from doggan.kaggle.bundle import write_bundle
from doggan.kaggle.settings import (
    SETTINGS,
    overrides_for,
    read_script,
    read_settings,
    settings_of_recipe,
    write_settings,
)
from doggan.recipe import load_recipe, recipe_to_toml, with_value
from doggan.support.errors import InputError

DEFAULTS = {
    "RECIPE": "dogs",
    "OVERRIDES": [],
    "TIME_LIMIT": None,
    "SEED": 0,
    "ONLY_ZIP": False,
    "CONTINUE": None,
    "INPUT": None,
}
OTHERS = {
    "RECIPE": "dogs-2015",
    "OVERRIDES": ["train.batch_size=16", 'data.crop="four"'],
    "TIME_LIMIT": "8h45m",
    "SEED": 7,
    "ONLY_ZIP": True,
    "CONTINUE": "someone/doggan-dcgan",
    "INPUT": "/kaggle/input/größer",
}


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    return read_script(write_bundle(tmp_path_factory.mktemp("kernel") / "script.py").path)


def test_the_built_script_has_the_defaults(script):
    assert read_settings(script) == DEFAULTS
    assert tuple(DEFAULTS) == SETTINGS


def test_what_is_written_is_read_and_can_be_taken_back(script):
    changed = write_settings(script, OTHERS)
    assert read_settings(changed) == OTHERS
    assert write_settings(changed, DEFAULTS) == script
    # Only those lines differ, and their comments stay.
    pairs = list(zip(script.splitlines(), changed.splitlines(), strict=True))
    assert len([one for one, other in pairs if one != other]) == len(SETTINGS)
    assert all(one.partition("  #")[2] == other.partition("  #")[2] for one, other in pairs)


def test_what_people_write_by_hand_is_understood(script):
    listed = '[  # mine\n    "train.batch_size=16",\n    "data.crop=four",\n]'
    text = script.replace("OVERRIDES = []", f"OVERRIDES = {listed}")
    assert read_settings(text)["OVERRIDES"] == ["train.batch_size=16", "data.crop=four"]
    assert write_settings(text, {"OVERRIDES": []}) == script


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("SEED = 0", "SEEDS = 0"), "it has no setting SEED"),
        (("SEED = 0", "SEED = 0 +"), "no Python script"),
        (("SEED = 0", "SEED = seed()"), "the setting SEED is no plain value"),
    ],
)
def test_what_is_no_script_of_ours_is_refused(script, change, message):
    with pytest.raises(InputError, match=message):
        read_settings(script.replace(*change))


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "script.py").write_bytes(b"\xff\xfe")
    for name in ("script.py", "missing.py"):
        message = r"(cannot be read|does not exist).*; run: doggan kernel build"
        with pytest.raises(InputError, match=message):
            read_script(tmp_path / name)


def test_a_recipe_of_ones_own_travels_as_what_it_overrides(tmp_path):
    own = load_recipe("dogs-2019", ["networks.generator_width=48", "train.ema_parts=[0.2]"])
    (tmp_path / "own.toml").write_text(recipe_to_toml(with_value(own, "seed", 5)))
    found = settings_of_recipe(str(tmp_path / "own.toml"), ["train.batch_size=16"])
    assert (found["RECIPE"], found["SEED"]) == ("dogs", 5)
    there = load_recipe(found["RECIPE"], found["OVERRIDES"])
    assert there == with_value(own, "train.batch_size", 16)


@pytest.mark.parametrize("name", ["dogs", "dogs-2015", "demo"])
def test_overrides_make_the_recipe(name):
    recipe = load_recipe(name)
    assert load_recipe("dogs", overrides_for(recipe, "dogs")) == recipe
    assert (overrides_for(recipe, "dogs") == []) == (name == "dogs")


def test_a_recipe_that_comes_with_the_package_travels_by_name():
    found = settings_of_recipe("dogs-2015", ["seed=3", "train.batch_size=16"])
    expected = {"RECIPE": "dogs-2015", "OVERRIDES": ["seed=3", "train.batch_size=16"], "SEED": 3}
    assert found == expected
