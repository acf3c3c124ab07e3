"""Losses: their closed forms, what their gradients leave alone, and the top-k of the pairs."""

import math

import numpy as np
import pytest
import torch

from doggan.gan.losses import CONFIDENT, LOSSES, BinaryCrossEntropy, most_real
from doggan.recipe import TrainRecipe, load_recipe
from doggan.support.errors import InputError


def softplus(x):
    return math.log1p(math.exp(x))


def test_binary_cross_entropy_has_its_closed_form():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    # -y log s(x) - (1 - y) log(1 - s(x)) = softplus(x) - y x
    expected = np.mean([softplus(x) - 0.9 * x for x in (2.0, -1.0)]) + np.mean(
        [softplus(x) for x in (0.5, -3.0)]
    )
    loss = BinaryCrossEntropy(TrainRecipe(real_label=0.9))
    assert loss.discriminator_loss(real, fake).item() == pytest.approx(expected, rel=1e-6)
    expected = np.mean([softplus(-x) for x in (0.5, -3.0)])
    assert loss.generator_loss(None, fake).item() == pytest.approx(expected, rel=1e-6)


def test_the_hard_margin_leaves_confident_reals_alone():
    border = math.log(CONFIDENT / (1 - CONFIDENT))
    real = torch.tensor([border - 0.1, border + 0.1, 5.0, -2.0], requires_grad=True)
    fake = torch.tensor([0.5, -3.0])
    options = TrainRecipe(real_label=0.95)
    loss = LOSSES["bce-margin"](options).discriminator_loss(real, fake)
    expected = sum(softplus(x) - 0.95 * x for x in (border - 0.1, -2.0)) / 4
    expected += np.mean([softplus(x) for x in (0.5, -3.0)])
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, real)
    assert (gradient != 0).tolist() == [True, False, False, True]
    # The generator's is the plain one.
    found = [LOSSES[name](options).generator_loss(None, fake) for name in ("bce-margin", "bce")]
    assert found[0] == found[1]


def test_the_hinge_pays_within_its_margin_only():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    loss = LOSSES["hinge"](TrainRecipe())
    # 1 - 2 and 1 - 3 are beyond the margin; 1 + 1 and 1 + 0.5 are within.
    assert loss.discriminator_loss(real, fake).item() == pytest.approx((2.0 + 1.5) / 2)
    assert loss.generator_loss(None, fake).item() == pytest.approx(1.25)


def test_relativistic_least_squares_compares_with_the_other_halfs_mean():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.5])
    loss = LOSSES["rals"](TrainRecipe())
    # The means are 0.5 and -1.5: reals lie 3.5 and 0.5 above the fakes, which lie 0 and 4 below.
    expected = (2.5**2 + 0.5**2) / 2 + (1.0**2 + 3.0**2) / 2
    assert loss.discriminator_loss(real, fake).item() == pytest.approx(expected)
    # The generator wants the halves the other way round.
    expected = (1.0**2 + 5.0**2) / 2 + (4.5**2 + 1.5**2) / 2
    assert loss.generator_loss(real, fake).item() == pytest.approx(expected)


def test_relativistic_pairing_compares_each_fake_with_its_real():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.5])
    loss = LOSSES["rpgan"](TrainRecipe())
    # The reals lie 1.5 and 2.5 above the fakes that they are paired with.
    expected = (softplus(-1.5) + softplus(-2.5)) / 2
    assert loss.discriminator_loss(real, fake).item() == pytest.approx(expected)
    expected = (softplus(1.5) + softplus(2.5)) / 2
    assert loss.generator_loss(real, fake).item() == pytest.approx(expected)
    swapped = loss.generator_loss(real, fake.flip(0))
    assert swapped.item() != pytest.approx(expected)


@pytest.mark.parametrize("name", LOSSES)
def test_only_differences_count_where_a_loss_says_that_it_is_relativistic(name):
    loss = LOSSES[name](TrainRecipe())
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.5])
    shifted = loss.generator_loss(real + 7, fake + 7)
    same = torch.allclose(shifted, loss.generator_loss(real, fake))
    assert same == loss.relativistic
    if not loss.relativistic:
        loss.generator_loss(None, fake)


@pytest.mark.parametrize("name", LOSSES)
def test_each_half_wants_the_opposite_of_the_other(name):
    loss = LOSSES[name](TrainRecipe())
    real = torch.tensor([0.5, -0.5], requires_grad=True)
    fake = torch.tensor([0.3, -0.2], requires_grad=True)
    of_real, of_fake = torch.autograd.grad(loss.discriminator_loss(real, fake), [real, fake])
    assert of_real.sum() < 0 < of_fake.sum()
    (of_fake,) = torch.autograd.grad(loss.generator_loss(real, fake), [fake])
    assert of_fake.sum() < 0


def test_the_most_real_fakes_are_kept_with_their_pairs():
    real = torch.arange(5.0)
    fake = torch.tensor([0.1, 4.0, -1.0, 3.0, 0.2])
    kept = most_real(0.4, real, fake)
    assert {(r.item(), f.item()) for r, f in zip(*kept, strict=True)} == {(1.0, 4.0), (3.0, 3.0)}
    assert most_real(0.01, None, fake) == (None, torch.tensor([4.0]))
    assert most_real(1.0, real, fake)[1] is fake


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.top_k=0", "train.top_k is 0.0; expected above 0, to 1"),
        ("train.gradient_penalty=-1", "expected 0 or more"),
        ("train.gradient_penalty_interval=0", "expected 1 or more"),
        ("train.augment=cutout+color", "train.augment is 'color'.*the nearest is 'colour'"),
        ("train.augment_rate=2", "expected 0 to 1"),
        ("train.loss=rpgna", "the nearest is 'rpgan'"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(override, message):
    with pytest.raises(InputError, match=message):
        load_recipe("dogs", [override])
