"""The exponential moving average of a network's weights."""

import copy

import torch
from torch import nn


class EMA:
    """A copy of `network` whose parameters follow it with a half-life measured in images.

    The half-life is the part `half_life_part` of the images seen so far, so that initial weights
    are soon forgotten, and the average fits a run of any length, as in EDM2 (Karras et al. 2023,
    arXiv:2312.02696). It grows up to `most_images`, as StyleGAN2's code has it.
    Buffers (batch norm's running statistics) are copied, not averaged.
    """

    def __init__(self, network: nn.Module, half_life_part: float, most_images: float):
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.half_life_part, self.most_images = half_life_part, most_images

    def decay(self, batch_images: int, images_seen: int) -> float:
        """The part of the old average that one update over `batch_images` keeps, 0 to 1."""
        half_life = min(self.most_images, self.half_life_part * images_seen)
        return 0.5 ** (batch_images / half_life) if half_life > 0 else 0.0

    @torch.no_grad()
    def update(self, network: nn.Module, batch_images: int, images_seen: int) -> None:
        """Moves the average towards `network` after a batch; `images_seen` includes it."""
        weight = 1 - self.decay(batch_images, images_seen)
        # All at once: one by one the small tensors cost a GPU more in launches than in arithmetic.
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), weight)
        if buffers := list(self.network.buffers()):
            torch._foreach_copy_(buffers, list(network.buffers()))
