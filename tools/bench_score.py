#!/usr/bin/env python3
"""Times the scoring against its peers, side by side in one run, on two cores.

    .venv/bin/python tools/bench_score.py

Against torch-fidelity's Inception, the stock EfficientNet-Lite0, and the organisers' formulas; and
a second score against a first. Each is run in turn, three times, and the medians are compared. It
takes some 40 minutes, most of them for the 10,000 images in fp32; `--quick` takes under one and
says only that the benchmark works.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from doggan.data.build import read_reference
from doggan.data.images import load_images
from doggan.scoring.features import extract_features
from doggan.scoring.judges import Judge, load_judge
from doggan.scoring.mifid import score_features
from doggan.scoring.scorecard import score_images
from doggan.support.device import describe_environment
from doggan.support.errors import DogganError

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from peers import (
    StockEfficientNet,
    draw_images,
    fidelity_inception,
    published_distance,
    published_fid,
    random_inception_weights,
    settle_inception_weights,
)

PARTS = ("inception", "precision", "efficientnet", "mathematics", "cache")
SIDE = 64
BATCH = 16  # for all networks; torch-fidelity is no faster with more


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured: images of each kind, and repetitions."""

    settling: int  # images that random weights are fitted to
    inception: int  # images an extraction
    efficientnet: int
    precision: int  # images a MiFID in either precision
    rows: tuple[int, int, int]  # generated and reference features, and their dimensions
    cached: tuple[int, int]  # generated and reference images of a score
    repeats: int


