"""Annotations are read whole, paired by path, and never trusted."""

import zipfile
from collections import Counter

import pytest

from conftest import annotation, make_photos, write
from doggan.data.stanford import Box, find_photos, parse_annotation
from doggan.support.errors import InputError


def test_every_object_gives_a_box():
    parsed = parse_annotation(annotation((200, 100), [(1, 2, 30, 40), (50, 6, 70, 80)]))
    assert parsed.frame == (200, 100)
    assert parsed.boxes == (Box(1, 2, 30, 40), Box(50, 6, 70, 80))
    assert (parsed.boxes[1].width, parsed.boxes[1].height) == (20, 74)


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 1, 2, 3), ("x", 1, 2, 3), ("nan", 1, 2, 3)])
def test_a_box_that_is_none_is_counted_not_fatal(box):
    assert parse_annotation(annotation((9, 9), [box, (1, 2, 3, 4)])).boxes == (
        None,
        Box(1, 2, 3, 4),
    )


def test_a_missing_frame_is_none():
    assert parse_annotation(annotation(None, [])).frame is None
    assert parse_annotation(annotation((0, 0), [])).frame is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not xml",
        b"<annotation>",
        b"<other/>",
        b'<!DOCTYPE a [<!ENTITY x "xx">]><annotation>&x;</annotation>',
        b"<annotation>" + b" " * 1_000_001 + b"</annotation>",
    ],
)
def test_what_is_no_annotation_is_refused(data):
    with pytest.raises(ValueError, match=r"XML|root|too large"):
        parse_annotation(data)


def test_photos_and_annotations_are_paired_by_path(tmp_path):
    make_photos(tmp_path / "photos", count=4)
    found = find_photos([tmp_path / "photos"])
    assert [photo.label for photo in found.photos] == ["n90000001-Red_dog"] * 2 + [
        "n90000002-Blue_dog"
    ] * 2
    assert found.photos[1].annotation.boxes == (Box(12, 8, 72, 60),)
    assert (found.annotations, found.skipped) == (4, [])


def test_kaggles_layout_and_lonely_files(tmp_path):
    for name in ("n1_1.jpg", "n1_2.jpg", "n2_1.jpg"):
        write(tmp_path / "all-dogs" / "all-dogs" / name, b"")
    folder = tmp_path / "annotation" / "Annotation" / "n1-Pug"
    write(folder / "n1_1", annotation((9, 9), [(1, 1, 5, 5)]))
    write(folder / "n1_2", b"damaged")
    write(folder / "n1_3", annotation((9, 9), [(1, 1, 5, 5)]))
    found = find_photos([tmp_path])
    assert [(photo.label, photo.annotation is None) for photo in found.photos] == [
        ("n1-Pug", False),
        ("n1-Pug", True),
        ("unknown", True),
    ]
    assert Counter(reason for reason, _ in found.skipped) == {
        "unreadable annotation": 1,
        "annotation without a photo": 1,
    }


def test_a_plain_folder_has_labels_from_its_folders(tmp_path):
    write(tmp_path / "cats" / "a.png", b"")
    write(tmp_path / "dogs" / "b.jpg", b"")
    found = find_photos([tmp_path])
    assert found.annotations == 0
    assert [photo.label for photo in found.photos] == ["cats", "dogs"]


def test_nothing_to_find_is_said(tmp_path):
    (tmp_path / "here").mkdir()
    with pytest.raises(InputError, match="here holds no photos; expected"):
        find_photos([tmp_path / "here"])


def test_all_genuine_annotations_are_read(real_annotations):
    with zipfile.ZipFile(real_annotations) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        parsed = [parse_annotation(archive.read(name)) for name in names]
    boxes = [len(item.boxes) for item in parsed]
    assert (len(parsed), sum(boxes), sum(count > 1 for count in boxes)) == (712, 751, 38)
    assert all(None not in item.boxes for item in parsed)
