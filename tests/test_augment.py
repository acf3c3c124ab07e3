"""Augmentations: closed forms, statistics, gradients, and that their numbers alone decide."""

import pytest
import torch

from doggan.gan.augment import (
    AUGMENTATIONS,
    DRAWS,
    Augment,
    colour,
    cutout,
    flip_and_translation,
    translation,
)
from doggan.recipe import TrainRecipe


def uniform(count, columns=DRAWS, seed=0):
    return torch.rand(count, columns, generator=torch.Generator().manual_seed(seed))


def noise(count, channels=3, side=16, seed=1):
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, side, side, generator=random) * 2 - 1


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [16, 17, 127])
def test_shapes_stay_and_no_two_images_are_changed_alike(name, channels, side):
    images = noise(1, channels, side).expand(6, -1, -1, -1)
    torch.manual_seed(1)
    changed = AUGMENTATIONS[name](images, uniform(6))
    assert changed.shape == images.shape
    if side == 127:  # of the few moves of small images some are the same
        assert all(not torch.equal(changed[i], changed[j]) for i in range(6) for j in range(i))
    assert torch.equal(images, noise(1, channels, side).expand(6, -1, -1, -1))
    torch.manual_seed(2)  # the numbers that it is given are all that it draws
    assert torch.equal(changed, AUGMENTATIONS[name](images, uniform(6)))


@pytest.mark.parametrize("change", [*AUGMENTATIONS.values(), flip_and_translation])
def test_gradients_are_those_of_finite_differences(change):
    images = noise(2, channels=2, side=12).double().requires_grad_()  # which moves by 2
    draws = uniform(2).double()
    assert torch.autograd.gradcheck(change, (images, draws))
    assert torch.autograd.gradgradcheck(change, (images, draws))


def test_translation_moves_down_and_right_and_brings_grey():
    images = noise(1)
    # At side 16 the reach is 2: -2, 0 and 2 each way, a third of the numbers each.
    moved = translation(images, torch.tensor([[0.99, 0.6, 0.0]]))  # 2 down
    assert torch.equal(moved[..., 2:, :], images[..., :-2, :])
    assert moved[..., :2, :].abs().max() == 0
    moved = translation(images, torch.tensor([[0.3, 0.7, 0.0]]))  # 2 up, 2 right
    assert torch.equal(moved[..., :-2, 2:], images[..., 2:, :-2])
    assert moved[..., -2:, :].abs().max() == moved[..., :2].abs().max() == 0
    half = images.bfloat16()
    assert torch.equal(translation(half, torch.full((1, DRAWS), 0.5)), half)


def test_translations_are_even_numbers_and_evenly_spread_up_to_an_eighth():
    dots = torch.zeros(2000, 1, 32, 32)
    dots[:, :, 16, 16] = 1
    moved = translation(dots, uniform(2000))
    counts = moved.sum((0, 1))
    reached = counts.nonzero()
    assert (reached.min().item(), reached.max().item()) == (12, 20)
    assert counts.sum() == 2000
    for along in (0, 1):
        assert counts.sum(along)[12:21:2].sub(2000 / 5).abs().max() < 72  # 4 deviations
        assert counts.sum(along)[13:20:2].max() == 0


def test_colour_is_brightness_then_saturation_then_contrast():
    images = noise(1)
    unchanged = colour(images, torch.full((1, DRAWS), 0.5))
    torch.testing.assert_close(unchanged, images)
    brighter = colour(images, torch.tensor([[0.75, 0.5, 0.5]]))
    torch.testing.assert_close(brighter, images + 0.25)
    grey = colour(images, torch.tensor([[0.5, 0.0, 0.5]]))
    torch.testing.assert_close(grey, images.mean(1, keepdim=True).expand_as(images))
    vivid = colour(images, torch.tensor([[0.5, 1.0, 0.5]]))
    torch.testing.assert_close(vivid - grey, 2 * (images - grey))
    flat = colour(images, torch.tensor([[0.5, 0.5, 0.0]]))
    torch.testing.assert_close(flat.std(), images.std() / 2)
    torch.testing.assert_close(flat.mean(), images.mean())


def test_cutout_takes_a_square_of_half_the_side_wherever_its_middle_lies():
    images = torch.ones(1, 2, 16, 16)
    middle = cutout(images, torch.tensor([[0.5, 0.5, 0.0]]))
    assert (1 - middle)[0].sum((1, 2)).tolist() == [64, 64]
    assert middle[..., 4:12, 4:12].abs().max() == 0
    corner = cutout(images, torch.tensor([[0.0, 0.999, 0.0]]))
    assert (1 - corner)[0, 0].sum() == 16
    assert corner[..., :4, 12:].abs().max() == 0
    # With its middle evenly spread over 0 to 16, a side is cut 4, 5, .. 8, .. 5, 4 pixels long.
    length = (8 * 9 + 2 * (4 + 5 + 6 + 7)) / 17
    cut = 1 - cutout(images[:, :1].expand(4000, -1, -1, -1), uniform(4000))
    assert cut.sum((1, 2, 3)).mean().item() == pytest.approx(length**2, rel=0.03)


def test_flips_are_half_of_all():
    images = torch.arange(16.0).expand(400, 1, 16, 16)
    moved = flip_and_translation(images, uniform(400))
    falling = (moved[:, 0, 8, 7] > moved[:, 0, 8, 8]).float().mean().item()
    assert falling == pytest.approx(0.5, abs=0.1)


def test_the_recipe_names_what_is_done_and_to_how_many():
    images = noise(1000)
    assert Augment(TrainRecipe()).draws == 0
    both = Augment(TrainRecipe(augment="cutout+colour"))
    draws = uniform(1000, both.draws)
    expected = colour(cutout(images, draws[:, 1:4]), draws[:, 4:7])
    assert torch.equal(both(images, draws), expected)
    some = Augment(TrainRecipe(augment="cutout+colour", augment_rate=0.3))(images, draws)
    kept = (some == images).flatten(1).all(1)
    assert torch.equal(some[~kept], expected[~kept])
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.05)
    none = Augment(TrainRecipe(augment="cutout+colour", augment_rate=0.0))
    assert torch.equal(none(images, draws), images)
