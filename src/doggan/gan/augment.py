"""Augmentations of what the discriminator is shown: on the device, differentiable, by a table.

DiffAugment (Zhao et al. 2020, arXiv:2006.10738): real and generated images are changed alike
wherever D sees them, and G's gradient goes through the change, so that D cannot learn the few
photos by heart and G does not learn the changes. Strengths are the paper's, but images are moved by
even numbers of pixels alone.

Each function takes images [N, C, H, W] in [-1, 1] and DRAWS numbers an image, [N, DRAWS], uniform
in [0, 1): they alone decide what is done, so that the same numbers give the same images.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from doggan.recipe import TrainRecipe
from doggan.support.checked_fields import split_names

DRAWS = 3
REACH = 1 / 8  # of the side, by which an image is moved at most
# In pixels. A transposed convolution of stride 2 makes even and odd pixels by weights of their own.
# D, whose strides are 2 as well, hardly sees a difference between them until images are moved by
# odd numbers, and then beats G by it (submission/RECIPES.md has what that costs).
MOVE_STEP = 2
CUTOUT = 1 / 2  # of the side, that is cut out


def translation(images: Tensor, draws: Tensor) -> Tensor:
    """Moved by multiples of MOVE_STEP, up to REACH of the side each way; mid-grey comes in."""
    down, right = (
        _move(size, draws[:, place]).to(images.dtype) for place, size in enumerate(images.shape[2:])
    )
    return torch.einsum("nyh,nchw,nxw->ncyx", down, images, right)


def colour(images: Tensor, draws: Tensor) -> Tensor:
    """Brightness by -0.5 to 0.5, then saturation times 0 to 2, then contrast times 0.5 to 1.5."""
    brightness, saturation, contrast = draws.T[:, :, None, None, None]
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def cutout(images: Tensor, draws: Tensor) -> Tensor:
    """A square of CUTOUT of the side becomes mid-grey; its middle lies anywhere in the image."""
    rows, columns = (_window(size, draws[:, place]) for place, size in enumerate(images.shape[2:]))
    cut = rows[:, None, :, None] & columns[:, None, None, :]
    return images * ~cut


def flip_and_translation(images: Tensor, draws: Tensor) -> Tensor:
    """Mirrored left to right half of the times, then moved as by `translation`."""
    flipped = torch.where(draws[:, 2, None, None, None] < 0.5, images.flip(3), images)
    return translation(flipped, draws)


def _move(size: int, draws: Tensor) -> Tensor:
    """[N, size, size]: matrices that move a line of pixels, zeros coming in.

    As products with zeros and ones, moves are exact in every precision, and their gradients the
    same bits on a GPU too.
    """
    steps = round(size * REACH) // MOVE_STEP
    by = MOVE_STEP * ((draws * (2 * steps + 1)).long() - steps)
    place = torch.arange(size, device=draws.device)
    return place == (place[:, None] - by[:, None, None])


def _window(size: int, draws: Tensor) -> Tensor:
    """[N, size]: which pixels of a line lie in a window of CUTOUT of it, cut off at the ends."""
    length = round(size * CUTOUT)
    start = (draws * (size + 1)).long() - length // 2
    place = torch.arange(size, device=draws.device)
    return (place >= start[:, None]) & (place < start[:, None] + length)


AUGMENTATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "translation": translation,
    "colour": colour,
    "cutout": cutout,
}


class Augment:
    """The augmentations that `train.augment` names, one after the other."""

    def __init__(self, recipe: TrainRecipe):
        """`train.augment_rate` of the images are augmented, each by all of them; 0 to 1."""
        self._chain = [AUGMENTATIONS[name] for name in split_names(recipe.augment)]
        self._rate = recipe.augment_rate

    @property
    def draws(self) -> int:
        """How many uniform numbers an image takes."""
        return 1 + DRAWS * len(self._chain) if self._chain else 0

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Images [N, C, H, W] augmented by numbers [N, self.draws], uniform in [0, 1)."""
        changed = images
        for place, change in enumerate(self._chain):
            changed = change(changed, draws[:, 1 + DRAWS * place :][:, :DRAWS])
        return torch.where(draws[:, 0, None, None, None] < self._rate, changed, images)
