"""An image set -> seeded, resumable batches on the device."""

from functools import lru_cache

import numpy as np
import torch

from doggan.data.fresh_crops import cut_windows, draw_windows
from doggan.data.imageset import ImageSet
from doggan.recipe import TrainRecipe


class Batches:
    """An endless stream of shuffled images with their labels, addressed by position.

    The stream is one permutation of the set after another. Position p is the p-th image ever
    shown, so a stream continued from a saved position is the same stream. The images lie on the
    device as uint8; a batch is gathered, flipped and scaled there, with no worker processes.
    Where the set keeps frames, part of the images are cut afresh out of them: no two epochs show
    the same crops.
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
        self._device = device
        self._images = torch.from_numpy(np.array(imageset.images)).to(device)
        self._frames = imageset.frames
        if self._frames is not None:
            self._frame_pixels = torch.from_numpy(np.array(self._frames.pixels)).to(device)
        self._labels = torch.from_numpy(imageset.labels).to(device)
        self._seed = seed
        self._rank, self._processes = share
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def at(self, position: int, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """This process's share of the `batch_size` images from `position` on, and their labels.

        [n, C, H, W] float32 in [-1, 1], channels last in memory; [n] int64.
        """
        count = len(self._images)
        pieces, end = [], position + batch_size
        while position < end:
            epoch, start = divmod(position, count)
            taken = slice(start, min(count, start + end - position))
            pieces.append([of_each[taken] for of_each in self._epoch(epoch)])
            position += taken.stop - taken.start
        index, flip, *crops = (
            torch.cat(parts)[self._rank :: self._processes] for parts in zip(*pieces, strict=True)
        )
        images = self._images[index]
        if crops:
            self._cut_afresh(images, index, *crops)
        if self._flip:
            images = torch.where(flip[:, None, None, None], images.flip(2), images)
        return images.permute(0, 3, 1, 2).float().div(127.5).sub(1), self._labels[index]

    def _cut_afresh(
        self, images: torch.Tensor, index: torch.Tensor, fresh: torch.Tensor, windows: torch.Tensor
    ) -> None:
        """Replaces those of `images` [n, H, W, C] that `fresh` [n] says by windows of frames."""
        chosen = fresh.nonzero().squeeze(1)
        if len(chosen):
            windows, chosen = self._send(windows[chosen]), self._send(chosen)
            frames = self._frame_pixels[index[chosen]]
            images[chosen] = cut_windows(frames, windows, images.shape[1])

    def _shuffle(self, epoch: int) -> list[torch.Tensor]:
        """What an epoch shows, each [N]: which image, whether flipped, and its fresh crop if any.

        Crops stay on the host, which so knows how many there are without waiting for the device.
        """
        random = np.random.default_rng([self._seed, epoch])
        order = random.permutation(len(self._images))
        flip = random.random(len(self._images)) < 0.5
        drawn = [self._send(torch.from_numpy(each)) for each in (order, flip)]
        if self._frames is not None:
            fresh = random.random(len(order)) < self._frames.fresh_part
            windows = draw_windows(self._frames.sizes[order], random, self._frames.full_part)
            drawn += [torch.from_numpy(fresh), torch.from_numpy(windows)]
        return drawn

    def _send(self, drawn: torch.Tensor) -> torch.Tensor:
        """On the device. A GPU copies it when its turn comes; from memory that is not pinned the
        host would have to wait for that."""
        drawn = drawn.pin_memory() if self._device.type == "cuda" else drawn
        return drawn.to(self._device, non_blocking=True)
