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

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from doggan.scoring.interval import (
    Interval,
    fid_influence,
    interval,
    mean_influence,
    ratio_influence,
)
from doggan.support.errors import InputError

_DIVISION_EPS = 1e-15
_SINGULAR_OFFSET = 1e-6
# Beyond this, products of two covariances overflow float64.
_LARGEST_FEATURE = np.float64(1e60)
# Rows at a time: few where memory's speed counts (a processor's cache holds them), many where the
# matrix products' does.
_ROWS = 128
_COVARIANCE_ROWS = 2048
_GENERATED_ROWS = 16_384
_COSINE_ROWS = 2048  # by _REFERENCE_ROWS float32: what a processor's cache holds
_REFERENCE_ROWS = 1024


@dataclass(frozen=True)
class MiFIDScore:
    """`fid` >= 0 up to rounding; `distance` in [0, 1] before the threshold; `mifid` their score.

    The intervals (low, high) hold 95% of what chance in the draw of the generated images does;
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
    generated, reference = _checked_pair(generated, reference)
    mean, covariance = feature_statistics(generated)
    reference_mean, reference_covariance = feature_statistics(reference)
    fid, transport = _frechet(mean, covariance, reference_mean, reference_covariance)
    distances, _ = _nearest(generated, reference)
    distance = float(np.nanmean(distances))
    influence = mifid_influence = fid_influence(generated, mean, reference_mean, transport)
    if distance < eps:
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
    return float(fid / ((distance if distance < eps else 1.0) + _DIVISION_EPS))


def feature_statistics(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and covariance [D, D] of [N, D] features, float64, as `np.mean` and `np.cov` give.

    Two passes in blocks of rows: centred products lose nothing where the mean is large.
    """
    features = _checked(features, "the features")
    mean = sum(block.sum(axis=0) for block in _float64_blocks(features)) / len(features)
    covariance = np.zeros((mean.size, mean.size))
    product = np.empty_like(covariance)
    for start in range(0, len(features), _COVARIANCE_ROWS):
        centred = features[start : start + _COVARIANCE_ROWS] - mean
        covariance += np.matmul(centred.T, centred, out=product)
    covariance /= len(features) - 1
    return mean, covariance


def frechet_distance(
    mean1: np.ndarray, covariance1: np.ndarray, mean2: np.ndarray, covariance2: np.ndarray
) -> float:
    """Frechet distance of two Gaussians with means [D] and covariances [D, D].

    The published code takes the trace of `scipy.linalg.sqrtm(S1 @ S2)`. Here it is the sum of the
    square roots of the eigenvalues of L' S2 L with S1 = L L': the same numbers, since S1 S2 and
    L' S2 L share their non-zero eigenvalues, but from a symmetric matrix. That is some ten times
    faster than sqrtm's Schur form of an unsymmetric one, and real by construction, so there is no
    imaginary part to drop. Both agree to rounding, 1e-12 of the trace, where the covariances have
    full rank. Where they do not (fewer images than features), sqrtm finds small roots of rounding
    noise, up to 1e-6 in all, and this does not.

    1e-6 I is added to both covariances only where the root is not finite, as published.
    """
    return _frechet(mean1, covariance1, mean2, covariance2)[0]


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
    return _nearest(*_checked_pair(generated, reference))


def _checked_pair(generated, reference) -> tuple[np.ndarray, np.ndarray]:
    generated = _checked(generated, "the generated features")
    reference = _checked(reference, "the reference features")
    if generated.shape[1] != reference.shape[1]:
        raise InputError(
            f"the generated features have {generated.shape[1]} numbers an image and the reference "
            f"{reference.shape[1]}; both must come from the same judge"
        )
    return generated, reference


