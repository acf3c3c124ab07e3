#!/usr/bin/env python3
"""Measures whether generated digits can be told apart, by a classifier that learnt real ones.

    .venv/bin/python tools/judge_digits.py runs/mnist mnist

A small convolutional network is trained on MNIST's (or Fashion-MNIST's) idx files, a tenth of them
held out to say how good it is, and then looks at the images of a run's generator: how sure it is of
them, how evenly it finds the classes, and, where the generator is told a label, how often it finds
the same one.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from doggan.data.idx import find_idx, read_idx
from doggan.gan.generator_file import load_generator
from doggan.gan.networks import Generator
from doggan.gan.sampler import labels_in_turn, latents, sample
from doggan.support.device import choose_device
from doggan.support.errors import DogganError, InputError

SIDE_PX = 28
BATCH = 64
LEARNING_RATE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the classifier finds in `images` generated ones; every number but that within 0 to 1.

    `asked_rate` is None where the generator takes no label.
    """

    images: int
    held_out_accuracy: float
    mean_confidence: float
    class_shares: dict[str, float]
    asked_rate: float | None

    def table(self) -> str:
        """The same for people."""
        lines = [
            f"classifier: right on {self.held_out_accuracy:.1%} of real images held out",
            f"mean confidence on {self.images:,} generated ones: {self.mean_confidence:.1%}",
            *(f"  {share:6.1%}  {name}" for name, share in self.class_shares.items()),
        ]
        if self.asked_rate is not None:
            lines.append(f"the label that was asked for: {self.asked_rate:.1%}")
        return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    try:
        device = choose_device(args.device)
        found = find_idx([args.real])
        if not found:
            raise InputError(
                f"{args.real} holds no idx files; expected *images-idx3*, *labels-idx1*"
            )
        parts = [read_idx(found, pair) for pair in found.pairs]
        classifier, accuracy = train_classifier(
            np.concatenate([part.images for part in parts])[..., None],
            np.concatenate([part.labels for part in parts]),
            len(found.label_names),
            steps=args.steps,
            seed=args.seed,
            device=device,
        )
        generator, _ = load_generator(args.run_folder, args.device)
        result = judge(classifier, generator, accuracy, found.label_names, args.count, args.seed)
    except DogganError as error:
        print(f"judge_digits: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(asdict(result)) if args.json else result.table())
    return 0


def train_classifier(
    images: np.ndarray,
    labels: np.ndarray,
    label_count: int,
    *,
    steps: int,
    seed: int,
    device: torch.device,
) -> tuple[nn.Module, float]:
    """A classifier of images [N, H, W, C] uint8, and its accuracy on a tenth that it never saw."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(images)))
    inputs, labels = to_inputs(images)[order].to(device), torch.from_numpy(labels)[order].to(device)
    held_out = max(1, len(images) // 10)
    real, real_labels = inputs[held_out:], labels[held_out:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = make_classifier(label_count).to(device)
        optimizer = torch.optim.AdamW(classifier.parameters(), LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            index = torch.randint(len(real), (BATCH,)).to(device)
            loss = cross_entropy(classifier(real[index]), real_labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    classifier.eval()
    found = classify(classifier, inputs[:held_out]).argmax(1)
    return classifier, (found == labels[:held_out].cpu()).float().mean().item()


def judge(
    classifier: nn.Module,
    generator: Generator,
    accuracy: float,
    label_names: tuple[str, ...],
    count: int,
    seed: int,
) -> Judgement:
    """What `classifier` finds in the generator's images of `count` seeds, from `seed` on."""
    seeds = range(seed, seed + count)
    asked = labels_in_turn(seeds, generator.label_count) if generator.conditional else None
    images = np.concatenate(list(sample(generator, latents(seeds, generator.latent), asked)))
    device = next(classifier.parameters()).device
    confidence, label = classify(classifier, to_inputs(images).to(device)).max(1)
    shares = torch.bincount(label, minlength=len(label_names)) / count
    return Judgement(
        images=count,
        held_out_accuracy=accuracy,
        mean_confidence=confidence.mean().item(),
        class_shares=dict(zip(label_names, shares.tolist(), strict=True)),
        asked_rate=None if asked is None else (label == asked).float().mean().item(),
    )


def make_classifier(label_count: int) -> nn.Module:
    """[N, 1, 28, 28] -> logits [N, label_count]."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 49, 128), nn.ReLU()),
        *(nn.Dropout(0.3), nn.Linear(128, label_count)),
    )


def classify(classifier: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Probabilities [N, label_count], on the CPU."""
    with torch.inference_mode():
        parts = [classifier(part).softmax(1).cpu() for part in inputs.split(500)]
    return torch.cat(parts)


def to_inputs(images: np.ndarray) -> torch.Tensor:
    """[N, H, W, C] uint8 -> what the classifier takes: [N, 1, 28, 28], grey, in [-1, 1]."""
    grey = torch.from_numpy(images).float().mean(3)[:, None].div(127.5).sub(1)
    if grey.shape[-1] == SIDE_PX == grey.shape[-2]:
        return grey
    return interpolate(grey, (SIDE_PX, SIDE_PX), mode="bilinear", antialias=True)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measures whether a run's digits, or pieces of clothing, can be told apart."
    )
    parser.add_argument(
        "run_folder", metavar="RUN", type=Path, help="a run folder, or its generator.safetensors"
    )
    parser.add_argument(
        "real", metavar="REAL", type=Path, help="the idx files to learn from, as doggan build takes"
    )
    parser.add_argument("--count", type=int, default=2000, help="generated images (2000)")
    parser.add_argument("--steps", type=int, default=1500, help="of the classifier (1500)")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
