"""Norms, conditioning, hierarchical z and residual blocks: closed forms, and every combination."""

import copy
import io
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, interpolate

from conftest import STEADY, in_each_precision, saved_tensors
from doggan.data.imageset import ImageSet
from doggan.gan.generator_file import load_generator, save_generator
from doggan.gan.networks import ARCHITECTURES, make_networks
from doggan.gan.networks.dcgan import UPSAMPLINGS
from doggan.gan.networks.layers import ConditionalBatchNorm, Conditioned
from doggan.gan.networks.norms import NORMS
from doggan.gan.networks.pair import CONDITIONINGS, LABEL_FEATURES
from doggan.gan.networks.resnet import DownBlock, SumPool, UpBlock
from doggan.gan.sampler import sample
from doggan.gan.trainer import train
from doggan.recipe import NetworksRecipe, Recipe, load_recipe
from doggan.support.errors import InputError

# The discriminator is the narrower one in all that follows.
SMALL = NetworksRecipe(latent=11, generator_width=4, discriminator_width=2)
ALL_KINDS = [
    replace(
        SMALL,
        architecture=architecture,
        upsampling=upsampling,
        conditional=conditional,
        conditioning=conditioning,
        hierarchical_latent=hierarchical,
    )
    for architecture, upsampling in [
        *product(["dcgan"], UPSAMPLINGS),
        *product([name for name in ARCHITECTURES if name != "dcgan"], ["transposed"]),
    ]
    for conditional, conditioning in [(False, "latent"), *product([True], CONDITIONINGS)]
    for hierarchical in (False, True)
]


def networks(recipe, side=16, channels=3, label_count=3, seed=0):
    return make_networks(recipe, side=side, channels=channels, label_count=label_count, seed=seed)


def in_words(recipe):
    told = recipe.conditioning if recipe.conditional else "unconditional"
    split = "split" if recipe.hierarchical_latent else "whole"
    return f"{recipe.architecture}-{recipe.upsampling}-{told}-{split}"


def norms_and_architectures(test):
    test = pytest.mark.parametrize("norm", NORMS)(test)
    return pytest.mark.parametrize("architecture", ARCHITECTURES)(test)


