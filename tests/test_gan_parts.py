"""Networks, EMA, sampler and pictures: shapes, closed forms, repeatable seeds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from doggan.gan.ema import EMA
from doggan.gan.networks import ARCHITECTURES, make_networks
from doggan.gan.networks.dcgan import UPSAMPLINGS
from doggan.gan.pictures import MAX_GIF_FRAMES, make_grid, save_gif, save_picture
from doggan.gan.sampler import (
    BATCH,
    find_label,
    labels_asked_for,
    labels_in_turn,
    latents,
    sample,
    sample_seeds,
    to_uint8,
)
from doggan.gan.walks import noise_walk, sample_walk, save_walk, spherical_walk
from doggan.recipe import NetworksRecipe
from doggan.support.errors import InputError

SMALL = NetworksRecipe(latent=6, generator_width=4, discriminator_width=4)


def networks(recipe, side=16, channels=3, label_count=1, seed=0):
    return make_networks(recipe, side=side, channels=channels, label_count=label_count, seed=seed)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize(
    ("side", "channels"), [(16, 1), (17, 3), (28, 1), (31, 1), (45, 3), (64, 3), (127, 1), (128, 1)]
)
def test_the_networks_fit_the_sets_images(architecture, upsampling, side, channels):
    recipe = replace(SMALL, architecture=architecture, upsampling=upsampling)
    generator, discriminator = networks(recipe, side, channels)
    images = generator(torch.randn(3, 6))
    assert images.shape == (3, channels, side, side)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (3,)


@pytest.mark.parametrize("side", [15, 129])
def test_other_sides_are_refused(side):
    with pytest.raises(InputError, match=f"the set's are {side}"):
        networks(SMALL, side)


def test_28_pixels_are_7_doubled_twice():
    generator, discriminator = networks(SMALL, 28, 1)
    assert generator.layers[0].kernel_size == discriminator.layers[-1].kernel_size == (7, 7)
    strides = [layer.stride for layer in generator.layers if isinstance(layer, nn.ConvTranspose2d)]
    assert strides == [(1, 1), (2, 2), (2, 2)]


def test_the_dense_networks_are_the_classrooms():
    recipe = NetworksRecipe(architecture="dense", generator_width=256, discriminator_width=256)
    units = [
        [layer.out_features for layer in network.layers if isinstance(layer, nn.Linear)]
        for network in networks(recipe, 28, 1)
    ]
    assert units == [[256, 512, 1024, 784], [1024, 512, 256, 1]]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_conditional_networks_answer_to_the_label(architecture):
    recipe = replace(SMALL, architecture=architecture, conditional=True)
    generator, discriminator = (net.eval() for net in networks(recipe, label_count=3))
    z = torch.randn(1, 6).expand(3, 6)
    images = generator(z, torch.tensor([0, 1, 2]))
    assert not torch.equal(images[0], images[1])
    torch.testing.assert_close(generator(z[:1], torch.tensor([2])), images[2:])
    same = images[:1].expand(3, -1, -1, -1)
    logits = discriminator(same, torch.tensor([0, 1, 1]))
    assert logits[0] != logits[1]
    assert logits[1] == logits[2]
    for network, inputs in ((generator, z), (discriminator, images)):
        with pytest.raises(ValueError, match="needs labels"):
            network(inputs)


def test_the_projection_is_added_to_the_unconditional_logit():
    recipe = replace(SMALL, conditional=True)
    _, discriminator = networks(recipe, label_count=2)
    images = torch.randn(4, 3, 16, 16)
    nn.init.zeros_(discriminator.embedding.weight)
    without = discriminator(images, torch.zeros(4, dtype=torch.int64))
    features = discriminator.layers[:-1](images).flatten(1)
    nn.init.constant_(discriminator.embedding.weight, 0.5)
    told = discriminator(images, torch.ones(4, dtype=torch.int64))
    torch.testing.assert_close(told, without + 0.5 * features.sum(1))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_unconditional_networks_ignore_labels(architecture):
    recipe = replace(SMALL, architecture=architecture)
    generator, discriminator = (net.eval() for net in networks(recipe, label_count=3))
    z, labels = torch.randn(2, 6), torch.tensor([0, 1])
    images = generator(z)
    assert torch.equal(generator(z, labels), images)
    assert torch.equal(discriminator(images, labels), discriminator(images))


def test_the_default_generator_is_the_papers():
    generator, discriminator = networks(NetworksRecipe(), 64)
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
    one, other = (networks(SMALL, seed=5)[0] for _ in range(2))
    third = networks(SMALL, seed=6)[0]
    assert torch.equal(torch.random.get_rng_state(), before)
    first = [network.layers[0].weight for network in (one, other, third)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def linear(value):
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.constant_(network[0].weight, value)
    return network


def test_the_ema_halves_its_distance_every_half_life_whatever_the_batch():
    for batch in (10, 25):
        ema = EMA(linear(0.0), 0.05, most_images=100)
        target = linear(1.0)
        for _ in range(300 // batch):
            ema.update(target, batch, images_seen=1_000_000)
        assert ema.network[0].weight.item() == pytest.approx(1 - 0.5**3, rel=1e-5)


def test_the_ema_warms_up_and_copies_buffers():
    ema = EMA(linear(0.0), 0.05, most_images=1000)
    assert ema.decay(10, images_seen=200) == 0.5 ** (10 / (0.05 * 200))
    assert ema.decay(10, images_seen=10**6) == 0.5 ** (10 / 1000)
    assert EMA(linear(0.0), 0.05, most_images=0).decay(10, images_seen=10**6) == 0
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
    assert len(z.unique(dim=0)) == 500


def test_a_byte_is_the_nearest_to_its_place_between_the_ends_of_tanh():
    places = torch.linspace(-1, 1, 4096).reshape(1, 1, 64, 64)
    exact = 255 * (places.double().numpy().ravel() + 1) / 2
    assert np.abs(to_uint8(places).ravel() - exact).max() < 0.5 + 1e-4


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
    z = torch.tensor([[1.0, -2.0]])
    walk = noise_walk(z, 1.0, 0.0)
    torch.testing.assert_close(walk[0, :, 0], torch.arange(10, -1, -1) / 10)
    torch.testing.assert_close(walk[0, :, 1], torch.arange(10, -1, -1) / -5)
    assert noise_walk(z, 0.5, 0.5).tolist() == [[[0.5, -1.0]]]


def test_a_spherical_walk_keeps_its_length_and_turns_evenly():
    start, end = torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[0.0, 3.0, 0.0]])
    walk = spherical_walk(start, end, 4)
    angles = torch.tensor([0.0, 30, 60, 90]).deg2rad()
    expected = 3 * torch.stack([angles.cos(), angles.sin(), angles * 0], 1)
    torch.testing.assert_close(walk[0], expected, atol=1e-6, rtol=0)


def test_a_walk_between_parallel_ends_is_straight():
    start = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    walk = spherical_walk(start, torch.tensor([[3.0, 3.0], [0.0, 0.0]]), 3)
    assert walk[..., 0].tolist() == [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]


def test_a_walk_is_a_strip_or_a_gif(tmp_path):
    generator, _ = networks(replace(SMALL, conditional=True), label_count=2)
    z = latents(range(2), 6)
    walk = noise_walk(z, 1.0, 0.8)
    images = sample_walk(generator.eval(), walk, torch.tensor([1, 0]))
    assert images.shape == (2, 3, 16, 16, 3)
    alone = next(sample(generator, walk[1], torch.zeros(3, dtype=torch.int64)))
    assert np.abs(images[1].astype(int) - alone).max() <= 1
    save_walk(images, 3, tmp_path / "strip.png")
    save_walk(images, 2, tmp_path / "walk.gif")
    with Image.open(tmp_path / "strip.png") as strip, Image.open(tmp_path / "walk.gif") as gif:
        assert strip.size == (3 * 18 + 2, 2 * 18 + 2)
        assert (gif.size, gif.n_frames) == ((2 * 18 + 2, 18 + 2), 3)


def test_labels_take_turns_by_seed():
    assert labels_in_turn(range(3, 8), 3).tolist() == [0, 1, 2, 0, 1]
    generator, _ = networks(replace(SMALL, conditional=True), label_count=3)
    generator.eval()
    images = np.concatenate(list(sample_seeds(generator, range(5), 1.0)))
    z, told = latents(range(5), 6), torch.tensor([0, 1, 2, 0, 1])
    assert (images == next(sample(generator, z, told))).all()
    assert (images == next(sample(generator, z))).all()


def test_a_label_is_found_by_name_part_or_number():
    dogs = ["n02085620-Chihuahua", "n02106030-collie", "n02106166-Border_collie", "n02110958-pug"]
    cases = {"chihuahua": 0, "collie": 1, "Border collie": 2, "pug": 3, "n02110958-pug": 3, "1": 1}
    assert {text: find_label(dogs, text) for text in cases} == cases
    assert find_label(["5", "6", "7"], "6") == 1  # a name before a number
    assert find_label(["T-shirt/top", "Pullover", "Shirt"], "shirt") == 2


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("Coli", "no label is called 'Coli'; such as: n02106030-collie"),
        ("o", "several labels hold 'o'; such as: n02106030-collie, n02106166-Border_collie"),
        ("7", "no label is called '7'; there are: n02106030-collie"),
    ],
)
def test_an_unknown_label_names_the_nearest(wanted, message):
    with pytest.raises(InputError, match=message):
        find_label(["n02106030-collie", "n02106166-Border_collie", "n02110958-pug"], wanted)


def test_a_wanted_label_goes_to_all_seeds_of_a_conditional_generator_only():
    generator, _ = networks(replace(SMALL, conditional=True), label_count=2)
    generator.label_names = ("cat", "dog")
    assert labels_asked_for(generator, range(3), "dog").tolist() == [1, 1, 1]
    assert labels_asked_for(generator, range(3), None).tolist() == [0, 1, 0]
    unconditional, _ = networks(SMALL)
    assert labels_asked_for(unconditional, range(3), None) is None
    with pytest.raises(InputError, match=r"knows no labels.*networks\.conditional=true"):
        labels_asked_for(unconditional, range(3), "dog")


def test_images_are_streamed_in_the_order_of_their_seeds():
    generator, _ = networks(SMALL)
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
