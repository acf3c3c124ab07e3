"""Small grey sets, with labels and without, through every architecture: trained, cut, resumed."""

import itertools
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import STEADY
from doggan.cli.main import main
from doggan.data.imageset import ImageSet
from doggan.gan.checkpoint import read_checkpoint
from doggan.gan.generator_file import GENERATORS, load_generator, read_tensors
from doggan.gan.networks import ARCHITECTURES
from doggan.gan.pictures import make_grid
from doggan.gan.run_folder import CHECKPOINT, GRIDS, PROGRESS
from doggan.gan.sampler import labels_in_turn, latents, sample
from doggan.gan.trainer import train
from doggan.recipe import Recipe, load_recipe, with_value

NAMES = ("Zwinger", "T-shirt/top", "žába")  # as in Fashion-MNIST, and beyond ASCII
SIDE_PX, COUNT = 28, 30
CUT, END = 16, 48  # the cut lies within an epoch, whose end within a batch

KINDS = {name: (f"networks.architecture={name}",) for name in ARCHITECTURES}
KINDS["dcgan-nearest"] = ("networks.architecture=dcgan", "networks.upsampling=nearest")
LABELS = {
    "without labels": (),
    "with labels": ("networks.conditional=true",),
    "labels by batch norm": ("networks.conditional=true", "networks.conditioning=batch-norm"),
}


class Runs(NamedTuple):
    """A run that went straight, one that was cut and resumed, and what both networks were given."""

    recipe: Recipe
    folders: dict
    given: dict  # "Generator" and "Discriminator": of each step z or images, and labels

    @property
    def conditional(self):
        return self.recipe.networks.conditional


def digits(folder, labels=None):
    """Grey images of a bar whose place is the label; `labels` stand in the place of theirs."""
    drawn = np.arange(COUNT) % len(NAMES)
    images = np.random.default_rng(0).integers(0, 40, (COUNT, SIDE_PX, SIDE_PX, 1), np.uint8)
    for image, label in zip(images, drawn, strict=True):
        image[:, 4 + 8 * label : 8 + 8 * label] = 250
    manifest = {"images_sha256": "x", "label_names": list(NAMES)}
    return ImageSet(folder, images, drawn if labels is None else labels, manifest)


def recipe_of(kind, labels):
    values = (
        *STEADY,
        "networks.latent=8",
        "networks.generator_width=4",
        "networks.discriminator_width=4",
        "train.batch_size=8",
        "train.learning_rate_generator=0.01",
        f"train.images={END}",
        "train.interval_images=24",
        "train.flip=false",
    )
    return load_recipe("dogs", [*values, *KINDS[kind], *LABELS[labels]])


@pytest.fixture(scope="module", params=itertools.product(KINDS, LABELS), ids=", ".join)
def runs(request, tmp_path_factory):
    recipe = recipe_of(*request.param)
    folder = tmp_path_factory.mktemp("runs")
    given = {"Generator": [], "Discriminator": []}

    def watch(module, inputs):
        name = type(module).__name__
        if name in given and module.training:  # averages are sampled as well, and never trained
            given[name].append([each.detach().clone() for each in inputs])

    watching = torch.nn.modules.module.register_module_forward_pre_hook(watch)
    try:
        train(digits(folder), folder / "straight", recipe, device="cpu")
    finally:
        watching.remove()
    cut = with_value(recipe, "train.images", CUT)
    train(digits(folder), folder / "resumed", cut, device="cpu")
    train(digits(folder), folder / "resumed", recipe, resume=True, device="cpu")
    return Runs(recipe, {name: folder / name for name in ("straight", "resumed")}, given)


def test_resuming_gives_the_same_bytes(runs):
    straight, resumed = (read_checkpoint(path / CHECKPOINT) for path in runs.folders.values())
    assert straight.keys() == resumed.keys()
    for key in straight.keys() - {"seconds", "recipe", "set_sha256"}:
        torch.testing.assert_close(resumed[key], straight[key], rtol=0, atol=0)
    assert (straight["images_seen"], straight["steps"]) == (END, END // 8)
    # Not the file's bytes: safetensors writes its metadata in any order.
    one, other = (read_tensors(path / GENERATORS[0])[0] for path in runs.folders.values())
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    grids = {(path / GRIDS / f"{END:09d}.png").read_bytes() for path in runs.folders.values()}
    assert len(grids) == 1


def test_every_step_is_told_each_images_own_label(runs):
    made, judged = runs.given["Generator"], runs.given["Discriminator"]
    assert [len(images) for images, _ in judged] == [16, 8] * (END // 8)  # D's step, then G's
    for (_, of_fakes), (both, of_both), (_, of_seen) in zip(
        made, judged[::2], judged[1::2], strict=True
    ):
        place = both[:8, 0].float().mean(dim=1).argmax(dim=1)  # of the bar in the real images
        label = (place - 4) // 8
        assert torch.equal(of_both, label.repeat(2))
        assert torch.equal(of_fakes, label)
        assert torch.equal(of_seen, label)


def test_the_names_of_labels_survive_training_and_resuming(runs):
    for folder in runs.folders.values():
        generator, recipe = load_generator(folder, "cpu")
        assert generator.label_names == (NAMES if runs.conditional else ())
        assert generator.conditional == runs.conditional
        assert (generator.side, generator.channels) == (SIDE_PX, 1)
        assert recipe == runs.recipe


def test_the_grids_are_grey_with_the_labels_in_turn(runs):
    folder = runs.folders["resumed"]
    generator, _ = load_generator(folder, "cpu")
    labels = labels_in_turn(range(50), len(NAMES)) if runs.conditional else None
    images = next(sample(generator, latents(range(50), 8), labels))
    assert images.shape == (50, SIDE_PX, SIDE_PX, 1)
    with Image.open(folder / GRIDS / f"{END:09d}.png") as grid:
        assert grid.mode == "L"
        # The saved one's weights lie in another order in memory, and round otherwise.
        expected = np.asarray(make_grid(images, 10)).astype(int)
        assert np.abs(np.asarray(grid) - expected).max() <= 1
    with Image.open(folder / PROGRESS) as gif:
        colours = np.asarray(gif.convert("RGB"))
    assert (colours == colours[..., :1]).all()


def test_a_label_is_asked_for_by_its_name(runs, tmp_path, capsys):
    pictures = []
    for label in NAMES:
        out = tmp_path / f"{len(pictures)}.png"
        command = ["sample", runs.folders["resumed"], "--label", label, "--out", out]
        code = main([str(word) for word in (*command, "--count", "3")])
        assert code == (0 if runs.conditional else 2)
        if runs.conditional:
            with Image.open(out) as picture:
                assert picture.mode == "L"
            pictures.append(out.read_bytes())
    assert len(set(pictures)) == len(pictures)
    assert ("knows no labels" in capsys.readouterr().err) != runs.conditional


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", LABELS)
def test_labels_change_what_a_conditional_run_learns_and_no_other(tmp_path, kind, labels):
    recipe = recipe_of(kind, labels)
    recipe = replace(recipe, train=replace(recipe.train, images=16))
    other = (np.arange(COUNT) + 1) % len(NAMES)
    for name, given in (("own", None), ("other", other)):
        train(digits(tmp_path, given), tmp_path / name, recipe, device="cpu")
    own, others = (read_tensors(tmp_path / name / GENERATORS[0])[0] for name in ("own", "other"))
    same = all(torch.equal(own[name], others[name]) for name in own)
    assert same != recipe.networks.conditional
