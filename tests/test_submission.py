"""The zip: the same bytes for the same images, and every rule of the competition held."""

import hashlib
import io
import json
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conftest import encode
from doggan.data.archives import open_files
from doggan.submission import (
    SubmissionCheck,
    check_submission,
    encode_png,
    parse_check,
    write_submission,
)
from doggan.support.errors import DogganError, InputError


def images(count, side=64):
    return np.random.default_rng(1).integers(0, 256, (count, side, side, 3), np.uint8)


def png(seed=0, size=(64, 64), mode="RGB", format="PNG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return encode(Image.fromarray(pixels).convert(mode), format)


def make_zip(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def test_what_was_written_is_what_was_given(tmp_path):
    given = images(7)
    check = write_submission([given[:4], given[4:]], tmp_path / "images.zip", count=7)
    assert check.valid
    assert check.summary() == f"{tmp_path}/images.zip: valid, 7 PNG images of 64x64 RGB at the root"
    with zipfile.ZipFile(tmp_path / "images.zip") as archive:
        names = archive.namelist()
        assert names == [f"dog_{index:05d}.png" for index in range(7)]
        for name, image in zip(names, given, strict=True):
            with archive.open(name) as stream:
                assert (np.asarray(Image.open(stream)) == image).all()


def test_the_same_images_give_the_same_bytes(tmp_path):
    for name in ("a.zip", "b.zip"):
        write_submission([images(5)], tmp_path / name, count=5)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def fixed_images():
    """Five images by arithmetic alone, [5, 64, 64, 3] uint8: no library's chance is in them."""
    index = np.arange(5 * 64 * 64 * 3, dtype=np.int64)
    return (index * index // 61 % 251).astype(np.uint8).reshape(5, 64, 64, 3)


def chunks(png):
    """The kinds of the chunks of a PNG file, in order, and the content of the first."""
    kinds, contents, place = [], [], 8
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        kinds.append(png[place + 4 : place + 8])
        contents.append(png[place + 8 : place + 8 + length])
        place += 12 + length
    return kinds, contents[0]


def test_fixed_images_give_the_same_zip_whatever_compresses_them(tmp_path):
    """Pinned is all but the compressed bytes, which are another zlib's matter, and the lengths."""
    path = tmp_path / "images.zip"
    write_submission([fixed_images()[:2], fixed_images()[2:]], path, count=5)
    digest, headers = hashlib.sha256(), []
    with zipfile.ZipFile(path) as archive:
        assert archive.comment == b""
        for entry in archive.infolist():
            png = archive.read(entry)
            assert entry.compress_size == entry.file_size == len(png)
            assert png[:8] == b"\x89PNG\r\n\x1a\n"
            kinds, header = chunks(png)
            # No chunk tells a time, a program or a place.
            assert (kinds[0], {*kinds[1:-1]}, kinds[-1]) == (b"IHDR", {b"IDAT"}, b"IEND")
            assert header == struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)  # 8 bits, RGB
            with Image.open(io.BytesIO(png)) as image:
                digest.update(image.tobytes())
            headers.append(
                (
                    entry.filename,
                    entry.date_time,
                    entry.compress_type,
                    entry.create_system,
                    entry.external_attr,
                    entry.flag_bits,
                    entry.extra,
                    entry.comment,
                )
            )
    assert digest.hexdigest() == "2477ef87771afce0f7cafdfb0c2439c966a5e605998f0f8d29f1fa2928cb01cc"
    fixed = ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED, 3, 0o644 << 16, 0, b"", b"")
    assert headers == [(f"dog_0000{index}.png", *fixed) for index in range(5)]
    # The headers before the images say the same as the directory at the end.
    local = path.read_bytes()[:30]
    assert local[:4] == b"PK\x03\x04"
    version, flags, method, clock, date = struct.unpack("<HHHHH", local[4:14])
    assert (version, flags, method, clock, date) == (20, 0, zipfile.ZIP_STORED, 0, 1 << 5 | 1)


def test_a_zip_that_breaks_the_rules_is_not_kept(tmp_path):
    path = tmp_path / "images.zip"
    path.write_bytes(b"the previous one")
    with pytest.raises(DogganError, match=r"was not kept\. .*images\.zip: not valid"):
        write_submission([images(3)], path, count=4)
    assert path.read_bytes() == b"the previous one"
    assert list(tmp_path.iterdir()) == [path]


def test_the_zip_of_a_collapsed_generator_is_kept_and_told(tmp_path):
    check = write_submission([np.repeat(images(1), 4, axis=0)], tmp_path / "images.zip", count=4)
    assert list(check.problems) == ["the same picture twice"]
    assert check_submission(tmp_path / "images.zip", count=4).problems == check.problems


def test_images_of_another_size_are_refused(tmp_path):
    with pytest.raises(InputError, match="wants 64x64 RGB images; these are 32x32x3"):
        write_submission([images(2, side=32)], tmp_path / "images.zip", count=2)


@pytest.mark.parametrize(
    ("name", "data", "rule"),
    [
        ("folder/b.png", png(1), "not at the root"),
        ("folder\\b.png", png(1), "not at the root"),
        ("../b.png", png(1), "not at the root"),
        ("b.png", png(1, (64, 63)), "not 64x64 pixels"),
        ("b.png", png(1, (65, 64)), "not 64x64 pixels"),
        ("b.png", png(1, mode="L"), "not RGB (L)"),
        ("b.png", png(1, mode="RGBA"), "not RGB (RGBA)"),
        ("b.png", png(1, format="JPEG"), "not in PNG format (JPEG)"),
        ("b.png", b"damaged", "unreadable"),
        ("b.png", png(1)[:500], "unreadable"),
        ("b.png", b"\x00" * 1_000_001, "over 1.0 MB"),
        ("b.png", png(0), "the same picture twice"),
    ],
)
def test_every_rule_names_who_breaks_it(tmp_path, name, data, rule):
    path = make_zip(tmp_path / "x.zip", [("a.png", png(0)), (name, data)])
    check = check_submission(path, count=2)
    assert not check.valid
    assert list(check.problems) == [rule]
    assert check.problems[rule][0].startswith(name)
    assert f"  {rule}: {name}" in check.summary()


def test_other_files_folders_and_doubles_are_named(tmp_path):
    entries = [("a.png", png(0)), ("notes.txt", b""), ("sub/", b""), ("a.png", png(1))]
    with pytest.warns(UserWarning, match="Duplicate"):
        path = make_zip(tmp_path / "x.zip", entries)
    problems = check_submission(path, count=2).problems
    assert problems == {
        "folders, where all images lie at the root": ["sub/"],
        "other files than .png": ["notes.txt"],
        "names used twice": ["a.png"],
    }


def test_a_wrong_count_is_said_and_long_lists_are_cut(tmp_path):
    path = make_zip(tmp_path / "x.zip", [(f"{index}.png", b"") for index in range(8)])
    check = check_submission(path)
    assert check.problems["wrong number of images"] == ["8 found, 10,000 expected"]
    assert "unreadable: 0.png, 1.png, 2.png, 3.png, 4.png and 3 more" in check.summary()
    assert check.as_dict()["valid"] is False


def test_what_was_written_is_read_again_but_for_the_place():
    problems = {"unreadable": [f"{index}.png" for index in range(8)]}
    check = SubmissionCheck(path="images.zip", images=8, expected=9, problems=problems)
    read = parse_check(json.loads(json.dumps(check.as_dict())))
    assert read == replace(check, path="")
    assert read.shown_problems == [("unreadable", ["0.png", "1.png", "2.png", "3.png", "4.png"], 3)]


def test_what_a_page_shows_of_a_check_has_bounds():
    problems = {f"rule {index}": ["x" * 1000] * 9 for index in range(50)}
    check = SubmissionCheck(path="", images=0, expected=0, problems=problems)
    assert len(check.shown_problems) == 20
    assert check.shown_problems[0] == ("rule 0", ["x" * 300] * 5, 4)


def test_a_damaged_entry_does_not_hide_the_others(tmp_path):
    path = make_zip(tmp_path / "x.zip", [("a.png", png(0)), ("b.png", png(1))])
    data = bytearray(path.read_bytes())
    data[100:110] = b"\xff" * 10
    path.write_bytes(data)
    check = check_submission(path, count=2)
    assert check.problems == {"unreadable": ["a.png"]}
    assert check.images == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", None])
def test_what_is_no_zip_is_said(tmp_path, content):
    path = tmp_path / "x.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"not a readable zip|does not exist"):
        check_submission(path)


@pytest.mark.parametrize(
    ("offset", "damage"),
    [(6, b"\xa2"), (46, b"\xff")],  # the version it needs; its name, which is said to be UTF-8
)
def test_a_directory_that_zipfile_cannot_read_is_one_sentence(tmp_path, offset, damage):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("größer.png", b"")
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\1\2") + offset
    data[place : place + len(damage)] = damage
    path.write_bytes(data)
    with pytest.raises(InputError, match="not a readable zip"):
        check_submission(path)
    with pytest.raises(InputError, match="not a readable zip"):
        open_files([path])


def test_a_folder_is_no_zip(tmp_path):
    with pytest.raises(InputError, match="is not a regular file; expected a submission zip"):
        check_submission(tmp_path)


def test_a_png_is_the_same_bytes_for_the_same_pixels():
    (image,) = images(1)
    assert encode_png(image) == encode_png(image.copy())
