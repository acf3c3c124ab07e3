"""The reference's features are kept, found again, and never believed without a check."""

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from doggan.data.imageset import hash_images
from doggan.scoring import reference as module
from doggan.scoring.features import DeadlineExpiredError, extract_features
from doggan.scoring.reference import Reference
from doggan.scoring.score import score_images
from doggan.support.deadline import Deadline
from doggan.support.errors import InputError
from test_features import make_judge


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (20, 6, 7, 3), np.uint8)


@pytest.fixture
def lines():
    """What was said."""
    return []


@pytest.fixture
def extract(tmp_path, lines):
    """Features by way of the cache; a new judge each time, whose calls count its work."""

    def extract(images, judge=None, folder=tmp_path):
        judge = judge or make_judge()
        features = Reference(images, "dogs", cache=folder, say=lines.append).features(judge)
        return features, sum(judge.network.calls)

    return extract


def cache_entry(images, judge, cache=None):
    return Reference(images, "dogs", cache=cache).cache_entry(judge)


def only_file(folder):
    (path,) = (folder / "features").iterdir()
    return path


def test_the_second_time_nothing_is_judged(extract, images, lines):
    first, judged = extract(images)
    again, judged_again = extract(images)
    assert (judged, judged_again) == (20, 0)
    assert again.dtype == np.float32
    assert np.array_equal(first, again)
    assert np.array_equal(first, extract_features(images, make_judge()))
    assert lines == []


def test_a_second_score_judges_the_generated_images_alone(images, tmp_path):
    generated = np.random.default_rng(1).integers(0, 200, (9, 6, 7, 3), np.uint8)
    cards = []
    for judged in (29, 9):
        judge = make_judge()
        card = score_images(generated, Reference(images, "dogs", cache=tmp_path), judge)
        assert sum(judge.network.calls) == judged
        cards.append(replace(card, seconds=0))
    assert cards[0] == cards[1]


