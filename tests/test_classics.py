"""The classics: sets of idx files and plain folders, their recipes, labels, and their judge."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import judge_digits
from conftest import encode, write
from doggan.cli.main import main
from doggan.data.build import build_imageset
from doggan.data.idx import DIGITS, FASHION
from doggan.data.imageset import open_imageset
from doggan.gan.generator_file import load_generator, save_generator
from doggan.gan.networks import make_networks
from doggan.gan.sampler import labels_in_turn, latents, sample
from doggan.recipe import DataRecipe, load_recipe
from doggan.support.errors import InputError
from test_idx import IMAGES, LABELS, idx_bytes, published, write_pair  # noqa: F401

CLASSICS = ("mnist-dense", "mnist-dcgan", "fashion-dense", "fashion-dcgan")
TINY = ("networks.latent=4", "networks.generator_width=2", "networks.discriminator_width=2")
CPU = torch.device("cpu")


def doggan(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture
def conditional_run(tmp_path):
    """A folder with an untrained generator that knows Fashion-MNIST's labels."""
    recipe = load_recipe("fashion-dcgan", TINY)
    generator, _ = make_networks(recipe.networks, side=28, channels=1, label_count=10, seed=0)
    save_generator(tmp_path / "run", generator, recipe, 0, FASHION)
    return tmp_path / "run"


def test_idx_files_keep_their_side_their_grey_and_their_label_names(tmp_path):
    pixels, numbers = write_pair(tmp_path / "fashion")
    assert doggan("build", tmp_path / "fashion", "--out", tmp_path / "set") == 0
    built = open_imageset(tmp_path / "set")
    assert (built.images[..., 0] == pixels).all()
    assert built.images.shape == (12, 28, 28, 1)
    assert (built.labels == numbers).all()
    assert built.label_names == list(FASHION)
    assert built.manifest["dataset"] == "fashion"
    assert built.manifest["origins"][3] == f"{IMAGES}#3"
    assert built.manifest["counts"]["images"] == 12


def test_idx_files_of_another_side_are_resized_to_the_recipes(tmp_path):
    write_pair(tmp_path / "in")
    write(tmp_path / "in" / IMAGES, idx_bytes(np.full((12, 40, 30), 77)))
    for options, side in (((), 28), (("--side", 17), 17), (("--set", "data.side_px=32"), 32)):
        assert doggan("build", tmp_path / "in", "--out", tmp_path / "set", *options) == 0
        built = open_imageset(tmp_path / "set")
        assert built.images.shape == (12, side, side, 1)
        assert (built.images == 77).all()
        assert built.label_names == list(DIGITS)


def test_a_side_that_no_network_makes_is_refused(tmp_path, capsys):
    write_pair(tmp_path / "in")
    assert doggan("build", tmp_path / "in", "--out", tmp_path / "set", "--side", 8) == 2
    assert "data.side_px is 8; expected 16 to 128" in capsys.readouterr().err


def test_a_damaged_file_leaves_no_set(tmp_path, capsys):
    write_pair(tmp_path / "in")
    data = (tmp_path / "in" / IMAGES).read_bytes()
    write(tmp_path / "in" / IMAGES, data[:-1])
    assert doggan("build", tmp_path / "in", "--out", tmp_path / "set") == 2
    assert "only 9,407 follow" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_build_downloads_first(published, tmp_path, capsys):  # noqa: F811
    _, pixels = published
    folder = tmp_path / "mnist"
    assert doggan("build", folder, "--download", "mnist", "--out", tmp_path / "set", "--json") == 0
    assert json.loads(capsys.readouterr().out)["images"] == 12
    assert (open_imageset(tmp_path / "set").images[..., 0] == pixels).all()
    assert doggan("build", folder, folder, "--download", "mnist", "--out", tmp_path / "x") == 2


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_folder_gives_labels_by_subfolder_grey_or_colour(tmp_path, mode):
    random = np.random.default_rng(0)
    for label in ("cats", "dogs"):
        for index in range(2):
            shape = (28, 28) if mode == "L" else (28, 28, 3)
            image = Image.fromarray(random.integers(0, 256, shape, np.uint8))
            write(tmp_path / "in" / label / f"{index}.png", encode(image, "PNG"))
    built = build_imageset([tmp_path / "in"], tmp_path / "set", DataRecipe(side_px=28))
    assert built.label_names == ["cats", "dogs"]
    assert built.labels.tolist() == [0, 0, 1, 1]
    assert built.images.shape == (4, 28, 28, 1 if mode == "L" else 3)
    with Image.open(tmp_path / "in" / "dogs" / "1.png") as image:
        assert (np.asarray(image).reshape(28, 28, -1) == built.images[3]).all()
    colour = build_imageset(
        [tmp_path / "in"], tmp_path / "colour", DataRecipe(side_px=28), colour=True
    )
    assert (np.broadcast_to(built.images, colour.images.shape) == colour.images).all()
    assert colour.images.shape == (4, 28, 28, 3)


