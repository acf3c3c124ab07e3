"""What the training is held against: the loop of PyTorch's DCGAN tutorial, written afresh.

A DataLoader over the photos' folder with the tutorial's transforms, batches of 128, fp32. CHANGES
lead from there to the engine one by one.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from bench import Figures
from doggan.data.batches import Batches
from doggan.data.imageset import ImageSet
from doggan.gan.networks import make_networks
from doggan.recipe import load_recipe
from doggan.support.allocator import keep_freed_memory
from doggan.support.device import autocast, choose_precision, peak_memory_bytes

# The tutorial's networks and numbers, as a recipe of ours.
SAME_NETWORKS = "dogs-2015"
MOST_SECONDS = 60.0  # of measuring: a fast device would wait longer for its photos
# The ablation's changes, in the order in which they are made.
CHANGES = (
    "stock",
    "in memory",
    "channels last",
    "bf16",
    "one backward",
    "fused Adam",
    "freed memory kept",
)


def time_loop(
    changes: set[str],
    photos: Path,
    imageset: ImageSet,
    device: torch.device,
    sizes: SimpleNamespace,
) -> Figures:
    """The tutorial's loop with `changes` of CHANGES made to it."""
    start = time.perf_counter()
    if "freed memory kept" in changes:
        keep_freed_memory()
    recipe = load_recipe(SAME_NETWORKS)
    options = recipe.train
    layout = torch.channels_last if "channels last" in changes else torch.contiguous_format
    generator, discriminator = (
        network.to(device, memory_format=layout)
        for network in make_networks(recipe.networks, side=64, channels=3, label_count=1, seed=0)
    )
    generator_adam, discriminator_adam = (
        torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999), fused="fused Adam" in changes)
        for network in (generator, discriminator)
    )
    if "in memory" in changes:
        stream = Batches(imageset, options, seed=0, device=device)
        batches = (
            stream.at(place, options.batch_size)[0] for place in range(0, 10**9, options.batch_size)
        )
    else:
        batches = _load_photos(photos, options.batch_size, device)
    precision = choose_precision("auto", device) if "bf16" in changes else "fp32"
    first, started, measured = 0.0, 0.0, 0
    for step in range(sizes.warm_up + sizes.steps):
        real = next(batches)
        if step == sizes.warm_up:
            wait(device)
            started = time.perf_counter()
        if step > sizes.warm_up and time.perf_counter() - started > MOST_SECONDS:
            break
        measured += step >= sizes.warm_up
        discriminator.zero_grad()
        with autocast(device, precision):
            real_loss = _towards(1.0, discriminator(real))
        if "one backward" not in changes:
            real_loss.backward()
        with autocast(device, precision):
            fake = generator(torch.randn(len(real), 100, device=device))
            fake_loss = _towards(0.0, discriminator(fake.detach()))
        (real_loss + fake_loss if "one backward" in changes else fake_loss).backward()
        discriminator_adam.step()
        generator.zero_grad()
        # Gradients of the discriminator are of no use in the generator's step.
        discriminator.requires_grad_("one backward" not in changes)
        with autocast(device, precision):
            loss = _towards(1.0, discriminator(fake))
        loss.backward()
        discriminator.requires_grad_(True)
        generator_adam.step()
        if step == 0:
            wait(device)
            first = time.perf_counter() - start
    wait(device)
    seconds = time.perf_counter() - started
    return {
        "images_per_second": measured * options.batch_size / seconds,
        "first_step_seconds": first,
        "memory_gigabytes": peak_memory_bytes(device) / 1e9,
    }


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def _load_photos(photos: Path, batch_size: int, device: torch.device) -> Iterator[torch.Tensor]:
    """The tutorial's data set and loader, epoch after epoch."""
    from torchvision import datasets, transforms

    transform = transforms.Compose(
        [
            transforms.Resize(64),
            transforms.CenterCrop(64),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.5,) * 3),
        ]
    )
    images = datasets.ImageFolder(photos / "Images", transform)
    loader = torch.utils.data.DataLoader(
        images, batch_size, shuffle=True, num_workers=2, drop_last=True
    )
    while True:
        for batch, _ in loader:
            yield batch.to(device)


def _towards(label: float, logits: torch.Tensor) -> torch.Tensor:
    logits = logits.float()
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
