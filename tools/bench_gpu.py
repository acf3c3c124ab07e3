#!/usr/bin/env python3
"""What a GPU makes of the default recipe: of its rate, its launches, its judge, its processes.

    .venv/bin/python tools/bench_gpu.py --set SET

`rate` holds a step's arithmetic against a large product of matrices, and profiles it; `edges` times
the layers next to the image in each precision and layout; `judge` scores with cuDNN's autotuning
and without; `processes` times DistributedDataParallel's ways to keep gradients. A CPU runs them
all, in a smaller form; `--quick` says only that they work.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch.profiler import DeviceType, ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bench import Figures, make_parser, run_parts, side_by_side
from doggan.data.batches import Batches
from doggan.data.imageset import open_imageset
from doggan.gan.budget import with_width
from doggan.gan.distributed import Processes, averaged, join_processes, launch
from doggan.gan.monitor import Monitor
from doggan.gan.networks import make_networks
from doggan.gan.state import new_state
from doggan.gan.steps import make_steps
from doggan.recipe import Recipe, load_recipe
from doggan.scoring.judges.judge import load_judge
from doggan.support.device import (
    PRECISIONS,
    choose_device,
    choose_precision,
    describe_environment,
    set_arithmetic,
)
from doggan.support.errors import DogganError, InputError
from layers import convolutions_of, seconds_of_layer, wait

JUDGE = "efficientnet-lite0"
# How much is measured, in full and under --quick.
SIZES = {
    "widths": ((64, 128), (8,)),  # of both networks
    "batches": ((8, 64), (4,)),  # images
    "seconds": (3.0, 0.1),  # that steps are measured for
    "profiled": (20, 1),  # steps
    "matrix": (8192, 128),  # its side
    "passes": (200, 2),  # through a layer, a product or a network that is timed by itself
    "judged": (10_000, 9),  # images
    "judged_at_once": (256, 4),
    "rounds": (500, 3),  # steps that processes take together
    "repeats": (3, 1),
}
# And in place of it where the device is a processor.
SIZES_ON_CPU = {
    "widths": (64,),
    "batches": (8, 32),
    "matrix": 2048,
    "passes": 5,
    "judged": 1_000,
    "judged_at_once": 32,
    "rounds": 10,
}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
# What DistributedDataParallel is given, beside the network.
BUCKETS = {
    "default": {},
    "views": {"gradient_as_bucket_view": True},
    "views_of_1_mb": {"gradient_as_bucket_view": True, "bucket_cap_mb": 1},
}


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("What a GPU makes of the default recipe.", PARTS)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--set", type=Path, required=True, help="a built set of 64x64 RGB")
    return run_parts("bench_gpu", parser.parse_args(arguments), PARTS, SIZES, prepare)


def prepare(args: argparse.Namespace, scratch: Path) -> dict:
    """Opens the set; results of other processes are left in `scratch`."""
    args.device, args.scratch = choose_device(args.device), scratch
    args.set = open_imageset(args.set)
    if args.device.type == "cpu" and not args.quick:
        vars(args.sizes).update(SIZES_ON_CPU)
    precision = choose_precision("auto", args.device)
    set_arithmetic(precision, deterministic=False)
    return describe_environment(args.device, precision)


def measure_rate(args: argparse.Namespace) -> Figures:
    """A step's arithmetic a second, by FLOPs of its products, against a large product's.

    On a GPU also the kernels of a step, and the part of its time that they take: the rest waits for
    launches. The operations that take longest are told beside.
    """
    most = _matrix_rate(args)
    figures = {"matrix_teraflops": most / 1e12}
    for width, batch_size in product(args.sizes.widths, args.sizes.batches):
        step = make_step(_recipe(width, batch_size), args)
        step()
        with FlopCounterMode(display=False) as counter:
            step()
        flops = counter.get_total_flops()
        seconds = _seconds_of_a_pass(step, args)
        where = f"width_{width}_batch_{batch_size}"
        figures |= {
            f"{where}_images_per_second": batch_size / seconds,
            f"{where}_step_gigaflops": flops / 1e9,
            f"{where}_of_matrix_rate": flops / seconds / most,
        }
        kernels = _profile(step, where, args)
        if args.device.type == "cuda":
            figures |= {
                f"{where}_kernels_a_step": len(kernels) / args.sizes.profiled,
                f"{where}_kernels_share": sum(kernels) / args.sizes.profiled / seconds,
                f"{where}_memory_gigabytes": torch.cuda.max_memory_allocated() / 1e9,
            }
    return figures


def measure_edges(args: argparse.Namespace) -> Figures:
    """Seconds of D's first layer and G's last one, forward and back, by precision and layout."""
    width, batch_size = args.sizes.widths[-1], args.sizes.batches[-1]
    recipe = _recipe(width, batch_size)
    generator, discriminator = _networks(recipe)
    edges = {
        "first": convolutions_of(discriminator, torch.randn(batch_size, 3, 64, 64))[0],
        "last": convolutions_of(generator, torch.randn(batch_size, recipe.networks.latent))[-1],
    }
    figures = {}
    for precision in _precisions(args.device):
        set_arithmetic(precision, deterministic=False)
        for (edge, (layer, shape)), (name, layout) in product(edges.items(), LAYOUTS.items()):
            figures[f"{edge}_layer_{precision}_{name}_seconds"] = seconds_of_layer(
                layer, shape, args.device, precision, args.sizes.passes, layout
            )
    set_arithmetic(choose_precision("auto", args.device), deterministic=False)
    return figures


def measure_judge(args: argparse.Namespace) -> Figures:
    """Images a second of the judge's network: as it is, autotuned, and with full batches alone."""
    judge = load_judge(JUDGE, device=args.device)
    random = np.random.default_rng(0)
    shape = (args.sizes.judged, 64, 64, 3)
    images = torch.from_numpy(random.integers(0, 256, shape, np.uint8))
    missing = -len(images) % args.sizes.judged_at_once
    padded = torch.cat([images, images[:missing]])

    def judged(shown: torch.Tensor, autotuned: bool) -> Figures:
        started = time.perf_counter()
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, benchmark=autotuned, allow_tf32=False),
        ):
            for batch in shown.split(args.sizes.judged_at_once):
                judge.network(batch.to(args.device)).cpu()
        return {"images_per_second": len(images) / (time.perf_counter() - started)}

    contenders = {
        "as_it_is": partial(judged, images, False),
        "autotuned": partial(judged, images, True),
        "autotuned_padded": partial(judged, padded, True),
    }
    found = side_by_side(contenders, args.sizes.repeats)
    return {f"judge_{name}_{key}": found[name][key] for name in found for key in found[name]}


