"""An image set -> seeded, resumable batches on the device."""

from functools import lru_cache

import numpy as np
import torch


class Batches:
    """An endless stream of shuffled images, addressed by position.

    The stream is one permutation of the set after another. Position p is the p-th image ever
    shown, so a stream continued from a saved position is the same stream. The images lie on the
    device as uint8; a batch is gathered, flipped and scaled there.
    """

    def __init__(
        self, images: np.ndarray, batch_size: int, *, seed: int, flip: bool, device: torch.device
    ):
        """`images` is [N, H, W, C] uint8; `flip` mirrors each left to right half of the times."""
        self.batch_size = batch_size
        self._images = torch.from_numpy(np.array(images)).to(device)
        self._seed = seed
        self._flip = flip
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def at(self, position: int) -> torch.Tensor:
        """The images at `position` and after: [batch_size, C, H, W] float32 in [-1, 1]."""
        count = len(self._images)
        indices, flips, end = [], [], position + self.batch_size
        while position < end:
            epoch, start = divmod(position, count)
            order, flip = self._epoch(epoch)
            taken = slice(start, min(count, start + end - position))
            indices.append(order[taken])
            flips.append(flip[taken])
            position += taken.stop - taken.start
        images = self._images[torch.cat(indices)]
        if self._flip:
            images = torch.where(torch.cat(flips)[:, None, None, None], images.flip(2), images)
        return images.permute(0, 3, 1, 2).float().div(127.5).sub(1)

    def _shuffle(self, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        random = np.random.default_rng([self._seed, epoch])
        order = random.permutation(len(self._images))
        flip = random.random(len(self._images)) < 0.5
        device = self._images.device
        return torch.from_numpy(order).to(device), torch.from_numpy(flip).to(device)
