"""The intervals: exact slopes, the spread that a bootstrap finds, and how often they are right."""

import numpy as np
import pytest

from doggan.scoring.frechet import feature_statistics, frechet_distance
from doggan.scoring.interval import (
    Interval,
    fid_influence,
    interval,
    mean_influence,
    ratio_influence,
)
from doggan.scoring.mifid import combine, memorisation_distance, score_features

HIGH_EPS = 2.0  # any distance is below it
LOW_EPS = 1e-9  # none is


def make_features(count, dimensions, seed, kind="normal"):
    """Correlated features, of one generator however they are drawn: [count, dimensions]."""
    mixing = np.random.default_rng(99).normal(size=(dimensions, dimensions)) / dimensions**0.5
    mixing *= np.arange(1, dimensions + 1) ** -0.5
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, dimensions))
    if kind == "heavy":  # Student's t of 8 degrees of freedom
        values /= np.sqrt(random.chisquare(8, size=(count, 1)) / 8)
    if kind == "modes":  # a third of the images are of another kind
        values += (random.random((count, 1)) < 0.3) * np.linspace(-3, 3, dimensions)
    if kind == "active":  # not negative, as pooled activations are
        return np.maximum(values @ mixing + 0.1, 0)
    return values @ mixing + 0.05


def statistics(features, weights):
    """Mean and covariance where row i counts `weights[i]` times."""
    mean = weights @ features / weights.sum()
    rows = features - mean
    return mean, (rows.T * weights) @ rows / weights.sum()


def slopes_of_fid(generated, reference):
    """Each image's influence by finite differences in its weight."""
    reference = statistics(reference, np.ones(len(reference)))
    count, step = len(generated), 1e-4
    slopes = []
    for image in range(count):
        values = []
        for sign in (1, -1):
            weights = np.ones(count)
            weights[image] += sign * step
            values.append(frechet_distance(*statistics(generated, weights), *reference)[0])
        slopes.append(count * (values[0] - values[1]) / (2 * step))
    return np.array(slopes)


def influence_of_fid(generated, reference):
    of_generated = statistics(generated, np.ones(len(generated)))
    of_reference = statistics(reference, np.ones(len(reference)))
    _, transport = frechet_distance(*of_generated, *of_reference)
    return centred(fid_influence(generated, of_generated[0], of_reference[0], transport))


def centred(influence):
    return influence - influence.mean()


@pytest.mark.parametrize("kind", ["normal", "heavy", "modes", "active"])
def test_influence_on_fid_is_its_slope_in_each_images_weight(kind):
    generated, reference = make_features(60, 6, 1, kind), make_features(90, 6, 2)
    found, expected = influence_of_fid(generated, reference), slopes_of_fid(generated, reference)
    assert found == pytest.approx(centred(expected), rel=1e-4, abs=1e-5 * found.std())


@pytest.mark.parametrize("dead", [0, 2])
def test_influence_on_fid_is_its_slope_where_covariances_are_singular(dead):
    """Fewer images than features, and features that are never active."""
    generated, reference = make_features(10, 24, 1), make_features(300, 24, 2)
    generated[:, :dead] = 0
    found, expected = influence_of_fid(generated, reference), slopes_of_fid(generated, reference)
    assert found == pytest.approx(centred(expected), rel=1e-4, abs=1e-4 * found.std())


def test_transport_maps_one_covariance_onto_the_other():
    one, other = (np.cov(make_features(200, 8, seed).T) for seed in (1, 2))
    fid, transport = frechet_distance(np.zeros(8), one, np.zeros(8), other)
    matrix = transport @ transport.T
    assert np.allclose(matrix @ one @ matrix, other, rtol=1e-9, atol=1e-12)
    trace = np.trace(matrix @ one)
    assert fid == pytest.approx(np.trace(one) + np.trace(other) - 2 * trace, rel=1e-12)


def test_influence_of_more_images_than_a_block_holds_is_that_of_the_formula():
    generated, reference = make_features(2500, 5, 1), make_features(60, 5, 2)
    mean, covariance = statistics(generated, np.ones(2500))
    of_reference = statistics(reference, np.ones(60))
    _, transport = frechet_distance(mean, covariance, *of_reference)
    rows, map_ = generated - mean, transport @ transport.T
    # d tr(S) = x'x and d tr((S1 S2)^(1/2)) = x'A x / 2 for each image's x, beside its shift.
    expected = 2 * rows @ (mean - of_reference[0]) + (rows * (rows - rows @ map_)).sum(1)
    assert influence_of_fid(generated, reference) == pytest.approx(
        centred(expected), rel=1e-5, abs=1e-5
    )


def test_influence_on_a_mean_is_the_deviation_from_it():
    assert mean_influence(np.array([1.0, 2.0, 6.0])).tolist() == [-2, -1, 3]
    # A row that does not count moves nothing; the others move the mean of fewer the more.
    assert mean_influence(np.array([1.0, np.nan, 3.0])).tolist() == [-1.5, 0, 1.5]


