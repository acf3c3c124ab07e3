"""The calibration of eps: copies that are copies, and a threshold between them and new photos."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch.nn.functional as F
from PIL import Image
from torch import nn

import calibrate_eps
from conftest import make_photos
from doggan.scoring.judges import efficientnet
from doggan.support.errors import InputError
from test_features import make_judge


@pytest.fixture
def images():
    """Smooth, so that what is changed a little stays near: [6, 64, 64, 3] uint8."""
    ramp = np.linspace(60, 180, 64)
    random = np.random.default_rng(0)
    planes = ramp[None, :, None, None] * random.uniform(0.5, 1, (6, 1, 1, 3))
    return (planes + 0.4 * ramp[None, None, :, None]).astype(np.uint8)


def test_copies_are_like_the_photos_and_not_the_photos(images):
    copies = calibrate_eps.make_copies(images, np.random.default_rng(0))
    assert list(copies) == [
        "re-saved",
        "flipped",
        "cropped",
        "recoloured",
        "changed in all these ways",
    ]
    for changed in copies.values():
        assert (changed.shape, changed.dtype) == (images.shape, np.uint8)
        assert (changed != images).any(axis=(1, 2, 3)).all()
    near = {what: np.abs(changed.astype(float) - images).mean() for what, changed in copies.items()}
    assert near["re-saved"] < 5
    assert near["cropped"] < 10
    assert near["recoloured"] < 60
    assert np.array_equal(copies["flipped"], images[:, :, ::-1])


def test_the_same_seed_makes_the_same_copies(images):
    def copies(seed):
        return calibrate_eps.make_copies(images, np.random.default_rng(seed))

    np.random.seed(1)
    first = copies(7)
    np.random.seed(2)  # nothing but the generator's seed counts
    again, other = copies(7), copies(8)
    assert all(np.array_equal(first[what], again[what]) for what in first)
    drawn = {what for what in first if not np.array_equal(first[what], other[what])}
    assert drawn == {"cropped", "recoloured", "changed in all these ways"}


def test_eps_lies_midway_between_new_photos_and_the_furthest_copies():
    assert calibrate_eps.best_eps(0.25, {"flipped": 0.05, "recoloured": 0.11}) == 0.18


@pytest.mark.parametrize("copies", [{"flipped": 0.3}, {"flipped": 0.2499}])
def test_no_eps_is_made_up(copies):
    with pytest.raises(InputError, match=r"no eps separates them: new photos lie at 0\.2500"):
        calibrate_eps.best_eps(0.25, copies)


def test_the_table_has_eps_in_its_place():
    text = calibrate_eps.table(
        {
            "eps": 0.18,
            "new": {"new photos": 0.25},
            "copies": {"flipped": 0.05},
            "images": 2000,
            "reference_images": 9000,
            "judge": "efficientnet-lite0",
            "precision": "bf16",
            "weights_sha256": "0" * 64,
            "seed": 0,
        }
    )
    assert text.splitlines()[:3] == ["0.0500  flipped", "0.1800  eps", "0.2500  new photos"]
    assert "2,000 images each, to 9,000 of reference" in text


class Layout(nn.Module):
    """Where a photo is light and where dark, mirrored or not: [N, H, W, 3] uint8 -> [N, 36]."""

    def forward(self, images):
        grey = images.float().mean(3, keepdim=True).permute(0, 3, 1, 2)
        cells = F.adaptive_avg_pool2d(grey + grey.flip(3), 6).flatten(1)
        return cells - cells.mean(1, keepdim=True)


def test_photos_are_told_from_their_copies(tmp_path, monkeypatch, capsys):
    judge = replace(make_judge(), network=Layout(), dimensions=36)
    monkeypatch.setattr(calibrate_eps, "load_judge", lambda name, device: judge)
    random = np.random.default_rng(0)
    for index in range(40):
        grid = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
        grid.resize((96, 96), Image.Resampling.BICUBIC).save(tmp_path / f"{index}.png")
    arguments = [str(tmp_path), "--held-out", "12"]
    assert calibrate_eps.main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    new, copies = result["new"], result["copies"]
    assert max(copies.values()) < result["eps"] < new["new photos"]
    assert new["new photos"] < new["new photos, half the reference"]
    assert (result["images"], result["reference_images"]) == (12, 28)
    assert calibrate_eps.main(arguments) == 0
    assert f"{result['eps']:.4f}  eps" in capsys.readouterr().out.splitlines()


def test_too_few_photos_are_one_sentence(tmp_path, capsys):
    photos = make_photos(tmp_path / "photos", count=3)
    assert calibrate_eps.main([str(photos), "--held-out", "2"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("calibrate_eps: 3 photos do not give 2 new ones")


@pytest.fixture
def some_real_photos(real_photos, tmp_path):
    """Every 24th of the real photos, 485 in all, of every breed."""
    with (
        zipfile.ZipFile(real_photos) as everything,
        zipfile.ZipFile(tmp_path / "some.zip", "w") as some,
    ):
        photos = sorted(name for name in everything.namelist() if name.endswith(".jpg"))
        for name in photos[::24]:
            some.writestr(name, everything.read(name))
    return tmp_path / "some.zip"


@pytest.mark.slow
def test_the_judges_eps_separates_real_photos(some_real_photos, capsys):
    """Copies lie as far from few photos as from many; new photos lie further from few."""
    assert calibrate_eps.main([str(some_real_photos), "--held-out", "60", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert max(result["copies"].values()) < efficientnet.EPS < result["new"]["new photos"]
