"""The competition's mathematics, in NumPy alone: features in, numbers out.

The formulas are the organisers' (jybai/generative-memorization-benchmark,
`src/competition_scoring.py`):

    FID      = |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2))
    distance = mean over generated g of min over reference r of 1 - |cos(g, r)|
    MiFID    = FID / (distance + 1e-15), where a distance of eps or more counts as 1

m and S are the mean and covariance of the features of all images, in float64, divided by N - 1.
Everything runs in blocks of rows: beside the features it takes a few [D, D] matrices of float64
and some 100 MB, however many images there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from doggan.support.errors import InputError

_DIVISION_EPS = 1e-15
_SINGULAR_OFFSET = 1e-6
# Beyond this, products of two covariances overflow float64.
_LARGEST_FEATURE = np.float64(1e60)
# Rows at a time: small enough for memory, large enough for the matrix products.
_STATISTICS_ROWS = 1024
_GENERATED_ROWS = 4096
_REFERENCE_ROWS = 1024


@dataclass(frozen=True)
class MiFIDScore:
    """`fid` >= 0 up to rounding; `distance` in [0, 1] before the threshold; `mifid` their score."""

    fid: float
    distance: float
    mifid: float


def score_features(generated: np.ndarray, reference: np.ndarray, eps: float) -> MiFIDScore:
    """FID, memorisation distance and MiFID of [N, D] against [M, D] features of any float type.

    `eps` is the judge's threshold: 0.1 for the public board's Inception, 0.25 for the private one.
    Raises InputError for fewer than two rows, unlike D, values that are not finite, and for
    features that are zero throughout.
    """
    generated, reference = _checked_pair(generated, reference)
    fid = frechet_distance(*feature_statistics(generated), *feature_statistics(reference))
    distance = memorisation_distance(generated, reference)
    return MiFIDScore(fid, distance, combine(fid, distance, eps))


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
    for block in _float64_blocks(features):
        block -= mean
        covariance += block.T @ block
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
    trace = _trace_of_root(covariance1, covariance2)
    if not np.isfinite(trace):
        offset = _SINGULAR_OFFSET * np.eye(len(mean1))
        trace = _trace_of_root(covariance1 + offset, covariance2 + offset)
    shift = mean1 - mean2
    fid = shift @ shift + np.trace(covariance1) + np.trace(covariance2) - 2 * trace
    if not np.isfinite(fid):
        raise InputError(
            "FID is not finite: the means or covariances hold NaN, infinity or values too large"
        )
    return float(fid)


def memorisation_distance(generated: np.ndarray, reference: np.ndarray) -> float:
    """Mean over GENERATED rows of the least 1 - |cosine| to any reference row; [N, D], [M, D].

    Rows that sum to 0 are dropped first. The nearest rows are searched for in float32, block by
    block, and only the distances to them are then taken in float64: the mean is exact but for
    neighbours that tie within float32's 1e-7, where either will do.
    Raises InputError as `score_features` does.
    """
    generated, reference = _checked_pair(generated, reference)
    generated_rows = _rows_that_count(generated, "generated")
    reference_rows = _rows_that_count(reference, "reference")
    total = 0.0
    for start in range(0, len(generated_rows), _GENERATED_ROWS):
        rows = generated_rows[start : start + _GENERATED_ROWS]
        nearest = _nearest_rows(generated[rows], reference, reference_rows)
        total += _paired_distances(generated, rows, reference, nearest).sum()
    return float(total / len(generated_rows))


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
    for start in range(0, len(features), _STATISTICS_ROWS):
        # NaN compares as false.
        fit = (np.abs(features[start : start + _STATISTICS_ROWS]) < _LARGEST_FEATURE).all(axis=1)
        if not fit.all():
            raise InputError(
                f"{what} of image {start + int(fit.argmin())} hold NaN, infinity or values beyond "
                f"{_LARGEST_FEATURE:g}; no score is possible"
            )
    return features


def _float64_blocks(features: np.ndarray) -> Iterator[np.ndarray]:
    """Copies of consecutive rows, [up to 1024, D] float64."""
    for start in range(0, len(features), _STATISTICS_ROWS):
        yield features[start : start + _STATISTICS_ROWS].astype(np.float64)


def _trace_of_root(first: np.ndarray, second: np.ndarray) -> float:
    """tr((S1 S2)^(1/2)) of two covariances; NaN where LAPACK does not get there."""
    try:
        factor = _factor(first)
        with np.errstate(invalid="ignore", over="ignore"):
            eigenvalues = np.linalg.eigvalsh(factor.T @ second @ factor)
    except np.linalg.LinAlgError:
        return np.nan
    return float(np.sqrt(eigenvalues.clip(min=0)).sum())


def _factor(covariance: np.ndarray) -> np.ndarray:
    """L [D, rank] with L L' = `covariance`."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
        return vectors[:, kept] * np.sqrt(values[kept])


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
    each = np.arange(len(generated))
    for start in range(0, len(reference_rows), _REFERENCE_ROWS):
        rows = reference_rows[start : start + _REFERENCE_ROWS]
        cosines = directions @ _unit_rows(reference[rows]).T
        np.abs(cosines, out=cosines)
        column = cosines.argmax(axis=1)
        value = cosines[each, column]
        better = value > best
        best[better] = value[better]
        nearest[better] = rows[column[better]]
    return nearest


def _unit_rows(features: np.ndarray) -> np.ndarray:
    """[N, D] float32 of length 1 each; normalised in float64, which does not overflow."""
    features = features.astype(np.float64)
    features /= np.sqrt(np.einsum("nd,nd->n", features, features))[:, None]
    return features.astype(np.float32)


def _paired_distances(
    generated: np.ndarray, rows: np.ndarray, reference: np.ndarray, nearest: np.ndarray
) -> np.ndarray:
    """1 - |cosine| of `generated[rows[i]]` and `reference[nearest[i]]`, float64."""
    distances = np.empty(len(rows))
    for start in range(0, len(rows), _STATISTICS_ROWS):
        stop = start + _STATISTICS_ROWS
        one = generated[rows[start:stop]].astype(np.float64)
        other = reference[nearest[start:stop]].astype(np.float64)
        one /= np.linalg.norm(one, axis=1, keepdims=True)
        other /= np.linalg.norm(other, axis=1, keepdims=True)
        distances[start:stop] = 1 - np.abs(np.einsum("nd,nd->n", one, other))
    return distances
