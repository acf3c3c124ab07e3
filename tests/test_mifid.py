"""The competition's mathematics, held against a literal transcription of the published code."""

import numpy as np
import pytest

from doggan.scoring.frechet import feature_statistics, frechet_distance
from doggan.scoring.mifid import (
    combine,
    memorisation_distance,
    nearest_neighbours,
    score_features,
)
from doggan.support.errors import InputError
from peers import published_distance, published_fid, published_mifid

# The published formula says so where a case is singular; that it still agrees is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:Matrix is singular")

EPS = 0.1


def make_features(count, dimensions, seed, mixed=True):
    """Correlated and not negative, as pooled activations are."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(dimensions, dimensions)) / np.sqrt(dimensions)
    values = random.normal(size=(count, dimensions))
    return np.abs(values @ mixing + 0.3 * values if mixed else values)


def healthy():
    return make_features(300, 24, 1), make_features(400, 24, 2)


def near_singular():
    """One column repeats another but for 1e-6; the covariance's condition is some 1e12."""
    generated, reference = healthy()
    generated[:, 1] = generated[:, 0] + 1e-6 * generated[:, 2]
    return generated, reference


def fewer_images_than_features():
    return make_features(10, 24, 3), make_features(400, 24, 4)


def both_fewer():
    return make_features(10, 24, 3), make_features(12, 24, 4)


def duplicated():
    return np.repeat(make_features(100, 24, 5), 3, axis=0), make_features(400, 24, 6)


def dead_features():
    """Several features that are never active make the product exactly singular."""
    generated, reference = healthy()
    generated[:, :5] = 0
    return generated, reference


def shifted():
    generated, reference = healthy()
    return generated + 50.0, reference


CASES = [
    healthy,
    near_singular,
    fewer_images_than_features,
    both_fewer,
    duplicated,
    dead_features,
    shifted,
]


@pytest.mark.parametrize("case", CASES)
def test_fid_is_the_published_formula(case):
    generated, reference = case()
    expected = published_fid(generated, reference)
    assert score_features(generated, reference, EPS).fid == pytest.approx(expected, rel=1e-6)


def test_fid_of_full_rank_agrees_to_twelve_digits():
    generated, reference = healthy()
    expected = published_fid(generated, reference)
    assert score_features(generated, reference, EPS).fid == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("case", CASES)
def test_distance_is_the_published_formula(case):
    generated, reference = case()
    expected = published_distance(generated, reference)
    assert memorisation_distance(generated, reference) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("eps", [1e-6, 0.9])
def test_mifid_is_the_published_formula(eps):
    generated, reference = healthy()
    score = score_features(generated, reference, eps)
    assert score.mifid == pytest.approx(published_mifid(generated, reference, eps), rel=1e-9)
    assert score.mifid == combine(score.fid, score.distance, eps)


def test_root_of_rank_deficient_covariances_is_exact():
    """The trace of the root is the sum of the singular values of the centred data's product."""
    generated, reference = both_fewer()
    one = (generated - generated.mean(0)) / np.sqrt(len(generated) - 1)
    other = (reference - reference.mean(0)) / np.sqrt(len(reference) - 1)
    trace = np.linalg.svd(one @ other.T, compute_uv=False).sum()
    shift = generated.mean(0) - reference.mean(0)
    expected = shift @ shift + np.square(one).sum() + np.square(other).sum() - 2 * trace
    assert score_features(generated, reference, EPS).fid == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_of_known_gaussians():
    """Diagonal covariances: |dm|^2 + sum (s1 - s2)^2 over the standard deviations."""
    mean, zeros = np.array([3.0, 4.0]), np.zeros(2)
    value, _ = frechet_distance(mean, np.diag([4.0, 9.0]), zeros, np.diag([1.0, 1.0]))
    assert value == pytest.approx(25 + 1 + 4, rel=1e-14)


