"""The generator's file: both kinds hold the same, and nothing foreign is taken for one."""

import sys

import pytest
import torch

from doggan.gan.generator_file import (
    GENERATORS,
    find_generator,
    load_generator,
    read_tensors,
    save_generator,
    save_tensors,
)
from doggan.gan.networks import make_networks
from doggan.support.errors import InputError

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([7], dtype=torch.int64)}
METADATA = {"format": "x 1", "recipe": "seed = 3\n"}


@pytest.fixture
def no_safetensors(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_both_kinds_give_back_what_was_saved(tmp_path, request):
    for suffix in (".safetensors", ".pt"):
        if suffix == ".pt":
            request.getfixturevalue("no_safetensors")
        path = save_tensors(tmp_path, TENSORS, METADATA)
        assert path.suffix == suffix
        tensors, metadata = read_tensors(path)
        assert_equal(tensors, TENSORS)
        assert metadata == METADATA
        # One of each kind would leave open which is the newer.
        assert list(tmp_path.iterdir()) == [path] == [find_generator(tmp_path)]


def test_a_generator_without_safetensors_makes_the_same_images(
    tiny_recipe, tmp_path, no_safetensors
):
    network, _ = make_networks(tiny_recipe.networks, side=64, channels=3, label_count=1, seed=1)
    save_generator(tmp_path, network, tiny_recipe, images_seen=5)
    assert [path.name for path in tmp_path.iterdir()] == [GENERATORS[1]] == ["generator.pt"]
    for place in (tmp_path, tmp_path / "generator.pt"):
        loaded, recipe = load_generator(place, "cpu")
        assert_equal(loaded.state_dict(), network.state_dict())
        assert recipe == tiny_recipe


def test_a_pt_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "generator.pt"
    for content, message in (
        ([1, 2], "not a readable generator"),
        ({"tensors": {"a": 1}, "metadata": {}}, "something other than tensors"),
        ({"tensors": TENSORS, "metadata": {"format": 1}}, "something other than tensors"),
        ({"tensors": TENSORS, "metadata": METADATA}, "not a file of the format"),
        (Harmful(), "not a readable generator"),
    ):
        torch.save(content, path)
        with pytest.raises(InputError, match=message):
            load_generator(path, "cpu")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="not a readable generator"):
        load_generator(tmp_path, "cpu")


class Harmful:
    def __reduce__(self):
        return exec, ("raise SystemExit('executed')",)


def test_a_safetensors_file_without_the_library_says_what_to_install(tmp_path, request):
    path = save_tensors(tmp_path, TENSORS, METADATA)
    request.getfixturevalue("no_safetensors")
    with pytest.raises(InputError, match="pip install safetensors"):
        load_generator(path, "cpu")