FULL = Sizes(
    settling=16,
    inception=256,
    efficientnet=1024,
    precision=10_000,
    rows=(10_000, 20_579, 2048),
    cached=(1000, 2000),
    repeats=3,
)
QUICK = Sizes(
    settling=4,
    inception=4,
    efficientnet=8,
    precision=4,
    rows=(200, 300, 64),
    cached=(8, 40),
    repeats=1,
)


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    if args.mathematics_of:
        print(json.dumps(measure_mathematics_here(args.mathematics_of, args.rows)))
        return 0
    torch.set_num_threads(args.threads)
    try:
        results = measure(args)
    except (DogganError, AssertionError) as error:
        print(f"bench_score: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    if args.json:
        print(json.dumps(results))
    return 0


def measure(args: argparse.Namespace) -> dict:
    """Runs what was asked for; says each part's results as they come, and returns them all."""
    sizes = QUICK if args.quick else FULL
    results = {"quick": args.quick, "threads": args.threads, "repeats": sizes.repeats}
    results |= describe_environment(torch.device("cpu"), "fp32")
    results["inception_weights"] = str(args.weights) if args.weights else "random"
    with tempfile.TemporaryDirectory() as scratch:
        weights = args.weights
        if weights is None and {"inception", "precision"} & set(args.only):
            weights = _make_weights(Path(scratch), sizes.settling)
        parts = {
            "inception": lambda: measure_inception(weights, sizes),
            "precision": lambda: measure_precision(weights, sizes, args.images, args.reference),
            "efficientnet": lambda: measure_efficientnet(sizes),
            "mathematics": lambda: measure_mathematics(sizes, args.threads),
            "cache": lambda: measure_cache(sizes, Path(scratch)),
        }
        for part in args.only:
            found = parts[part]()
            results |= found
            for name, value in found.items():
                # Under --json the last line of stdout is the JSON's alone.
                print(f"{name:36} {value:.4g}", file=sys.stderr if args.json else None, flush=True)
    return results


def measure_inception(weights: Path, sizes: Sizes) -> dict:
    """Features of the same images by torch-fidelity in fp32, and here in fp32 and bf16."""
    images = draw_images(sizes.inception, SIDE, SIDE, seed=1)
    judges = {
        precision: load_judge("inception", device="cpu", precision=precision, weights=weights)
        for precision in ("fp32", "bf16")
    }
    peer = fidelity_inception(weights)

    def by_peer() -> np.ndarray:
        batches = torch.from_numpy(images).permute(0, 3, 1, 2).split(BATCH)
        with torch.inference_mode():
            return np.concatenate([peer(batch.contiguous())[0].numpy() for batch in batches])

    seconds, features = _side_by_side(
        {"fidelity": by_peer}
        | {name: lambda judge=judge: _extract(images, judge) for name, judge in judges.items()},
        sizes.repeats,
    )
    error = _relative_error(features["fp32"], features["fidelity"])
    assert error < 1e-5, f"fp32 features differ from torch-fidelity's by {error:.2g}"
    return {
        "inception_fp32_ratio": seconds["fidelity"] / seconds["fp32"],
        "inception_bf16_ratio": seconds["fidelity"] / seconds["bf16"],
        "inception_fidelity_images_per_second": len(images) / seconds["fidelity"],
        "inception_fp32_images_per_second": len(images) / seconds["fp32"],
        "inception_bf16_images_per_second": len(images) / seconds["bf16"],
        "inception_fp32_feature_error": error,
        "inception_bf16_feature_error": _relative_error(features["bf16"], features["fidelity"]),
    }


def measure_precision(
    weights: Path, sizes: Sizes, images: Path | None, reference: Path | None
) -> dict:
    """MiFID of the same images in fp32 and in bf16."""
    generated = load_images(images) if images else _draw_pale(sizes.precision)
    drawn = sizes.precision, SIDE, SIDE
    real = read_reference([reference]).images if reference else draw_images(*drawn)
    generated, real = generated[: sizes.precision], real[: 2 * sizes.precision]
    scores = {}
    for precision in ("fp32", "bf16"):
        judge = load_judge("inception", device="cpu", precision=precision, weights=weights)
        features = [
            extract_features(array, judge, label=f"{precision} {what}")
            for what, array in (("generated", generated), ("reference", real))
        ]
        scores[precision] = score_features(*features, judge.eps)
    exact, rounded = scores["fp32"], scores["bf16"]
    return {
        "bf16_mifid_difference": abs(rounded.mifid - exact.mifid) / exact.mifid,
        "bf16_fid_difference": abs(rounded.fid - exact.fid) / exact.fid,
        "bf16_distance_difference": abs(rounded.distance - exact.distance) / exact.distance,
        "fp32_mifid": exact.mifid,
        "fp32_fid": exact.fid,
        "fp32_distance": exact.distance,
        "precision_generated_images": len(generated),
        "precision_reference_images": len(real),
    }


def measure_efficientnet(sizes: Sizes) -> dict:
    """Features of the same images by the stock network and here, both in bf16."""
    images = draw_images(sizes.efficientnet, SIDE, SIDE, seed=1)
    judge = load_judge("efficientnet-lite0", device="cpu", precision="bf16")
    stock = StockEfficientNet().bfloat16()

    def by_stock() -> np.ndarray:
        with torch.inference_mode():
            batches = torch.from_numpy(images).split(BATCH)
            return np.concatenate([stock(batch).numpy() for batch in batches])

    seconds, features = _side_by_side(
        {"stock": by_stock, "doggan": lambda: _extract(images, judge)}, sizes.repeats
    )
    return {
        "efficientnet_ratio": seconds["stock"] / seconds["doggan"],
        "efficientnet_images_per_second": len(images) / seconds["doggan"],
        "efficientnet_stock_images_per_second": len(images) / seconds["stock"],
        "efficientnet_feature_difference": _relative_error(features["doggan"], features["stock"]),
    }


def measure_mathematics(sizes: Sizes, threads: int) -> dict:
    """Time and memory from features to numbers, each in a process of its own."""
    runs = {"published": [], "doggan": []}
    for _ in range(sizes.repeats):
        for whose, measured in runs.items():
            measured.append(_in_own_process(whose, sizes.rows, threads))
    for one, other in zip(runs["published"], runs["doggan"], strict=True):
        for name in ("fid", "distance"):
            error = abs(other[name] - one[name]) / one[name]
            assert error < 1e-6, f"the {name} differs from the published formula's by {error:.2g}"
    median = {
        whose: {
            name: statistics.median(run[name] for run in measured) for name in ("seconds", "bytes")
        }
        for whose, measured in runs.items()
    }
    return {
        "mathematics_ratio": median["published"]["seconds"] / median["doggan"]["seconds"],
        "mathematics_memory_ratio": median["published"]["bytes"] / median["doggan"]["bytes"],
        "mathematics_seconds": median["doggan"]["seconds"],
        "mathematics_published_seconds": median["published"]["seconds"],
        "mathematics_gigabytes": median["doggan"]["bytes"] / 1e9,
        "mathematics_published_gigabytes": median["published"]["bytes"] / 1e9,
    }


def measure_mathematics_here(whose: str, rows: tuple[int, int, int]) -> dict:
    """Seconds, and bytes beyond the features themselves, in this process."""
    # The organisers keep features in float64, the judges here in float32.
    dtype = np.float64 if whose == "published" else np.float32
    generated, reference = (
        _draw_features(count, rows[2], seed, dtype) for seed, count in enumerate(rows[:2])
    )
    before, start = _peak_bytes(), time.perf_counter()
    if whose == "published":
        fid, distance = (
            published_fid(generated, reference),
            published_distance(generated, reference),
        )
    else:
        score = score_features(generated, reference, eps=0.1)
        fid, distance = score.fid, score.distance
    return {
        "seconds": time.perf_counter() - start,
        "bytes": max(1, _peak_bytes() - before),
        "fid": float(fid),
        "distance": float(distance),
    }


def measure_cache(sizes: Sizes, scratch: Path) -> dict:
    """A first score, and a second one against the same reference."""
    count, references = sizes.cached
    generated = _draw_pale(count)
    reference = draw_images(references, SIDE, SIDE)
    judge = load_judge("efficientnet-lite0", device="cpu")
    extract_features(generated[:BATCH], judge)  # pays for what is set up once

    def score(folder: Path) -> float:
        start = time.perf_counter()
        score_images(generated, reference, judge, reference_name="drawn", cache=folder)
        return time.perf_counter() - start

    pairs = []
    for repeat in range(sizes.repeats):
        folder = scratch / f"cache{repeat}"
        pairs.append((score(folder), score(folder)))
    first, second = map(statistics.median, zip(*pairs, strict=True))
    return {
        "second_score_ratio": first / second,
        "first_score_seconds": first,
        "second_score_seconds": second,
    }


def _side_by_side(
    contenders: dict[str, Callable[[], np.ndarray]], repeats: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Median seconds of each, A B A B A B after one unmeasured round, and what each returned."""
    results = {name: run() for name, run in contenders.items()}
    seconds = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}, results


def _extract(images: np.ndarray, judge: Judge) -> np.ndarray:
    return extract_features(images, judge, batch_size=BATCH)


def _in_own_process(whose: str, rows: tuple[int, int, int], threads: int) -> dict:
    command = [sys.executable, __file__, "--mathematics-of", whose, "--rows", *map(str, rows)]
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    done = subprocess.run(
        command, env=os.environ | limits, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


def _peak_bytes() -> int:
    """The most memory that this process has held.

    getrusage's ru_maxrss is that too, but counts in what the parent held when it started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _draw_features(count: int, dimensions: int, seed: int, dtype: type) -> np.ndarray:
    """[count, dimensions], not negative and of unequal spread, as pooled activations."""
    random, features = np.random.default_rng(seed), np.empty((count, dimensions), dtype)
    spread = np.linspace(1 + 0.1 * seed, 0.1, dimensions, dtype=np.float32)
    for row in features:  # one by one: the peak of memory is to be the scoring's
        row[:] = np.abs(spread * random.standard_normal(dimensions, np.float32))
    return features


def _draw_pale(count: int) -> np.ndarray:
    """Other images than the reference's: less contrast, other noise."""
    return draw_images(count, SIDE, SIDE, seed=2) // 5 * 4 + 20


def _make_weights(folder: Path, settling: int) -> Path:
    """Random weights for Inception, in a file like the official one."""
    path = folder / "random_inception.pth"
    state = random_inception_weights()
    torch.save(settle_inception_weights(state, draw_images(settling, SIDE, SIDE, seed=3)), path)
    return path


def _relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times the scoring against its peers.")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--quick", action="store_true", help="only see that it works")
    parser.add_argument("--threads", type=int, default=2, help="cores for each contender (2)")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        help="leave out the other parts",
    )
    parser.add_argument(
        "--weights", metavar="FILE", type=Path, help="the published Inception weights (else random)"
    )
    parser.add_argument(
        "--images", type=Path, help="generated images for MiFID in bf16 (else drawn)"
    )
    parser.add_argument("--reference", type=Path, help="photos for MiFID in bf16 (else drawn)")
    # For the benchmark's own processes.
    parser.add_argument("--mathematics-of", choices=("published", "doggan"), help=argparse.SUPPRESS)
    parser.add_argument("--rows", nargs=3, type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
