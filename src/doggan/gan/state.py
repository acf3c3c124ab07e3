"""All that a training's next step depends on."""

from dataclasses import dataclass

import torch
from torch import nn

from doggan.data.imageset import ImageSet
from doggan.gan.ema import EMA
from doggan.gan.networks import make_networks
from doggan.recipe import Recipe
from doggan.support.allocator import keep_freed_memory


@dataclass(kw_only=True)
class TrainingState:
    """All that the next step depends on, beside the set and the recipe."""

    generator: nn.Module
    discriminator: nn.Module
    emas: list[EMA]
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    random: torch.Generator
    images_seen: int = 0
    steps: int = 0  # taken before the next one
    seconds: float = 0.0
    skipped_steps: int = 0
    slowdowns: int = 0  # how often both rates were lowered, see `schedule.SLOWDOWN`

    def parts(self) -> dict[str, object]:
        """What has a state_dict, by its name in a checkpoint."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "emas": nn.ModuleList(ema.network for ema in self.emas),
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "scaler": self.scaler,
        }


def new_state(
    imageset: ImageSet, recipe: Recipe, device: torch.device, precision: str
) -> TrainingState:
    """The state before the first step, on the device; the networks' shapes are the set's."""
    keep_freed_memory()  # a step takes what the one before has freed
    _, side, _, channels = imageset.images.shape
    label_count = len(imageset.label_names)
    generator, discriminator = (
        network.to(device, memory_format=torch.channels_last)
        for network in make_networks(
            recipe.networks, side=side, channels=channels, label_count=label_count, seed=recipe.seed
        )
    )
    options = recipe.train

    def adam(network: nn.Module, learning_rate: float) -> torch.optim.Adam:
        betas = (options.beta1, options.beta2)
        return torch.optim.Adam(network.parameters(), learning_rate, betas, fused=True)

    return TrainingState(
        generator=generator,
        discriminator=discriminator,
        emas=[EMA(generator, part, options.ema_half_life_images) for part in options.ema_parts],
        generator_optimizer=adam(generator, options.learning_rate_generator),
        discriminator_optimizer=adam(discriminator, options.learning_rate_discriminator),
        scaler=torch.amp.GradScaler(device.type, enabled=precision == "fp16"),
        random=torch.Generator(device).manual_seed(recipe.seed),
    )