def test_memory_maps_and_arrays_have_the_same_entry(images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    judge = make_judge()
    assert cache_entry(mapped, judge).key == cache_entry(images, judge).key
    backwards = images[::-1]  # not contiguous
    assert cache_entry(backwards, judge).key == cache_entry(backwards.copy(), judge).key


def test_the_images_are_hashed_once_for_the_cache_and_the_scorecard(images, tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(module, "hash_images", lambda images: hashed.append(1) or "ab" * 32)
    generated = np.random.default_rng(1).integers(0, 200, (9, 6, 7, 3), np.uint8)
    reference = Reference(images, "dogs", cache=tmp_path)
    card = score_images(generated, reference, make_judge())
    assert (card.reference_sha256, hashed) == ("ab" * 32, [1])
    monkeypatch.undo()
    for _ in range(2):  # extracted, and from the cache
        reference = Reference(images, "dogs", cache=tmp_path)
        card = score_images(generated, reference, make_judge())
        assert card.reference_sha256 == hash_images(images)


def with_pixel(images):
    images = images.copy()
    images[-1, -1, -1, -1] ^= 1
    return images


@pytest.mark.parametrize(
    "change",
    [with_pixel, lambda images: images[:-1], lambda images: images.reshape(20, 7, 6, 3)],
)
def test_other_images_have_another_entry(images, change):
    judge = make_judge()
    assert cache_entry(change(images), judge).key != cache_entry(images, judge).key


@pytest.mark.parametrize(
    "change",
    [
        {"name": "inception"},
        {"weights_sha256": "1" * 64},
        {"resize": "nearest"},
        {"precision": "bf16"},
        {"device": "cuda:1"},
    ],
)
def test_another_judge_has_another_entry(images, change):
    judge = make_judge()
    assert cache_entry(images, replace(judge, **change)).key != cache_entry(images, judge).key


def test_another_format_has_another_entry(images, monkeypatch):
    before = cache_entry(images, make_judge()).key
    monkeypatch.setattr(module, "FORMAT_VERSION", module.FORMAT_VERSION + 1)
    assert cache_entry(images, make_judge()).key != before


def cut_short(data):
    return data[:-7]


def emptied(data):
    return b""


def one_bit_flipped(data):
    return data[:-40] + bytes([data[-40] ^ 1]) + data[-39:]


def torn_header(data):
    return b"\0" * 100 + data[100:]


def claims_too_much(data):
    """Believed, this header would take some 10 TB."""
    header, rest = data[:128], data[128:]
    return header.replace(b"(20, 3), }          ", b"(999999999999, 3), }") + rest


def other_type(data):
    return data.replace(b"<f4", b"<i4", 1)


def a_pickle(data):
    """NumPy would unpickle this, if it were let."""
    return data.replace(b"<f4", b"|O ", 1)


def padded_zeros(data):
    """What a crash can leave of a file: its length, and nothing in it."""
    return b"\0" * len(data)


@pytest.mark.parametrize(
    "damage",
    [
        cut_short,
        emptied,
        one_bit_flipped,
        torn_header,
        claims_too_much,
        other_type,
        a_pickle,
        padded_zeros,
        lambda data: data + b"\0" * 5000,
        lambda data: data + b"\0",
    ],
)
def test_damaged_files_are_found_out_and_rebuilt(extract, images, lines, tmp_path, damage):
    first, _ = extract(images)
    path = only_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    again, judged = extract(images)
    assert judged == 20
    assert np.array_equal(again, first)
    assert len(lines) == 1
    assert f"{path} is not usable" in lines[0]
    assert "extracting the features again" in lines[0]
    assert path.read_bytes() == whole
    assert extract(images)[1] == 0


def test_a_whole_file_of_other_images_is_found_out(extract, images, lines, tmp_path):
    """Renamed, it has the right length and shape, and its own checksum is right."""
    judge = make_judge()
    extract(images)
    path = only_file(tmp_path)
    other = cache_entry(with_pixel(images), judge, cache=tmp_path)
    shutil.copy(path, other.path)
    assert other.read() is None
    _, judged = extract(with_pixel(images))
    assert judged == 20
    assert "its checksum is wrong" in lines[0]


def test_a_folder_in_a_files_place_is_said_and_survived(extract, images, lines, tmp_path):
    entry = cache_entry(images, make_judge(), cache=tmp_path)
    entry.path.mkdir(parents=True)
    assert extract(images)[1] == 20
    assert "is not usable" in lines[0]
    assert "not kept for the next score" in lines[1]


def test_a_cache_that_cannot_be_written_costs_one_line(extract, images, lines, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    features, judged = extract(images, folder=blocked)
    assert judged == 20
    assert np.array_equal(features, extract_features(images, make_judge()))
    assert len(lines) == 1
    assert "the reference's features are not kept for the next score" in lines[0]
    assert "\n" not in lines[0]


def test_no_space_is_seen_before_writing(extract, images, lines, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    assert extract(images)[1] == 20
    assert len(lines) == 1
    assert "its disk has 100 B free; make room" in lines[0]
    assert not list(tmp_path.rglob("*.npy*"))


def test_space_that_runs_out_while_writing_leaves_nothing(
    extract, images, lines, tmp_path, monkeypatch
):
    def fail(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    assert extract(images)[1] == 20
    assert len(lines) == 1
    assert "No space left on device" in lines[0]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_cache_that_can_only_be_read_serves(extract, images, lines, monkeypatch):
    def fail(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    extract(images)
    monkeypatch.setattr(Path, "touch", fail)
    assert extract(images)[1] == 0
    assert lines == []


def test_the_latest_used_files_are_kept(images, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_FILES", 2)
    judge = make_judge()
    sets = [images, with_pixel(images), images[:-1]]
    entries = [cache_entry(images, judge, cache=tmp_path) for images in sets]
    for age, entry, each in zip((300, 200, 100), entries, sets, strict=True):
        if entry is entries[2]:
            assert entries[0].read() is not None  # and so it is used later than the second
        entry.write(extract_features(each, judge))
        if entry is not entries[2]:
            now = entry.path.stat().st_mtime
            os.utime(entry.path, (now - age, now - age))
    assert [entry.path.exists() for entry in entries] == [True, False, True]


def test_two_writers_of_one_entry_leave_one_whole_file(images, tmp_path, lines, monkeypatch):
    """While the first writes, a second comes, writes and is read; then the first ends."""
    judge = make_judge()
    features = extract_features(images, judge)
    first, second = (
        Reference(images, "dogs", cache=tmp_path, say=lines.append).cache_entry(judge)
        for _ in range(2)
    )
    whole, seen = os.fsync, []

    def meanwhile(handle):
        whole(handle)
        if not seen:
            seen.append(second.read())  # what the first has half written is not believed
            second.write(features)
            seen.append(second.read())

    monkeypatch.setattr(os, "fsync", meanwhile)
    first.write(features)
    assert seen[0] is None
    assert all(np.array_equal(found, features) for found in (seen[1], first.read()))
    assert only_file(tmp_path) == first.path == second.path
    assert lines == []


def test_many_at_once_find_the_same_features(images, tmp_path, lines):
    def score(_):
        judge = make_judge()
        return Reference(images, "dogs", cache=tmp_path, say=lines.append).features(judge)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(score, range(32)))
    assert all(np.array_equal(each, found[0]) for each in found)
    assert only_file(tmp_path)
    assert lines == []


def test_the_deadline_is_passed_on_and_nothing_is_kept(images, tmp_path):
    deadline = Deadline(0.5, clock=iter([0.0, 1.0]).__next__)
    with pytest.raises(DeadlineExpiredError):
        Reference(images, "dogs", cache=tmp_path).features(make_judge(), deadline)
    assert not (tmp_path / "features").exists()


def test_other_things_than_images_are_refused(tmp_path):
    with pytest.raises(InputError, match="the judge takes images"):
        Reference([1, 2], "dogs", cache=tmp_path).features(make_judge())


def test_the_users_own_folder_is_the_default(images, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    entry = cache_entry(images, make_judge())
    assert entry.path == tmp_path / "doggan" / "features" / f"{entry.key}.npy"


def test_lines_go_to_stderr_unless_somebody_takes_them(images, tmp_path, capsys):
    Reference(images, "dogs", cache=tmp_path).features(make_judge())
    only_file(tmp_path).write_bytes(b"")
    Reference(images, "dogs", cache=tmp_path).features(make_judge())
    out, err = capsys.readouterr()
    assert out == ""
    assert "its length is wrong" in err
