"""How far chance moves FID and MiFID: 95% intervals from one set of features.

The infinitesimal jackknife (Jaeckel 1972; Efron 1982, "The Jackknife, the Bootstrap and Other
Resampling Plans", chapter 6): an image's influence is the slope of the score in that image's
weight, and the score's standard error is that of the influences' mean. It takes no second pass
through the judge and no second FID, where a bootstrap takes hundreds.

What an interval covers: chance in which images the generator drew. Other draws of as many images
from the same generator, with the same judge and reference, have their mean in 95 of 100 such
intervals. What it does not: FID's bias, which falls as the number of images grows (compare equal
numbers only), the choice of reference, another training with another seed, and a distance so near
eps that another draw falls on its other side. Features with very heavy tails get intervals that are
too narrow, as with any method that sees only the images at hand.
"""

from typing import NamedTuple

import numpy as np

_NORMAL_QUANTILE = 1.959964  # of 97.5%
_ROWS = 1024


class Interval(NamedTuple):
    """A 95% interval, both ends included. Scores whose intervals overlap are within noise."""

    low: float
    high: float

    def is_below(self, other: "Interval") -> bool:
        """Whether all of this one lies below all of the other."""
        return self.high < other.low

    def overlaps(self, other: "Interval") -> bool:
        """Whether both share a value."""
        return not (self.is_below(other) or other.is_below(self))

    def __format__(self, number: str) -> str:
        """`low to high`, each formatted as `number` says."""
        return f"{self.low:{number}} to {self.high:{number}}"


def fid_influence(
    generated: np.ndarray, mean: np.ndarray, reference_mean: np.ndarray, transport: np.ndarray
) -> np.ndarray:
    """Each image's influence on FID, but for a constant: [N, D] features -> [N] float64.

        2 (m1 - m2) . (x - m1) + (x - m1)' (I - A) (x - m1)

    A = `transport` `transport`' is the matrix that maps N(0, S1) onto N(0, S2) at least cost; half
    of it is the slope of tr((S1 S2)^(1/2)) in S1. `mean` and S1 are the generated features'.
    """
    shift = 2 * (mean - reference_mean)
    influence = np.empty(len(generated))
    # A standard error needs no more than float32, in half the time; scaled, it does not overflow.
    transport = transport.astype(np.float32)
    for start in range(0, len(generated), _ROWS):
        rows = generated[start : start + _ROWS] - mean
        scale = np.abs(rows).max() or 1.0
        mapped = scale * ((rows / scale).astype(np.float32) @ transport).astype(np.float64)
        influence[start : start + _ROWS] = (
            rows @ shift + np.einsum("nd,nd->n", rows, rows) - np.einsum("nd,nd->n", mapped, mapped)
        )
    return influence


def mean_influence(values: np.ndarray) -> np.ndarray:
    """Each image's influence on the mean of `values` [N]; those that are NaN count in no mean."""
    counted = np.isfinite(values)
    deviations = np.where(counted, values - values[counted].mean(), 0.0)
    return deviations * (len(values) / counted.sum())


def ratio_influence(
    numerator: float,
    numerator_influence: np.ndarray,
    denominator: float,
    denominator_influence: np.ndarray,
) -> np.ndarray:
    """Each image's influence on numerator / denominator: the delta method."""
    ratio = numerator / denominator
    return (numerator_influence - ratio * denominator_influence) / denominator


def interval(score: float, influence: np.ndarray) -> Interval:
    """The 95% interval around a score that cannot be negative; `influence` is [N]."""
    error = _NORMAL_QUANTILE * influence.std(ddof=1) / np.sqrt(len(influence))
    return Interval(float(max(score - error, min(score, 0.0))), float(score + error))
