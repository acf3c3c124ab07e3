"""The nearest reference image of each generated one: is it a new dog, or one of the photos?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from doggan.data.imageset import is_imageset, open_imageset
from doggan.scoring.features import extract_features
from doggan.scoring.judges import Judge
from doggan.scoring.mifid import nearest_neighbours
from doggan.scoring.reference import extract_reference
from doggan.scoring.scorecard import SAME_IMAGES_DISTANCE, check_counts
from doggan.support.errors import InputError

_BINS = 50


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours:
    """What `find_neighbours` found, in the generated images' order.

    `distances` [N] float64 in [0, 1] and `nearest` [N], an index into the reference; a generated
    image whose features sum to 0 does not count and has NaN and -1. `mean` is MiFID's
    memorisation distance, over those that count, and `eps` the judge's threshold for it.
    `reference` says in words which images, `reference_names` has a name for each of them or None.
    """

    distances: np.ndarray
    nearest: np.ndarray
    mean: float
    eps: float
    judge: str
    notice: str
    reference: str
    reference_images: int
    reference_names: Sequence[str] | None = None

    @property
    def verdict(self) -> str:
        """Whether MiFID divides FID by the mean, such as `no penalty: 0.21, eps 0.10`."""
        outcome = "penalty" if self.mean < self.eps else "no penalty"
        digits = _digits_that_tell(self.mean, self.eps)
        return f"{outcome}: {self.mean:.{digits}f}, eps {self.eps:.{digits}f}"

    def closest(self, count: int) -> np.ndarray:
        """The generated images of the `count` least distances, nearest first, as indices."""
        order = np.argsort(self.distances, kind="stable")  # NaN comes last
        return order[: min(count, int(np.isfinite(self.distances).sum()))]

    def histogram(self) -> tuple[np.ndarray, np.ndarray]:
        """Counts [K] of the distances, and edges [K + 1] from 0, in some 50 bins; one ends at eps.

        Only a distance that is far above eps, in bins of at most eps, makes them more.
        """
        distances = self.distances[np.isfinite(self.distances)]
        most = 1.04 * max(float(distances.max()), self.eps)
        step = self.eps / np.ceil(self.eps / most * _BINS)
        edges = step * np.arange(np.ceil(most / step) + 1)
        return np.histogram(distances, edges)[0], edges

    def name_of(self, index: int) -> str:
        """The reference image's name, or its number where names are not known."""
        return self.reference_names[index] if self.reference_names else f"#{index}"

    def summary(self, count: int) -> str:
        """Lines for people: the verdict, the judge, and the `count` closest pairs."""
        lines = [self.verdict, f"judge: {self.judge}" + (f"; {self.notice}" if self.notice else "")]
        for index in self.closest(count):
            name = self.name_of(int(self.nearest[index]))
            lines.append(f"  {self.distances[index]:.4f}  image {index}, {name}")
        return "\n".join(lines)

    def as_dict(self, count: int) -> dict:
        """For --json; `generated` and `reference` number the images of a pair from 0."""
        counts, edges = self.histogram()
        pairs = [(int(index), int(self.nearest[index])) for index in self.closest(count)]
        return {
            "verdict": self.verdict,
            "mean": self.mean,
            "eps": self.eps,
            "judge": self.judge,
            "notice": self.notice,
            "reference": self.reference,
            "generated_images": len(self.distances),
            "reference_images": self.reference_images,
            "histogram": {"counts": counts.tolist(), "edges": edges.tolist()},
            "pairs": [
                {
                    "generated": generated,
                    "reference": reference,
                    "reference_name": self.reference_names and self.reference_names[reference],
                    "distance": float(self.distances[generated]),
                }
                for generated, reference in pairs
            ],
        }


def find_neighbours(
    generated: np.ndarray,
    reference: np.ndarray,
    judge: Judge,
    *,
    reference_name: str,
    reference_names: Sequence[str] | None = None,
) -> Neighbours:
    """The neighbours of [N, H, W, C] uint8 images among [M, H, W, C] uint8; C is 1 or 3.

    `reference_name` says in words which images those are, `reference_names` names each of them.
    Raises InputError for images that cannot be judged, fewer than two of either, and generated
    images that are the reference images.
    """
    check_counts(generated, reference)
    reference_features, _ = extract_reference(reference, judge)
    generated_features = extract_features(generated, judge, label="generated")
    distances, nearest = nearest_neighbours(generated_features, reference_features)
    distances = distances.clip(min=0)  # a copy's can be -1e-16
    mean = float(np.nanmean(distances))
    if mean < SAME_IMAGES_DISTANCE:
        raise InputError(
            "every generated image is one of the reference images (distance 0); "
            "give images that a generator made"
        )
    return Neighbours(
        distances=distances,
        nearest=nearest,
        mean=mean,
        eps=judge.eps,
        judge=judge.name,
        notice=judge.notice,
        reference=reference_name,
        reference_images=len(reference),
        reference_names=reference_names,
    )


def reference_names(sources: list[Path]) -> list[str] | None:
    """The origins in a built set's manifest, one an image; None for photos, which have no order."""
    if len(sources) != 1 or not is_imageset(sources[0]):
        return None
    imageset = open_imageset(sources[0])
    origins = imageset.manifest.get("origins")
    whole = isinstance(origins, list) and len(origins) == len(imageset)
    return origins if whole and all(isinstance(name, str) for name in origins) else None


def _digits_that_tell(mean: float, eps: float) -> int:
    """Two decimals, or as many more as it takes to show which of the two is larger."""
    for digits in range(2, 10):
        exact = round(eps, digits) == eps
        if exact and (mean == eps or round(mean, digits) != eps):
            return digits
    return 10
