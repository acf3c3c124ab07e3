#!/usr/bin/env python3
"""Times training against the stock DCGAN loop, side by side in one run, on one machine.

    .venv/bin/python tools/bench_train.py                  # on drawn dogs
    .venv/bin/python tools/bench_train.py --photos photos  # photos in Stanford's layout

(a) is the loop of PyTorch's DCGAN tutorial, written afresh: a DataLoader over the photos' folder
with its usual transforms, batches of 128, fp32. (b) is the same networks in our engine, (c) our
default recipe. Each runs in a process of its own, in turn, three times; medians are compared.
The ablation takes the stock loop to (b) one change at a time. It takes some 15 minutes; `--quick`
takes one and says only that the benchmark works.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from doggan.data.batches import Batches
from doggan.data.build import build_imageset
from doggan.data.imageset import ImageSet, hash_images, open_imageset
from doggan.drawn_dogs.photos import draw_sample_dogs
from doggan.gan.networks import make_networks
from doggan.gan.trainer import train
from doggan.recipe import Recipe, load_recipe
from doggan.support.deadline import Deadline
from doggan.support.device import (
    autocast,
    choose_device,
    choose_precision,
    describe_environment,
    peak_memory_bytes,
)
from doggan.support.errors import DogganError

PARTS = ("engine", "ablation", "convolutions", "scaling")
# The tutorial's numbers, in our recipe's words.
SAME_NETWORKS = (
    "networks.latent=100",
    "train.batch_size=128",
    "train.learning_rate_generator=2e-4",
    "train.learning_rate_discriminator=2e-4",
    "train.beta1=0.5",
    "train.real_label=1.0",
)
# The ablation's changes, in the order in which they are made.
CHANGES = ("stock", "in memory", "channels last", "bf16", "one backward", "fused Adam")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    photos: int
    warm_up: int  # steps of 128 images that are not measured
    steps: int  # those that are
    sets: tuple[int, int]  # images in a small and a large set
    long_images: int  # shown in one run, for the memory
    repeats: int


FULL = Sizes(
    photos=1000, warm_up=3, steps=12, sets=(1_000, 100_000), long_images=200_000, repeats=3
)
QUICK = Sizes(photos=130, warm_up=1, steps=1, sets=(40, 80), long_images=400, repeats=1)


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    try:
        if args.contender:
            print(json.dumps(run_contender(args)))
            return 0
        results = measure(args)
    except DogganError as error:
        print(f"bench_train: {error}", file=sys.stderr)
        return error.exit_code
    if args.json:
        print(json.dumps(results))
    return 0


def measure(args: argparse.Namespace) -> dict:
    """Runs what was asked for; says each part's results as they come, and returns them all."""
    sizes = QUICK if args.quick else FULL
    device = choose_device(args.device)
    results = {"quick": args.quick, "repeats": sizes.repeats}
    results |= describe_environment(device, choose_precision("auto", device))
    with tempfile.TemporaryDirectory() as scratch:
        photos = args.photos or Path(scratch) / "photos"
        if not args.photos:
            draw_sample_dogs(photos, photos=sizes.photos, seed=0)
        build_imageset([photos], Path(scratch) / "set", load_recipe("dogs").data)
        run = _Contenders(args, sizes, photos, Path(scratch))
        parts = {
            "engine": run.engine,
            "ablation": run.ablation,
            "convolutions": run.convolutions,
            "scaling": run.scaling,
        }
        for part in args.only:
            found = parts[part]()
            results |= found
            for name, value in found.items():
                # Under --json the last line of stdout is the JSON's alone.
                print(f"{name:36} {value:.4g}", file=sys.stderr if args.json else None, flush=True)
    return results


