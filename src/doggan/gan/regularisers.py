"""What the discriminator minimises beside its loss, whatever that is: each [] fp32, to be weighted.

They run D under the autocast that is on where they are called.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from doggan.gan.augment import flip_and_translation
from doggan.recipe import TrainRecipe
from doggan.support.errors import InputError


def gradient_penalty(discriminator: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """E |grad_x D(x)|^2 over the images [N, C, H, W], whose own gradient it does not ask for.

    The zero-centred penalty of Mescheder et al. 2018 (arXiv:1801.04406): times gamma / 2 it is R1
    on real images and R2 on generated ones. Exact: its backward is D's double backward.
    """
    images = images.detach().float().requires_grad_()
    logits = discriminator(images, labels)
    (gradient,) = torch.autograd.grad(logits.float().sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def consistency(
    discriminator: nn.Module, images: Tensor, labels: Tensor, logits: Tensor, draws: Tensor
) -> Tensor:
    """E (D(x) - D(T(x)))^2, where `logits` [N] are D's of the images [N, C, H, W].

    Consistency regularisation (Zhang et al. 2020, arXiv:1910.12027) on the logit: T mirrors and
    moves by a few pixels, as `draws` [N, DRAWS] say.
    """
    moved = discriminator(flip_and_translation(images, draws), labels).float()
    return (logits - moved).square().mean()


def check_penalty(discriminator: nn.Module, options: TrainRecipe) -> None:
    """Raises InputError where the recipe asks for a gradient penalty of a D with batch norm.

    There a logit depends on all images of its batch, and the gradient of their sum is not each
    image's own: the penalty would be another than the one that is asked for.
    """
    mixing = any(isinstance(layer, _BatchNorm) for layer in discriminator.modules())
    if options.gradient_penalty and mixing:
        raise InputError(
            f"train.gradient_penalty is {options.gradient_penalty:g}, and the discriminator has "
            "batch norm, where no image has a gradient of its own; set "
            "networks.discriminator_norm to none or spectral, or train.gradient_penalty to 0"
        )
