"""Neighbours: the nearest reference image of each generated one, in words and as a picture."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image, ImageDraw

from doggan.report.neighbours_picture import draw_neighbours
from doggan.scoring.mifid import memorisation_distance, nearest_neighbours
from doggan.scoring.neighbours import Neighbours, find_neighbours, parse_nearest
from doggan.scoring.reference import Reference, read_reference
from doggan.scoring.score import score_images
from doggan.support.errors import InputError
from test_features import make_judge


def make_images(count, seed, side=4, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), np.uint8)


def make_neighbours(distances, **changes):
    distances = np.array(distances, float)
    values = {
        "distances": distances,
        "nearest": np.arange(len(distances)) % 5,
        "mean": float(np.nanmean(distances)),
        "eps": 0.1,
        "judge": "inception",
        "notice": "",
        "reference": "photos, crop 'full'",
        "reference_images": 5,
    }
    return Neighbours(**values | changes)


def test_the_nearest_is_that_of_the_largest_cosine_either_way():
    reference = np.array([[1, 0], [0, 2], [3, 3]], np.float32)
    generated = np.array([[5, 0.1], [0.1, 7], [1, 1.1], [-4, -4]], np.float32)
    distances, nearest = nearest_neighbours(generated, reference)
    assert nearest.tolist() == [0, 1, 2, 2]
    assert distances[3] == pytest.approx(0, abs=1e-12)
    assert distances[0] == pytest.approx(1 - 5 / np.hypot(5, 0.1), rel=1e-6)


def test_every_distance_is_the_least_of_all_and_their_mean_is_mifids():
    random = np.random.default_rng(0)
    generated, reference = random.normal(size=(40, 6)), random.normal(size=(2100, 6))
    distances, nearest = nearest_neighbours(generated, reference)
    lengths = np.linalg.norm(generated, axis=1)[:, None] * np.linalg.norm(reference, axis=1)
    every = 1 - np.abs(generated @ reference.T) / lengths
    assert np.allclose(distances, every.min(axis=1), atol=1e-7)
    assert np.allclose(distances, every[np.arange(40), nearest], atol=1e-12)
    assert distances.mean() == pytest.approx(memorisation_distance(generated, reference))


def test_images_without_features_have_no_neighbour_and_are_nobodys():
    generated = np.array([[0, 0], [1, 0.5], [0, 0]], np.float32)
    reference = np.array([[0, 0], [0, 1], [1, 0.4]], np.float32)
    distances, nearest = nearest_neighbours(generated, reference)
    assert np.isnan(distances).tolist() == [True, False, True]
    assert nearest.tolist() == [-1, 2, -1]
    assert np.nanmean(distances) == memorisation_distance(generated, reference)


def test_the_mean_is_the_scorecards_distance():
    images, reference = make_images(30, 0), Reference(make_images(20, 1), "photos")
    found = find_neighbours(images, reference, make_judge())
    card = score_images(images, reference, make_judge())
    assert (found.mean, found.eps) == (pytest.approx(card.distance, rel=1e-12), card.eps)


def test_a_copy_of_a_photo_comes_first():
    generated, reference = make_images(30, 0), make_images(20, 1)
    generated[17] = reference[3]
    found = find_neighbours(generated, Reference(reference, "photos"), make_judge())
    assert found.closest(1).tolist() == [17]
    assert found.nearest[17] == 3
    assert 0 <= found.distances[17] < 1e-6
    assert (len(found.distances), found.reference_images) == (30, 20)


def test_generated_and_reference_are_not_exchanged():
    one, other = make_images(9, 0), make_images(7, 1)
    forth = find_neighbours(one, Reference(other, "other"), make_judge())
    back = find_neighbours(other, Reference(one, "one"), make_judge())
    assert (len(forth.distances), len(back.distances)) == (9, 7)
    assert forth.mean != pytest.approx(back.mean, rel=1e-3)


@pytest.mark.parametrize(
    ("mean", "eps", "verdict"),
    [
        (0.2134, 0.1, "no penalty: 0.21, eps 0.10"),
        (0.0512, 0.1, "penalty: 0.05, eps 0.10"),
        (0.09957, 0.1, "penalty: 0.0996, eps 0.1000"),
        (0.1, 0.1, "no penalty: 0.10, eps 0.10"),
        (0.2, 0.125, "no penalty: 0.200, eps 0.125"),
        (0.1 - 1e-12, 0.1, "penalty: 0.1000000000, eps 0.1000000000"),
    ],
)
def test_the_verdict_shows_which_is_larger(mean, eps, verdict):
    assert make_neighbours([0.1], mean=mean, eps=eps).verdict == verdict


def test_the_closest_come_nearest_first_and_only_those_that_count():
    found = make_neighbours([0.3, np.nan, 0.1, 0.2, 0.1])
    assert found.closest(3).tolist() == [2, 4, 3]
    assert found.closest(99).tolist() == [2, 4, 3, 0]


def test_json_has_the_pairs_with_names_where_they_are_known():
    found = make_neighbours([0.3, np.nan, 0.1], reference_names=["a", "b", "c", "d", "e"])
    values = json.loads(json.dumps(found.as_dict(2), allow_nan=False))
    assert values["verdict"] == "no penalty: 0.20, eps 0.10"
    assert values["pairs"] == [
        {"generated": 2, "reference": 2, "reference_name": "c", "distance": 0.1},
        {"generated": 0, "reference": 0, "reference_name": "a", "distance": 0.3},
    ]
    unnamed = replace(found, reference_names=None)
    assert [pair["reference_name"] for pair in unnamed.as_dict(2)["pairs"]] == [None, None]


def test_what_was_written_is_read_again():
    found = make_neighbours([0.3, np.nan, 0.1], reference_names=["a", "b", "c", "d", "e"])
    read = parse_nearest(json.loads(json.dumps(found.as_dict(1))))
    assert (read.verdict, read.mean, read.eps) == (found.verdict, found.mean, found.eps)
    assert (read.generated_images, read.reference_images, sum(read.counts)) == (3, 5, 2)
    (pair,) = read.pairs
    assert (pair.generated, pair.reference, pair.reference_name) == (2, 2, "c")
    unnamed = parse_nearest(replace(found, reference_names=None).as_dict(1))
    assert unnamed.pairs[0].reference_name == "#2"


def test_the_summary_has_verdict_judge_and_pairs():
    found = make_neighbours([0.3, 0.1], notice="DOES NOT COMPARE", reference_names=list("abcde"))
    assert found.summary(1).splitlines() == [
        "no penalty: 0.20, eps 0.10",
        "judge: inception; DOES NOT COMPARE",
        "  0.1000  image 1, b",
    ]
    assert replace(found, reference_names=None).summary(1).endswith("image 1, #1")


@pytest.mark.parametrize(
    ("generated", "reference", "message"),
    [
        (make_images(1, 0), make_images(5, 1), "found 1 generated image"),
        (make_images(5, 0), make_images(1, 1), "found 1 reference image"),
        (make_images(5, 0), make_images(5, 0), "is one of the reference images"),
        (make_images(5, 0, channels=4), make_images(5, 1), r"\[5, 4, 4, 4\]"),
        (make_images(5, 0), make_images(5, 1, channels=4), r"\[5, 4, 4, 4\]"),
        (np.zeros((5, 4, 4, 3), np.uint8), make_images(5, 1), "generated features are zero"),
    ],
)
def test_images_without_meaningful_neighbours_are_refused(generated, reference, message):
    with pytest.raises(InputError, match=message):
        find_neighbours(generated, Reference(reference, "photos"), make_judge())


def test_names_are_the_origins_of_a_built_set(tiny_set, photos):
    names = read_reference([tiny_set.folder]).names
    assert len(names) == len(tiny_set)
    assert names[0].endswith("_0.jpg#0")
    assert read_reference([photos]).names is None
    assert read_reference([tiny_set.folder, photos]).names is None


def test_a_manifest_without_proper_origins_gives_no_names(tiny_set):
    file = tiny_set.folder / "manifest.json"
    for origins in (["too few"], "not a list", None, [0] * len(tiny_set)):
        file.write_text(json.dumps(tiny_set.manifest | {"origins": origins}))
        assert read_reference([tiny_set.folder]).names is None


def test_each_generated_image_stands_left_of_its_neighbour():
    generated, reference = make_images(6, 0, 64), make_images(5, 1, 64)
    found = make_neighbours([0.5, 0.1, 0.4, 0.2, 0.3, 0.6])
    pixels = np.asarray(draw_neighbours(found, generated, reference, 5))
    tile, left, top = 128, 32, 136
    places = [(left + round(place * 286.67), top) for place in range(4)] + [(left, top + 192)]
    for (x, y), index in zip(places, [1, 3, 4, 2, 0], strict=True):
        assert (pixels[y : y + tile : 2, x : x + tile : 2] == generated[index]).all()
        x += tile + 4
        assert (pixels[y : y + tile : 2, x : x + tile : 2] == reference[index % 5]).all()


def texts_of(monkeypatch, found, count=12, **images):
    """What is written on the picture, each text with its box (left, top, right, bottom)."""
    words, labels = [], []  # by Pillow, and by Matplotlib in the plot at the bottom
    draw_text = Text.draw

    def write(draw, place, text, colour, font):
        words.append((text, draw.textbbox(place, text, font)))

    def draw_noted(text, renderer):
        if text.get_visible() and text.get_text():
            labels.append((text.get_text(), text.get_window_extent(renderer)))
        draw_text(text, renderer)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", write)
    monkeypatch.setattr(Text, "draw", draw_noted)
    side = images.get("side", 8)
    canvas = draw_neighbours(
        found,
        make_images(len(found.distances), 0, side),
        make_images(5, 1, side, images.get("channels", 3)),
        count,
    )
    bottom = canvas.height
    words += [(text, (box.x0, bottom - box.y1, box.x1, bottom - box.y0)) for text, box in labels]
    return canvas, words


@pytest.mark.parametrize(
    "distances",
    [
        np.linspace(0.05, 0.149, 500),  # the mean close to eps
        np.linspace(0.001, 0.002, 30),  # far below it, at the left edge
        np.linspace(0.9, 1.0, 20_000),  # eps at the left edge
        [0.5, np.nan, 0.5],
        np.r_[np.full(30_000, 0.2), 0.0001],
    ],
)
def test_no_text_lies_on_another_or_beyond_the_edge(monkeypatch, distances):
    found = make_neighbours(
        distances,
        reference="a rather long path of photos " * 12,
        reference_names=["folder/" + "n02085620_10074" * 3 + ".jpg#0"] * 5,
    )
    canvas, boxes = texts_of(monkeypatch, found)
    assert len(boxes) > 20
    for text, (left, top, right, bottom) in boxes:
        assert 0 <= left <= right <= canvas.width, text
        assert 0 <= top <= bottom <= canvas.height, text
    for (one, a), (two, b) in itertools.combinations(boxes, 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, f"{one!r} and {two!r} overlap"


def test_the_picture_says_verdict_distances_names_eps_and_mean(monkeypatch):
    found = make_neighbours([0.25, 0.15], reference_names=["x/dog_7.jpg#1"] * 5)
    texts = [text for text, _ in texts_of(monkeypatch, found)[1]]
    for text in ("No penalty: 0.20, eps 0.10", "eps 0.1", "mean 0.2", "distance 0.1500"):
        assert text in texts
    assert texts.count("dog_7#1") == 2
    assert texts[2] == (
        "2 generated images (left), each with its nearest (right) by inception of 5 reference "
        "images: photos, crop 'full'"
    )


def test_orange_is_explained_where_there_is_some(monkeypatch):
    def title(*distances):
        texts = [text for text, _ in texts_of(monkeypatch, make_neighbours(distances))[1]]
        return next(text for text in texts if text.startswith("1 - |cosine|"))

    assert title(0.25, 0.15) == "1 - |cosine| of the features"
    assert "(orange: below eps" in title(0.25, 0.05)


@pytest.mark.parametrize("options", [{"side": 200}, {"channels": 1}, {"side": 3}])
def test_images_of_any_size_are_drawn(monkeypatch, options):
    canvas, _ = texts_of(monkeypatch, make_neighbours([0.25, 0.15]), **options)
    assert canvas.width == 1184


@pytest.mark.parametrize("most", [0.003, 0.09, 0.1, 0.31, 1.0])
def test_the_histogram_holds_every_image_and_one_bin_ends_at_eps(most):
    found = make_neighbours([most, 0.001, np.nan, most / 2])
    counts, edges = found.histogram()
    assert counts.sum() == 3
    assert edges[0] == 0
    assert edges[-1] > max(most, 0.1)
    assert np.abs(edges - 0.1).min() < 1e-12
    assert 40 <= len(edges) <= 110
    assert found.as_dict(1)["histogram"] == {"counts": counts.tolist(), "edges": edges.tolist()}


def test_a_huge_count_does_not_make_a_huge_picture():
    found = make_neighbours(np.linspace(0.2, 0.3, 1000))
    images = make_images(1000, 0)
    canvas = draw_neighbours(found, images, images, 1000)
    assert isinstance(canvas, Image.Image)
    assert canvas.height < 7000