@pytest.mark.parametrize("failures", [0, 1])
def test_offset_is_added_only_where_lapack_finds_no_root(monkeypatch, failures):
    whole, calls = np.linalg.eigh, []

    def give_up(matrix):
        calls.append(matrix)
        if len(calls) <= failures:
            raise np.linalg.LinAlgError("did not converge")
        return whole(matrix)

    monkeypatch.setattr(np.linalg, "eigh", give_up)
    value, _ = frechet_distance(np.zeros(2), np.eye(2), np.zeros(2), 4 * np.eye(2))
    offset = 1e-6 * failures
    # The traces are those without the offset.
    expected = 2 + 8 - 2 * 2 * np.sqrt((1 + offset) * (4 + offset))
    assert value == pytest.approx(expected, abs=1e-12)
    assert len(calls) == failures + 1


def test_a_root_that_lapack_never_finds_is_an_error(monkeypatch):
    def fail(*_, **__):
        raise np.linalg.LinAlgError("did not converge")

    monkeypatch.setattr(np.linalg, "eigh", fail)
    with pytest.raises(InputError, match="FID is not finite"):
        frechet_distance(np.zeros(2), np.eye(2), np.zeros(2), np.eye(2))


def test_statistics_of_more_rows_than_a_block_holds_are_those_of_numpy():
    features = make_features(5000, 5, 8) + 1e6  # a large mean would show cancellation
    mean, covariance = feature_statistics(features)
    assert np.allclose(mean, features.mean(axis=0), rtol=1e-14)
    assert np.allclose(covariance, np.cov(features, rowvar=False), rtol=1e-9)


def test_distance_of_more_rows_than_a_block_holds_is_the_published():
    generated, reference = make_features(17_000, 6, 1), make_features(1100, 6, 2)
    generated[5] = reference[9] = 0
    expected = published_distance(generated, reference)
    assert memorisation_distance(generated, reference) == pytest.approx(expected, rel=1e-12)


def test_distance_takes_the_minimum_over_the_reference_for_each_generated_row():
    """The other direction, as some libraries have it, gives another number."""
    generated = np.array([[1.0, 0.0], [1.0, 0.1]])
    reference = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    near = 1 - 1 / np.sqrt(1.01)
    assert memorisation_distance(generated, reference) == pytest.approx(near / 2, rel=1e-12)
    reversed_direction = memorisation_distance(reference, generated)
    assert reversed_direction == pytest.approx(published_distance(reference, generated), rel=1e-12)
    assert reversed_direction > 100 * near / 2


def test_cosine_is_absolute():
    generated = np.array([[1.0, 2.0], [3.0, -1.0]])
    assert memorisation_distance(generated, -generated) == pytest.approx(0, abs=1e-15)


def test_rows_that_sum_to_zero_are_dropped_before_the_distance():
    generated = np.array([[1.0, 0.0], [0.0, 0.0], [0.5, -0.5]])
    reference = np.array([[1.0, 1.0], [0.0, 0.0]])
    expected = 1 - 1 / np.sqrt(2)  # of the first row alone
    assert memorisation_distance(generated, reference) == pytest.approx(expected, rel=1e-12)


def test_neighbours_are_rows_of_the_reference_and_their_mean_is_the_distance():
    generated = np.array([[0.0, 2.0], [0.5, -0.5], [3.0, 0.1]])  # the second sums to 0
    reference = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, -1.0]])
    distances, nearest = nearest_neighbours(generated, reference)
    assert nearest.tolist() == [3, -1, 1]
    assert np.isnan(distances[1])
    assert distances[[0, 2]] == pytest.approx([0, 1 - 3 / np.hypot(3, 0.1)], abs=1e-15)
    assert memorisation_distance(generated, reference) == np.nanmean(distances)
    with pytest.raises(InputError, match="generated features are of 1 image"):
        nearest_neighbours(generated[:1], reference)


def test_distance_of_copies_is_zero_to_float64():
    features = make_features(40, 24, 9)
    assert abs(memorisation_distance(features[:10], features)) < 1e-15


def test_published_values_reproduce():
    public = combine(9.760399508819491, 0.09570749817614364, 0.1)
    private = combine(232.11087088846523, 0.18244352778147305, 0.25)
    assert public == pytest.approx(101.98155520538198, rel=1e-12)
    assert private == pytest.approx(1272.2340644853207, rel=1e-12)


