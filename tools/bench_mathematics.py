"""Parts of bench_score: from features to numbers, here and by others' code."""

import argparse
import resource
import time
from functools import partial
from pathlib import Path

import numpy as np

from bench import Figures, in_own_process, side_by_side
from doggan.scoring.manifolds import precision_and_recall
from doggan.scoring.mifid import score_features
from doggan.support.errors import DogganError
from peers import published_distance, published_fid


def measure_mathematics(args: argparse.Namespace) -> Figures:
    """Time and memory from features to numbers, each in a process of its own."""
    found = side_by_side(
        {
            whose: partial(in_own_process, score_drawn_features, whose, args.sizes.rows)
            for whose in ("published", "doggan")
        },
        args.sizes.repeats,
    )
    published, doggan = found["published"], found["doggan"]
    for name in ("fid", "distance"):
        error = abs(doggan[name] - published[name]) / published[name]
        if error >= 1e-6:
            raise DogganError(f"the {name} differs from the published formula's by {error:.2g}")
    return {
        "mathematics_ratio": published["seconds"] / doggan["seconds"],
        "mathematics_memory_ratio": published["bytes"] / doggan["bytes"],
        "mathematics_seconds": doggan["seconds"],
        "mathematics_published_seconds": published["seconds"],
        "mathematics_gigabytes": doggan["bytes"] / 1e9,
        "mathematics_published_gigabytes": published["bytes"] / 1e9,
    }


def measure_manifolds(args: argparse.Namespace) -> Figures:
    """Precision and recall, each in a process of its own, by torch-fidelity and here."""
    found = side_by_side(
        {
            whose: partial(in_own_process, measure_drawn_manifolds, whose, args.sizes.rows)
            for whose in ("fidelity", "doggan")
        },
        args.sizes.repeats,
    )
    fidelity, doggan = found["fidelity"], found["doggan"]
    for name in ("precision", "recall"):
        # Both search in float32, where neighbours may tie.
        if abs(doggan[name] - fidelity[name]) >= 1e-3:
            raise DogganError(f"{name} is {doggan[name]}, by torch-fidelity {fidelity[name]}")
    return {
        "manifolds_ratio": fidelity["seconds"] / doggan["seconds"],
        "manifolds_seconds": doggan["seconds"],
        "manifolds_fidelity_seconds": fidelity["seconds"],
    }


def measure_drawn_manifolds(whose: str, rows: tuple[int, int, int]) -> Figures:
    """Precision and recall by one of both, and the seconds they took."""
    import torch
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    features = [
        _draw_features(count, rows[2], seed, np.float32) for seed, count in enumerate(rows[:2])
    ]
    start = time.perf_counter()
    if whose == "fidelity":
        precision, recall = calculate_precision_recall_full(*map(torch.from_numpy, features))
    else:
        precision, recall = precision_and_recall(*features)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "precision": precision, "recall": recall}


def score_drawn_features(whose: str, rows: tuple[int, int, int]) -> Figures:
    """FID and distance by one of both, and the seconds and bytes beyond the features they took."""
    # The organisers keep features in float64, the judges here in float32.
    dtype = np.float64 if whose == "published" else np.float32
    features = [_draw_features(count, rows[2], seed, dtype) for seed, count in enumerate(rows[:2])]
    before, start = _peak_bytes(), time.perf_counter()
    if whose == "published":
        fid, distance = published_fid(*features), published_distance(*features)
    else:
        score = score_features(*features, eps=0.1)
        fid, distance = score.fid, score.distance
    return {
        "seconds": time.perf_counter() - start,
        "bytes": max(1, _peak_bytes() - before),
        "fid": float(fid),
        "distance": float(distance),
    }


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
