"""Precision and recall: do the generated images look right, and are there all kinds of them?

After Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative
Models": around each image of a set lies a ball in the judge's features, as wide as the distance to
its k-th nearest neighbour. The balls together are the set's manifold.

    precision = fraction of the generated images that lie in the reference's manifold
    recall    = fraction of the reference images that lie in the generated ones' manifold

Pairs are searched in float32, block by block; where that could decide wrongly, float64 decides.
"""

import numpy as np

from doggan.scoring.frechet import check_features

NEAREST = 3  # k, the paper's
ROWS = 1024  # at a time
_DOUBT = 1e-5  # of a squared length; float32's products of some thousand numbers err by less


def precision_and_recall(
    generated: np.ndarray, reference: np.ndarray, k: int = NEAREST
) -> tuple[float, float] | None:
    """Precision and recall, each in [0, 1], of [N, D] against [M, D] features.

    None where a set has too few images for k neighbours of each.
    Raises InputError for fewer than two rows and for values that are not finite.
    """
    generated = check_features(generated, "the generated features")
    reference = check_features(reference, "the reference features")
    if min(len(generated), len(reference)) <= k:
        return None
    # About the reference's mean rows are shorter, and rounding takes less of them.
    mean = reference.mean(axis=0, dtype=np.float64)
    generated, reference = ((rows - mean).astype(np.float32) for rows in (generated, reference))
    precision = _in_manifold(generated, reference, k).mean()
    recall = _in_manifold(reference, generated, k).mean()
    return float(precision), float(recall)


def _in_manifold(points: np.ndarray, centers: np.ndarray, k: int) -> np.ndarray:
    """For each of the points [N, D] whether it lies in a ball around one of the centers: [N]."""
    radii = _squared_radii(centers, k)
    inside = np.empty(len(points), bool)
    for start in range(0, len(points), ROWS):
        block = points[start : start + ROWS]
        distances = _squared_distances(block, centers)
        depth = (radii - distances).max(axis=1)  # how far the point lies within its best ball
        inside[start : start + len(block)] = depth >= 0
        scale = np.einsum("nd,nd->n", block, block) + radii.max()
        for row in np.flatnonzero(np.abs(depth) <= _DOUBT * scale):
            exact = _exact_distances(block[row], centers)
            inside[start + row] = (exact <= radii).any()
    return inside


def _squared_radii(centers: np.ndarray, k: int) -> np.ndarray:
    """The squared distance from each row to its k-th nearest other one, [M] float64."""
    radii = np.empty(len(centers))
    for start in range(0, len(centers), ROWS):
        block = centers[start : start + ROWS]
        distances = _squared_distances(block, centers)
        # One more than k and itself, for a pair that float32 exchanges.
        most = min(k + 2, len(centers))
        nearest = np.argpartition(distances, most - 1, axis=1)[:, :most]
        for row, columns in enumerate(nearest):
            exact = np.sort(_exact_distances(block[row], centers[columns]))
            radii[start + row] = exact[k]  # the 0-th is the row itself
    return radii


def _squared_distances(block: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Squared distances of [n, D] and [M, D] rows, [n, M] float32."""
    distances = block @ centers.T
    distances *= -2
    distances += np.einsum("nd,nd->n", block, block)[:, None]
    distances += np.einsum("md,md->m", centers, centers)
    return distances


def _exact_distances(row: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Squared distances of a row and [M, D] rows, [M] float64."""
    differences = centers.astype(np.float64) - row
    return np.einsum("md,md->m", differences, differences)
