"""The averages of the generator that a training kept, ready to be sampled."""

import copy
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from doggan.gan.checkpoint import read_last_checkpoint
from doggan.gan.generator_file import load_generator
from doggan.gan.networks import Generator
from doggan.gan.sampler import BATCH, labels_asked_for, latents
from doggan.support.errors import InputError

NORM_IMAGES = 1_000  # from which batch norm's statistics are estimated


def load_averages(folder: Path, device: str = "auto") -> list[Generator]:
    """The averages in a run's checkpoint, one for each of `train.ema_parts`.

    `device` is `auto`, `cpu` or `cuda`. Raises InputError where the run has none to be read.
    """
    generator, recipe = load_generator(folder, device)
    averages = nn.ModuleList(copy.deepcopy(generator) for _ in recipe.train.ema_parts)
    content, path, _ = read_last_checkpoint(folder)
    try:
        averages.load_state_dict(content["emas"])
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} does not fit the generator beside it: {error}") from error
    return list(averages)


def estimate_batch_norm(generator: Generator) -> None:
    """Estimates batch norm's running statistics anew, from what the generator itself makes.

    Those in an average are the trained generator's, which has other weights: the standing
    statistics of BigGAN (Brock et al. 2018, arXiv:1809.11096).
    """
    seeds = torch.arange(NORM_IMAGES).split(BATCH)
    update_bn(seeds, _FromSeeds(generator).eval())


class _FromSeeds(nn.Module):
    """A generator whose input is seeds [N] int64, since PyTorch shows a module one tensor."""

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = generator

    def forward(self, seeds: torch.Tensor) -> torch.Tensor:
        device, numbers = next(self.parameters()).device, seeds.tolist()
        labels = labels_asked_for(self.generator, numbers, None)
        z = latents(numbers, self.generator.latent)
        return self.generator(z.to(device), None if labels is None else labels.to(device))
