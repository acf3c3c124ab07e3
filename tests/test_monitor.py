"""The monitor: what is not finite changes nothing, errors name the step, means are exact."""

import math

import pytest
import torch

from conftest import tensors_of
from doggan.gan import rollback, trainer
from doggan.gan.augment import Augment
from doggan.gan.distributed import Processes
from doggan.gan.losses import BinaryCrossEntropy
from doggan.gan.monitor import Monitor, StepResult
from doggan.gan.state import TrainingState, new_state
from doggan.gan.steps import Steps
from doggan.recipe import with_value
from doggan.support.errors import NonFiniteLossError

CPU = torch.device("cpu")


def result(loss, norm, *accuracy):
    return StepResult(
        loss=torch.tensor(loss),
        grad_norm=torch.tensor(norm),
        accuracy=tuple(map(torch.tensor, accuracy)),
    )


def take_steps(monitor, steps, *, scaled=False):
    """Steps of both networks, 8 images each: (loss D, norm D, loss G, norm G)."""
    for place, (loss_d, norm_d, loss_g, norm_g) in enumerate(steps):
        d_step, g_step = result(loss_d, norm_d, 0.5, 1.0), result(loss_g, norm_g)
        monitor.guard(d_step.loss, d_step.grad_norm, scaled=scaled)
        monitor.guard(g_step.loss, g_step.grad_norm, scaled=scaled)
        monitor.add(8 * place, place, d_step, g_step)


@pytest.fixture
def state(tiny_set, tiny_recipe) -> TrainingState:
    return new_state(tiny_set, tiny_recipe, CPU, "fp32")


def test_means_are_those_of_the_steps_since_the_last_interval(state):
    monitor = Monitor(CPU)
    take_steps(monitor, [(9.0, 9.0, 9.0, 9.0)])
    monitor.start_interval(images_seen=8, seconds=3.0)
    take_steps(monitor, [(1.0, 2.0, 3.0, 4.0), (2.0, 6.0, 5.0, 4.0), (3.0, 1.0, 1.0, 4.0)])
    state.images_seen, state.seconds = 32, 5.0
    row = monitor.row(state, Processes())
    assert (row["loss_d"], row["grad_norm_d"], row["loss_g"], row["grad_norm_g"]) == (2, 3, 3, 4)
    assert (row["accuracy_real"], row["accuracy_fake"]) == (0.5, 1.0)
    assert row["images_per_second"] == 3 * 8 / (5.0 - 3.0)
    assert (row["images"], row["seconds"], row["skipped_steps"]) == (32, 5.0, 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(4))
def test_the_first_failed_step_is_named_with_its_values(state, bad, place):
    monitor = Monitor(CPU)
    steps = [[1.0, 2.0, 3.0, 4.0] for _ in range(4)]
    steps[2][place] = bad
    steps[3] = [math.nan] * 4  # what follows from it is not what is told
    take_steps(monitor, steps)
    with pytest.raises(NonFiniteLossError) as error:
        monitor.row(state, Processes())
    values = [f"{value:.4g}" for value in steps[2]]
    assert "at step 3, after 16 images" in str(error.value)
    assert f"loss was {values[0]} and its gradient's norm {values[1]}" in str(error.value)
    assert f"the generator's {values[2]} and {values[3]}" in str(error.value)


def test_under_a_scale_an_overflow_is_skipped_and_counted(state):
    monitor = Monitor(CPU)
    steps = [(1.0, math.inf, 3.0, 4.0), (2.0, 1.0, 3.0, math.nan), (3.0, 2.0, 3.0, 5.0)]
    take_steps(monitor, steps, scaled=True)
    state.images_seen, state.seconds = 24, 1.0
    row = monitor.row(state, Processes())
    assert row["skipped_steps"] == state.skipped_steps == 2
    assert row["loss_d"] == 2.0
    assert (row["grad_norm_d"], row["grad_norm_g"]) == (1.0, 3.0)  # a skipped step has no norm
    assert monitor.row(state, Processes())["skipped_steps"] == 2  # counted once


