"""Names that are no UTF-8 or no ASCII: they are used, printed and reported like any other."""

import io
import json
import os
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from conftest import TINY, as_options, encode, write
from doggan.cli.main import main
from doggan.data.imageset import open_imageset

BYTES = b"h\xfcndchen"  # Latin-1, as an old disk has it
NAME = os.fsdecode(BYTES)
SHOWN = "h\\udcfcndchen"  # as Python shows what it cannot print
SET_TINY = as_options(TINY)
JUDGE = ("--judge", "efficientnet-lite0")


def doggan(*arguments):
    return main([str(argument) for argument in arguments])


def png(seed, side=64):
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return encode(Image.fromarray(pixels), "PNG")


@pytest.fixture
def odd_photos(tmp_path):
    """Six photos in two folders; a folder, a photo in each, and what holds them are oddly named."""
    folder = tmp_path / f"photos-{NAME}"
    try:
        for seed, name in enumerate((f"{NAME}/a", f"{NAME}/{NAME}", "cats/b", f"cats/{NAME}")):
            write(folder / f"{name}.png", png(seed))
        write(folder / "cats" / f"broken-{NAME}.png", b"")
    except OSError:
        pytest.skip("this disk takes no name that is not UTF-8; zips with such names are tested")
    return folder


def test_names_that_are_no_utf8_go_through_build_run_and_report(odd_photos, tmp_path, capsys):
    assert doggan("build", odd_photos, "--out", tmp_path / f"set-{NAME}") == 0
    built = open_imageset(tmp_path / f"set-{NAME}")
    assert f"set-{SHOWN}: 4 images" in capsys.readouterr().out
    assert {os.fsencode(name) for name in built.label_names} == {BYTES, b"cats"}
    assert os.fsencode(built.manifest["origins"][-1]).startswith(BYTES)
    assert built.manifest["counts"]["skipped"] == {"unreadable photo": 1}

    run, page = tmp_path / "run", tmp_path / f"{NAME}.html"
    values = [*SET_TINY, "--set", "networks.conditional=true", "--set", "submission.choose=false"]
    assert doggan("run", odd_photos, "--out", run, *JUDGE, *values) == 0
    assert f"photos-{SHOWN}" in capsys.readouterr().out
    assert doggan("sample", run, "--label", NAME, "--out", tmp_path / f"{NAME}.png") == 0
    reference = ("--reference", odd_photos, *JUDGE)
    assert doggan("neighbours", run / "images.zip", *reference) == 0
    assert SHOWN in capsys.readouterr().out
    assert doggan("report", run, "--out", page) == 0
    assert f"{SHOWN}.html" in capsys.readouterr().out
    assert page.read_text("utf-8").rstrip().endswith("</html>")


def test_a_run_folder_that_is_no_utf8_is_refused_before_anything_is_done(
    odd_photos, tmp_path, capsys
):
    out = tmp_path / f"run-{NAME}"
    assert doggan("run", odd_photos, "--out", out, *SET_TINY) == 2
    assert f"run-{SHOWN} is not UTF-8; choose another --out" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("old", [False, True], ids=["utf-8", "cp437"])
def test_photos_of_a_zip_may_have_names_beyond_ascii(tmp_path, old):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for seed, name in enumerate(("Hündin/é.png", "Hündin/b.png", "cats/c.png")):
            archive.writestr(name.replace("ü", "#").replace("é", "~") if old else name, png(seed))
    if old:  # a zip of before 2006 is in the letters of the first PCs, and does not say so
        data = path.read_bytes().replace(b"H#ndin", "Hündin".encode("cp437"))
        path.write_bytes(data.replace(b"/~.png", "/é.png".encode("cp437")))
    assert doggan("build", path, "--out", tmp_path / "set") == 0
    built = open_imageset(tmp_path / "set")
    assert built.label_names == ["Hündin", "cats"]
    assert built.manifest["origins"] == ["Hündin/b.png#0", "Hündin/é.png#0", "cats/c.png#0"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_entries_beyond_ascii_are_checked_and_named(tmp_path, monkeypatch, encoding):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("žába.png", png(0))
        archive.writestr("Hündin.png", png(1, side=32))
    stdout = io.TextIOWrapper(io.BytesIO(), encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert doggan("check", tmp_path / "images.zip", "--count", 2) == 1
    told = stdout.buffer.getvalue().decode(encoding)
    name = "Hündin.png" if encoding == "utf-8" else "H\\xfcndin.png"
    assert f"not 64x64 pixels: {name}" in told
    assert "ba.png" not in told
    stdout.buffer.truncate(0), stdout.buffer.seek(0)
    assert doggan("check", tmp_path / "images.zip", "--count", 2, "--json") == 1
    found = json.loads(stdout.buffer.getvalue().decode(encoding))
    assert found["problems"] == {"not 64x64 pixels": ["Hündin.png"]}
