#!/usr/bin/env python3
"""Times training against the stock DCGAN loop, side by side in one run, on one machine.

    .venv/bin/python tools/bench_train.py                  # on drawn dogs
    .venv/bin/python tools/bench_train.py --photos photos  # photos in Stanford's layout

(a) is the tutorial's loop of `stock_loop`, (b) the same networks in our engine, also in one pass of
D for both updates, (c) our default recipe. Each runs in a process of its own, in turn, three times;
medians are compared. The ablation takes the stock loop to (b) one change at a time. These take some
15 minutes; `busy`, beside programs that compute as well, may take as long again. `--quick` says
only that the benchmark works.
"""

import argparse
import contextlib
import hashlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from threading import Thread

import numpy as np
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from bench import Figures, in_own_process, make_parser, run_parts, side_by_side
from doggan.data.build import build_imageset
from doggan.data.imageset import ImageSet, open_imageset
from doggan.drawn_dogs.photos import draw_sample_dogs
from doggan.gan.history import read_history
from doggan.gan.networks import make_networks
from doggan.gan.trainer import train
from doggan.recipe import Recipe, load_recipe
from doggan.support.device import (
    choose_device,
    choose_precision,
    describe_environment,
    peak_memory_bytes,
)
from doggan.support.errors import DogganError
from doggan.support.threads import available_cores, choose_threads
from layers import convolutions_of, seconds_of_layer, wait
from stock_loop import CHANGES, GPU_CHANGES, SAME_NETWORKS, changes_of, compiling_fails, time_loop

# How much is measured, in full and under --quick.
SIZES = {
    "photos": (1000, 130),
    "warm_up": (3, 1),  # steps of 128 images that are not measured
    "steps": (12, 1),  # those that are
    "sets": ((1_000, 100_000), (40, 80)),  # images in a small and a large set
    "long_images": (200_000, 400),  # shown in one run, for the memory
    "repeats": (3, 1),
}
# How many times as many steps a GPU takes: those of a processor are over in a fraction of a second.
TIMES_ON_GPU = 40


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("Times training against the stock DCGAN loop.", PARTS)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--photos", type=Path, help="photos in Stanford's layout (else drawn)")
    parser.add_argument("--set", type=Path, help="a built set (else one of the photos is built)")
    return run_parts("bench_train", parser.parse_args(arguments), PARTS, SIZES, prepare)


def prepare(args: argparse.Namespace, scratch: Path) -> dict:
    """Draws photos and builds a set of them, where none are given."""
    args.device = choose_device(args.device)
    if not args.photos:
        args.photos = scratch / "photos"
        draw_sample_dogs(args.photos, photos=args.sizes.photos, seed=0)
    if not args.set:
        args.set = scratch / "set"
        build_imageset([args.photos], args.set, load_recipe("dogs").data)
    if args.device.type == "cuda" and not args.quick:
        args.sizes.warm_up *= TIMES_ON_GPU
        args.sizes.steps *= TIMES_ON_GPU
    return describe_environment(args.device, choose_precision("auto", args.device))


def measure_engine(args: argparse.Namespace) -> Figures:
    """Stock loop, same networks, the same in one pass, default recipe."""
    found = _compare(args, "stock", "same networks", "one pass", "default")
    stock = found["stock"]["images_per_second"]
    named = {name.replace(" ", "_"): figures for name, figures in found.items()}
    return {
        f"{name}_ratio": figures["images_per_second"] / stock
        for name, figures in named.items()
        if name != "stock"
    } | {
        f"{name}_{figure}": value
        for name, figures in named.items()
        for figure, value in figures.items()
    }


def measure_ablation(args: argparse.Namespace) -> Figures:
    """The stock loop with one change more at a time; the engine, which has them all; one pass.

    On a GPU also with what only a GPU may gain by; compiled ones only where compiling works.
    """
    names = list(CHANGES)
    if args.device.type == "cuda":
        failure = compiling_fails(args.device)
        names += [name for name in GPU_CHANGES if not failure or "compiled" not in name]
        if failure:
            print(f"  without torch.compile: {failure}", file=sys.stderr, flush=True)
    return {
        f"ablation_{name.replace(' ', '_')}_images_per_second": figures["images_per_second"]
        for name, figures in _compare(args, *names, "same networks", "one pass").items()
    }


