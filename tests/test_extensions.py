"""One of each kind, added from outside into its table alone, and run end to end."""

import json
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from conftest import encode, write
from doggan.cli.main import COMMANDS, main
from doggan.data.build import build_imageset
from doggan.data.crops import CROPS
from doggan.gan.generator_file import load_generator
from doggan.gan.history import read_history
from doggan.gan.losses import LOSSES
from doggan.gan.networks import ARCHITECTURES
from doggan.gan.sampler import sample_seeds
from doggan.gan.trainer import train
from doggan.recipe import DataRecipe, recipe_from_toml, recipe_to_toml, with_value
from doggan.support.errors import InputError


class Wasserstein:
    """The critic's difference of means, kept small around 0: its own term beside the recipe's."""

    relativistic = False

    def __init__(self, recipe):
        self.drift = 1 - recipe.real_label

    def discriminator_loss(self, real_logits, fake_logits):
        return fake_logits.mean() - real_logits.mean() + self.drift * real_logits.square().mean()

    def generator_loss(self, real_logits, fake_logits):
        assert real_logits is None
        return -fake_logits.mean()


class Blobs(nn.Module):
    """A generator without any Sequential: a colour an image."""

    label_names = ()

    def __init__(self, recipe, side, channels, label_count):
        super().__init__()
        self.latent, self.side, self.channels = recipe.latent, side, channels
        self.label_count, self.conditional = label_count, False
        self.colour = nn.Linear(recipe.latent, channels)

    def forward(self, z, labels=None):
        colour = torch.tanh(self.colour(z))
        return colour[:, :, None, None].expand(-1, -1, self.side, self.side)


class MeanColour(nn.Module):
    """A discriminator that looks at the mean colour."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, images, labels=None, splits=1):
        return images.mean((2, 3)) @ self.weight


def blobs(recipe, side, channels, label_count):
    return Blobs(recipe, side, channels, label_count), MeanColour(channels)


def train_and_resume(imageset, recipe, folder):
    """Trains half of the recipe, the rest after a stop, and samples what came of it."""
    train(imageset, folder, with_value(recipe, "train.images", 32))
    assert train(imageset, folder, recipe, resume=True).images == 64
    generator, loaded = load_generator(folder, "cpu")
    assert loaded == recipe
    (images,) = sample_seeds(generator, range(4), 1.0)
    assert images.shape == (4, 64, 64, 3)
    return generator


def test_a_loss(tiny_set, tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(LOSSES, "wasserstein", Wasserstein)
    recipe = with_value(tiny_recipe, "train.loss", "wasserstein")
    train_and_resume(tiny_set, recipe, tmp_path / "run")
    train(tiny_set, tmp_path / "bce", tiny_recipe)
    first, other = (read_history(tmp_path / name)[0] for name in ("run", "bce"))
    assert first["loss_d"] != other["loss_d"]


def test_an_architecture(tiny_set, tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "blobs", blobs)
    recipe = with_value(tiny_recipe, "networks.architecture", "blobs")
    generator = train_and_resume(tiny_set, recipe, tmp_path / "run")
    assert isinstance(generator, Blobs)


def test_a_crop_policy(photos, tiny_recipe, tmp_path, monkeypatch):
    def halves(box, size):
        middle = round(box.center[0])
        return [(0, 0, middle, size[1]), (middle, 0, *size)]

    monkeypatch.setitem(CROPS, "halves", halves)
    recipe = with_value(tiny_recipe, "data.crop", "halves").data
    built = build_imageset([photos], tmp_path / "set", recipe)
    assert built.images.shape == (24, 64, 64, 3)
    assert built.labels.tolist() == [0] * 12 + [1] * 12
    assert built.manifest["crop"] == "halves"
    # The first photo's box reaches from 10 to 70: its middle is column 40.
    name = built.manifest["origins"][0].removesuffix("#0")
    assert built.manifest["origins"][:2] == [f"{name}#0"] * 2
    windows = [(0, 0, 40, 80), (40, 0, 96, 80)]
    with Image.open(photos / name) as photo:
        for cut, window in zip(built.images[:2], windows, strict=True):
            expected = photo.crop(window).resize((64, 64), Image.Resampling.LANCZOS)
            assert (cut == np.asarray(expected)).all()


def test_a_crop_policy_of_whole_frames(photos, tmp_path, monkeypatch):
    write(photos / "Images" / "n90000001-Red_dog" / "x.png", encode(Image.new("L", (9, 9)), "PNG"))
    monkeypatch.setitem(CROPS, "left", lambda box, size: [(0, 0, size[0] // 2, size[1])])
    built = build_imageset([photos], tmp_path / "set", DataRecipe(crop="left"))
    assert built.manifest["counts"]["skipped"] == {"photo without an annotation": 1}
    monkeypatch.setattr("doggan.data.photos.WHOLE_FRAME", {"left"})
    built = build_imageset([photos], tmp_path / "set", DataRecipe(crop="left"))
    assert (len(built), built.manifest["counts"]["skipped"]) == (13, {})


@pytest.mark.parametrize(
    ("key", "table"),
    [("data.crop", CROPS), ("train.loss", LOSSES), ("networks.architecture", ARCHITECTURES)],
)
def test_a_recipe_knows_what_its_table_knows(tiny_recipe, monkeypatch, key, table):
    with pytest.raises(InputError, match=f"{key} is 'novel'; expected one of {', '.join(table)}"):
        with_value(tiny_recipe, key, "novel")
    monkeypatch.setitem(table, "novel", next(iter(table.values())))
    recipe = with_value(tiny_recipe, key, "novel")
    assert recipe_from_toml(recipe_to_toml(recipe), "text") == recipe
    with pytest.raises(InputError, match="the nearest is 'novel'"):
        with_value(tiny_recipe, key, "novell")


@pytest.fixture
def bark(monkeypatch):
    """A command of somebody else's: its module and a line in the table."""

    def run(args, say):
        say("woof " * args.times)
        return {"barks": args.times}, 3

    def add_arguments(parser):
        parser.add_argument("--times", type=int, default=1)

    module = ModuleType("doggan.cli.bark")
    module.EXAMPLE, module.add_arguments, module.run = "doggan bark", add_arguments, run
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(COMMANDS, "bark", "say what dogs say")


def test_a_command(bark, capsys):
    assert main(["bark", "--times", "2"]) == 3
    assert capsys.readouterr().out.strip() == "woof woof"
    assert main(["bark", "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == {"barks": 1}
    for arguments in (["--help"], ["bark", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
        assert "ay what dogs say" in capsys.readouterr().out


def test_an_unknown_command_names_the_nearest(bark, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bakr"])
    assert stop.value.code == 2
    assert "the command is 'bakr'; expected one of fetch" in (words := capsys.readouterr().err)
    assert "the nearest is 'bark'" in words


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["build", "x", "--out", "y", "--crop", "sqare"], "square"),
        (["score", "x", "--reference", "y", "--reference-crop", "ful"], "full"),
        (["demo", "--judge", "inceptionn"], "inception"),
    ],
)
def test_an_option_names_the_nearest_entry_of_its_table(arguments, nearest, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert f"the nearest is '{nearest}'" in capsys.readouterr().err