def test_under_a_scale_a_loss_that_is_no_number_is_a_failure(state):
    monitor = Monitor(CPU)
    take_steps(monitor, [(1.0, 2.0, math.nan, math.nan)], scaled=True)
    with pytest.raises(NonFiniteLossError, match="at step 1, after 0 images"):
        monitor.row(state, Processes())


@pytest.mark.parametrize("broken", ["loss", "gradient"])
@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_from_a_step_that_is_not_finite_on_nothing_changes(
    tiny_set, tiny_recipe, monkeypatch, network, broken
):
    state, monitor = new_state(tiny_set, tiny_recipe, CPU, "fp32"), Monitor(CPU)
    labels = torch.zeros(8, dtype=torch.int64)
    steps = Steps(
        state=state,
        generator=state.generator,
        discriminator=state.discriminator,
        loss=BinaryCrossEntropy(tiny_recipe.train),
        augment=Augment(tiny_recipe.train),
        monitor=monitor,
        precision="fp32",
        options=tiny_recipe.train,
    )

    def step():
        fake = state.generator(torch.randn(8, tiny_recipe.networks.latent), labels)
        real = torch.rand_like(fake)
        steps.train(real, fake, labels)

    # The weights of batch norm's running averages follow every forward, so they are left out.
    def bits():
        """Each network's weights and what Adam keeps of them: steps taken, and both moments."""
        return {
            name: [
                tensor.clone()
                for part in (
                    list(getattr(state, name).parameters()),
                    tensors_of(getattr(state, f"{name}_optimizer").state_dict()["state"]),
                )
                for tensor in part
            ]
            for name in ("generator", "discriminator")
        }

    def same(some, others, name):
        assert len(some[name]) == 4 * len(list(getattr(state, name).parameters()))
        return all(map(torch.equal, some[name], others[name]))

    step()
    good = bits()
    step()
    assert not same(good, bits(), "generator")
    assert not same(good, bits(), "discriminator")

    name = f"{network}_loss"
    whole = getattr(BinaryCrossEntropy, name)

    def break_it(self, real_logits, fake_logits):
        loss = whole(self, real_logits, fake_logits)
        return loss * math.nan if broken == "loss" else loss + _Explode.apply(fake_logits)

    before = bits()
    monkeypatch.setattr(BinaryCrossEntropy, name, break_it)
    step()
    at_failure = bits()
    monkeypatch.setattr(BinaryCrossEntropy, name, whole)
    for _ in range(3):  # healthy again, and still nothing may move
        step()
    for name in before:
        assert same(at_failure, bits(), name)
    # The generator never moves; the discriminator only where it steps before the failure.
    assert same(before, at_failure, "generator")
    assert same(before, at_failure, "discriminator") == (network == "discriminator")
    with pytest.raises(NonFiniteLossError, match="at step"):
        monitor.row(state, Processes())


class _Explode(torch.autograd.Function):
    """Zero, with an infinite gradient."""

    @staticmethod
    def forward(context, logits):
        context.shape = logits.shape
        return logits.new_zeros(())

    @staticmethod
    def backward(context, gradient):
        return torch.full(context.shape, math.inf)


def test_the_ema_a_user_gets_never_saw_a_failed_step(tiny_set, tiny_recipe, tmp_path, monkeypatch):
    """The run stops at the next line of its log; what it saved is from before the failure."""
    whole, calls = BinaryCrossEntropy.discriminator_loss, []

    def loss(*arguments):
        calls.append(1)
        return whole(*arguments) * (math.nan if len(calls) > 5 else 1)

    straight = with_value(tiny_recipe, "train.images", 32)
    trainer.train(tiny_set, tmp_path / "straight", straight)
    monkeypatch.setattr(BinaryCrossEntropy, "discriminator_loss", loss)
    monkeypatch.setattr(rollback, "MOST_SLOWDOWNS", 0)
    with pytest.raises(NonFiniteLossError, match="at step 6"):
        trainer.train(tiny_set, tmp_path / "run", tiny_recipe)
    emas = [
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["emas"]
        for name in ("straight", "run")
    ]
    assert all(torch.equal(emas[0][key], emas[1][key]) for key in emas[0])
