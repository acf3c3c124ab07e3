"""The competition's mathematics, in NumPy and SciPy: features in, numbers out.

The formulas are the organisers' (jybai/generative-memorization-benchmark,
`src/competition_scoring.py`):

    FID      = |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2))
    distance = mean over generated g of min over reference r of 1 - |cos(g, r)|
    MiFID    = FID / (distance + 1e-15), where a distance of eps or more counts as 1

m and S are the mean and covariance of the features of all images, in float64, divided by N - 1.
Everything runs in blocks of rows: beside the features it takes a dozen [D, D] matrices of
float64 and some 300 MB, however many images there are.
"""

from dataclasses import dataclass

import numpy as np

from doggan.scoring.frechet import check_features, feature_statistics, frechet_distance
from doggan.scoring.interval import (
    Interval,
    fid_influence,
    interval,
    mean_influence,
    ratio_influence,
)
from doggan.support.errors import InputError

_DIVISION_EPS = 1e-15
# Rows at a time, by what a processor's cache holds.
_ROWS = 128
_GENERATED_ROWS = 16_384
_COSINE_ROWS = 2048
_REFERENCE_ROWS = 1024


@dataclass(frozen=True)
class MiFIDScore:
    """`fid` >= 0 up to rounding; `distance` in [0, 1] before the threshold; `mifid` their score.

    The intervals hold 95% of what chance in the draw of the generated images does;
    `doggan.scoring.interval` says what they cover and what not.
    """

    fid: float
    distance: float
    mifid: float
    fid_interval: Interval
    mifid_interval: Interval


def score_features(generated: np.ndarray, reference: np.ndarray, eps: float) -> MiFIDScore:
    """FID, memorisation distance and MiFID of [N, D] against [M, D] features of any float type.

    `eps` is the judge's threshold: 0.1 for the public board's Inception, 0.25 for the private one.
    Raises InputError for fewer than two rows, unlike D, values that are not finite, and for
    features that are zero throughout.
    """
    distances, _ = nearest_neighbours(generated, reference)  # which checks both
    distance = float(np.nanmean(distances))
    mean, covariance = feature_statistics(generated)
    reference_mean, reference_covariance = feature_statistics(reference)
    fid, transport = frechet_distance(
        mean, covariance, reference_mean, reference_covariance, rows=generated
    )
    influence = mifid_influence = fid_influence(generated, mean, reference_mean, transport)
    if is_penalised(distance, eps):
        mifid_influence = ratio_influence(
            fid, influence, distance + _DIVISION_EPS, mean_influence(distances)
        )
    mifid = combine(fid, distance, eps)
    return MiFIDScore(
        fid, distance, mifid, interval(fid, influence), interval(mifid, mifid_influence)
    )


def combine(fid: float, distance: float, eps: float) -> float:
    """MiFID = FID / (d + 1e-15), where d is `distance` below `eps` and 1 from `eps` on.

    Raises InputError for values that are not finite and for an `eps` that is not positive.
    """
    if not np.isfinite([fid, distance, eps]).all() or eps <= 0:
        raise InputError(
            f"MiFID needs finite numbers and a positive eps; found FID {fid}, "
            f"distance {distance}, eps {eps}"
        )
    divisor = distance if is_penalised(distance, eps) else 1.0
    return float(fid / (divisor + _DIVISION_EPS))


def is_penalised(distance: float, eps: float) -> bool:
    """Whether FID is divided by this memorisation distance: the images pass for copies."""
    return distance < eps


def memorisation_distance(generated: np.ndarray, reference: np.ndarray) -> float:
    """Mean over GENERATED rows of the least 1 - |cosine| to any reference row; [N, D], [M, D].

    Raises InputError as `score_features` does.
    """
    return float(np.nanmean(nearest_neighbours(generated, reference)[0]))


def nearest_neighbours(
    generated: np.ndarray, reference: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For [N, D] against [M, D]: distances [N] float64, 1 - |cosine|, and rows [N] of `reference`.

    Rows that sum to 0 are dropped first: a generated one has distance NaN and row -1, a reference
    one is nobody's neighbour. The nearest rows are searched for in float32, block by block, and
    only the distances to them are then taken in float64: they are exact but for neighbours that
    tie within float32's 1e-7, where either will do.
    Raises InputError as `score_features` does.
    """
    generated = check_features(generated, "the generated features")
    reference = check_features(reference, "the reference features")
    if generated.shape[1] != reference.shape[1]:
        raise InputError(
            f"the generated features have {generated.shape[1]} numbers an image and the reference "
            f"{reference.shape[1]}; both must come from the same judge"
        )
    generated_rows = _rows_that_count(generated, "generated")
    reference_rows = _rows_that_count(reference, "reference")
    distances = np.full(len(generated), np.nan)
    nearest = np.full(len(generated), -1, np.intp)
    for start in range(0, len(generated_rows), _GENERATED_ROWS):
        rows = generated_rows[start : start + _GENERATED_ROWS]
        nearest[rows] = _nearest_rows(generated[rows], reference, reference_rows)
        distances[rows] = _paired_distances(generated, rows, reference, nearest[rows])
    return distances, nearest


def _rows_that_count(features: np.ndarray, what: str) -> np.ndarray:
    """The indices of the rows whose sum is not 0."""
    rows = np.flatnonzero(features.sum(axis=1, dtype=np.float64))
    if not len(rows):
        raise InputError(f"the {what} features are zero for every image; the judge saw nothing")
    return rows


def _nearest_rows(
    generated: np.ndarray, reference: np.ndarray, reference_rows: np.ndarray
) -> np.ndarray:
    """For each generated row the index of the reference row of largest |cosine|."""
    directions = _unit_rows(generated)
    best = np.full(len(generated), -1.0, np.float32)
    nearest = np.zeros(len(generated), np.intp)
    for start in range(0, len(reference_rows), _REFERENCE_ROWS):
        rows = reference_rows[start : start + _REFERENCE_ROWS]
        columns = _unit_rows(reference[rows]).T
        for first in range(0, len(generated), _COSINE_ROWS):
            part = slice(first, first + _COSINE_ROWS)
            cosines = directions[part] @ columns
            np.abs(cosines, out=cosines)
            column = cosines.argmax(axis=1)
            value = np.take_along_axis(cosines, column[:, None], axis=1)[:, 0]
            better = value > best[part]
            best[part][better] = value[better]
            nearest[part][better] = rows[column[better]]
    return nearest


def _unit_rows(features: np.ndarray) -> np.ndarray:
    """[N, D] float32 of length 1 each."""
    directions = np.empty(features.shape, np.float32)
    for start in range(0, len(features), _ROWS):
        directions[start : start + _ROWS] = _normalised(features[start : start + _ROWS])
    return directions


def _paired_distances(
    generated: np.ndarray, rows: np.ndarray, reference: np.ndarray, nearest: np.ndarray
) -> np.ndarray:
    """1 - |cosine| of `generated[rows[i]]` and `reference[nearest[i]]`, float64."""
    distances = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        one, other = _normalised(generated[rows[part]]), _normalised(reference[nearest[part]])
        distances[part] = 1 - np.abs(np.einsum("nd,nd->n", one, other))
    return distances


def _normalised(rows: np.ndarray) -> np.ndarray:
    """[N, D] of length 1 each, in float64, which does not overflow."""
    rows = rows.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