def measure_convolutions(args: argparse.Namespace) -> Figures:
    """How much of the default recipe's step its convolutions would take by themselves."""
    return in_own_process(run_contender, "convolutions", args)


def measure_scaling(args: argparse.Namespace) -> Figures:
    """Speed with few and with many images in the set; memory early and late in a long run."""
    found = _compare(args, "few", "many")
    few, many = (figures["images_per_second"] for figures in found.values())
    long_run = in_own_process(run_contender, "memory", args)
    return {"many_over_few_images_ratio": many / few} | long_run


def measure_busy(args: argparse.Namespace) -> Figures:
    """The default recipe alone, beside busy threads, one a core, and beside another training.

    Each of the two is started from the same terminal, and from another one.
    """
    contenders = {name: partial(_beside, *how, args) for name, how in COMPANIONS.items()}
    found = side_by_side(contenders, args.sizes.repeats)
    speeds = {name: figures["images_per_second"] for name, figures in found.items()}
    threads = {f"{name}_threads": figures["threads"] for name, figures in found.items()}
    shares = {
        f"{name}_over_alone_ratio": speeds[name] / speeds["alone"]
        for name in COMPANIONS
        if name != "alone"
    }
    return shares | threads | {f"{name}_images_per_second": speeds[name] for name in COMPANIONS}


PARTS = {
    "engine": measure_engine,
    "busy": measure_busy,
    "ablation": measure_ablation,
    "convolutions": measure_convolutions,
    "scaling": measure_scaling,
}


def _be_busy(args: argparse.Namespace, begun: Event) -> None:
    """As many busy threads as cores; Python's lock is free while they hash."""

    def hash_on() -> None:
        while True:
            hashlib.pbkdf2_hmac("sha256", b"", b"", 10**6)

    threads = [Thread(target=hash_on) for _ in range(available_cores())]
    for thread in threads:
        thread.start()
    begun.set()


def _train_on(args: argparse.Namespace, begun: Event) -> None:
    _train_as_a_command(args)  # what comes before the first step is over
    args.sizes.steps = 10**6
    begun.set()
    run_contender("default", args)


def _train_as_a_command(args: argparse.Namespace) -> Figures:
    choose_threads(None, say=lambda line: None)
    return {"threads": torch.get_num_threads()} | run_contender("default", args)


Companion = Callable[[argparse.Namespace, Event], None]

# What computes on the same cores meanwhile, and whether it was started from another terminal: where
# the kernel has autogroup on, as Linux's distributions do, it shares cores out among terminals
# first, and only then among the threads of each.
COMPANIONS: dict[str, tuple[Companion | None, bool]] = {
    "alone": (None, False),
    "beside_busy_threads": (_be_busy, False),
    "beside_busy_threads_of_another_terminal": (_be_busy, True),
    "beside_a_training": (_train_on, False),
    "beside_a_training_of_another_terminal": (_train_on, True),
}


def _beside(
    companion: Companion | None, another_terminal: bool, args: argparse.Namespace
) -> Figures:
    """The default recipe's figures while the companion computes."""
    if companion is None:
        return in_own_process(_train_as_a_command, args)
    context = get_context("spawn")
    begun = context.Event()
    other = context.Process(
        target=_accompany, args=(companion, another_terminal, args, begun), daemon=True
    )
    other.start()
    try:
        while not begun.wait(timeout=1):
            if not other.is_alive():
                raise DogganError("a process that was to compute beside the training has died")
        return in_own_process(_train_as_a_command, args)
    finally:
        other.kill()
        other.join()


def _accompany(
    companion: Companion, another_terminal: bool, args: argparse.Namespace, begun: Event
) -> None:
    if another_terminal:
        os.setsid()
    companion(args, begun)


def run_contender(name: str, args: argparse.Namespace) -> Figures:
    """One contender in this process, without its bar and warnings."""
    with contextlib.redirect_stderr(io.StringIO()):
        if name in (*CHANGES, *GPU_CHANGES):
            imageset = open_imageset(args.set)
            return time_loop(changes_of(name), args.photos, imageset, args.device, args.sizes)
        return CONTENDERS[name](args)


