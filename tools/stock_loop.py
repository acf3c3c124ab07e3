"""What the training is held against: the loop of PyTorch's DCGAN tutorial, written afresh.

A DataLoader over the photos' folder with the tutorial's transforms, batches of 128, fp32. CHANGES
lead from there to the engine one by one; GPU_CHANGES are what a GPU may gain by beside.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
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
from layers import wait

# The tutorial's networks and numbers, as a recipe of ours.
SAME_NETWORKS = "dogs-2015"
# Of warming up and of measuring: a fast device would wait longer for its photos.
MOST_SECONDS = (10.0, 30.0)
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
# The same for a GPU, each on top of all of CHANGES.
GPU_CHANGES = {
    "autotuned": {"autotuned"},
    "CUDA graph": {"autotuned", "CUDA graph"},
    "compiled": {"autotuned", "compiled"},
    "compiled CUDA graph": {"autotuned", "compiled", "CUDA graph"},
}
GRAPH_WARM_UP = 3  # steps before one is captured, as PyTorch's notes on CUDA graphs want


def changes_of(name: str) -> set[str]:
    """What the contender of CHANGES or GPU_CHANGES has changed in the tutorial's loop."""
    if name in GPU_CHANGES:
        return set(CHANGES[1:]) | GPU_CHANGES[name]
    return set(CHANGES[1 : CHANGES.index(name) + 1])


def compiling_fails(device: torch.device) -> str:
    """Why torch.compile does not work on this machine, in a line; "" where it does."""
    try:
        torch.compile(torch.square)(torch.ones(2, device=device))
    except Exception as error:  # whatever its compilers meet
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return ""


def time_loop(
    changes: set[str],
    photos: Path,
    imageset: ImageSet,
    device: torch.device,
    sizes: SimpleNamespace,
) -> Figures:
    """The tutorial's loop with `changes` made to it."""
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
    adam = partial(
        torch.optim.Adam,
        lr=2e-4,
        betas=(0.5, 0.999),
        fused="fused Adam" in changes,
        capturable="CUDA graph" in changes,
    )
    generator_adam, discriminator_adam = (
        adam(network.parameters()) for network in (generator, discriminator)
    )
    torch.backends.cudnn.benchmark = "autotuned" in changes
    if "compiled" in changes:
        generator, discriminator = torch.compile(generator), torch.compile(discriminator)
    if "in memory" in changes:
        stream = Batches(imageset, options, seed=0, device=device)
        batches = (
            stream.at(place, options.batch_size)[0] for place in range(0, 10**9, options.batch_size)
        )
    else:
        batches = _load_photos(photos, options.batch_size, device)
    precision = choose_precision("auto", device) if "bf16" in changes else "fp32"

    def step(real: torch.Tensor) -> None:
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

    if "CUDA graph" in changes:
        step = _captured(step, next(batches))
    step(next(batches))
    wait(device)
    first = time.perf_counter() - start
    for steps, most_seconds in zip((sizes.warm_up, sizes.steps), MOST_SECONDS, strict=True):
        taken, started = 0, time.perf_counter()
        while taken < steps and time.perf_counter() - started < most_seconds:
            step(next(batches))
            taken += 1
        wait(device)
        seconds = time.perf_counter() - started
    return {
        "images_per_second": taken * options.batch_size / seconds,
        "first_step_seconds": first,
        "memory_gigabytes": peak_memory_bytes(device) / 1e9,
    }


def _captured(
    step: Callable[[torch.Tensor], None], real: torch.Tensor
) -> Callable[[torch.Tensor], None]:
    """The step as one CUDA graph, for real images of this shape."""
    shown = real.clone()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(GRAPH_WARM_UP):
            step(shown)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(shown)

    def replay(real: torch.Tensor) -> None:
        shown.copy_(real)
        graph.replay()

    return replay


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
