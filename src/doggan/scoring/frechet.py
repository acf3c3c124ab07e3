"""Mean and covariance of features, and the Frechet distance between two of them: FID.

Everything runs in blocks of rows: beside the features it takes a dozen [D, D] matrices of float64.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import linalg

from doggan.support.errors import InputError

_SINGULAR_OFFSET = 1e-6
# Beyond this, products of two covariances overflow float64.
_LARGEST_FEATURE = np.float64(1e60)
# Rows at a time: few where memory's speed counts (a processor's cache holds them), many where the
# matrix products' does.
_ROWS = 128
_COVARIANCE_ROWS = 2048

_Factors = tuple[np.ndarray, np.ndarray]


def feature_statistics(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and covariance [D, D] of [N, D] features, float64, as `np.mean` and `np.cov` give.

    Two passes in blocks of rows: centred products lose nothing where the mean is large.
    """
    features = check_features(features, "the features")
    mean = features.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((mean.size, mean.size))
    product = np.empty_like(covariance)
    for start in range(0, len(features), _COVARIANCE_ROWS):
        centred = features[start : start + _COVARIANCE_ROWS] - mean
        covariance += np.matmul(centred.T, centred, out=product)
    covariance /= len(features) - 1
    return mean, covariance


def frechet_distance(
    mean1: np.ndarray,
    covariance1: np.ndarray,
    mean2: np.ndarray,
    covariance2: np.ndarray,
    rows: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Frechet distance of two Gaussians with means [D] and covariances [D, D]; and T [D, rank].

    A = T T' is the optimal transport map of the first covariance to the second: A S1 A = S2.
    `rows` [N, D] are the features that the first mean and covariance are of, if they are at hand:
    where they are no more than D, a factor of the covariance comes from them at once.

    The published code takes the trace of `scipy.linalg.sqrtm(S1 @ S2)`. Here it is the sum of the
    square roots of the eigenvalues of L' S2 L with S1 = L L': the same numbers, since S1 S2 and
    L' S2 L share their non-zero eigenvalues, but from a symmetric matrix. That is some ten times
    faster than sqrtm's Schur form of an unsymmetric one, and real by construction, so there is no
    imaginary part to drop. Both agree to rounding, 1e-12 of the trace, where the covariances have
    full rank. Where they do not (fewer images than features), sqrtm finds small roots of rounding
    noise, up to 1e-6 in all, and this does not.

    1e-6 I is added to both covariances only where the root is not finite, as published.
    """
    few = rows is not None and len(rows) <= len(mean1)
    factorised = partial(_factor_of_rows, rows, mean1) if few else partial(_factor, covariance1)
    trace, transport = _root(factorised, covariance2)
    if not np.isfinite(trace):
        offset = _SINGULAR_OFFSET * np.eye(len(mean1))
        trace, transport = _root(partial(_factor, covariance1 + offset), covariance2 + offset)
    shift = mean1 - mean2
    fid = shift @ shift + np.trace(covariance1) + np.trace(covariance2) - 2 * trace
    if not np.isfinite(fid):
        raise InputError(
            "FID is not finite: the means or covariances hold NaN, infinity or values too large"
        )
    return float(fid), transport


def _root(factorised: Callable[[], _Factors], second: np.ndarray) -> tuple[float, np.ndarray]:
    """tr((S1 S2)^(1/2)) of two covariances, the first of them factorised; and T [D, rank].

    The trace is NaN where LAPACK does not get there. A = T T' is the optimal transport map:
    A S1 A = S2, on the span of S1 where S1 is singular. With S1 = L L' and L' S2 L = U diag(w) U',
    T is (L^-1)' U diag(w^(1/4)).
    """
    try:
        factor, inverse = factorised()
        with np.errstate(invalid="ignore", over="ignore"):
            values, vectors = np.linalg.eigh(factor.T @ second @ factor)
    except np.linalg.LinAlgError:
        return np.nan, np.empty((len(second), 0))
    roots = np.sqrt(values.clip(min=0))
    vectors *= np.sqrt(roots)
    return float(roots.sum()), inverse @ vectors


def _factor(covariance: np.ndarray) -> _Factors:
    """L [D, rank] with L L' = `covariance`, and its inverse, transposed: [D, rank]."""
    try:
        factor = np.linalg.cholesky(covariance)
        inverse, _ = linalg.lapack.dtrtri(factor, lower=1)
        return factor, inverse.T
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return _of_eigenvectors(values, vectors)


def _factor_of_rows(rows: np.ndarray, mean: np.ndarray) -> _Factors:
    """The same of the covariance of rows [N, D], by N^2 D operations and not D^3."""
    _, values, vectors = np.linalg.svd(rows - mean, full_matrices=False)
    return _of_eigenvectors(values**2 / (len(rows) - 1), vectors.T)


def _of_eigenvectors(values: np.ndarray, vectors: np.ndarray) -> _Factors:
    """L and its inverse, without what is rounding alone."""
    kept = values > values.max() * len(vectors) * np.finfo(np.float64).eps
    roots = np.sqrt(values[kept])
    return vectors[:, kept] * roots, vectors[:, kept] / roots


def check_features(features: np.ndarray, what: str) -> np.ndarray:
    """`features` as an array; raises InputError, which says `what` they are, for unusable ones.

    Usable are real numbers [N, D], of two images or more, all finite and below 1e60 in size.
    """
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