def test_the_default_networks_are_bit_for_bit_those_of_the_tutorial():
    recipe = NetworksRecipe(latent=5, generator_width=2, discriminator_width=3)
    found = [network.layers for network in networks(recipe, 32, seed=9)]
    torch.manual_seed(9)
    expected = [
        nn.Sequential(
            nn.ConvTranspose2d(5, 8, 4, 1, 0, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.ConvTranspose2d(4, 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2),
            nn.ReLU(),
            nn.ConvTranspose2d(2, 3, 4, 2, 1),
            nn.Tanh(),
        ),
        nn.Sequential(
            nn.Conv2d(3, 3, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(3, 6, 4, 2, 1, bias=False),
            nn.BatchNorm2d(6),
            nn.LeakyReLU(0.2),
            nn.Conv2d(6, 12, 4, 2, 1, bias=False),
            nn.BatchNorm2d(12),
            nn.LeakyReLU(0.2),
            nn.Conv2d(12, 1, 4, 1, 0),
        ),
    ]
    for layer in (layer for half in expected for layer in half):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
    for one, other in zip(found, expected, strict=True):
        assert one.state_dict().keys() == other.state_dict().keys()
        for name, value in other.state_dict().items():
            assert torch.equal(one.state_dict()[name], value), name
    z = torch.randn(4, 5)
    images = expected[0](z[:, :, None, None])
    assert torch.equal(found[0](z[:, :, None, None]), images)
    assert torch.equal(found[1](images), expected[1](images))


@pytest.mark.parametrize("recipe", ALL_KINDS, ids=in_words)
def test_every_kind_is_used_whole_and_survives_its_file(recipe, tmp_path):
    generator, discriminator = networks(recipe, 20)
    z, labels = torch.randn(6, 11), torch.tensor([0, 1, 2, 0, 1, 2])
    images = generator(z, labels)
    assert images.shape == (6, 3, 20, 20)
    discriminator(images, labels).square().sum().backward()
    # Several processes wait for the gradient of every parameter, and so does the norm.
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
    # Running statistics are as those of any batch norm.
    norms = [layer for layer in generator.modules() if hasattr(layer, "running_mean")]
    assert len(norms) >= 1
    assert all(layer.running_mean.abs().max() > 0 for layer in norms)
    whole = Recipe(networks=recipe)
    names = ["a", "b", "c"] if recipe.conditional else []
    save_generator(tmp_path, generator, whole, images_seen=6, label_names=names)
    loaded, found = load_generator(tmp_path, "cpu")
    assert found == whole
    assert loaded.label_names == tuple(names)
    copied = copy.deepcopy(generator).eval()
    expected = next(sample(generator.eval(), z, labels))
    assert (next(sample(loaded, z, labels)) == expected).all()
    assert (next(sample(copied, z, labels)) == expected).all()


@pytest.mark.parametrize("recipe", ALL_KINDS, ids=in_words)
@pytest.mark.parametrize("norm", NORMS)
def test_every_kind_works_in_bf16_and_keeps_channels_last(recipe, norm):
    pair = networks(replace(recipe, discriminator_norm=norm))
    generator, discriminator = (net.to(memory_format=torch.channels_last).eval() for net in pair)
    labels, z, logits = torch.tensor([0, 1, 2, 0]), torch.randn(4, 11), []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled), torch.no_grad():
            images = generator(z, labels)
            logits.append(discriminator(images, labels).float())
        layout = torch.channels_last
        assert recipe.architecture == "dense" or images.is_contiguous(memory_format=layout)
    torch.testing.assert_close(logits[1], logits[0], rtol=0.05, atol=0.05)


def test_conditional_batch_norm_scales_and_shifts_by_a_linear_map():
    layer, plain = ConditionalBatchNorm(3, 2), nn.BatchNorm2d(3, affine=False)
    maps = torch.randn(4, 3, 5, 5) * 2 + 1
    torch.testing.assert_close(layer(maps, torch.zeros(4, 2)), plain(maps))
    for name, value in plain.state_dict().items():
        assert torch.equal(layer.state_dict()[name], value), name
    nn.init.constant_(layer.map.weight, 0.5)
    with torch.no_grad():
        layer.map.bias.copy_(torch.tensor([0.0, 1, 2, 3, 4, 5]))
    # The map gives 0.5 * (2 - 1) + bias: scales 1.5, 2.5, 3.5 and shifts 3.5, 4.5, 5.5.
    found = layer.eval()(maps, torch.tensor([[2.0, -1.0]]).expand(4, 2))
    scale, shift = torch.tensor([[1.5, 2.5, 3.5], [3.5, 4.5, 5.5]])[..., None, None]
    torch.testing.assert_close(found, plain.eval()(maps) * scale + shift)
    # As for dense layers.
    found = layer(maps[..., 0, 0], torch.zeros(4, 2))
    expected = batch_norm(maps[..., 0, 0], layer.running_mean, layer.running_var)
    bias = layer.map.bias.detach()
    torch.testing.assert_close(found, expected * (1 + bias[:3]) + bias[3:])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("conditional", [False, True])
def test_each_stage_is_told_its_own_part_of_z(architecture, conditional):
    recipe = replace(SMALL, architecture=architecture, hierarchical_latent=True)
    recipe = replace(recipe, conditional=conditional, conditioning="batch-norm")
    generator = networks(recipe, 32)[0].eval()
    stages = [layer for layer in generator.layers if isinstance(layer, Conditioned)]
    assert len(stages) == 3  # from 4 to 32, or the dense one's hidden layers
    conditions, outputs = [], []

    def keep(layer, inputs, output):
        conditions.append(inputs[1])
        outputs.append(output.clone())  # an activation works in place on it

    for stage in stages:
        stage.register_forward_hook(keep)
    # 11 numbers are four parts of 2, and the 3 left go to the first layer.
    z, labels = torch.randn(1, 11), torch.tensor([1])
    label = generator.embedding.weight[1:2] if conditional else torch.empty(1, 0)
    generator(z, labels)
    for start, condition in zip((5, 7, 9), conditions, strict=True):
        assert torch.equal(condition, torch.cat([z[:, start : start + 2], label], dim=1))
    # What the second part says is heard from the second stage on.
    before = outputs[:]
    outputs.clear()
    generator(z + torch.eye(11)[8:9], labels)
    same = [torch.equal(one, other) for one, other in zip(before, outputs, strict=True)]
    assert same == [True, False, False]


def test_a_z_too_short_to_be_split_is_refused():
    recipe = replace(SMALL, hierarchical_latent=True, latent=4)
    with pytest.raises(InputError, match=r"latent is 4; .* 4 stages each .* give it 5 or more"):
        networks(recipe, 64)
    networks(replace(recipe, latent=5), 64)


def test_conditioning_by_batch_norm_leaves_z_alone_and_shares_one_embedding():
    recipe = replace(SMALL, conditional=True, conditioning="batch-norm")
    generator, _ = networks(recipe, 32)
    assert generator.layers[0].in_channels == 11
    maps = [layer.map for layer in generator.layers if isinstance(layer, Conditioned)]
    assert [layer.in_features for layer in maps] == [LABEL_FEATURES] * 3
    embeddings = [layer for layer in generator.modules() if isinstance(layer, nn.Embedding)]
    assert len(embeddings) == 1
    appended, _ = networks(replace(recipe, conditioning="latent"), 32)
    assert appended.layers[0].in_channels == 11 + LABEL_FEATURES


WEIGHTED = (nn.Conv2d, nn.Linear, nn.Embedding)


def of_kinds(network, kinds):
    return [layer for layer in network.modules() if isinstance(layer, kinds)]


@norms_and_architectures
def test_a_norm_is_the_only_one(architecture, norm):
    recipe = replace(SMALL, architecture=architecture, discriminator_norm=norm, conditional=True)
    _, discriminator = networks(recipe, 32)
    found = bool(of_kinds(discriminator, nn.BatchNorm2d))
    assert found == (norm == "batch" and architecture != "dense")
    layers = of_kinds(discriminator, WEIGHTED)
    parametrised = {nn.utils.parametrize.is_parametrized(layer) for layer in layers}
    assert parametrised == {norm == "spectral"}
    if norm != "batch":  # whose shift is a bias already
        assert all(layer.bias is not None for layer in layers if layer is not layers[-1])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_under_spectral_norm_each_weights_largest_singular_value_is_1(architecture):
    recipe = replace(SMALL, architecture=architecture, conditional=True)
    _, discriminator = networks(replace(recipe, discriminator_norm="spectral"))
    images, labels = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    layers = of_kinds(discriminator, WEIGHTED)
    originals = [layer.parametrizations.weight.original for layer in layers]
    before = discriminator.eval()(images, labels)
    with torch.no_grad():
        # There is no scale that it does not take away.
        for weight in originals:
            weight *= 7.0
        torch.testing.assert_close(discriminator(images, labels), before)
        # The power method, a step a forward in training, follows the weights.
        for weight in originals:
            weight += torch.randn_like(weight)
        discriminator.train()
        for _ in range(200):
            discriminator(images, labels)
    discriminator.eval()
    largest = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in layers]
    assert largest == pytest.approx([1] * len(layers), abs=0.01)


