"""What a training step measures, kept on the device: sums, and the first step that failed."""

from dataclasses import dataclass

import torch

from doggan.gan.distributed import Processes
from doggan.gan.state import TrainingState
from doggan.support.device import peak_memory_bytes
from doggan.support.errors import NonFiniteLossError

LOG_STEPS = 10  # the host waits for the device once in so many steps
_SUMMED = ("loss_d", "loss_g", "grad_norm_d", "grad_norm_g", "accuracy_real", "accuracy_fake")


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step of one network gave, on the device: `accuracy` is D's, on its real and fake."""

    loss: torch.Tensor
    grad_norm: torch.Tensor
    accuracy: tuple[torch.Tensor, ...] = ()


class Monitor:
    """Sums since the last interval, and a flag that stops the optimizers.

    Nothing here waits for the device but `failure` and `row`, at a line of the log.
    A loss or gradient norm that is not finite sets `failed` on the device, and the optimizers,
    which read it there, change nothing from that step on. Under a loss scale the scaler skips the
    steps that are not finite, and `failure` is asked before anything is saved.
    """

    def __init__(self, device: torch.device, images_seen: int = 0, seconds: float = 0.0):
        self.failed = torch.zeros((), device=device)
        self._failure = torch.zeros(len(_SUMMED) + 2, dtype=torch.float64, device=device)
        self._skipped = torch.zeros((), device=device)
        self._sums = torch.zeros(len(_SUMMED), dtype=torch.float64, device=device)
        self.start_interval(images_seen, seconds)

    def start_interval(self, images_seen: int, seconds: float) -> None:
        """Forgets the sums; so many images were seen, and `seconds` trained, so far."""
        self._sums.zero_()
        self.steps, self._started = 0, (images_seen, seconds)

    def guard(self, loss: torch.Tensor, norm: torch.Tensor, *, scaled: bool) -> torch.Tensor:
        """1 where a step must not be taken, as the fused optimizers' `found_inf` reads it.

        Under a loss scale (`scaled`) a norm that is not finite is no failure: the scaler skips the
        step and lowers the scale.
        """
        bad = ~torch.isfinite(loss.detach())
        overflow = ~torch.isfinite(norm)
        if scaled:
            self._skipped += overflow & ~bad
        else:
            bad = bad | overflow
        self.failed = torch.maximum(self.failed, bad.float())
        return self.failed

    @torch.no_grad()
    def add(
        self, images_seen: int, steps_taken: int, d_step: StepResult, g_step: StepResult
    ) -> None:
        """Takes in a step of both networks; images and steps of the run are from before it."""
        measured = [d_step.loss, g_step.loss, d_step.grad_norm, g_step.grad_norm]
        measured = torch.stack([*measured, *d_step.accuracy]).double()
        first = (self.failed > 0) & (self._failure == 0).all()
        # Filled on the device: a tensor of numbers from the host would wait for it.
        seen = [torch.full_like(measured[:1], number) for number in (images_seen, steps_taken)]
        self._failure = torch.where(first, torch.cat([measured, *seen]), self._failure)
        self._sums += measured.nan_to_num(0, 0, 0)  # a skipped step has no norm
        self.steps += 1

    def failure(self) -> str:
        """Waits for the device; how the first step that failed did so, "" where none has."""
        if not self.failed.item():
            return ""
        loss_d, loss_g, norm_d, norm_g, *_, images, steps = self._failure.tolist()
        return (
            f"training diverged at step {steps + 1:,.0f}, after {images:,.0f} "
            f"images: the discriminator's loss was {loss_d:.4g} and its gradient's norm "
            f"{norm_d:.4g}, the generator's {loss_g:.4g} and {norm_g:.4g}. That step was not "
            "taken, and the last checkpoint is kept. Try a lower learning rate, or "
            "--set train.precision=fp32"
        )

    def row(self, state: TrainingState, processes: Processes) -> dict:
        """The means since the last interval, over all processes, as a row of the history.

        Waits for the device; raises NonFiniteLossError where a step has failed.
        """
        if failure := self.failure():
            raise NonFiniteLossError(failure)
        state.skipped_steps += int(self._skipped.item())
        self._skipped.zero_()
        images, seconds = self._started
        means = processes.mean(self._sums / self.steps).tolist()
        return {
            "images": state.images_seen,
            "seconds": round(state.seconds, 3),
            **dict(zip(_SUMMED, means, strict=True)),
            "images_per_second": (state.images_seen - images) / (state.seconds - seconds),
            "scale": state.scaler.get_scale(),
            "skipped_steps": state.skipped_steps,
            "memory_bytes": peak_memory_bytes(self._sums.device),
        }