class _Contenders:
    """Starts contenders, each in a process of its own, and compares them."""

    def __init__(self, args: argparse.Namespace, sizes: Sizes, photos: Path, scratch: Path):
        self._args, self._sizes, self._photos, self._scratch = args, sizes, photos, scratch

    def engine(self) -> dict:
        """Stock loop, same networks, default recipe."""
        found = self._side_by_side({name: name for name in ("stock", "same networks", "default")})
        stock, same, default = found["stock"], found["same networks"], found["default"]
        rate = "images_per_second"
        return {
            "same_networks_ratio": same[rate] / stock[rate],
            "default_recipe_ratio": default[rate] / stock[rate],
            **{
                f"{name.replace(' ', '_')}_{key}": value
                for name, values in found.items()
                for key, value in values.items()
            },
        }

    def ablation(self) -> dict:
        """The stock loop with one change more at a time, and the engine, which has them all."""
        found = self._side_by_side({name: name for name in (*CHANGES, "same networks")})
        return {
            f"ablation_{name.replace(' ', '_')}_images_per_second": values["images_per_second"]
            for name, values in found.items()
        }

    def convolutions(self) -> dict:
        """How much of the default recipe's step its convolutions would take by themselves."""
        return self._run("convolutions")

    def scaling(self) -> dict:
        """Speed with few and with many images in the set; memory early and late in a long run."""
        few, many = self._sizes.sets
        folders = {count: self._draw_set(count) for count in (few, many)}
        found = self._side_by_side(dict.fromkeys(folders, "default"), folders)
        return {
            "many_over_few_images_ratio": found[many]["images_per_second"]
            / found[few]["images_per_second"],
            **self._run("memory"),
        }

    def _side_by_side(self, contenders: dict, folders: dict | None = None) -> dict:
        """Medians of each figure, A B C A B C A B C."""
        runs = {name: [] for name in contenders}
        for _ in range(self._sizes.repeats):
            for name, contender in contenders.items():
                runs[name].append(self._run(contender, (folders or {}).get(name)))
        return {
            name: {key: statistics.median(run[key] for run in measured) for key in measured[0]}
            for name, measured in runs.items()
        }

    def _run(self, contender: str, folder: Path | None = None) -> dict:
        command = [sys.executable, __file__, "--contender", contender, "--device"]
        command += [self._args.device, "--photos", str(self._photos)]
        command += ["--set", str(folder or self._scratch / "set"), "--only", *PARTS]
        command += ["--quick"] if self._args.quick else []
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise DogganError(f"contender '{contender}' failed: {done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def _draw_set(self, count: int) -> Path:
        """A built set of noise."""
        folder = self._scratch / f"noise{count}"
        folder.mkdir()
        shape = (count, 64, 64, 3)
        images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
        random = np.random.default_rng(0)
        for start in range(0, count, 1000):
            block = images[start : start + 1000]
            block[:] = random.integers(0, 256, block.shape, np.uint8)
        np.save(folder / "labels.npy", np.zeros(count, np.int64))
        manifest = {"format": 1, "images_sha256": hash_images(images), "label_names": ["noise"]}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        os.sync()  # writing a gigabyte to the disk meanwhile would slow what is timed next
        return folder


def run_contender(args: argparse.Namespace) -> dict:
    """One contender, in this process."""
    device, sizes = choose_device(args.device), QUICK if args.quick else FULL
    if args.contender in CHANGES:
        changes = set(CHANGES[1 : CHANGES.index(args.contender) + 1])
        return time_loop(changes, args.photos, open_imageset(args.set), device, sizes)
    overrides = SAME_NETWORKS if args.contender == "same networks" else ()
    recipe = load_recipe("dogs", overrides)
    if args.contender == "convolutions":
        return time_convolutions(recipe, open_imageset(args.set), device, sizes)
    if args.contender == "memory":
        return measure_memory(open_imageset(args.set), device, sizes)
    return time_engine(recipe, open_imageset(args.set), device, sizes)


def time_loop(
    changes: set[str], photos: Path, imageset: ImageSet, device: torch.device, sizes: Sizes
) -> dict:
    """The tutorial's loop with `changes` of CHANGES made to it."""
    start = time.perf_counter()
    recipe = load_recipe("dogs", SAME_NETWORKS)
    options = recipe.train
    layout = torch.channels_last if "channels last" in changes else torch.contiguous_format
    generator, discriminator = (
        network.to(device, memory_format=layout)
        for network in make_networks(recipe.networks, side=64, channels=3, label_count=1, seed=0)
    )
    fused = "fused Adam" in changes
    generator_adam, discriminator_adam = (
        torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999), fused=fused)
        for network in (generator, discriminator)
    )
    if "in memory" in changes:
        stream = Batches(imageset, options, seed=0, device=device)
        batches = (stream.at(position)[0] for position in range(0, 10**9, options.batch_size))
    else:
        batches = _load_photos(photos, options.batch_size, device)
    criterion = nn.BCEWithLogitsLoss()
    precision = choose_precision("auto", device) if "bf16" in changes else "fp32"
    first = started = 0.0
    for step in range(sizes.warm_up + sizes.steps):
        real = next(batches)
        if step == sizes.warm_up:
            _wait(device)
            started = time.perf_counter()
        discriminator.zero_grad()
        with autocast(device, precision):
            real_loss = criterion(*_towards(discriminator(real), 1.0))
        if "one backward" not in changes:
            real_loss.backward()
        with autocast(device, precision):
            fake = generator(torch.randn(len(real), 100, device=device))
            fake_loss = criterion(*_towards(discriminator(fake.detach()), 0.0))
        (real_loss + fake_loss if "one backward" in changes else fake_loss).backward()
        discriminator_adam.step()
        generator.zero_grad()
        # Gradients of the discriminator are of no use in the generator's step.
        discriminator.requires_grad_("one backward" not in changes)
        with autocast(device, precision):
            loss = criterion(*_towards(discriminator(fake), 1.0))
        loss.backward()
        discriminator.requires_grad_(True)
        generator_adam.step()
        if step == 0:
            _wait(device)
            first = time.perf_counter() - start
    _wait(device)
    seconds = time.perf_counter() - started
    return {
        "images_per_second": sizes.steps * options.batch_size / seconds,
        "first_step_seconds": first,
        "memory_gigabytes": peak_memory_bytes(device) / 1e9,
    }