@norms_and_architectures
def test_a_discriminator_survives_its_state_and_a_copy(architecture, norm):
    recipe = replace(SMALL, architecture=architecture, discriminator_norm=norm, conditional=True)
    _, discriminator = networks(recipe)
    images, labels = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    discriminator(images, labels)
    stream = io.BytesIO()
    torch.save(discriminator.state_dict(), stream)
    stream.seek(0)
    _, loaded = networks(recipe, seed=1)
    loaded.load_state_dict(torch.load(stream, weights_only=True))
    copied = copy.deepcopy(discriminator)
    # The second forward shows that what the power method has found came too.
    expected, *others = (
        [network(images, labels) for _ in range(2)] for network in (discriminator, loaded, copied)
    )
    for found in others:
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def penalty(network, images, labels):
    """The mean squared norm of the gradient with respect to the images."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network(images, labels).sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def gradients(loss, network):
    found = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    return [torch.zeros(()) if gradient is None else gradient for gradient in found]


@norms_and_architectures
def test_gradient_penalties_of_two_forwards_are_those_of_each(architecture, norm):
    recipe = replace(SMALL, architecture=architecture, discriminator_norm=norm, conditional=True)
    one = networks(recipe)[1].double()
    labels = torch.tensor([0, 1, 2, 0])
    real, fake = torch.randn(2, 4, 3, 16, 16, dtype=torch.float64)
    first, second = copy.deepcopy(one), copy.deepcopy(one)
    # Both penalties in one graph: the second forward changes the buffers that the first has used.
    found = gradients(penalty(one, real, labels) + penalty(one, fake, labels), one)
    of_real = gradients(penalty(first, real, labels), first)
    second(real, labels)
    of_fake = gradients(penalty(second, fake, labels), second)
    for both, left, right in zip(found, of_real, of_fake, strict=True):
        torch.testing.assert_close(both, left + right)


@pytest.mark.parametrize("norm", ["spectral", "none"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_gradient_of_a_penalty_is_its_finite_difference(architecture, norm):
    recipe = replace(SMALL, architecture=architecture, discriminator_norm=norm, conditional=True)
    discriminator = networks(recipe)[1].double().eval()
    images, labels = torch.randn(4, 3, 16, 16, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    found = gradients(penalty(discriminator, images, labels), discriminator)
    weights = list(discriminator.parameters())
    directions = [torch.randn_like(weight) * 1e-6 for weight in weights]
    values = []
    for sign in (1, -2):
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight += sign * direction
        values.append(penalty(discriminator, images, labels).item())
    expected = (values[0] - values[1]) / 2
    slope = sum((one * other).sum() for one, other in zip(found, directions, strict=True))
    assert abs(expected) > 1e-9
    assert slope.item() == pytest.approx(expected, rel=1e-3)


def test_transposed_3x3_is_a_layer_deeper_at_each_doubling():
    recipe = replace(SMALL, upsampling="transposed-3x3", generator_width=8)
    generator, _ = networks(recipe, 32)
    kinds = (nn.ConvTranspose2d, nn.Conv2d)
    layers = [layer for layer in generator.layers if isinstance(layer, kinds)]
    planes = [(layer.kernel_size[0], layer.in_channels, layer.out_channels) for layer in layers]
    assert planes == [
        (4, 11, 32),
        *[(4, 32, 16), (3, 16, 16)],
        *[(4, 16, 8), (3, 8, 8)],
        *[(4, 8, 4), (3, 4, 3)],
    ]
    # Batch norm and ReLU stand between any two.
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in generator.layers) == 6
    assert sum(isinstance(layer, nn.ReLU) for layer in generator.layers) == 6


@pytest.mark.parametrize("architecture", ["dcgan", "resnet"])
def test_no_map_has_more_channels_than_channel_max(architecture):
    recipe = replace(SMALL, architecture=architecture, channel_max=12, discriminator_width=4)
    for network in networks(recipe, 64):
        layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
        found = [layer.num_features for layer in layers]
        # The finest map has the width, the next twice that, and then the limit comes.
        assert {8, 12} <= set(found) <= {4, 8, 12}
        assert found.count(12) >= 2


@pytest.mark.parametrize(("side", "factors"), [(64, [1, 2, 4, 8, 16]), (128, [1, 2, 4, 8, 16, 16])])
def test_a_resnet_has_the_channels_of_biggan(side, factors):
    generator, discriminator = networks(replace(SMALL, architecture="resnet"), side)
    ups = [layer for layer in generator.layers if isinstance(layer, UpBlock)]
    planes = [block.convolutions[1].out_channels for block in ups]
    assert [generator.layers[0].out_channels, *planes] == [4 * factor for factor in factors[::-1]]
    downs = [layer for layer in discriminator.layers if isinstance(layer, DownBlock)]
    convolutions = [[x for x in block.branch if isinstance(x, nn.Conv2d)] for block in downs]
    assert [pair[1].out_channels for pair in convolutions] == [2 * factor for factor in factors]
    # The first has no activation before it, the last halves nothing; the smallest map is 4x4.
    assert [isinstance(block.branch[0], nn.Conv2d) for block in downs] == [True] + [False] * (
        len(factors) - 1
    )
    shapes = []
    for block in downs:
        block.register_forward_hook(lambda layer, inputs, out: shapes.append(out.shape[-1]))
    images = generator(torch.randn(2, 11))
    assert discriminator(images).shape == (2,)
    assert shapes[-2:] == [4, 4]
    assert shapes[0] == side // 2


def test_without_its_branch_a_block_is_its_shortcut():
    up, down = UpBlock(4, 2, 0), DownBlock(2, 4, NORMS["none"])
    for convolution in (up.convolutions[1], down.branch[-2]):
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    maps = torch.randn(3, 4, 4, 4)
    torch.testing.assert_close(up(maps, None), up.shortcut(interpolate(maps, scale_factor=2)))
    maps = torch.randn(3, 2, 6, 6)
    means = maps.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    torch.testing.assert_close(down(maps), down.shortcut[1](means))
    assert down.shortcut[1].kernel_size == (1, 1)
    assert torch.equal(SumPool()(torch.ones(2, 3, 4, 5)), torch.full((2, 3), 20.0))


def two_colours(folder):
    """Orange images of label 0 and blue ones of label 1, 16 pixels a side."""
    colours = np.array([[220, 120, 20], [20, 60, 200]])
    labels = np.arange(64) % 2
    noise = np.random.default_rng(0).integers(-20, 20, (64, 16, 16, 3))
    images = (colours[labels][:, None, None] + noise).astype(np.uint8)
    manifest = {"images_sha256": "x", "label_names": ["orange", "blue"]}
    return ImageSet(folder, images, labels, manifest), colours


def recipe_of(*overrides):
    return load_recipe(
        "dogs",
        [
            *STEADY,
            "networks.latent=8",
            "networks.generator_width=4",
            "networks.discriminator_width=4",
            "networks.conditional=true",
            "networks.conditioning=batch-norm",
            "networks.hierarchical_latent=true",
            "train.batch_size=16",
            "train.ema_half_life_images=200",
            *overrides,
        ],
    )


@pytest.mark.slow
@in_each_precision
def test_a_resumed_residual_run_has_the_same_bits(tmp_path, precision):
    imageset, _ = two_colours(tmp_path)
    options = ["networks.architecture=resnet", "networks.discriminator_norm=spectral"]
    options += [f"train.precision={precision}", "train.interval_images=32"]
    recipe = recipe_of(*options, "train.images=64")
    train(imageset, tmp_path / "straight", recipe)
    train(imageset, tmp_path / "halves", recipe_of(*options, "train.images=32"))
    train(imageset, tmp_path / "halves", recipe, resume=True)
    one, other = (saved_tensors(tmp_path / name) for name in ("straight", "halves"))
    assert len(one) > 100
    assert all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "norm"), [("resnet", "spectral"), ("resnet", "none"), ("dcgan", "spectral")]
)
def test_training_learns_the_colour_of_each_label(tmp_path, architecture, norm):
    imageset, colours = two_colours(tmp_path)
    recipe = recipe_of(
        f"networks.architecture={architecture}",
        f"networks.discriminator_norm={norm}",
        "train.loss=hinge",
        "train.beta1=0",
        "train.images=4000",
    )
    train(imageset, tmp_path / "run", recipe)
    generator, _ = load_generator(tmp_path / "run", "cpu")
    for label, colour in enumerate(colours):
        told = torch.full((50,), label)
        made = np.concatenate(list(sample(generator, torch.randn(50, 8), told)))
        assert np.abs(made.mean(axis=(0, 1, 2)) - colour).max() < 25