def measure_processes(args: argparse.Namespace) -> Figures:
    """Seconds of a pass through D and its averaged gradients, by each of BUCKETS, and of agreeing.

    In as many processes as there are GPUs; on CPUs in two, of one thread each.
    """
    count = torch.cuda.device_count() if args.device.type == "cuda" else 2
    results = args.scratch / "processes.json"
    width, batch_size = args.sizes.widths[-1], args.sizes.batches[-1]
    work = (args.device, width, batch_size, args.sizes.rounds, results)
    stopped_by = launch(count, time_processes, *work) if count > 1 else time_processes(*work)
    if stopped_by:
        raise DogganError(f"stopped by {stopped_by}")
    return {"processes": count} | json.loads(results.read_text())


def time_processes(
    device: torch.device, width: int, batch_size: int, rounds: int, results: Path
) -> None:
    """In one of several processes: what each of BUCKETS takes; the first one writes the results."""
    torch.set_num_threads(1)
    with join_processes(device) as (processes, place):
        alone = processes.count == 1
        if alone:
            store = torch.distributed.HashStore()
            backend = "nccl" if place.type == "cuda" else "gloo"
            torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
        _, discriminator = _networks(_recipe(width, batch_size))
        discriminator.to(place, memory_format=torch.channels_last)
        images = torch.randn(batch_size, 3, 64, 64, device=place)
        labels = torch.zeros(batch_size, dtype=torch.int64, device=place)

        def timed(network: torch.nn.Module) -> float:
            for turn in range(2 * rounds):
                if turn == rounds:
                    wait(place)
                    processes.wait()
                    started = time.perf_counter()
                discriminator.zero_grad(set_to_none=True)
                network(images, labels).sum().backward()
            wait(place)
            return (time.perf_counter() - started) / rounds

        figures = {"discriminator_alone_seconds": timed(discriminator)}
        for name, options in BUCKETS.items():
            network = averaged(discriminator, **options)
            figures[f"buckets_{name}_seconds"] = timed(network)
            del network
        figures["agree_seconds"] = _seconds_of_agreeing(processes, rounds)
        if processes.first:
            results.write_text(json.dumps(figures))
        if alone:
            torch.distributed.destroy_process_group()


