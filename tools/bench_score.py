#!/usr/bin/env python3
"""Times the scoring against its peers, side by side in one run, on two cores.

    .venv/bin/python tools/bench_score.py

Against torch-fidelity's Inception, the stock EfficientNet-Lite0, and the organisers' formulas; and
a second score against a first. Each is run in turn, three times, and the medians are compared. It
takes some 40 minutes, most of them for the 10,000 images in fp32; `--quick` takes under one and
says only that the benchmark works.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bench import Figures, make_parser, run_parts, seconds_of, side_by_side
from bench_mathematics import measure_manifolds, measure_mathematics
from doggan.scoring.features import extract_features
from doggan.scoring.judges.judge import DTYPES, Judge, load_judge
from doggan.scoring.mifid import score_features
from doggan.scoring.reference import Reference
from doggan.scoring.score import score_images
from doggan.support.device import describe_environment
from doggan.support.errors import DogganError
from peers import (
    StockEfficientNet,
    draw_images,
    fidelity_inception,
    random_inception_weights,
    settle_inception_weights,
)

SIDE = 64
BATCH = 16  # for all networks; torch-fidelity is no faster with more


# How much is measured, in full and under --quick.
SIZES = {
    "settling": (16, 4),  # images that random weights are fitted to
    "inception": (256, 4),  # images an extraction
    "efficientnet": (1024, 8),
    "precision": (10_000, 4),  # images a MiFID in either precision
    "rows": ((10_000, 20_579, 2048), (200, 300, 64)),  # generated, reference, their dimensions
    "cached": ((1000, 2000), (8, 40)),  # generated and reference images of a score
    "repeats": (3, 1),
}


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    torch.set_num_threads(args.threads)
    # For the processes that are started.
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
    return run_parts("bench_score", args, PARTS, SIZES, prepare)


def prepare(args: argparse.Namespace, scratch: Path) -> dict:
    """Makes random weights where some are needed and none are given."""
    known = describe_environment(torch.device("cpu"), "fp32")
    known |= {"threads": args.threads, "inception_weights": str(args.weights or "random")}
    if args.weights is None and {"inception", "precision"} & set(args.only):
        args.weights = scratch / "random_inception.pth"
        images = draw_images(args.sizes.settling, SIDE, SIDE, seed=3)
        torch.save(settle_inception_weights(random_inception_weights(), images), args.weights)
    return known


def measure_inception(args: argparse.Namespace) -> Figures:
    """Features of the same images by torch-fidelity in fp32, and here in fp32 and bf16."""
    images = draw_images(args.sizes.inception, SIDE, SIDE, seed=1)
    judges = {precision: _load_inception(args, precision) for precision in ("fp32", "bf16")}
    peer = fidelity_inception(args.weights)  # after the judges, which say what is wrong with a file
    fidelity = {"fidelity": lambda batch: peer(batch.permute(0, 3, 1, 2).contiguous())[0]}
    seconds, features = _time_extractions(fidelity | judges, images, args.sizes.repeats)
    error = _relative_error(features["fp32"], features["fidelity"])
    if error >= 1e-5:
        raise DogganError(f"fp32 features differ from torch-fidelity's by {error:.2g}")
    rates = {
        f"inception_{name}_images_per_second": len(images) / value
        for name, value in seconds.items()
    }
    return rates | {
        "inception_fp32_ratio": seconds["fidelity"] / seconds["fp32"],
        "inception_bf16_ratio": seconds["fidelity"] / seconds["bf16"],
        "inception_fp32_feature_error": error,
        "inception_bf16_feature_error": _relative_error(features["bf16"], features["fidelity"]),
    }


def measure_precision(args: argparse.Namespace) -> Figures:
    """MiFID of the same images in fp32 and in bf16."""
    count = args.sizes.precision
    images = {"generated": _draw_pale(count), "reference": draw_images(count, SIDE, SIDE)}
    scores = {}
    for precision in ("fp32", "bf16"):
        judge = _load_inception(args, precision)
        features = [
            extract_features(given, judge, label=f"{precision} {what}")
            for what, given in images.items()
        ]
        scores[precision] = score_features(*features, judge.eps)
    figures = {f"precision_{what}_images": len(given) for what, given in images.items()}
    for name in ("mifid", "fid", "distance"):
        exact, rounded = (getattr(scores[precision], name) for precision in ("fp32", "bf16"))
        figures |= {f"fp32_{name}": exact, f"bf16_{name}_difference": abs(rounded - exact) / exact}
    return figures


def measure_efficientnet(args: argparse.Namespace) -> Figures:
    """Features of the same images by the stock network and here, both in what `auto` chooses."""
    images = draw_images(args.sizes.efficientnet, SIDE, SIDE, seed=1)
    judge = load_judge("efficientnet-lite0", device="cpu", precision="auto")
    stock = StockEfficientNet().to(DTYPES[judge.precision])
    seconds, features = _time_extractions(
        {"stock": stock, "doggan": judge}, images, args.sizes.repeats
    )
    return {
        "efficientnet_ratio": seconds["stock"] / seconds["doggan"],
        "efficientnet_images_per_second": len(images) / seconds["doggan"],
        "efficientnet_stock_images_per_second": len(images) / seconds["stock"],
        "efficientnet_feature_difference": _relative_error(features["doggan"], features["stock"]),
    }


def measure_cache(args: argparse.Namespace) -> Figures:
    """A first score, and a second one against the same reference."""
    count, references = args.sizes.cached
    generated, reference = _draw_pale(count), draw_images(references, SIDE, SIDE)
    judge = load_judge("efficientnet-lite0", device="cpu")
    extract_features(generated[:BATCH], judge)  # pays for what is set up once

    def score_twice() -> Figures:
        with tempfile.TemporaryDirectory() as folder:

            def score() -> None:
                # A Reference of its own: one that is used again holds its features.
                score_images(generated, Reference(reference, "drawn", cache=Path(folder)), judge)

            return {"first": seconds_of(score), "second": seconds_of(score)}

    seconds = side_by_side({"twice": score_twice}, args.sizes.repeats)["twice"]
    return {
        "second_score_ratio": seconds["first"] / seconds["second"],
        "first_score_seconds": seconds["first"],
        "second_score_seconds": seconds["second"],
    }


PARTS = {
    "inception": measure_inception,
    "precision": measure_precision,
    "efficientnet": measure_efficientnet,
    "mathematics": measure_mathematics,
    "manifolds": measure_manifolds,
    "cache": measure_cache,
}


def _time_extractions(
    extractors: dict[str, Judge | Callable[[torch.Tensor], torch.Tensor]],
    images: np.ndarray,
    repeats: int,
) -> tuple[Figures, dict[str, np.ndarray]]:
    """Each one's median seconds, and its features, which a first, unmeasured round gives."""
    extractions = {name: partial(_extract, images, by) for name, by in extractors.items()}
    features = {name: extract() for name, extract in extractions.items()}
    found = side_by_side(
        {
            name: lambda extract=extract: {"seconds": seconds_of(extract)}
            for name, extract in extractions.items()
        },
        repeats,
    )
    return {name: figures["seconds"] for name, figures in found.items()}, features


def _extract(images: np.ndarray, by: Judge | Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
    """Features of [N, H, W, 3] uint8 by a judge, or by a peer that takes batches of the same."""
    if isinstance(by, Judge):
        return extract_features(images, by, batch_size=BATCH)
    with torch.inference_mode():
        batches = torch.from_numpy(images).split(BATCH)
        return np.concatenate([by(batch).numpy() for batch in batches])


def _load_inception(args: argparse.Namespace, precision: str) -> Judge:
    return load_judge("inception", device="cpu", precision=precision, weights=args.weights)


def _draw_pale(count: int) -> np.ndarray:
    """Other images than the reference's: less contrast, other noise."""
    return draw_images(count, SIDE, SIDE, seed=2) // 5 * 4 + 20


def _relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser("Times the scoring against its peers.", PARTS)
    parser.add_argument("--threads", type=int, default=2, help="cores for each contender (2)")
    parser.add_argument(
        "--weights", metavar="FILE", type=Path, help="the published Inception weights (else random)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
