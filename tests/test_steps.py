"""Steps: penalties and consistency in closed form, one pass against two, nothing changed when off.

Gradients are held against finite differences, or against autograd's of another way.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from conftest import tensors_of
from doggan.gan.augment import DRAWS, Augment
from doggan.gan.ema import EMA
from doggan.gan.losses import LOSSES
from doggan.gan.monitor import Monitor
from doggan.gan.networks import make_networks
from doggan.gan.regularisers import consistency, gradient_penalty
from doggan.gan.state import TrainingState
from doggan.gan.steps import Steps
from doggan.gan.trainer import train
from doggan.recipe import NetworksRecipe, TrainRecipe, with_value
from doggan.support.device import autocast
from doggan.support.errors import InputError

CPU = torch.device("cpu")
LABELS = torch.zeros(8, dtype=torch.int64)
SMALL = NetworksRecipe(latent=6, generator_width=4, discriminator_width=4)
# Two batches of 8 images of side 16.
REAL, OTHER = torch.rand(2, 8, 3, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1


def networks(recipe=SMALL):
    generator, discriminator = make_networks(recipe, side=16, channels=3, label_count=1, seed=0)
    return generator, discriminator.to(memory_format=torch.channels_last)


def without_batch_norm(recipe=SMALL, norm="none"):
    """A discriminator whose logits are each image's own."""
    return networks(replace(recipe, discriminator_norm=norm))[1]


def make_steps(options, discriminator=None, *, rate=1e-3, precision="fp32"):
    generator, default = networks()
    discriminator = discriminator or default
    state = TrainingState(
        generator=generator,
        discriminator=discriminator,
        emas=[EMA(generator, 0, 0)],
        generator_optimizer=torch.optim.Adam(generator.parameters(), 1e-3, fused=True),
        discriminator_optimizer=torch.optim.Adam(discriminator.parameters(), rate, fused=True),
        scaler=torch.amp.GradScaler("cpu", enabled=precision == "fp16"),
        random=torch.Generator().manual_seed(0),
    )
    return Steps(
        state=state,
        generator=generator,
        discriminator=discriminator,
        loss=LOSSES[options.loss](options),
        augment=Augment(options),
        monitor=Monitor(CPU),
        precision=precision,
        options=options,
    )


def take_step(steps):
    z = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    with autocast(CPU, steps.precision):
        fake = steps.state.generator(z)
    return steps.train(REAL, fake, LABELS)


def gradients(network):
    return [parameter.grad for parameter in network.parameters()]


