"""Features: streamed, whatever the batches, and under a deadline."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from doggan.scoring import features
from doggan.scoring.features import DeadlineExpiredError, extract_features, measure_rate
from doggan.scoring.judges.judge import Judge
from doggan.support.deadline import Deadline
from doggan.support.errors import DogganError, InputError


class MeanColour(nn.Module):
    """[N, H, W, 3] uint8 -> [N, 3] float32; counts the images of each call."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, images):
        self.calls.append(len(images))
        return images.float().mean((1, 2))


def make_judge():
    return Judge(
        name="mean-colour",
        eps=0.1,
        dimensions=3,
        weights_sha256="0" * 64,
        resize="none",
        comparable_with_kaggle=False,
        notice="",
        precision="fp32",
        device="cpu",
        network=MeanColour(),
    )


@pytest.fixture
def judge():
    return make_judge()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (10, 6, 7, 3), np.uint8)


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 64, None])
def test_features_are_those_of_each_image(judge, images, batch_size):
    found = extract_features(images, judge, batch_size=batch_size)
    assert found.dtype == np.float32
    assert np.allclose(found, images.mean((1, 2)), rtol=1e-6)


def test_no_batch_is_empty_and_none_too_large(judge, images):
    extract_features(images, judge, batch_size=6)
    assert judge.network.calls == [4, 2, 4]  # and four at a time within each
    extract_features(images, judge, batch_size=3)
    assert judge.network.calls[3:] == [3, 3, 3, 1]


def test_the_judges_own_batch_size_is_the_default(judge, monkeypatch):
    sizes, real = [], Judge.features
    monkeypatch.setattr(
        Judge, "features", lambda self, images: sizes.append(len(images)) or real(self, images)
    )
    extract_features(np.zeros((70, 2, 2, 3), np.uint8), judge)
    assert sizes == [32, 32, 6]
    assert judge.network.calls == [4] * 17 + [2]


def test_memory_maps_are_read_in_batches(judge, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert np.array_equal(extract_features(mapped, judge), extract_features(images, judge))


def test_grey_is_repeated_to_three_channels(judge, images):
    found = extract_features(images[..., :1], judge)
    expected = images[..., :1].mean((1, 2))
    assert np.allclose(found, np.repeat(expected, 3, axis=1), rtol=1e-6)


def test_a_bar_is_drawn_only_with_a_label(judge, images, capsys):
    extract_features(images, judge)
    assert capsys.readouterr() == ("", "")
    extract_features(images, judge, label="reference")
    out, err = capsys.readouterr()
    assert out == ""
    assert "reference: 100%" in err


def test_an_expired_deadline_stops_between_batches(judge, images):
    times = iter(range(100))
    deadline = Deadline(2.5, clock=lambda: float(next(times)))
    with pytest.raises(DeadlineExpiredError, match="after 6 of 10 images"):
        extract_features(images, judge, batch_size=3, deadline=deadline)
    assert issubclass(DeadlineExpiredError, DogganError)


def test_a_deadline_that_holds_changes_nothing(judge, images):
    found = extract_features(images, judge, deadline=Deadline(None))
    assert np.array_equal(found, extract_features(images, judge))


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (np.zeros((3, 4, 4, 4), np.uint8), r"uint8 of shape \[3, 4, 4, 4\]"),
        (np.zeros((3, 4, 4), np.uint8), r"\[3, 4, 4\]"),
        (np.zeros((3, 4, 4, 3)), "float64"),
        (np.zeros((0, 4, 4, 3), np.uint8), r"\[0, 4, 4, 3\]"),
        ([1, 2], r"list of shape \[\]"),
    ],
)
def test_other_images_are_refused(judge, bad, found):
    with pytest.raises(InputError, match=found):
        extract_features(bad, judge)


def test_the_rate_is_of_warm_batches_of_the_asked_size(monkeypatch):
    """The first images take 10 s on this clock, every batch of 32 after them 1 s."""
    now = [0.0]
    monkeypatch.setattr(features.time, "perf_counter", lambda: now[0])

    class Slow(MeanColour):
        def forward(self, images):
            assert images.shape == (4, 8, 8, 3)
            assert images.dtype == torch.uint8
            now[0] += 0.125 if self.calls else 10
            return super().forward(images)

    judge = replace(make_judge(), network=Slow())
    assert measure_rate(judge, side=8, most_images=1000) == 32
    assert judge.network.calls == [4] * 24
    # To foretell what 20 images take it judges no more than those.
    assert measure_rate(judge, side=8, most_images=20) == 32
    assert judge.network.calls == [4] * 40


@pytest.mark.parametrize("enough", [7, 40])
def test_what_is_judged_in_time_lies_evenly_among_all_images(judge, enough):
    images = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None, None], (100, 2, 2, 3))
    times = iter(range(1000))
    deadline = Deadline(enough + 0.5, clock=lambda: float(next(times)))
    found = extract_features(images, judge, batch_size=1, deadline=deadline, at_least=enough)
    indices = found[:, 0]
    assert len(indices) == enough
    assert (np.diff(indices) > 0).all()  # in the images' order
    gaps = np.diff([-1, *indices, 100])
    assert gaps.max() <= 2.7 * 100 / enough  # the golden ratio's gaps are of three lengths at most


def test_fewer_than_are_asked_for_are_not_enough(judge, images):
    times = iter(range(100))
    deadline = Deadline(2.5, clock=lambda: float(next(times)))
    with pytest.raises(DeadlineExpiredError, match="after 6 of 10 images"):
        extract_features(images, judge, batch_size=3, deadline=deadline, at_least=7)


def test_with_time_for_all_their_order_changes_nothing(judge, images):
    found = extract_features(images, judge, batch_size=3, deadline=Deadline(None), at_least=1)
    assert np.array_equal(found, extract_features(images, judge, batch_size=3))