def test_a_flat_folder_has_one_label(tmp_path):
    for index in range(2):
        write(tmp_path / "in" / f"{index}.png", encode(Image.new("RGB", (9, 9), "red"), "PNG"))
    built = build_imageset([tmp_path / "in"], tmp_path / "set", DataRecipe(side_px=16))
    assert (built.label_names, built.labels.tolist()) == (["unlabelled"], [0, 0])


@pytest.mark.parametrize("name", CLASSICS)
def test_the_classics_recipes_are_of_28_pixels_and_digits_are_not_mirrored(name):
    recipe = load_recipe(name)
    assert recipe.data.side_px == 28
    assert recipe.train.flip == name.startswith("fashion")
    assert recipe.networks.architecture == name.partition("-")[2]
    assert recipe.networks.conditional == name.endswith("dcgan")


def test_the_classics_lengths_are_the_classrooms():
    dense, dcgan = load_recipe("mnist-dense").train, load_recipe("mnist-dcgan").train
    assert dense.images == 8_000 * dense.batch_size
    assert dense.interval_images == 1_000 * dense.batch_size
    assert (dcgan.images, dcgan.interval_images) == (50 * 60_000, 60_000)
    assert load_recipe("fashion-dcgan").networks.upsampling == "nearest"


def test_dogs_are_conditional_on_request_only():
    assert not load_recipe("dogs").networks.conditional
    recipe = load_recipe("dogs", ["networks.conditional=true", *TINY]).networks
    generator, discriminator = make_networks(recipe, side=64, channels=3, label_count=120, seed=0)
    labels = torch.tensor([0, 119])
    assert discriminator(generator(torch.randn(2, 4), labels), labels).shape == (2,)


def test_a_conditional_generators_file_keeps_its_label_names(conditional_run):
    generator, recipe = load_generator(conditional_run, "cpu")
    assert recipe.networks.conditional
    assert (generator.label_names, generator.label_count) == (FASHION, 10)
    original, _ = make_networks(recipe.networks, side=28, channels=1, label_count=10, seed=0)
    z, labels = latents(range(3), 4), torch.tensor([0, 5, 9])
    assert (next(sample(original.eval(), z, labels)) == next(sample(generator, z, labels))).all()


def test_a_label_is_sampled_by_name_or_number(conditional_run, tmp_path, capsys):
    pictures = {}
    for label in ("Sneaker", "sneak", "7", "Bag"):
        out = tmp_path / f"{label}.png"
        assert doggan("sample", conditional_run, "--label", label, "--count", 3, "--out", out) == 0
        pictures[label] = out.read_bytes()
    assert pictures["Sneaker"] == pictures["sneak"] == pictures["7"] != pictures["Bag"]
    assert doggan("sample", conditional_run, "--label", "Sneakers") == 2
    assert "no label is called 'Sneakers'; such as: Sneaker" in capsys.readouterr().err


def test_an_unconditional_run_knows_no_labels(tmp_path, capsys):
    recipe = load_recipe("fashion-dense", TINY)
    generator, _ = make_networks(recipe.networks, side=28, channels=1, label_count=10, seed=0)
    save_generator(tmp_path, generator, recipe, 0, FASHION)
    assert doggan("sample", tmp_path, "--label", "Bag") == 2
    assert "knows no labels" in capsys.readouterr().err
    assert doggan("sample", tmp_path, "--count", 2) == 0


def test_walks_are_strips_and_gifs(conditional_run, tmp_path, capsys):
    for options, size in (
        (("--interpolate", "--columns", 4), (4 * 30 + 2, 2 * 30 + 2)),
        (("--noise", "1.0:0.8"), (3 * 30 + 2, 2 * 30 + 2)),
    ):
        assert doggan("sample", conditional_run, "--count", 2, *options) == 0
        with Image.open(conditional_run / "sample.png") as strip:
            assert strip.size == size
            assert strip.mode == "L"
    gif = tmp_path / "walk.gif"
    assert doggan("sample", conditional_run, "--count", 2, "--noise", "1:0", "--out", gif) == 0
    with Image.open(gif) as walk:
        assert walk.n_frames > 5
    assert doggan("sample", conditional_run, "--out", gif) == 2
    assert "would not move" in capsys.readouterr().err