def test_influence_on_a_ratio_is_its_slope():
    one, other = np.array([3.0, 5.0, 1.0]), np.array([2.0, 2.5, 4.5])
    found = ratio_influence(one.mean(), mean_influence(one), other.mean(), mean_influence(other))
    step, expected = 1e-6, []
    for image in range(3):
        weights = np.ones(3)
        weights[image] += step
        change = (weights @ one) / (weights @ other) - one.mean() / other.mean()
        expected.append(3 * change / step)
    assert found == pytest.approx(expected, rel=1e-4)


def test_interval_of_a_mean_is_the_textbooks():
    values = np.random.default_rng(0).normal(10, 2, 400)
    low, high = interval(values.mean(), mean_influence(values))
    half = 1.959964 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), rel=1e-12)


def test_interval_holds_the_score_and_nothing_below_zero():
    assert interval(1.0, np.array([-100.0, 100.0]))[0] == 0
    assert interval(-1e-13, np.array([0.0, 0.0])) == (-1e-13, -1e-13)


def test_interval_of_images_that_are_all_alike_has_no_width():
    generated = np.tile(make_features(1, 4, 1), (5, 1))
    score = score_features(generated, make_features(20, 4, 2), HIGH_EPS)
    assert score.fid_interval == pytest.approx((score.fid, score.fid), rel=1e-9)


def test_mifid_has_fids_interval_without_a_penalty():
    generated, reference = make_features(200, 8, 1), make_features(200, 8, 2)
    free = score_features(generated, reference, LOW_EPS)
    assert free.mifid_interval == pytest.approx(free.fid_interval, rel=1e-12)
    penalised = score_features(generated, reference, HIGH_EPS)
    assert penalised.fid_interval == free.fid_interval
    assert penalised.mifid_interval[0] > 2 * free.mifid_interval[1]


def bootstrap(generated, reference, eps, draws):
    """Standard deviation of FID and MiFID over resampled images."""
    random, scores = np.random.default_rng(5), []
    reference_statistics = feature_statistics(reference)
    for _ in range(draws):
        drawn = generated[random.integers(0, len(generated), len(generated))]
        fid, _ = frechet_distance(*feature_statistics(drawn), *reference_statistics)
        scores.append((fid, combine(fid, memorisation_distance(drawn, reference), eps)))
    return np.std(scores, axis=0)


def errors(score):
    """Standard errors of FID and MiFID, as the intervals have them."""
    intervals = np.array([score.fid_interval, score.mifid_interval])
    return (intervals[:, 1] - intervals[:, 0]) / (2 * 1.959964)


def check_bootstrap(kind, count, dimensions, draws, tolerance):
    generated = make_features(count, dimensions, 1, kind)
    reference = make_features(2 * count, dimensions, 2)
    score = score_features(generated, reference, HIGH_EPS)
    found = errors(score)
    assert found == pytest.approx(bootstrap(generated, reference, HIGH_EPS, draws), rel=tolerance)


@pytest.mark.parametrize("kind", ["normal", "heavy", "modes", "active"])
def test_errors_are_those_of_a_bootstrap(kind):
    check_bootstrap(kind, count=400, dimensions=8, draws=100, tolerance=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "heavy", "modes", "active"])
def test_errors_are_those_of_a_bootstrap_at_size(kind):
    check_bootstrap(kind, count=2000, dimensions=64, draws=100, tolerance=0.2)


def coverage(kind, count, dimensions, draws):
    """How many of the intervals hold the mean score of other draws: FID's, MiFID's."""
    reference = make_features(2 * count, dimensions, 0)
    scores = [
        score_features(make_features(count, dimensions, seed, kind), reference, HIGH_EPS)
        for seed in range(1, draws + 1)
    ]
    held = []
    for name in ("fid", "mifid"):
        mean = np.mean([getattr(score, name) for score in scores])
        intervals = [getattr(score, f"{name}_interval") for score in scores]
        held.append(np.mean([low <= mean <= high for low, high in intervals]))
    return held


def test_intervals_hold_the_mean_nineteen_times_of_twenty():
    for share in coverage("active", count=200, dimensions=8, draws=100):
        assert share >= 0.88


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "heavy", "modes", "active"])
@pytest.mark.parametrize(("count", "dimensions"), [(2000, 64), (1000, 200)])
def test_coverage_at_size(kind, count, dimensions):
    """Kaggle has five images a feature, as the second size has."""
    for share in coverage(kind, count, dimensions, draws=100):
        assert share >= 0.87


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ((1, 2), (3, 4), False),
        ((1, 2), (2, 3), True),  # the ends are included
        ((1, 4), (2, 3), True),
        ((1, 3), (2, 4), True),
    ],
)
def test_intervals_overlap_where_neither_lies_below_the_other(one, other, overlap):
    one, other = Interval(*one), Interval(*other)
    assert one.overlaps(other) == other.overlaps(one) == overlap
    assert one.is_below(other) == (not overlap)
    assert not other.is_below(one)
    assert f"{Interval(1, 2.5):.2f}" == "1.00 to 2.50"
