"""Networks, losses, EMA, sampler and pictures: shapes, closed forms, repeatable seeds."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from doggan.gan.ema import EMA, WARM_UP
from doggan.gan.losses import discriminator_loss, generator_loss
from doggan.gan.networks import make_networks
from doggan.gan.sampler import BATCH, latents, noise_levels, sample, sample_seeds, to_uint8
from doggan.recipe import NetworksRecipe
from doggan.reporting.pictures import MAX_GIF_FRAMES, make_grid, save_gif, save_picture
from doggan.support.errors import InputError

SMALL = NetworksRecipe(latent=6, generator_width=4, discriminator_width=4)


@pytest.mark.parametrize(("side", "channels"), [(16, 1), (32, 3), (64, 3), (128, 1)])
def test_the_networks_fit_the_sets_images(side, channels):
    generator, discriminator = make_networks(SMALL, side, channels, seed=0)
    images = generator(torch.randn(3, 6))
    assert images.shape == (3, channels, side, side)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (3,)


def test_other_sides_are_refused():
    with pytest.raises(InputError, match="the set's are 48"):
        make_networks(SMALL, 48, 3, seed=0)


def test_the_default_generator_is_the_papers():
    generator, discriminator = make_networks(NetworksRecipe(), 64, 3, seed=0)
    planes = [
        layer.out_channels for layer in generator.layers if isinstance(layer, nn.ConvTranspose2d)
    ]
    assert planes == [512, 256, 128, 64, 3]
    planes = [layer.out_channels for layer in discriminator.layers if isinstance(layer, nn.Conv2d)]
    assert planes == [64, 128, 256, 512, 1]
    weights = torch.cat(
        [
            layer.weight.flatten()
            for layer in generator.layers
            if isinstance(layer, nn.ConvTranspose2d)
        ]
    )
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)


def test_initial_weights_follow_the_seed_alone():
    before = torch.random.get_rng_state()
    one, other = (make_networks(SMALL, 16, 3, seed=5)[0] for _ in range(2))
    third = make_networks(SMALL, 16, 3, seed=6)[0]
    assert torch.equal(torch.random.get_rng_state(), before)
    first = [network.layers[0].weight for network in (one, other, third)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_losses_have_their_closed_form():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])

    def softplus(x):
        return math.log1p(math.exp(x))

    # -y log s(x) - (1 - y) log(1 - s(x)) = softplus(x) - y x
    expected = np.mean([softplus(x) - 0.9 * x for x in (2.0, -1.0)]) + np.mean(
        [softplus(x) for x in (0.5, -3.0)]
    )
    assert discriminator_loss(real, fake, 0.9).item() == pytest.approx(expected, rel=1e-6)
    expected = np.mean([softplus(-x) for x in (0.5, -3.0)])
    assert generator_loss(fake).item() == pytest.approx(expected, rel=1e-6)


def linear(value):
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.constant_(network[0].weight, value)
    return network


def test_the_ema_halves_its_distance_every_half_life_whatever_the_batch():
    for batch in (10, 25):
        ema = EMA(linear(0.0), half_life_images=100)
        target = linear(1.0)
        for _ in range(300 // batch):
            ema.update(target, batch, images_seen=1_000_000)
        assert ema.network[0].weight.item() == pytest.approx(1 - 0.5**3, rel=1e-5)


def test_the_ema_warms_up_and_copies_buffers():
    ema = EMA(linear(0.0), half_life_images=1000)
    assert ema.decay(10, images_seen=200) == 0.5 ** (10 / (WARM_UP * 200))
    assert ema.decay(10, images_seen=10**6) == 0.5 ** (10 / 1000)
    assert EMA(linear(0.0), half_life_images=0).decay(10, images_seen=10**6) == 0
    target = linear(1.0)
    target[1].running_mean.fill_(3.0)
    ema.update(target, 10, images_seen=10**6)
    assert ema.network[1].running_mean.item() == 3.0
    assert not ema.network.training
    assert not any(parameter.requires_grad for parameter in ema.network.parameters())


def test_a_seed_gives_the_same_z_among_any_others():
    assert torch.equal(latents([7], 16)[0], latents([3, 7, 9], 16)[1])
    z = latents(range(500), 64)
    assert z.mean().item() == pytest.approx(0, abs=0.02)
    assert z.std().item() == pytest.approx(1, abs=0.02)


def test_truncation_scales_or_draws_again():
    z = latents(range(50), 16)
    torch.testing.assert_close(latents(range(50), 16, truncation=0.5), z * 0.5)
    resampled = latents(range(50), 16, truncation=0.5, by="resample")
    assert resampled.abs().max() <= 0.5
    inside = z.abs() <= 0.5
    assert torch.equal(resampled[inside], z[inside])
    assert latents(range(5), 16, truncation=0).abs().max() == 0


@pytest.mark.parametrize(("value", "by"), [(-0.1, "scale"), (2.1, "scale"), (0, "resample")])
def test_a_truncation_out_of_range_is_said(value, by):
    with pytest.raises(InputError, match=f"truncation is {value}"):
        latents([0], 4, truncation=value, by=by)


def test_noise_goes_from_first_to_last_in_tenths():
    torch.testing.assert_close(noise_levels(1.0, 0.0), torch.arange(10, -1, -1) / 10)
    assert noise_levels(0.5, 0.5).tolist() == [0.5]


def test_images_are_streamed_in_the_order_of_their_seeds():
    generator, _ = make_networks(SMALL, 16, 3, seed=0)
    generator.eval()
    batches = list(sample_seeds(generator, range(BATCH + 5), 1.0))
    assert [len(batch) for batch in batches] == [BATCH, 5]
    again = np.concatenate(list(sample(generator, latents(range(BATCH + 5), 6))))
    assert (np.concatenate(batches) == again).all()
    assert again.dtype == np.uint8
    assert again.shape[1:] == (16, 16, 3)


def test_minus_one_to_one_becomes_bytes_by_rounding():
    values = torch.tensor([-1.0, 0.0, 0.999, 1.0, 1.5]).reshape(5, 1, 1, 1)
    assert to_uint8(values).flatten().tolist() == [0, 128, 255, 255, 255]


def test_a_grid_places_images_row_by_row():
    images = np.zeros((5, 4, 6, 3), np.uint8)
    images[:, :, :] = np.arange(5)[:, None, None, None] * 10
    grid = np.asarray(make_grid(images, columns=3))
    assert grid.shape == (2 * 6 + 2, 3 * 8 + 2, 3)
    assert (grid[2:6, 2:8] == 0).all()
    assert (grid[8:12, 10:16] == 40).all()
    assert (grid[8:12, 18:24] == 255).all()  # nothing there
    assert (grid[:2] == 255).all()
    assert make_grid(images[..., :1], columns=5).mode == "L"


def test_the_gif_holds_the_first_and_the_last_of_many_grids(tmp_path):
    frames = []
    for level in range(MAX_GIF_FRAMES + 20):
        frames.append(tmp_path / f"{level:03d}.png")
        save_picture(Image.new("RGB", (8, 8), (level, 0, 0)), frames[-1])
    save_gif(frames, tmp_path / "all.gif")
    with Image.open(tmp_path / "all.gif") as gif:
        assert gif.n_frames == MAX_GIF_FRAMES
        reds = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            reds.append(gif.convert("RGB").getpixel((0, 0))[0])
    assert (reds[0], reds[-1]) == (0, len(frames) - 1)
    assert reds == sorted(reds)