def make_step(recipe: Recipe, args: argparse.Namespace) -> Callable[[], None]:
    """What takes a step of the recipe's training, as `train` does, with no log and no saves."""
    options = recipe.train
    precision = choose_precision(options.precision, args.device)
    state = new_state(args.set, recipe, args.device, precision)
    monitor = Monitor(args.device)
    batches = Batches(args.set, options, seed=recipe.seed, device=args.device)
    steps = make_steps(state, options, monitor, precision, Processes())
    return partial(steps.take, batches, options.batch_size)


PARTS = {
    "rate": measure_rate,
    "edges": measure_edges,
    "judge": measure_judge,
    "processes": measure_processes,
}


def _recipe(width: int, batch_size: int) -> Recipe:
    """The default recipe with networks of that width and that batch, as its budget may want it."""
    return with_width(load_recipe("dogs", [f"train.batch_size={batch_size}"]), width)


def _precisions(device: torch.device) -> list[str]:
    """All that the device has."""
    found = []
    for name in PRECISIONS:
        with suppress(InputError):
            found.append(choose_precision(name, device))
    return list(dict.fromkeys(found))


def _networks(recipe: Recipe) -> tuple[torch.nn.Module, torch.nn.Module]:
    return make_networks(recipe.networks, side=64, channels=3, label_count=1, seed=0)


def _matrix_rate(args: argparse.Namespace) -> float:
    """FLOPs a second of a large product of matrices in the precision of training."""
    side, kind = args.sizes.matrix, PRECISIONS[choose_precision("auto", args.device)]
    left, right = torch.randn(2, side, side, device=args.device, dtype=kind)
    return 2 * side**3 / _seconds_of_a_pass(lambda: left @ right, args)


def _seconds_of_a_pass(function: Callable[[], object], args: argparse.Namespace) -> float:
    """On average, over at least `args.sizes.seconds`, after a third of that to warm up."""
    for seconds in (args.sizes.seconds / 3, args.sizes.seconds):
        wait(args.device)
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            for _ in range(10):
                function()
            count += 10
            wait(args.device)
        found = (time.perf_counter() - started) / count
    return found


def _profile(step: Callable[[], None], what: str, args: argparse.Namespace) -> list[float]:
    """Seconds of each kernel of some steps on a GPU; tells the operations that take longest."""
    kinds = {"cpu": ProfilerActivity.CPU, "cuda": ProfilerActivity.CUDA}
    activities = [kinds["cpu"], kinds[args.device.type]]
    with profile(activities=list(dict.fromkeys(activities))) as profiled:
        for _ in range(args.sizes.profiled):
            step()
        wait(args.device)
    table = profiled.key_averages().table(
        sort_by=f"self_{args.device.type}_time_total", row_limit=15, max_name_column_width=60
    )
    print(f"  {what}, {args.sizes.profiled} steps:\n{table}", file=sys.stderr, flush=True)
    # What the optimizers call their steps is told of the device's time too, beside its kernels.
    return [
        event.time_range.elapsed_us() / 1e6
        for event in profiled.events()
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    ]


def _seconds_of_agreeing(processes: Processes, rounds: int) -> float:
    processes.wait()
    started = time.perf_counter()
    for _ in range(rounds):
        if any(processes.agree("", 0.5)[::2]):
            raise DogganError("processes agreed on what none of them had said")
    return (time.perf_counter() - started) / rounds


if __name__ == "__main__":
    sys.exit(main())