def time_engine(recipe: Recipe, imageset: ImageSet, device: torch.device, sizes: Sizes) -> dict:
    """Our engine, its pictures, checkpoints and history included in nothing but the memory."""
    batch = recipe.train.batch_size
    steps = sizes.warm_up * 128 // batch, sizes.steps * 128 // batch
    overrides = {"images": sum(steps) * batch, "interval_images": steps[0] * batch}
    moments = []

    def clock() -> float:
        moments.append(time.perf_counter())
        return moments[-1]

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = _with_train(recipe, **overrides)
        train(imageset, Path(folder), run, device=device.type, deadline=Deadline(None, clock))
        rows = [json.loads(line) for line in (Path(folder) / "stats.jsonl").open()]
    first, last = rows[0], rows[-1]
    return {
        "images_per_second": (last["images"] - first["images"])
        / (last["seconds"] - first["seconds"]),
        "first_step_seconds": moments[1] - start,  # the first is the deadline's own
        "memory_gigabytes": peak_memory_bytes(device) / 1e9,
    }


def time_convolutions(
    recipe: Recipe, imageset: ImageSet, device: torch.device, sizes: Sizes
) -> dict:
    """Seconds of a step, and of its convolutions alone at the same shapes and precision."""
    batch, precision = recipe.train.batch_size, choose_precision("auto", device)
    generator, discriminator = (
        network.to(device, memory_format=torch.channels_last)
        for network in make_networks(recipe.networks, side=64, channels=3, label_count=1, seed=0)
    )
    inputs = (torch.randn(batch, recipe.networks.latent), torch.randn(batch, 3, 64, 64))
    alone = {
        name: _time_layers(network, given.to(device), precision, 10 * sizes.repeats)
        for name, network, given in (
            ("generator", generator, inputs[0]),
            ("discriminator", discriminator, inputs[1]),
        )
    }
    # A step takes the generator forward and back once, the discriminator twice, and a third time
    # without the gradients of its weights: about two thirds of a whole pass.
    convolutions = alone["generator"] + (2 + 2 / 3) * alone["discriminator"]
    step = batch / time_engine(recipe, imageset, device, sizes)["images_per_second"]
    return {
        "step_seconds": step,
        "convolution_seconds": convolutions,
        "convolution_share": convolutions / step,
    }


def measure_memory(imageset: ImageSet, device: torch.device, sizes: Sizes) -> dict:
    """The most memory that was held early and late in a long run of a narrow network."""
    recipe = load_recipe("dogs", ["networks.generator_width=8", "networks.discriminator_width=8"])
    images = sizes.long_images
    run = _with_train(recipe, images=images, interval_images=images // 10)
    with tempfile.TemporaryDirectory() as folder:
        train(imageset, Path(folder), run, device=device.type)
        rows = [json.loads(line) for line in (Path(folder) / "stats.jsonl").open()]
    return {
        "long_run_images": rows[-1]["images"],
        "memory_late_over_early_ratio": rows[-1]["memory_bytes"] / rows[1]["memory_bytes"],
    }


def _time_layers(network: nn.Module, images: torch.Tensor, precision: str, repeats: int) -> float:
    """Seconds of the network's convolutions forward and back, each at its own shape."""
    shapes = []
    kinds = nn.Conv2d | nn.ConvTranspose2d
    layers = [layer for layer in network.modules() if isinstance(layer, kinds)]
    hooks = [
        layer.register_forward_pre_hook(lambda layer, given: shapes.append(given[0].shape))
        for layer in layers
    ]
    network(images)
    for hook in hooks:
        hook.remove()
    seconds = 0.0
    for layer, shape in zip(layers, shapes, strict=True):
        given = torch.randn(shape, device=images.device)
        given = given.to(memory_format=torch.channels_last).requires_grad_()
        for repeat in range(repeats + 2):
            if repeat == 2:
                _wait(images.device)
                start = time.perf_counter()
            with autocast(images.device, precision):
                made = layer(given)
            made.backward(made.detach())
        _wait(images.device)
        seconds += (time.perf_counter() - start) / repeats
    return seconds


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


def _towards(logits: torch.Tensor, label: float) -> tuple[torch.Tensor, torch.Tensor]:
    logits = logits.float()
    return logits, torch.full_like(logits, label)


def _with_train(recipe: Recipe, **values: int) -> Recipe:
    return replace(recipe, train=replace(recipe.train, **values))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times training against the stock DCGAN loop.")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--quick", action="store_true", help="only see that it works")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--photos", type=Path, help="photos in Stanford's layout (else drawn)")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS, help="leave out the other parts"
    )
    # For the benchmark's own processes.
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--set", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
