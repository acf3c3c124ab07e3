"""One step of each network: its loss, its gradient, and the update unless either is not finite."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from doggan.data.batches import Batches
from doggan.gan.augment import DRAWS, Augment
from doggan.gan.distributed import Processes
from doggan.gan.losses import LOSSES, Loss, most_real
from doggan.gan.monitor import Monitor, StepResult
from doggan.gan.regularisers import check_penalty, consistency, gradient_penalty
from doggan.gan.state import TrainingState
from doggan.recipe import TrainRecipe
from doggan.support.device import autocast
from doggan.support.tables import choose


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Takes the steps of a training; nothing here waits for the device.

    The networks are the state's, or what averages their gradients over several processes; `share`
    (rank, processes) is which of them this is. Images are [N, C, H, W] in [-1, 1], real and fake
    ones of the same labels [N]. Raises InputError for a penalty that the discriminator cannot have.
    """

    state: TrainingState
    generator: nn.Module
    discriminator: nn.Module
    loss: Loss
    augment: Augment
    monitor: Monitor
    precision: str
    options: TrainRecipe
    share: tuple[int, int] = (0, 1)

    def __post_init__(self):
        check_penalty(self.state.discriminator, self.options)

    def take(self, batches: Batches, batch_size: int) -> None:
        """A step of each network on the next `batch_size` images of `batches`, all processes'.

        The monitor is told of it, and the state's averages and counters are updated.
        """
        state = self.state
        real, labels = batches.at(state.images_seen, batch_size)
        d_step, g_step = self.train(real, self.fakes(labels), labels)
        state.scaler.update()
        self.monitor.add(state.images_seen, state.steps, d_step, g_step)
        state.images_seen += batch_size
        state.steps += 1
        for ema in state.emas:
            ema.update(state.generator, batch_size, state.images_seen)

    def fakes(self, labels: Tensor) -> Tensor:
        """What the generator makes of new z for these labels.

        Every process draws the whole batch's z and takes its share.
        """
        rank, processes = self.share
        shape = len(labels) * processes, self.state.generator.latent
        z = torch.randn(*shape, generator=self.state.random, device=labels.device)
        with autocast(labels.device, self.precision):
            return self.generator(z[rank::processes], labels)

    def train(self, real: Tensor, fake: Tensor, labels: Tensor) -> tuple[StepResult, StepResult]:
        """A step of the discriminator, and one of the generator through `fake`.

        The generator learns from the discriminator as it is after its step, or, by
        `train.one_pass`, as it was before.
        """
        if self.options.one_pass:
            return self._train_in_one_pass(real, fake, labels)
        d_step = self.train_discriminator(real, fake, labels)
        return d_step, self.train_generator(real, fake, labels)

    def train_discriminator(self, real: Tensor, fake: Tensor, labels: Tensor) -> StepResult:
        """A step on both; nothing of it reaches the generator."""
        real, fake = self._augmented(real), self._augmented(fake.detach())
        logits = self.logits_of(self.discriminator, labels, real, fake)
        return self._step_discriminator(real, fake, labels, *logits)

    def train_generator(self, real: Tensor, fake: Tensor, labels: Tensor) -> StepResult:
        """A step through the discriminator's view of the fakes."""
        state = self.state
        # The discriminator's own gradients would only be thrown away.
        state.discriminator.requires_grad_(False)
        shown = [self._augmented(x) for x in ((real, fake) if self.loss.relativistic else (fake,))]
        *real_logits, fake_logits = self.logits_of(state.discriminator, labels, *shown)
        loss = self._generator_loss(real_logits[0] if real_logits else None, fake_logits)
        norm = self._update(state.generator, state.generator_optimizer, loss)
        state.discriminator.requires_grad_(True)
        return StepResult(loss=loss.detach(), grad_norm=norm)

    def _train_in_one_pass(
        self, real: Tensor, fake: Tensor, labels: Tensor
    ) -> tuple[StepResult, StepResult]:
        """Both steps from the same logits (Shen et al. 2021, arXiv:2103.00430).

        The paper gets the generator's gradient from the discriminator's, times a factor an image.
        Here it is taken for itself, by a second backward for the images alone: exact with every
        loss, where hinge's factor is a division by zero, and with batch norm, where none exists.
        """
        state, seen = self.state, fake.detach().requires_grad_()
        real, shown = self._augmented(real), self._augmented(seen)
        # Each by itself, so that the way back to the fakes does not lead through the real ones.
        logits = [self.logits_of(self.discriminator, labels, x)[0] for x in (real, shown)]
        loss = self._generator_loss(logits[0].detach(), logits[1])
        (gradient,) = torch.autograd.grad(state.scaler.scale(loss), seen, retain_graph=True)
        d_step = self._step_discriminator(real, shown, labels, *logits)
        norm = self._update(
            state.generator, state.generator_optimizer, loss.detach(), through=(fake, gradient)
        )
        return d_step, StepResult(loss=loss.detach(), grad_norm=norm)

    def _step_discriminator(
        self, real: Tensor, fake: Tensor, labels: Tensor, real_logits: Tensor, fake_logits: Tensor
    ) -> StepResult:
        """A step on what was shown and the logits of it, with the regularisers that are due."""
        options, state = self.options, self.state
        loss = self.loss.discriminator_loss(real_logits, fake_logits)
        if options.consistency:
            draws = self._draws(real, DRAWS)
            with autocast(real.device, self.precision):
                found = consistency(self.discriminator, real, labels, real_logits, draws)
            loss = loss + options.consistency * found
        interval = options.gradient_penalty_interval
        if options.gradient_penalty and state.steps % interval == 0:
            # Lazily, as in StyleGAN2 (Karras et al. 2020, arXiv:1912.04958): seldom, and as much
            # stronger. In fp16 a gradient of a pixel is too small for its least number.
            precision = "fp32" if self.precision == "fp16" else self.precision
            with autocast(real.device, precision):
                found = [gradient_penalty(self.discriminator, x, labels) for x in (real, fake)]
            loss = loss + options.gradient_penalty / 2 * interval * sum(found)
        norm = self._update(state.discriminator, state.discriminator_optimizer, loss)
        accuracy = ((real_logits > 0).float().mean(), (fake_logits < 0).float().mean())
        return StepResult(loss=loss.detach(), grad_norm=norm, accuracy=accuracy)

    def _generator_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        return self.loss.generator_loss(*most_real(self.options.top_k, real_logits, fake_logits))

    def logits_of(self, discriminator: nn.Module, labels: Tensor, *batches: Tensor) -> list[Tensor]:
        """[N] fp32 of each batch of images.

        All go through the discriminator together: its weights are read, cast and divided by their
        norm once, and once they get a gradient.
        """
        count = len(batches)
        with autocast(labels.device, self.precision):
            logits = discriminator(torch.cat(batches), labels.repeat(count), splits=count)
            return list(logits.float().chunk(count))

    def _augmented(self, images: Tensor) -> Tensor:
        """As the discriminator is shown them; each call draws afresh."""
        count = self.augment.draws
        return self.augment(images, self._draws(images, count)) if count else images

    def _draws(self, images: Tensor, count: int) -> Tensor:
        """[N, count] uniform numbers in [0, 1), from the state's: images of all processes differ.

        Every process draws the whole batch's and takes its share, so that the generator stays the
        same on all of them, as it is saved.
        """
        rank, processes = self.share
        shape = len(images) * processes, count
        random = self.state.random
        return torch.rand(*shape, generator=random, device=images.device)[rank::processes]

    def _update(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Tensor,
        through: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Updates the network unless the loss or its gradient is not finite; returns the norm.

        `through` is, where the loss's graph does not reach the network, what does, and the scaled
        loss's gradient there.
        """
        scaler = self.state.scaler
        optimizer.zero_grad(set_to_none=True)
        output, gradient = through or (scaler.scale(loss), None)
        output.backward(gradient)
        scaler.unscale_(optimizer)
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in network.parameters()])
        stop = self.monitor.guard(loss, norm, scaled=scaler.is_enabled())
        if not scaler.is_enabled():
            optimizer.found_inf = stop  # which the fused optimizers read on the device
        scaler.step(optimizer)
        return norm


def make_steps(
    state: TrainingState,
    options: TrainRecipe,
    monitor: Monitor,
    precision: str,
    processes: Processes,
) -> Steps:
    """Steps with the loss and the augmentations that the recipe's training section names."""
    return Steps(
        state=state,
        generator=processes.parallel(state.generator),
        discriminator=processes.parallel(state.discriminator),
        loss=choose(LOSSES, options.loss, "train.loss")(options),
        augment=Augment(options),
        monitor=monitor,
        precision=precision,
        options=options,
        share=processes.share,
    )