def time_engine(
    args: argparse.Namespace, *overrides: str, recipe: str = "dogs", noise: int = 0
) -> Figures:
    """Our engine; its pictures, checkpoints and history count in nothing but the memory.

    `noise` is how many images of noise take the place of the set, where there are any.
    """
    imageset = _draw_noise(noise) if noise else open_imageset(args.set)
    warm_up, steps = args.sizes.warm_up * 128, args.sizes.steps * 128
    lengths = (f"train.images={warm_up + steps}", f"train.interval_images={warm_up}")
    updates = []

    def note(*_: object) -> None:
        if len(updates) < 2:  # one of each network
            wait(args.device)
            updates.append(time.perf_counter())

    start = time.perf_counter()
    options = load_recipe(recipe, [*overrides, *lengths])
    hook = register_optimizer_step_post_hook(note)
    try:
        rows = _train(imageset, args.device, options)
    finally:
        hook.remove()
    first, last = rows[0], rows[-1]
    return {
        "images_per_second": (last["images"] - first["images"])
        / (last["seconds"] - first["seconds"]),
        "first_step_seconds": updates[1] - start,
        "memory_gigabytes": peak_memory_bytes(args.device) / 1e9,
    }


def time_convolutions(args: argparse.Namespace) -> Figures:
    """Seconds of a step, and of its convolutions alone at the same shapes and precision."""
    recipe = load_recipe("dogs")
    batch, repeats = recipe.train.batch_size, 10 * args.sizes.repeats
    networks = make_networks(recipe.networks, side=64, channels=3, label_count=1, seed=0)
    shapes = ((batch, recipe.networks.latent), (batch, 3, 64, 64))
    generator, discriminator = (
        _time_layers(network, shape, args.device, repeats)
        for network, shape in zip(networks, shapes, strict=True)
    )
    # A step takes the generator forward and back once, the discriminator twice, and a third time
    # without the gradients of its weights: about two thirds of a whole pass.
    convolutions = generator + (2 + 2 / 3) * discriminator
    step = batch / time_engine(args, "train.batch_doublings=0")["images_per_second"]
    return {
        "step_seconds": step,
        "convolution_seconds": convolutions,
        "convolution_share": convolutions / step,
    }


def measure_memory(args: argparse.Namespace) -> Figures:
    """The most memory that was held early and late in a long run of a narrow network."""
    narrow = ("networks.generator_width=8", "networks.discriminator_width=8")
    images = args.sizes.long_images
    lengths = (f"train.images={images}", f"train.interval_images={images // 10}")
    recipe = load_recipe("dogs", [*narrow, *lengths, "train.max_saving_share=1.0"])
    rows = _train(open_imageset(args.set), args.device, recipe)
    return {
        "long_run_images": rows[-1]["images"],
        "memory_late_over_early_ratio": rows[-1]["memory_bytes"] / rows[1]["memory_bytes"],
    }


# Beside CHANGES, which are contenders too.
CONTENDERS = {
    "same networks": lambda args: time_engine(args, recipe=SAME_NETWORKS),
    "one pass": lambda args: time_engine(args, "train.one_pass=true", recipe=SAME_NETWORKS),
    "default": time_engine,
    "few": lambda args: time_engine(args, noise=args.sizes.sets[0]),
    "many": lambda args: time_engine(args, noise=args.sizes.sets[1]),
    "convolutions": time_convolutions,
    "memory": measure_memory,
}


def _compare(args: argparse.Namespace, *names: str) -> dict[str, Figures]:
    """Medians of the contenders' figures, each contender in a process of its own."""
    contenders = {name: partial(in_own_process, run_contender, name, args) for name in names}
    return side_by_side(contenders, args.sizes.repeats)


def _train(imageset: ImageSet, device: torch.device, recipe: Recipe) -> list[dict]:
    """The history of a training."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train(imageset, folder, recipe, device=device.type, processes=1)
        return read_history(folder)


def _draw_noise(count: int) -> ImageSet:
    """A set of noise, in memory alone."""
    images = np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), np.uint8)
    manifest = {"images_sha256": "noise", "label_names": ["noise"]}
    return ImageSet(Path("noise"), images, np.zeros(count, np.int64), manifest)


def _time_layers(network: nn.Module, shape: tuple, device: torch.device, repeats: int) -> float:
    """Seconds of the convolutions forward and back, each alone, for an input of that shape."""
    precision = choose_precision("auto", device)
    return sum(
        seconds_of_layer(layer, shown, device, precision, repeats)
        for layer, shown in convolutions_of(network, torch.randn(shape))
    )


if __name__ == "__main__":
    sys.exit(main())
