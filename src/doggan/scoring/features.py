"""Images and a judge in, features out: streamed, under a deadline if there is one."""

import time
from collections.abc import Sequence

import numpy as np

from doggan.scoring.judges.judge import Judge
from doggan.support.deadline import Deadline
from doggan.support.errors import DogganError, InputError
from doggan.support.progress import progress_bar

# One batch is too short to tell: another program's burst can make it ten times slower.
_RATE_SECONDS = 2.0


class DeadlineExpiredError(DogganError):
    """The time ran out before the last image was judged."""


def extract_features(
    images: np.ndarray,
    judge: Judge,
    *,
    batch_size: int | None = None,
    deadline: Deadline | None = None,
    at_least: int | None = None,
    label: str | None = None,
) -> np.ndarray:
    """[N, H, W, C] uint8, C 1 or 3, memory-mapped or not -> [N, D] float32.

    Only one batch of images is held in memory at a time; `batch_size` is the judge's own unless
    given. Once `deadline` is over the features so far, of batches evenly from all images, are
    enough where they are `at_least` so many: [M, D], in the images' order.
    A bar named `label` goes to stderr where a label is given.
    Raises InputError for other images and for none, DeadlineExpiredError for too few in time.
    """
    check_images(images)
    features = np.empty((len(images), judge.dimensions), np.float32)
    judged = np.zeros(len(images), bool)
    step = batch_size or judge.batch_size
    starts = range(0, len(images), step)
    with progress_bar(label, len(images)) as bar:
        for start in starts if at_least is None else _evenly(starts):
            if deadline is not None and deadline.expired():
                if at_least is not None and judged.sum() >= at_least:
                    break
                raise DeadlineExpiredError(
                    f"the time ran out after {judged.sum():,} of {len(images):,} images were "
                    "judged; allow more time, or score fewer images"
                )
            batch = images[start : start + step]
            if batch.shape[3] == 1:
                batch = np.repeat(batch, 3, axis=3)
            features[start : start + step] = judge.features(batch)
            judged[start : start + step] = True
            bar.update(len(batch))
    return features if judged.all() else features[judged]


def measure_rate(judge: Judge, side: int, most_images: int) -> float:
    """Images per second that this machine judges at `side` x `side` pixels.

    It looks for two seconds, or at `most_images`: no longer than what is to be foretold takes. A
    batch before them warms up caches and chooses algorithms, and is not counted.
    """
    shape = (judge.batch_size, side, side, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    judge.features(images)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < _RATE_SECONDS and count < most_images:
        judge.features(images)
        count += len(images)
    return count / elapsed


def _evenly(starts: Sequence[int]) -> list[int]:
    """The same in an order of which every beginning lies evenly among all of them."""
    golden = (5**0.5 - 1) / 2  # whose multiples, without their whole parts, fill 0 to 1 evenly
    return [starts[index] for index in sorted(range(len(starts)), key=lambda i: i * golden % 1)]


def check_images(images: np.ndarray) -> None:
    """Raises InputError for anything but images [N, H, W, 1 or 3] uint8, one or more."""
    shaped = getattr(images, "ndim", 0) == 4 and images.shape[3] in (1, 3)
    if not shaped or images.dtype != np.uint8 or 0 in images.shape:
        found = getattr(images, "dtype", type(images).__name__)
        raise InputError(
            "the judge takes images [N, height, width, 1 or 3] uint8, at least one; "
            f"found {found} of shape {list(getattr(images, 'shape', ()))}"
        )
