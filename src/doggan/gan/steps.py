"""One step of each network: its loss, its gradient, and the update unless either is not finite."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from doggan.gan.losses import Loss
from doggan.gan.monitor import Monitor, StepResult
from doggan.gan.state import TrainingState
from doggan.support.device import autocast


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Takes the steps of a training; nothing here waits for the device.

    `discriminator` is the state's, or what averages its gradients over several processes.
    """

    state: TrainingState
    discriminator: nn.Module
    loss: Loss
    monitor: Monitor
    precision: str

    def train_discriminator(self, real: Tensor, fake: Tensor, labels: Tensor) -> StepResult:
        """A step on [N, C, H, W] real and fake images in [-1, 1] of the same labels [N]."""
        networks = (self.state.generator, self.discriminator)
        with autocast(real.device, self.precision):
            found = self.loss.discriminator_loss(*networks, real, fake.detach(), labels)
        state = self.state
        norm = self._update(state.discriminator, state.discriminator_optimizer, found.loss)
        accuracy = ((found.real_logits > 0).float().mean(), (found.fake_logits < 0).float().mean())
        return StepResult(loss=found.loss.detach(), grad_norm=norm, accuracy=accuracy)

    def train_generator(self, real: Tensor, fake: Tensor, labels: Tensor) -> StepResult:
        """A step through the discriminator's view of the [N, C, H, W] fakes."""
        state = self.state
        # The discriminator's own gradients would only be thrown away.
        state.discriminator.requires_grad_(False)
        with autocast(fake.device, self.precision):
            loss = self.loss.generator_loss(
                state.generator, state.discriminator, real, fake, labels
            )
        norm = self._update(state.generator, state.generator_optimizer, loss)
        state.discriminator.requires_grad_(True)
        return StepResult(loss=loss.detach(), grad_norm=norm)

    def _update(self, network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
        """Updates the network unless the loss or its gradient is not finite; returns the norm."""
        scaler = self.state.scaler
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in network.parameters()])
        stop = self.monitor.guard(loss, norm, scaled=scaler.is_enabled())
        if not scaler.is_enabled():
            optimizer.found_inf = stop  # which the fused optimizers read on the device
        scaler.step(optimizer)
        return norm
