"""The nearest reference image of each generated one: is it a new dog, or one of the photos?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from doggan.scoring.features import extract_features
from doggan.scoring.judges.judge import Judge
from doggan.scoring.mifid import is_penalised, nearest_neighbours
from doggan.scoring.reference import Reference
from doggan.scoring.score import SAME_IMAGES_DISTANCE, check_counts
from doggan.support.errors import InputError
from doggan.support.json_values import as_count, as_number, plain_fields

MAX_PAIRS = 24  # that a report shows
_MAX_BINS = 400
_BINS = 50


@dataclass(frozen=True)
class Pair:
    """A generated image and its nearest reference image, by number from 0, and by name or `#7`."""

    generated: int
    reference: int
    reference_name: str
    distance: float


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
    def penalised(self) -> bool:
        """Whether MiFID divides FID by the mean."""
        return is_penalised(self.mean, self.eps)

    @property
    def verdict(self) -> str:
        """`penalised` in words, such as `no penalty: 0.21, eps 0.10`."""
        outcome = "penalty" if self.penalised else "no penalty"
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

    def pairs(self, count: int) -> list[Pair]:
        """The `count` closest pairs, nearest first."""
        pairs, names = [], self.reference_names
        for index in self.closest(count).tolist():
            nearest = int(self.nearest[index])
            name = names[nearest] if names else f"#{nearest}"
            pairs.append(Pair(index, nearest, name, float(self.distances[index])))
        return pairs

    def summary(self, count: int) -> str:
        """Lines for people: the verdict, the judge, and the `count` closest pairs."""
        lines = [self.verdict, f"judge: {self.judge}" + (f"; {self.notice}" if self.notice else "")]
        for pair in self.pairs(count):
            lines.append(f"  {pair.distance:.4f}  image {pair.generated}, {pair.reference_name}")
        return "\n".join(lines)

    def as_dict(self, count: int) -> dict:
        """For JSON, with the `count` closest pairs, whose images are numbered from 0."""
        counts, edges = self.histogram()
        unnamed = {} if self.reference_names else {"reference_name": None}
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
            "pairs": [asdict(pair) | unnamed for pair in self.pairs(count)],
        }


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """`Neighbours.as_dict` read again: the closest pairs, and counts [K] in edges [K + 1]."""

    verdict: str
    mean: float
    eps: float
    judge: str
    notice: str
    reference: str
    generated_images: int
    reference_images: int
    counts: list[int]
    edges: list[float]
    pairs: list[Pair]


def parse_nearest(content: object) -> Nearest:
    """The content of a neighbours.json, which may come from anywhere.

    Raises KeyError, TypeError or ValueError where it is not what `Neighbours.as_dict` gives.
    """
    counts = [as_count(value) for value in content["histogram"]["counts"][:_MAX_BINS]]
    edges = [as_number(value) for value in content["histogram"]["edges"][: _MAX_BINS + 1]]
    if len(edges) != len(counts) + 1 or not counts or sorted(edges) != edges:
        raise ValueError("the histogram's edges and counts do not match")
    pairs = []
    for pair in content["pairs"][:MAX_PAIRS]:
        name = pair["reference_name"] or f"#{pair['reference']}"
        pairs.append(Pair(**plain_fields(Pair, pair | {"reference_name": name})))
    return Nearest(**plain_fields(Nearest, content), counts=counts, edges=edges, pairs=pairs)


def find_neighbours(generated: np.ndarray, reference: Reference, judge: Judge) -> Neighbours:
    """The reference images nearest to [N, H, W, C] uint8 images; C is 1 or 3.

    Raises InputError for images that cannot be judged, fewer than two of either, and generated
    images that are the reference images.
    """
    check_counts(generated, reference)
    reference_features = reference.features(judge)
    features = extract_features(generated, judge, label="generated")
    distances, nearest = nearest_neighbours(features, reference_features)
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
        reference=reference.name,
        reference_images=len(reference),
        reference_names=reference.names,
    )


def _digits_that_tell(mean: float, eps: float) -> int:
    """Two decimals, or as many more as it takes to show which of the two is larger."""
    for digits in range(2, 10):
        exact = round(eps, digits) == eps
        if exact and (mean == eps or round(mean, digits) != eps):
            return digits
    return 10


def bins_below(eps: float, edges: Sequence[float]) -> np.ndarray:
    """Which bins of a histogram, with edges [K + 1], lie below eps: [K] bool; one may end at it."""
    return np.asarray(edges[1:]) < eps * 1.001  # the edge at eps is a rounded sum