def test_a_walk_leads_from_one_seed_to_the_next(conditional_run):
    command = ("sample", conditional_run, "--label", "Bag", "--count")
    assert doggan(*command, 3, "--columns", 3, "--out", conditional_run / "seeds.png") == 0
    assert doggan(*command, 2, "--interpolate", "--columns", 5) == 0
    with Image.open(conditional_run / "seeds.png") as picture:
        seeds = np.asarray(picture).astype(int)
    with Image.open(conditional_run / "sample.png") as picture:
        walk = np.asarray(picture).astype(int)

    def tile(grid, row, column):
        return grid[row * 30 + 2 : row * 30 + 30, column * 30 + 2 : column * 30 + 30]

    for row in range(2):
        assert np.abs(tile(walk, row, 0) - tile(seeds, 0, row)).max() <= 1
        assert np.abs(tile(walk, row, 4) - tile(seeds, 0, row + 1)).max() <= 1


def drawn_digits(count, label_count=10):
    """Images [count, 28, 28] of a bar whose place is the label, in a little noise; labels."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % label_count
    images = random.integers(0, 40, (count, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 1 + 2 * label : 4 + 2 * label] = 250
    return images, labels


class Drawer(torch.nn.Module):
    """Stands for a generator: draws the label it is told, plus `shift`, whatever z is."""

    conditional, label_count, latent = True, 10, 4

    def __init__(self, shift=0):
        super().__init__()
        self.shift, self.weight = shift, torch.nn.Parameter(torch.zeros(()))
        self.bars = torch.from_numpy(drawn_digits(10)[0]).float().div(127.5).sub(1)[:, None]

    def forward(self, z, labels):
        return self.bars[(labels + self.shift) % 10]


@pytest.fixture(scope="module")
def classifier():
    images, labels = drawn_digits(300)
    return judge_digits.train_classifier(
        images[..., None], labels, 10, steps=60, seed=0, device=CPU
    )


def test_the_judge_finds_the_label_that_was_asked_for(classifier):
    network, accuracy = classifier
    assert accuracy == 1
    right = judge_digits.judge(network, Drawer(), accuracy, DIGITS, 40, 0)
    assert (right.asked_rate, right.images) == (1.0, 40)
    assert right.mean_confidence > 0.9
    assert right.class_shares == pytest.approx(dict.fromkeys(DIGITS, 0.1))
    wrong = judge_digits.judge(network, Drawer(shift=1), accuracy, DIGITS, 40, 0)
    assert wrong.asked_rate == 0
    assert wrong.class_shares == pytest.approx(dict.fromkeys(DIGITS, 0.1))


def test_the_judge_looks_at_a_run(tmp_path, conditional_run, capsys):
    images, labels = drawn_digits(60)
    write(tmp_path / "fashion" / IMAGES, idx_bytes(images))
    write(tmp_path / "fashion" / LABELS, idx_bytes(labels))
    command = [str(conditional_run), str(tmp_path / "fashion"), "--steps", "5", "--count", "30"]
    assert judge_digits.main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["class_shares"]) == list(FASHION)
    assert sum(result["class_shares"].values()) == pytest.approx(1)
    assert judge_digits.main(command) == 0
    assert "Ankle boot" in capsys.readouterr().out
    assert judge_digits.main([str(conditional_run), str(conditional_run)]) == 2
    assert "holds no idx files" in capsys.readouterr().err


def test_the_judges_inputs_are_grey_28_pixels():
    images = np.zeros((2, 64, 64, 3), np.uint8)
    images[1] = 255
    inputs = judge_digits.to_inputs(images)
    assert inputs.shape == (2, 1, 28, 28)
    torch.testing.assert_close(inputs[:, 0, 0, 0], torch.tensor([-1.0, 1.0]))


def test_labels_that_do_not_fit_the_file_are_refused(tmp_path):
    recipe = load_recipe("fashion-dcgan", TINY)
    generator, _ = make_networks(recipe.networks, side=28, channels=1, label_count=3, seed=0)
    with pytest.raises(AssertionError):
        save_generator(tmp_path, generator, recipe, 0, FASHION)
    other = replace(recipe, networks=replace(recipe.networks, conditional=False))
    save_generator(tmp_path, generator, other, 0, FASHION[:3])
    with pytest.raises(InputError, match="not a readable generator"):
        load_generator(tmp_path, "cpu")
    assert labels_in_turn([4], 3).tolist() == [1]
