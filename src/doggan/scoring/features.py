"""Images and a judge in, features out: streamed, under a deadline if there is one."""

import time

import numpy as np
from tqdm import tqdm

from doggan.scoring.judges import Judge
from doggan.support.deadline import Deadline
from doggan.support.errors import DogganError, InputError


class DeadlineExpired(DogganError):  # noqa: N818 (it names what happened)
    """The time ran out before the last image was judged."""


def extract_features(
    images: np.ndarray,
    judge: Judge,
    *,
    batch_size: int | None = None,
    deadline: Deadline | None = None,
    label: str | None = None,
) -> np.ndarray:
    """[N, H, W, C] uint8, C 1 or 3, memory-mapped or not -> [N, D] float32.

    Only one batch of images is held in memory at a time; `batch_size` is the judge's own unless
    given. A bar named `label` goes to stderr where a label is given.
    Raises InputError for other images and for none, DeadlineExpired once `deadline` is over.
    """
    _check_images(images)
    features = np.empty((len(images), judge.dimensions), np.float32)
    step = batch_size or judge.batch_size
    with tqdm(total=len(images), desc=label, unit="image", disable=label is None) as bar:
        for start in range(0, len(images), step):
            if deadline is not None and deadline.expired():
                raise DeadlineExpired(
                    f"the time ran out after {start:,} of {len(images):,} images were judged; "
                    "allow more time, or score fewer images"
                )
            batch = images[start : start + step]
            features[start : start + step] = judge.features(_as_rgb(batch))
            bar.update(len(batch))
    return features


def measure_rate(judge: Judge, side: int) -> float:
    """Images per second that this machine judges at `side` x `side` pixels, from one batch.

    A batch before it warms up caches and chooses algorithms, and is not counted.
    """
    shape = (judge.batch_size, side, side, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    judge.features(images)
    start = time.perf_counter()
    judge.features(images)
    return len(images) / (time.perf_counter() - start)


def _check_images(images: np.ndarray) -> None:
    shaped = getattr(images, "ndim", 0) == 4 and images.shape[3] in (1, 3)
    if not shaped or images.dtype != np.uint8 or 0 in images.shape:
        found = f"{getattr(images, 'dtype', type(images).__name__)}"
        raise InputError(
            "the judge takes images [N, height, width, 1 or 3] uint8, at least one; "
            f"found {found} of shape {list(getattr(images, 'shape', ()))}"
        )


def _as_rgb(images: np.ndarray) -> np.ndarray:
    """Repeats a single grey channel; [N, H, W, 1 or 3] -> [N, H, W, 3]."""
    return np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images
