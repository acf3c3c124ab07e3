"""What `auto` computes in is the machine's; a run goes on on another one, and says so."""

import json

import numpy as np
import pytest
import torch

from conftest import TINY
from doggan.data.imageset import ImageSet
from doggan.gan.history import read_history
from doggan.gan.run_folder import ENVIRONMENT
from doggan.gan.trainer import train
from doggan.recipe import load_recipe, with_value
from doggan.support import device

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NEEDS_GPU = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="fp16 needs a GPU, and PyTorch finds none here"
)
# Measured on a CPU, bf16, four seeds each: 2.2 % at most in any quarter of `dense`, 13 % in one of
# `dcgan`, whose losses swing, and 3 % over its whole run.
TOLERANCE = 0.1


@pytest.fixture
def imageset(tmp_path):
    """Thirty grey images of 28 pixels with a bright bar each."""
    images = np.random.default_rng(0).integers(0, 40, (30, 28, 28, 1), np.uint8)
    for index, image in enumerate(images):
        image[:, 4 + 8 * (index % 3) : 8 + 8 * (index % 3)] = 250
    manifest = {"images_sha256": "x", "label_names": ["bars"]}
    return ImageSet(tmp_path, images, np.zeros(30, np.int64), manifest)


@pytest.fixture
def machine(monkeypatch):
    """Makes the CPU one that multiplies bf16, or one that does not."""

    def become(multiplies_bf16):
        monkeypatch.setattr(device, "cpu_multiplies_bf16", lambda: multiplies_bf16)

    return become


@pytest.fixture
def computed():
    """The types that layers with weights to multiply by have put out so far."""
    seen = set()

    def watch(module, inputs, output):
        if module.training and isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            seen.add(output.dtype)

    watching = torch.nn.modules.module.register_module_forward_hook(watch)
    yield seen
    watching.remove()


def precision_told(folder):
    return json.loads((folder / ENVIRONMENT).read_text())["precision"]


@pytest.mark.parametrize(("begun", "resumed"), [("bf16", "fp32"), ("fp32", "bf16")])
def test_an_auto_run_goes_on_in_what_the_machine_has_and_says_so(
    imageset, tmp_path, machine, computed, capsys, begun, resumed
):
    recipe = load_recipe("dogs", [*TINY, "train.precision=auto"])
    folder = tmp_path / "run"
    machine(begun == "bf16")
    train(imageset, folder, with_value(recipe, "train.images", 32), device="cpu")
    assert (precision_told(folder), computed) == (begun, {DTYPES[begun]})
    assert "precision" not in capsys.readouterr().err
    computed.clear()
    machine(resumed == "bf16")
    result = train(imageset, folder, recipe, resume=True, device="cpu")
    assert (precision_told(folder), computed) == (resumed, {DTYPES[resumed]})
    told = f"goes on with precision {resumed}, and was begun with precision {begun}"
    assert told in capsys.readouterr().err
    assert (result.images, result.stopped_by) == (64, "images")
    assert [row["images"] for row in read_history(folder)] == [32, 64]


def test_a_run_that_stays_in_its_precision_says_nothing(imageset, tmp_path, machine, capsys):
    recipe = load_recipe("dogs", [*TINY, "train.precision=auto"])
    folder = tmp_path / "run"
    machine(False)
    for images, note in ((24, None), (40, None), (48, "{"), (56, "[1]")):
        if note:  # a damaged note is no reason to stop, nor to warn
            (folder / ENVIRONMENT).write_text(note)
        longer = with_value(recipe, "train.images", images)
        train(imageset, folder, longer, resume=folder.exists(), device="cpu")
        assert precision_told(folder) == "fp32"
    assert "precision" not in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["bf16", pytest.param("fp16", marks=NEEDS_GPU)])
@pytest.mark.parametrize("architecture", ["dense", "dcgan"])
def test_a_hundred_steps_lose_as_much_as_in_fp32(imageset, tmp_path, precision, architecture):
    losses = {}
    for name in ("fp32", precision):
        values = (
            "networks.latent=8",
            "networks.generator_width=8",
            "networks.discriminator_width=8",
            f"networks.architecture={architecture}",
            "train.batch_size=8",
            "train.images=800",
            "train.interval_images=200",
            "train.max_saving_share=1.0",
            f"train.precision={name}",
        )
        train(imageset, tmp_path / name, load_recipe("dogs", values), processes=1)
        rows = read_history(tmp_path / name)
        losses[name] = np.array([[row["loss_d"], row["loss_g"]] for row in rows])
    assert losses["fp32"].shape == (4, 2)
    # It is another arithmetic, and yet the same training.
    assert not np.array_equal(losses[precision], losses["fp32"])
    means = (losses[name].mean(axis=0) for name in (precision, "fp32"))
    np.testing.assert_allclose(*means, rtol=TOLERANCE)
    if architecture == "dense":
        np.testing.assert_allclose(losses[precision], losses["fp32"], rtol=TOLERANCE)
