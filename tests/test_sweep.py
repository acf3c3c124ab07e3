"""A generator scored straight from its seeds: the numbers a zip of them gets, and streamed."""

import json
from dataclasses import replace

import numpy as np
import pytest

from doggan.gan.generator_file import is_run, save_generator
from doggan.gan.networks import make_networks
from doggan.gan.sampler import sample_seeds
from doggan.scoring import score
from doggan.scoring.features import extract_features
from doggan.scoring.reference import Reference
from doggan.scoring.score import sampled_features, score_images
from doggan.scoring.sweep import (
    parse_sweep,
    rank_truncations,
    score_truncations,
    summarise_sweep,
    sweep_as_dict,
)
from doggan.support.errors import InputError
from test_compare import CARD
from test_features import make_judge


@pytest.fixture
def generator(tiny_recipe):
    network, _ = make_networks(tiny_recipe.networks, side=16, channels=3, label_count=1, seed=0)
    for parameter in network.parameters():
        parameter.data.mul_(8)  # away from grey, so that images differ
    return network.eval()


@pytest.fixture
def reference():
    return Reference(np.random.default_rng(1).integers(0, 256, (30, 16, 16, 3), np.uint8), "dogs")


def images_of(generator, seeds, truncation):
    return np.concatenate(list(sample_seeds(generator, seeds, truncation)))


def test_the_score_is_that_of_the_same_images(generator, reference):
    seeds = range(5, 45)
    scores = dict(score_truncations(generator, seeds, (0.5, 1.0), reference, make_judge()))
    assert list(scores) == [0.5, 1.0]
    for truncation, card in scores.items():
        images = images_of(generator, seeds, truncation)
        whole = score_images(images, reference, make_judge())
        assert replace(card, seconds=0) == replace(whole, seconds=0)
    assert scores[0.5].mifid != pytest.approx(scores[1.0].mifid, rel=1e-3)


def test_features_come_a_few_images_at_a_time_in_the_seeds_order(generator, monkeypatch):
    judge, largest = make_judge(), []

    def extract(images, *args):
        largest.append(len(images))
        return extract_features(images, *args)

    monkeypatch.setattr(score, "extract_features", extract)
    found = sampled_features(generator, range(850), 1.0, judge)
    assert largest == [800, 50]
    images = images_of(generator, range(850), 1.0)
    assert np.array_equal(found, extract_features(images, make_judge()))
    # The judge's batches are those of a zip: none is cut short where the sampler's end.
    assert judge.network.calls == [4] * 212 + [2]


def test_the_reference_is_looked_at_once(generator, reference):
    judge = make_judge()
    list(score_truncations(generator, range(16), (0.4, 0.6, 0.8), reference, judge))
    assert judge.network.calls == [*[4] * 7, 2, *[4] * 12]


@pytest.mark.parametrize(
    ("seeds", "truncations", "references", "message"),
    [
        (range(20), (1.0, 2.5), 30, "truncation is 2.5"),
        (range(1), (1.0,), 30, "found 1 generated image"),
        (range(20), (1.0,), 1, "found 1 reference image"),
    ],
)
def test_mistakes_are_told_before_any_work(
    generator, reference, seeds, truncations, references, message
):
    judge = make_judge()
    few = Reference(reference.images[:references], "dogs")
    scores = score_truncations(generator, seeds, truncations, few, judge)
    with pytest.raises(InputError, match=message):
        next(scores)
    assert judge.network.calls == []


def card(mifid, half_width):
    return replace(CARD, mifid=mifid, mifid_interval=(mifid - half_width, mifid + half_width))


def test_the_best_is_named_with_all_that_is_within_noise_of_it():
    ranking = rank_truncations({0.6: card(50, 2), 0.8: card(40, 2), 1.0: card(43, 2)})
    text = summarise_sweep(ranking)
    assert text.splitlines()[-1] == (
        "best: truncation 0.8, MiFID 40.00; within noise of it: truncation 1"
    )
    assert [line.split()[2] for line in text.splitlines()[2:5]] == ["0.6", "0.8", "1"]
    alone = rank_truncations({0.6: card(50, 2), 0.8: card(40, 2)})
    assert summarise_sweep(alone).endswith("best: truncation 0.8, MiFID 40.00")


def test_what_was_written_is_read_again():
    scorecards = {1.0: card(43, 2), 0.6: card(50, 2), 0.8: card(40, 2)}
    sweep = parse_sweep(json.loads(json.dumps(sweep_as_dict(scorecards))))
    assert (sweep.judge, sweep.generated_images) == (CARD.judge, CARD.generated_images)
    assert [point.truncation for point in sweep.points] == [0.6, 0.8, 1.0]
    assert [(point.low, point.high) for point in sweep.points] == [(48, 52), (38, 42), (41, 45)]
    assert (sweep.best.truncation, [point.truncation for point in sweep.as_good]) == (0.8, [1.0])


def test_a_run_is_known_by_its_generator(generator, tiny_recipe, tmp_path):
    assert not is_run(tmp_path)
    assert not is_run(tmp_path / "images.zip")
    save_generator(tmp_path, generator, tiny_recipe, images_seen=0)
    assert is_run(tmp_path)
    assert is_run(tmp_path / "generator.safetensors")
