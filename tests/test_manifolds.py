"""Precision and recall: against their definition, torch-fidelity's own, and what they tell."""

import numpy as np
import pytest
import torch

from conftest import import_or_skip
from doggan.scoring import manifolds
from doggan.scoring.manifolds import precision_and_recall
from doggan.support.errors import InputError


def make_features(count, dimensions=16, seed=0, scale=1.0, shift=0.0):
    return np.random.default_rng(seed).normal(shift, scale, (count, dimensions))


def by_definition(generated, reference, k):
    """In float64, all pairs at once."""

    def distances(one, other):
        return np.linalg.norm(one[:, None] - other[None], axis=2)

    def part(points, centers):
        radii = np.sort(distances(centers, centers), axis=1)[:, k]
        return (distances(points, centers) <= radii).any(axis=1).mean()

    return part(generated, reference), part(reference, generated)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("shift", [0.0, 0.5, 100.0])
def test_it_is_the_definition(k, shift, monkeypatch):
    monkeypatch.setattr(manifolds, "ROWS", 64)  # several blocks, the last one short
    generated, reference = make_features(300, shift=shift), make_features(250, seed=1)
    found = precision_and_recall(generated, reference, k)
    assert np.allclose(found, by_definition(generated, reference, k), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [0.8, 1.0])
def test_it_is_torch_fidelitys(scale):
    prc = import_or_skip("torch_fidelity.metric_prc", "peers")
    generated = make_features(700, 64, scale=scale)
    reference = make_features(900, 64, seed=1)
    peers = prc.calculate_precision_recall_full(
        torch.from_numpy(generated), torch.from_numpy(reference)
    )
    assert min(peers) > 0
    # Its parts are means of float32 numbers, of whole numbers of images.
    images = np.array([len(generated), len(reference)])
    counts = np.rint(peers * images)
    assert np.allclose(peers * images, counts, rtol=0, atol=1e-3)
    found = precision_and_recall(generated, reference)
    assert np.allclose(found, counts / images, rtol=0, atol=1e-9)


def test_few_kinds_have_precision_and_no_recall_and_noise_the_reverse():
    reference = make_features(500, 4)
    few = reference[:10].repeat(20, axis=0) + make_features(200, 4, seed=1, scale=0.01)
    precision, recall = precision_and_recall(few, reference)
    assert precision > 0.9
    assert recall < 0.1
    precision, recall = precision_and_recall(make_features(200, 4, seed=1, scale=20), reference)
    assert precision < 0.1
    assert recall > 0.5


def test_a_set_lies_in_its_own_manifold_copies_included():
    features = make_features(50, 8)
    assert precision_and_recall(features, features) == (1.0, 1.0)
    twice = np.concatenate([features, features])
    assert precision_and_recall(twice, features) == (1.0, 1.0)


def test_where_float32_cannot_tell_float64_does():
    """Far from the mean, balls are as wide as float32's rounding."""
    line = np.array([0.0, 1.0, 2.0, 3.0, 4.0])[:, None] * np.ones(4)
    reference = np.concatenate([line, line + 3000])
    inside, outside = line[4] + 0.999 * 3 * np.ones(4), line[4] + 1.001 * 3 * np.ones(4)
    generated = np.concatenate([[inside, outside], line[:3] - 1000])
    assert precision_and_recall(generated, reference)[0] == 1 / 5


def test_too_few_images_have_none():
    assert precision_and_recall(make_features(3), make_features(100)) is None
    assert precision_and_recall(make_features(100), make_features(3)) is None
    with pytest.raises(InputError, match="hold NaN"):
        precision_and_recall(make_features(10) * np.nan, make_features(10))
