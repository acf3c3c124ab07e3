"""Entries side by side: compared only where they can be, ranked only where they differ."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from doggan import __version__
from doggan.cli.main import main
from doggan.scoring.comparison import CONDITIONS, Entry, Ranking, compare, summarise
from doggan.scoring.scorecard import Scorecard, read_scorecard
from doggan.support.errors import InputError

CARD = Scorecard(
    fid=20.0,
    distance=0.2,
    mifid=20.0,
    fid_interval=(19.0, 21.0),
    mifid_interval=(19.0, 21.0),
    eps=0.1,
    judge="inception",
    weights_sha256="6726825d" + "0" * 56,
    resize="bilinear",
    precision="fp32",
    generated_images=10_000,
    reference_images=20_579,
    reference="photos, crop 'full'",
    reference_sha256="1a2b3c4d" + "0" * 56,
    comparable_with_kaggle=True,
    notice="",
    seconds=1.0,
)
OTHER = {"judge": "other", "precision": "bf16", "resize": "bicubic", "eps": 0.25}


def entry(name, low, high, **changes):
    mifid = (low + high) / 2
    return Entry(name, replace(CARD, mifid=mifid, mifid_interval=(low, high), **changes))


def ranking(*spans):
    names = "ABCDEFGH"
    return Ranking(tuple(entry(names[i], *span) for i, span in enumerate(spans)))


def names(entries):
    return "".join(each.name for each in entries)


def test_intervals_apart_are_ranked_and_those_that_overlap_are_not():
    three = ranking((1, 3), (2, 5), (6, 7))
    assert [three.rank(each) for each in three.entries] == [(1, 2), (1, 2), (3, 3)]
    assert [names(three.within_noise_of(each)) for each in three.entries] == ["B", "A", ""]
    assert three.best.name == "A"


def test_noise_is_not_handed_on():
    """A and C are apart, though both are within noise of B."""
    chain = ranking((1, 3), (2, 5), (4, 6))
    assert [chain.rank(each) for each in chain.entries] == [(1, 2), (1, 3), (2, 3)]
    assert [names(cluster) for cluster in chain.clusters()] == ["AB", "BC"]


def test_intervals_that_touch_overlap():
    assert [names(cluster) for cluster in ranking((1, 2), (2, 3)).clusters()] == ["AB"]


@pytest.mark.parametrize("seed", range(20))
def test_ranks_and_clusters_are_those_of_every_pair(seed):
    ends = np.random.default_rng(seed).integers(0, 12, (6, 2))
    some = ranking(*(tuple(sorted(map(int, pair))) for pair in ends))
    for one, two in itertools.combinations(some.entries, 2):
        (first1, last1), (first2, last2) = some.rank(one), some.rank(two)
        if one.overlaps(two):
            assert first1 <= last2
            assert first2 <= last1
        else:
            assert (first1 < first2 and last1 < last2) == (
                one.scorecard.mifid < two.scorecard.mifid
            )
    cliques = {
        members
        for size in range(2, 7)
        for members in itertools.combinations(some.entries, size)
        if all(one.overlaps(two) for one, two in itertools.combinations(members, 2))
    }
    largest = {names(one) for one in cliques if not any(set(one) < set(two) for two in cliques)}
    assert {names(cluster) for cluster in some.clusters()} == largest
    assert len(some.clusters()) == len(largest)


def test_entries_are_sorted_by_mifid_whatever_their_order():
    entries = [entry("far", 8, 9), entry("near", 1, 2), entry("middle", 4, 5)]
    for order in itertools.permutations(entries):
        (only,) = compare(order)
        assert [each.name for each in only.entries] == ["near", "middle", "far"]
        assert [only.rank(each) for each in only.entries] == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_other_conditions_are_another_group(condition):
    value = OTHER.get(condition) or (7 if condition.endswith("images") else "x")
    known = {"reference_sha256": None} if condition == "reference" else {}
    rankings = compare(
        [
            entry("a", 1, 2, **known),
            entry("b", 8, 9, **known | {condition: value}),
            entry("c", 1.5, 2.5, **known),
        ]
    )
    assert [names(each.entries) for each in rankings] == ["ac", "b"]
    assert rankings[1].rank(rankings[1].entries[0]) == (1, 1)
    text = summarise(rankings)
    said = condition.replace("_", " ")
    assert f"2 groups, which differ in {said}: scores of different groups do not compare" in text
    assert "groups" not in summarise(rankings[:1])


def test_the_references_images_count_and_not_their_name():
    here, there = entry("here", 1, 2), entry("there", 8, 9, reference="elsewhere/photos.zip")
    (only,) = compare([here, there])
    assert names(only.entries) == "herethere"
    assert only.as_dict()["conditions"]["reference"] == "photos, crop 'full'"
    changed = entry("there", 8, 9, reference_sha256="f" * 64)
    assert len(compare([here, changed])) == 2
    headers = {each.table().splitlines()[0] for each in compare([here, changed])}
    assert len(headers) == 2  # which of the two is which can be seen


def test_an_older_card_compares_by_name_and_with_older_cards_alone():
    """Whether its images are those of a card with a hash, nobody knows."""
    old = [entry(name, 1, 2, reference_sha256=None) for name in "ab"]
    other = entry("c", 1, 2, reference_sha256=None, reference="elsewhere")
    rankings = compare([*old, other, entry("d", 1, 2)])
    assert [names(each.entries) for each in rankings] == ["ab", "c", "d"]


def test_the_table_is_aligned_and_names_what_is_within_noise():
    entries = [
        entry("runs/long-name", 100, 102, distance=0.05),
        entry("b", 9, 11),
        entry("c", 10.5, 12.5),
    ]
    lines = compare(entries)[0].table().splitlines()
    assert lines[0] == (
        "inception, fp32, weights 6726825d, bilinear; 10,000 images each against 20,579 of "
        "photos, crop 'full' (sha256 1a2b3c4d)"
    )
    assert lines[2:5] == [
        "1-2   b                10.00  9.00 to 11.00     20.00  19.00 to 21.00    0.2000",
        "1-2   c                11.50  10.50 to 12.50    20.00  19.00 to 21.00    0.2000",
        "3     runs/long-name  101.00  100.00 to 102.00  20.00  19.00 to 21.00    0.0500  penalty",
    ]
    assert lines[5].startswith("intervals cover which images were drawn")
    assert lines[6:] == ["within noise, not ranked apart: b, c"]


def test_precision_and_recall_have_columns_and_a_word_where_they_are_known():
    known = entry("a", 1, 2, manifold_precision=0.71, manifold_recall=0.234)
    table = compare([known, entry("b", 3, 4)])[0].table()
    header, one, other = table.splitlines()[1:4]
    assert header.split()[-2:] == ["precision", "recall"]
    assert one.split()[-2:] == ["0.710", "0.234"]
    assert other.split()[-1] == "0.2000"
    assert "low precision: many images look like no dog; low recall: many dogs are" in table
    assert "precision" not in compare([entry("b", 3, 4)])[0].table().splitlines()[1]
    words = known.scorecard.summary()
    assert "precision 0.7100 of the generated images look like real ones" in words
    assert "recall    0.2340 of the real images look like generated ones" in words
    assert known.scorecard.as_dict()["manifold_recall"] == 0.234


def test_what_kaggle_would_not_score_so_is_said():
    lite = entry("a", 1, 2, comparable_with_kaggle=False)
    said = "not comparable with Kaggle's board"
    assert said in compare([lite])[0].table().splitlines()[0]
    assert said not in compare([entry("a", 1, 2)])[0].table()


@pytest.fixture
def card_file(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    CARD.write(folder / "scorecard.json")
    return folder / "scorecard.json"


def test_what_was_written_is_read_from_the_file_or_its_folder(card_file):
    assert read_scorecard(card_file) == CARD
    assert read_scorecard(card_file.parent) == CARD


def test_a_card_of_doggans_first_days_is_read(card_file):
    old = {name: value for name, value in CARD.as_dict().items() if name != "reference_sha256"}
    card_file.write_text(json.dumps(old))
    assert read_scorecard(card_file) == replace(CARD, reference_sha256=None)
    assert main(["compare", str(card_file)]) == 0
    read_scorecard(card_file).write(card_file)
    assert read_scorecard(card_file) == replace(CARD, reference_sha256=None)


def changed(**changes):
    return json.dumps(CARD.as_dict() | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"scorecard\.json is damaged, or no scorecard"),
        (json.dumps(CARD.as_dict())[:200], r"scorecard\.json is damaged, or no scorecard"),
        ("\udcff", "is damaged, or no scorecard"),
        ("[" * 100_000, "is damaged, or no scorecard"),
        (changed(mifid=float("nan")), "it holds NaN"),
        ("[1, 2]", "is not a scorecard"),
        ('{"images": 20}', "is not a scorecard"),
        (" " * 1_000_001, "is not a scorecard: it has 1.0 MB"),
        (changed(mifid="12.5"), "is damaged: mifid is '12.5'"),
        (changed(mifid=True), "is damaged: mifid is 'True'"),
        (changed(mifid=10**400), "is damaged: mifid is '1000"),
        (changed(generated_images=-1), "is damaged: generated_images is '-1'"),
        (changed(comparable_with_kaggle=1), "is damaged: comparable_with_kaggle is '1'"),
        (changed(judge="\x1b[2J"), "is damaged: judge is"),
        (changed(judge=None), "is damaged: judge is 'None'"),
        (changed(reference_sha256=12), "is damaged: reference_sha256 is '12'"),
        (changed(mifid_interval=[2, 1]), r"is damaged: mifid_interval is '\[2, 1\]'"),
        (changed(mifid_interval=[1]), "is damaged: mifid_interval"),
        (changed(mifid_interval="wide"), "is damaged: mifid_interval"),
        (
            changed(precision_bits=8, doggan="9.1"),
            rf"was written by doggan 9\.1, and the scorecards of this {__version__} differ in "
            "precision_bits; score the images again",
        ),
        (
            json.dumps({k: v for k, v in CARD.as_dict().items() if "interval" not in k}),
            "differ in fid_interval, mifid_interval; score the images again",
        ),
        (
            json.dumps({"mifid": 1.0, "judge": "x", "doggan": "0.0.1"}),
            "was written by doggan 0.0.1, .* differ in comparable_with_kaggle, distance",
        ),
    ],
)
def test_a_file_that_is_no_scorecard_of_this_version_is_refused(card_file, text, message):
    card_file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message):
        read_scorecard(card_file)
    assert main(["compare", str(card_file.parent)]) == 2


def test_a_folder_without_a_scorecard_is_told_how_to_get_one(tmp_path):
    with pytest.raises(InputError, match=r"holds no scorecard\.json; write one with: doggan score"):
        read_scorecard(tmp_path)
    with pytest.raises(InputError, match="nowhere does not exist"):
        read_scorecard(tmp_path / "nowhere")


def test_the_command_prints_a_table_or_json(card_file, tmp_path, capsys):
    other = tmp_path / "other.json"
    other.write_text(changed(mifid=30.0, mifid_interval=[29.0, 31.0]))
    assert main(["compare", str(other), str(card_file.parent)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["rank", "entry", "MiFID"]
    assert lines[2].split()[:3] == ["1", str(card_file.parent), "20.00"]
    assert lines[3].split()[:3] == ["2", str(other), "30.00"]
    assert main(["compare", str(other), str(card_file.parent), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    (group,) = result["groups"]
    assert result["differ_in"] == []
    assert group["best"] == str(card_file.parent)
    assert group["conditions"]["judge"] == "inception"
    assert [each["rank"] for each in group["entries"]] == [[1, 1], [2, 2]]
    assert group["entries"][0]["scorecard"] == json.loads(json.dumps(CARD.as_dict()))