def _checked(features: np.ndarray, what: str) -> np.ndarray:
    features = np.asarray(features)
    if features.ndim != 2 or features.shape[1] == 0 or features.dtype.kind not in "fiu":
        raise InputError(
            f"{what} must be real numbers of shape [images, dimensions]; "
            f"found {features.dtype} of shape {list(features.shape)}"
        )
    if len(features) < 2:
        raise InputError(
            f"{what} are of {len(features)} image(s); a covariance takes at least 2, "
            "and a score that means something some thousands"
        )
    for start in range(0, len(features), _ROWS):
        # NaN compares as false.
        fit = (np.abs(features[start : start + _ROWS]) < _LARGEST_FEATURE).all(axis=1)
        if not fit.all():
            raise InputError(
                f"{what} of image {start + int(fit.argmin())} hold NaN, infinity or values beyond "
                f"{_LARGEST_FEATURE:g}; no score is possible"
            )
    return features


def _float64_blocks(features: np.ndarray) -> Iterator[np.ndarray]:
    """Copies of consecutive rows, [up to 128, D] float64."""
    for start in range(0, len(features), _ROWS):
        yield features[start : start + _ROWS].astype(np.float64)


def _frechet(
    mean1: np.ndarray, covariance1: np.ndarray, mean2: np.ndarray, covariance2: np.ndarray
) -> tuple[float, np.ndarray]:
    """The Frechet distance, and `_root`'s transport."""
    trace, transport = _root(covariance1, covariance2)
    if not np.isfinite(trace):
        offset = _SINGULAR_OFFSET * np.eye(len(mean1))
        trace, transport = _root(covariance1 + offset, covariance2 + offset)
    shift = mean1 - mean2
    fid = shift @ shift + np.trace(covariance1) + np.trace(covariance2) - 2 * trace
    if not np.isfinite(fid):
        raise InputError(
            "FID is not finite: the means or covariances hold NaN, infinity or values too large"
        )
    return float(fid), transport


def _root(first: np.ndarray, second: np.ndarray) -> tuple[float, np.ndarray]:
    """tr((S1 S2)^(1/2)) of two covariances, NaN where LAPACK does not get there; and T [D, rank].

    A = T T' is the optimal transport map: A S1 A = S2, on the span of S1 where S1 is singular.
    With L' S2 L = U diag(w) U', it is (L^-1)' U diag(w^(1/2)) U' L^-1.
    """
    try:
        factor, inverse = _factor(first)
        with np.errstate(invalid="ignore", over="ignore"):
            values, vectors = np.linalg.eigh(factor.T @ second @ factor)
    except np.linalg.LinAlgError:
        return np.nan, np.empty((len(first), 0))
    roots = np.sqrt(values.clip(min=0))
    vectors *= np.sqrt(roots)
    return float(roots.sum()), inverse @ vectors


def _factor(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """L [D, rank] with L L' = `covariance`, and its inverse, transposed: [D, rank]."""
    try:
        factor = np.linalg.cholesky(covariance)
        inverse, _ = linalg.lapack.dtrtri(factor, lower=1)
        return factor, inverse.T
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
        roots = np.sqrt(values[kept])
        return vectors[:, kept] * roots, vectors[:, kept] / roots


def _nearest(generated: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
    sums = np.concatenate([block.sum(axis=1) for block in _float64_blocks(features)])
    rows = np.flatnonzero(sums)
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
    """[N, D] float32 of length 1 each; normalised in float64, which does not overflow."""
    directions = np.empty(features.shape, np.float32)
    for start in range(0, len(features), _ROWS):
        block = features[start : start + _ROWS].astype(np.float64)
        block /= np.sqrt(np.einsum("nd,nd->n", block, block))[:, None]
        directions[start : start + _ROWS] = block
    return directions


def _paired_distances(
    generated: np.ndarray, rows: np.ndarray, reference: np.ndarray, nearest: np.ndarray
) -> np.ndarray:
    """1 - |cosine| of `generated[rows[i]]` and `reference[nearest[i]]`, float64."""
    distances = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        stop = start + _ROWS
        one = generated[rows[start:stop]].astype(np.float64)
        other = reference[nearest[start:stop]].astype(np.float64)
        one /= np.linalg.norm(one, axis=1, keepdims=True)
        other /= np.linalg.norm(other, axis=1, keepdims=True)
        distances[start:stop] = 1 - np.abs(np.einsum("nd,nd->n", one, other))
    return distances