class Linear(nn.Module):
    """D(x) = w x, in every image alike: its gradient is w everywhere."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 3 * 16 * 16).reshape(3, 16, 16))

    def forward(self, images, labels=None, splits=1):
        return (images * self.weight).sum((1, 2, 3))


def test_the_penalty_of_a_linear_discriminator_is_its_weights_square():
    discriminator = Linear()
    square = discriminator.weight.square().sum()
    penalty = gradient_penalty(discriminator, REAL, LABELS)
    torch.testing.assert_close(penalty, square)
    (gradient,) = torch.autograd.grad(penalty, discriminator.weight)
    torch.testing.assert_close(gradient, 2 * discriminator.weight)
    # R1 and R2 with gamma / 2 each, every third step three times as much.
    options = TrainRecipe(gradient_penalty=0.5, gradient_penalty_interval=3)
    for taken, times in [(0, 3), (1, 0), (2, 0), (3, 3)]:
        steps, plain = make_steps(options, Linear()), make_steps(TrainRecipe(), Linear())
        steps.state.steps = taken
        added = take_step(steps)[0].loss - take_step(plain)[0].loss
        expected = times * 0.5 / 2 * square * 2
        torch.testing.assert_close(added, expected, rtol=1e-5, atol=1e-4)


def test_the_penalty_of_a_curved_discriminator_is_a_mean_over_images():
    class Square(Linear):
        def forward(self, images, labels=None):
            return (images.square() * self.weight).sum((1, 2, 3)) / 2  # whose gradient is w x

    expected = (REAL * Square().weight).square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(gradient_penalty(Square(), REAL, LABELS), expected)


def test_the_penaltys_own_gradient_is_that_of_finite_differences():
    # A smooth one: where a leaky ReLU's kink passes an image, the penalty itself jumps.
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 4, 2), nn.Tanh(), nn.Conv2d(4, 1, 7), nn.Tanh(), nn.Flatten(0)
    length, network = 1e-3, nn.Sequential(*layers)
    weights = list(network.parameters())
    way = [torch.randn_like(weight) for weight in weights]

    def discriminator(images, labels):
        return network(images)

    def move(by):
        with torch.no_grad():
            for weight, direction in zip(weights, way, strict=True):
                weight += by * direction

    def penalty(by):
        move(by)
        found = gradient_penalty(discriminator, REAL, LABELS).item()
        move(-by)
        return found

    found = torch.autograd.grad(gradient_penalty(discriminator, REAL, LABELS), weights)
    slope = sum((g * w).sum() for g, w in zip(found, way, strict=True))
    expected = (penalty(length) - penalty(-length)) / (2 * length)
    assert slope.item() == pytest.approx(expected, rel=0.01)


def test_in_bf16_the_penalty_and_its_gradient_stay_within_a_few_percent():
    found = {}
    for precision in ("fp32", "bf16"):
        discriminator = without_batch_norm(NetworksRecipe(discriminator_width=16))
        with autocast(CPU, precision):
            penalty = gradient_penalty(discriminator, REAL, LABELS)
        penalty.backward()
        weights = [x.grad.flatten() for x in discriminator.parameters() if x.grad is not None]
        found[precision] = penalty.item(), torch.cat(weights)
    assert found["bf16"][0] == pytest.approx(found["fp32"][0], rel=0.03)
    off = (found["bf16"][1] - found["fp32"][1]).norm() / found["fp32"][1].norm()
    assert 0 < off < 0.05


def test_batch_norm_and_a_penalty_are_refused_together():
    with pytest.raises(InputError, match=r"train\.gradient_penalty is 2, .* batch norm"):
        make_steps(TrainRecipe(gradient_penalty=2.0))


def test_consistency_is_free_where_the_change_is_not_seen():
    draws = torch.rand(8, DRAWS, generator=torch.Generator().manual_seed(0))
    images = nn.functional.pad(REAL[..., 2:-2, 2:-2], (2, 2, 2, 2))  # moves lose nothing of it

    def total(images, labels):
        return images.sum((1, 2, 3))

    def left(images, labels):
        return images[..., :8].sum((1, 2, 3))

    free = consistency(total, images, LABELS, total(images, LABELS), draws)
    assert free.item() == pytest.approx(0, abs=1e-6)
    assert consistency(left, images, LABELS, left(images, LABELS), draws) > 1
    torch.testing.assert_close(
        consistency(total, images, LABELS, total(images, LABELS) + 3, draws), torch.tensor(9.0)
    )


def test_consistency_is_added_by_its_weight():
    results = {weight: make_steps(TrainRecipe(consistency=weight)) for weight in (0.0, 1.0, 3.0)}
    losses = {weight: take_step(steps)[0].loss.item() for weight, steps in results.items()}
    assert losses[3.0] - losses[0.0] == pytest.approx(3 * (losses[1.0] - losses[0.0]), rel=1e-3)
    assert losses[1.0] > losses[0.0]


@pytest.mark.parametrize("top_k", [1.0, 0.5])
@pytest.mark.parametrize("loss", LOSSES)
def test_one_pass_gives_both_networks_the_gradients_of_two(loss, top_k):
    # Where D stays as it is between the two steps; batch norm in D is no hindrance.
    found = []
    for one_pass in (False, True):
        options = TrainRecipe(loss=loss, top_k=top_k, one_pass=one_pass)
        steps = make_steps(options, rate=0.0)
        results = take_step(steps)
        state = steps.state
        found.append([results, gradients(state.generator), gradients(state.discriminator)])
    (two, g_two, d_two), (one, g_one, d_one) = found
    for step_of_one, step_of_two in zip(one, two, strict=True):
        torch.testing.assert_close(step_of_one.loss, step_of_two.loss)
        torch.testing.assert_close(step_of_one.grad_norm, step_of_two.grad_norm)
    torch.testing.assert_close(g_one, g_two, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(d_one, d_two, rtol=1e-4, atol=1e-7)
    assert all(gradient.abs().max() > 1e-5 for gradient in g_one)


def test_one_pass_takes_one_look_at_the_fakes_from_before_the_discriminators_step():
    seen, found = [], {}
    for one_pass, rate in ((False, 0.0), (False, 0.1), (True, 0.1)):
        steps = make_steps(TrainRecipe(loss="rpgan", one_pass=one_pass), rate=rate)
        steps.discriminator.register_forward_hook(lambda _, given, __: seen.extend(given[0]))
        g_step = take_step(steps)[1]
        found[one_pass, rate] = g_step.loss.item(), len(seen) / len(REAL)
        seen.clear()
    assert [batches for _, batches in found.values()] == [4, 4, 2]
    before, after, one = (loss for loss, _ in found.values())
    assert one == pytest.approx(before)
    assert one != pytest.approx(after, rel=0.1)


def test_the_generator_learns_from_its_most_real_images_alone():
    steps = make_steps(TrainRecipe(loss="hinge", top_k=0.25), Linear(), rate=0.0)
    fake = OTHER.clone().requires_grad_()
    image = steps.state.generator(torch.randn(8, 6)) * 0 + fake
    steps.train_generator(REAL, image, LABELS)
    learned = fake.grad.flatten(1).any(1).nonzero().flatten()
    best = steps.discriminator(OTHER).topk(2).indices.sort().values
    assert torch.equal(learned, best)


def test_everything_off_is_the_plain_step_bit_for_bit():
    steps, plain = make_steps(TrainRecipe()), make_steps(TrainRecipe()).state
    before = steps.state.random.get_state()
    take_step(steps)
    assert torch.equal(steps.state.random.get_state(), before)
    # The same by hand.
    generator, discriminator = plain.generator, plain.discriminator
    fake = generator(torch.randn(8, 6, generator=torch.Generator().manual_seed(1)))
    ones = torch.ones(8)
    logits = discriminator(torch.cat([REAL, fake.detach()]), splits=2).chunk(2)
    (bce(logits[0], 0.9 * ones) + bce(logits[1], 0 * ones)).backward()
    plain.discriminator_optimizer.step()
    bce(discriminator(fake), ones).backward()
    plain.generator_optimizer.step()
    for name in ("generator", "discriminator"):
        one, other = (getattr(state, name).state_dict() for state in (steps.state, plain))
        assert all(torch.equal(one[key], other[key]) for key in one)


ALL = TrainRecipe(
    loss="rpgan",
    gradient_penalty=0.1,
    gradient_penalty_interval=3,
    consistency=1.0,
    top_k=0.5,
    augment="translation+colour+cutout",
    augment_rate=0.8,
)


@pytest.mark.parametrize("one_pass", [False, True])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precisions_take_nearly_the_same_step(precision, one_pass):
    # fp16 with its scaler, at a scale that a first step carries.
    options = replace(ALL, one_pass=one_pass)
    results = {}
    for name in ("fp32", precision):
        steps = make_steps(options, without_batch_norm(), precision=name)
        if name == "fp16":
            steps.state.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        results[name] = take_step(steps), steps.state
        steps.state.scaler.update()
        assert steps.monitor.failed == 0
    for low, full in zip(results[precision][0], results["fp32"][0], strict=True):
        assert low.loss.item() == pytest.approx(full.loss.item(), rel=0.03)
        assert low.grad_norm.item() == pytest.approx(full.grad_norm.item(), rel=0.1)


@pytest.mark.parametrize("one_pass", [False, True])
@pytest.mark.parametrize("architecture", ["dcgan", "resnet"])
def test_all_goes_with_spectral_norm_too(architecture, one_pass):
    # Whose buffers each forward changes, while graphs of earlier ones are still to be run back.
    found = []
    for _ in range(2):
        options = replace(ALL, gradient_penalty_interval=1, one_pass=one_pass)
        discriminator = without_batch_norm(replace(SMALL, architecture=architecture), "spectral")
        before = [weight.detach().clone() for weight in discriminator.parameters()]
        steps = make_steps(options, discriminator)
        for _ in range(2):
            results = take_step(steps)
        same = sum(map(torch.equal, before, discriminator.parameters()))
        assert same <= 1  # the last bias, which a relativistic loss does not see
        found.append([value for result in results for value in (result.loss, result.grad_norm)])
    assert all(value.isfinite() for value in found[0])
    assert found[0] == found[1]


@pytest.mark.parametrize("one_pass", [pytest.param(False, marks=pytest.mark.slow), True])
def test_resuming_with_everything_on_gives_the_same_bytes(
    tiny_set, tiny_recipe, tmp_path, one_pass
):
    recipe = with_value(tiny_recipe, "networks.architecture", "dense")
    for key, value in vars(ALL).items():
        if value != getattr(TrainRecipe(), key):
            recipe = with_value(recipe, f"train.{key}", value)
    recipe = with_value(recipe, "train.one_pass", one_pass)
    train(tiny_set, tmp_path / "straight", recipe)
    train(tiny_set, tmp_path / "halves", with_value(recipe, "train.images", 32))  # after 4 steps
    train(tiny_set, tmp_path / "halves", recipe, resume=True)
    contents = [
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)
        for name in ("straight", "halves")
    ]
    assert contents[0]["steps"] == contents[1]["steps"] == 8
    pairs = zip(*map(tensors_of, contents), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("architecture", ["dcgan", "resnet"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_batches_go_through_the_discriminator_together_and_do_not_mix(norm, architecture):
    recipe = replace(SMALL, discriminator_norm=norm, architecture=architecture)
    apart, together = (networks(recipe)[1].double() for _ in range(2))
    images = REAL.double(), OTHER.double()
    logits = [apart(each, LABELS) for each in images]
    seen = []
    together.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    found = make_steps(TrainRecipe(), together).logits_of(together, LABELS, *images)
    assert seen == [16]
    for real, fake in (logits, found):
        (real.square() - fake.cos()).sum().backward()
    for mine, its in zip(found, logits, strict=True):
        torch.testing.assert_close(mine.double(), its, rtol=1e-6, atol=1e-7)
    for one, other in zip(apart.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6)
    # Nor do batch norm's running statistics: real images first.
    for one, other in zip(apart.buffers(), together.buffers(), strict=True):
        torch.testing.assert_close(other, one)
