"""The generator that a run leaves is the average of its weights, and so is all made with it."""

import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import TINY, make_photos
from doggan.cli.main import main
from doggan.data.build import build_imageset
from doggan.gan.checkpoint import read_checkpoint
from doggan.gan.generator_file import read_tensors
from doggan.gan.networks import make_networks
from doggan.gan.pictures import make_grid
from doggan.gan.run_folder import CHECKPOINT, GRIDS
from doggan.gan.sampler import sample_seeds
from doggan.gan.trainer import train
from doggan.recipe import load_recipe
from doggan.scoring.judges.judge import load_judge
from doggan.scoring.reference import Reference
from doggan.scoring.score import score_images

JUDGE = "efficientnet-lite0"
COUNT = 20
# Two averages: a slow one, which lags far behind the fast weights, before a fast one.
VALUES = ("train.ema_parts=[0.5, 0.05]", "train.learning_rate_generator=0.03")
RECIPE = load_recipe("dogs", [*TINY, *VALUES, f"submission.count={COUNT}"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a set and of a run trained on it."""
    folder = tmp_path_factory.mktemp("trained")
    photos = make_photos(folder / "photos", count=12)
    imageset = build_imageset([photos], folder / "set", RECIPE.data)
    train(imageset, folder / "run", RECIPE, device="cpu")
    return folder


@pytest.fixture(scope="module")
def weights(trained):
    """The weights in the checkpoint: the averages `0` and `1`, and the `raw` generator's."""
    content = read_checkpoint(trained / "run" / CHECKPOINT)
    averages = {
        number: {
            name.removeprefix(f"{number}."): value
            for name, value in content["emas"].items()
            if name.startswith(f"{number}.")
        }
        for number in ("0", "1")
    }
    return averages | {"raw": content["generator"]}


@pytest.fixture(scope="module")
def images(weights):
    """What each of the weights makes of the first seeds, [50, 64, 64, 3] uint8."""

    def make(state):
        network, _ = make_networks(RECIPE.networks, side=64, channels=3, label_count=2, seed=0)
        network.load_state_dict(state)
        return np.concatenate(list(sample_seeds(network.eval(), range(50), 1.0)))

    return {name: make(state) for name, state in weights.items()}


def command(*arguments):
    """Runs one command of `doggan` on the CPU, which must succeed."""
    assert main([*map(str, arguments), "--device", "cpu"]) == 0


def test_the_saved_generator_is_the_first_average_and_not_the_raw_one(trained, weights):
    saved, _ = read_tensors(trained / "run" / "generator.safetensors")
    assert saved.keys() == weights["0"].keys() == weights["raw"].keys()
    assert all(torch.equal(value, weights["0"][name]) for name, value in saved.items())
    for other in ("1", "raw"):
        trained_ones = [name for name in saved if name.endswith(".weight")]
        assert not any(torch.equal(saved[name], weights[other][name]) for name in trained_ones)


def test_the_averages_make_other_images_than_the_raw_generator(images):
    # Else the tests below would tell nothing.
    pairs = [("0", "raw"), ("0", "1"), ("1", "raw")]
    for one, other in pairs:
        assert np.abs(images[one].astype(int) - images[other]).max() > 1


def assert_shows(path, images):
    """The picture is the grid of these images, but for rounding: weights may lie otherwise."""
    with Image.open(path) as picture:
        expected = np.asarray(make_grid(images, 10)).astype(int)
        assert np.abs(np.asarray(picture) - expected).max() <= 1


def test_the_grids_of_the_training_are_the_averages(trained, images):
    assert_shows(sorted((trained / "run" / GRIDS).iterdir())[-1], images["0"])


def test_samples_are_the_averages(trained, images, tmp_path):
    command("sample", trained / "run", "--out", tmp_path / "sample.png")
    assert_shows(tmp_path / "sample.png", images["0"])


def test_the_zip_holds_the_averages_images(trained, images, tmp_path):
    command("zip", trained / "run", "--out", tmp_path / "images.zip")
    with zipfile.ZipFile(tmp_path / "images.zip") as archive:
        zipped = [np.asarray(Image.open(archive.open(name))) for name in archive.namelist()]
    assert np.array_equal(np.stack(zipped), images["0"][:COUNT])


def test_the_score_is_the_averages(trained, images, tmp_path):
    out = tmp_path / "card.json"
    reference = ("--reference", trained / "set", "--judge", JUDGE)
    command("score", trained / "run", *reference, "--out", out)
    photos = np.load(trained / "set" / "images.npy")
    judge = load_judge(JUDGE, device=torch.device("cpu"))
    fids = {
        name: score_images(made[:COUNT], Reference(photos, "photos"), judge).fid
        for name, made in images.items()
    }
    assert json.loads(out.read_text())["fid"] == fids["0"]
    assert len(set(fids.values())) == 3