def test_distance_of_eps_counts_as_one():
    assert combine(50.0, 0.1, 0.1) == pytest.approx(50.0, rel=1e-12)
    assert combine(50.0, 0.3, 0.1) == pytest.approx(50.0, rel=1e-12)
    assert combine(50.0, np.nextafter(0.1, 0), 0.1) == pytest.approx(500.0, rel=1e-12)
    assert combine(50.0, 0.0, 0.1) == pytest.approx(50.0 / 1e-15)


@pytest.mark.parametrize("count", [2, 5, 24, 25])
def test_a_factor_of_few_rows_is_that_of_their_covariance(count):
    rows, reference = make_features(count, 24, 1), make_features(60, 24, 2)
    statistics = *feature_statistics(rows), *feature_statistics(reference)
    fid, transport = frechet_distance(*statistics, rows=rows)
    expected, expected_transport = frechet_distance(*statistics)
    assert fid == pytest.approx(expected, rel=1e-9)
    assert np.allclose(transport @ transport.T, expected_transport @ expected_transport.T)


def test_two_images_have_a_score_and_an_interval():
    score = score_features(make_features(2, 24, 1), make_features(2, 24, 2), EPS)
    values = (score.fid, score.mifid, *score.fid_interval, *score.mifid_interval)
    assert np.isfinite(values).all()
    assert score.fid_interval[0] <= score.fid <= score.fid_interval[1]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
def test_any_real_type_is_taken_as_its_values(dtype):
    generated, reference = ((20 * features).astype(dtype) for features in healthy())
    score = score_features(generated, reference, EPS)
    wide = [features.astype(np.float64) for features in (generated, reference)]
    assert score.fid == pytest.approx(published_fid(*wide), rel=1e-9)
    assert score.distance == pytest.approx(published_distance(*wide), rel=1e-9)


def test_inputs_are_left_as_they_were():
    generated, reference = healthy()
    before = generated.copy(), reference.copy()
    score_features(generated, reference, EPS)
    assert np.array_equal(generated, before[0])
    assert np.array_equal(reference, before[1])


GOOD = np.arange(12.0).reshape(4, 3) ** 2


def with_value(value):
    features = GOOD.copy()
    features[2, 1] = value
    return features


@pytest.mark.parametrize(
    ("generated", "reference", "message"),
    [
        (with_value(np.nan), GOOD, "generated features of image 2 hold NaN"),
        (GOOD, with_value(np.inf), "reference features of image 2 hold NaN, infinity"),
        (GOOD, with_value(-1e80), "values beyond 1e\\+60"),
        (GOOD[:1], GOOD, "generated features are of 1 image"),
        (GOOD, GOOD[:0], "reference features are of 0 image"),
        (GOOD, GOOD[:, :2], "3 numbers an image and the reference 2"),
        (GOOD[0], GOOD, "found float64 of shape \\[3\\]"),
        (GOOD[:, :0], GOOD[:, :0], "shape \\[4, 0\\]"),
        (GOOD + 1j, GOOD, "found complex128"),
        (GOOD.astype(str), GOOD, "must be real numbers"),
        (0 * GOOD, GOOD, "generated features are zero for every image"),
        (GOOD, 0 * GOOD, "reference features are zero for every image"),
    ],
)
def test_unusable_features_are_refused(generated, reference, message):
    with pytest.raises(InputError, match=message):
        score_features(generated, reference, EPS)


@pytest.mark.parametrize("values", [(np.nan, 0.1, 0.1), (1, np.inf, 0.1), (1, 0.1, 0), (1, 1, -1)])
def test_unusable_numbers_are_refused(values):
    with pytest.raises(InputError, match="finite numbers and a positive eps"):
        combine(*values)


def test_statistics_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="FID is not finite"):
        frechet_distance(np.zeros(2), np.full((2, 2), np.inf), np.zeros(2), np.eye(2))


def test_memory_stays_far_below_the_dense_distance_matrix():
    """The dense code holds several [N, M] float64; this holds blocks of some MB."""
    import tracemalloc

    generated, reference = (
        np.random.default_rng(seed).random((count, 16), dtype=np.float32)
        for seed, count in ((0, 3000), (1, 4000))
    )
    tracemalloc.start()
    score_features(generated, reference, EPS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 4000 * 8 / 3
