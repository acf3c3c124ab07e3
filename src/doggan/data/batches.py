"""An image set -> seeded, resumable batches on the device."""

from functools import lru_cache

import numpy as np
import torch

from doggan.data.imageset import ImageSet
from doggan.recipe import TrainRecipe


class Batches:
    """An endless stream of shuffled images with their labels, addressed by position.

    The stream is one permutation of the set after another. Position p is the p-th image ever
    shown, so a stream continued from a saved position is the same stream. The images lie on the
    device as uint8; a batch is gathered, flipped and scaled there, with no worker processes.
    """

    def __init__(
        self,
        imageset: ImageSet,
        options: TrainRecipe,
        *,
        seed: int,
        device: torch.device,
        share: tuple[int, int] = (0, 1),
    ):
        """`options.flip` mirrors each image left to right half of the times.

        `share` (rank, processes) takes every processes-th image of each batch, from the rank-th on.
        """
        self._flip = options.flip
        self._images = torch.from_numpy(np.array(imageset.images)).to(device)
        self._labels = torch.from_numpy(imageset.labels).to(device)
        self._seed = seed
        self._rank, self._processes = share
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def at(self, position: int, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """This process's share of the `batch_size` images from `position` on, and their labels.

        [n, C, H, W] float32 in [-1, 1], channels last in memory; [n] int64.
        """
        count = len(self._images)
        indices, flips, end = [], [], position + batch_size
        while position < end:
            epoch, start = divmod(position, count)
            order, flip = self._epoch(epoch)
            taken = slice(start, min(count, start + end - position))
            indices.append(order[taken])
            flips.append(flip[taken])
            position += taken.stop - taken.start
        index = torch.cat(indices)[self._rank :: self._processes]
        images = self._images[index]
        if self._flip:
            flip = torch.cat(flips)[self._rank :: self._processes]
            images = torch.where(flip[:, None, None, None], images.flip(2), images)
        return images.permute(0, 3, 1, 2).float().div(127.5).sub(1), self._labels[index]

    def _shuffle(self, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        random = np.random.default_rng([self._seed, epoch])
        order = random.permutation(len(self._images))
        flip = random.random(len(self._images)) < 0.5
        device = self._images.device
        return torch.from_numpy(order).to(device), torch.from_numpy(flip).to(device)
