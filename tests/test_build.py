"""Built sets: the same bytes for any number of workers, everything skipped is counted."""

import json
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conftest import annotation, encode, make_photos, write
from doggan.data import build
from doggan.data.build import build_imageset, read_images
from doggan.data.images import load_images
from doggan.data.imageset import is_imageset, open_imageset
from doggan.recipe import DataRecipe
from doggan.scoring.reference import read_reference
from doggan.support.errors import InputError

RECIPE = DataRecipe(side_px=16)
MIXED = replace(RECIPE, crop="mixed", frame_side_px=24)


def folder_bytes(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("recipe", [RECIPE, MIXED], ids=["square", "mixed"])
def test_any_number_of_workers_gives_the_same_bytes(photos, tmp_path, monkeypatch, recipe):
    for workers in (1, 3):
        pool = ThreadPoolExecutor(workers)
        monkeypatch.setattr(build, "ThreadPoolExecutor", lambda cores, pool=pool: pool)
        build_imageset([photos], tmp_path / f"set{workers}", recipe)
    assert folder_bytes(tmp_path / "set1") == folder_bytes(tmp_path / "set3")


def test_folder_zip_and_tars_give_the_same_set(photos, tmp_path):
    shutil.make_archive(str(tmp_path / "photos"), "zip", photos)
    for name, part in (("images.tar", "Images"), ("annotation.tar", "Annotation")):
        with tarfile.open(tmp_path / name, "w") as archive:
            archive.add(photos / part, part)
    sources = [
        [photos],
        [tmp_path / "photos.zip"],
        [tmp_path / "images.tar", tmp_path / "annotation.tar"],
    ]
    sets = [
        build_imageset(source, tmp_path / f"set{number}", RECIPE)
        for number, source in enumerate(sources)
    ]
    assert len(sets[0]) == 12
    assert len({item.sha256 for item in sets}) == 1
    assert len({item.manifest["source_sha256"] for item in sets}) == 1


def test_images_labels_and_origins_belong_together(photos, tmp_path):
    built = build_imageset([photos], tmp_path / "set", DataRecipe(crop="tight", side_px=16))
    assert built.images.shape == (12, 16, 16, 3)
    assert built.label_names == ["n90000001-Red_dog", "n90000002-Blue_dog"]
    assert built.labels.tolist() == [0] * 6 + [1] * 6
    # Red is dark in the first breed, green in the second.
    means = np.asarray(built.images).mean(axis=(1, 2))
    assert (means[:6].argmin(1) == 0).all()
    assert (means[6:].argmin(1) == 1).all()
    assert built.manifest["origins"][0] == "Images/n90000001-Red_dog/n90000001_0.jpg#0"
    assert "12 images of 16x16x3, 2 labels, crop 'tight'" in built.describe()


def test_a_mixed_set_keeps_the_frame_of_every_square(photos, tmp_path):
    breed = "n90000002-Blue_dog"
    two = annotation((60, 80), [(1, 1, 30, 30), (30, 40, 60, 80)])
    write(photos / "Annotation" / breed / "n90000002_99", two)
    photo = Image.linear_gradient("L").resize((60, 80))
    write(photos / "Images" / breed / "n90000002_99.jpg", encode(photo, "PNG"))
    square, full = (
        build_imageset([photos], tmp_path / crop, DataRecipe(crop=crop, side_px=side))
        for crop, side in (("square", 16), ("full", 24))
    )
    mixed = build_imageset([photos], tmp_path / "mixed", MIXED)
    assert np.array_equal(mixed.images, square.images)
    assert mixed.manifest["images_sha256"] == square.sha256
    for key in ("counts", "origins", "label_names"):
        assert mixed.manifest[key] == square.manifest[key]
    assert mixed.frames.pixels.shape == (14, 24, 24, 3)
    assert np.array_equal(mixed.frames.pixels[:13], full.images)  # and the last photo once more
    assert np.array_equal(mixed.frames.pixels[13], full.images[12])
    assert mixed.frames.sizes.tolist() == [[96, 80]] * 12 + [[60, 80]] * 2
    assert "crop 'mixed', 50% cut afresh from frames of 24x24" in mixed.describe()
    assert square.frames is None


def test_who_reads_a_mixed_set_sees_its_squares(photos, tmp_path):
    mixed = build_imageset([photos], tmp_path / "mixed", MIXED)
    assert np.array_equal(load_images(mixed.folder), mixed.images)
    assert np.array_equal(read_images([photos], MIXED), mixed.images)
    reference = read_reference([mixed.folder])
    assert reference.images.shape == (12, 16, 16, 3)
    assert not reference.whole_frames


def test_a_mixed_set_is_named_by_all_that_a_training_sees(photos, tmp_path):
    changes = ({}, {"frame_side_px": 20}, {"fresh_part": 0.25}, {"full_part": 0.5})
    sets = [
        build_imageset([photos], tmp_path / str(number), replace(MIXED, **change))
        for number, change in enumerate(changes)
    ]
    assert len({item.sha256 for item in sets}) == 4
    assert len({item.manifest["images_sha256"] for item in sets}) == 1
    assert build_imageset([photos], tmp_path / "again", MIXED).sha256 == sets[0].sha256
    assert (sets[2].frames.fresh_part, sets[3].frames.full_part) == (0.25, 0.5)


def test_a_mixed_set_needs_no_boxes(tmp_path):
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 10:30] = 200  # the largest square in the middle
    write(tmp_path / "in" / "a.png", encode(Image.fromarray(pixels), "PNG"))
    built = build_imageset([tmp_path / "in"], tmp_path / "set", replace(MIXED, side_px=20))
    assert (built.images == 200).all()
    assert built.frames.sizes.tolist() == [[40, 20]]
    assert built.frames.pixels.shape == (1, 24, 24, 1)  # grey is grey in both
    pixels[:, :10] = (200, 0, 0)
    write(tmp_path / "in" / "a.png", encode(Image.fromarray(pixels), "PNG"))
    built = build_imageset([tmp_path / "in"], tmp_path / "set", replace(MIXED, side_px=20))
    assert (built.images == 200).all()
    assert built.images.shape[3] == built.frames.pixels.shape[3] == 3


@pytest.mark.parametrize(
    ("name", "spoiled", "message"),
    [
        ("frames", np.zeros((12, 24, 24, 3), np.uint8), "frames.npy and sizes.npy are not those"),
        ("sizes", np.full((12, 2), 24), "frames.npy and sizes.npy are not those"),
        ("frames", np.zeros((11, 24, 24, 3), np.uint8), "expected frames"),
        ("sizes", np.zeros((12, 2), np.int64), "expected frames"),
    ],
)
def test_frames_are_held_against_the_manifest(photos, tmp_path, name, spoiled, message):
    build_imageset([photos], tmp_path / "set", MIXED)
    np.save(tmp_path / "set" / f"{name}.npy", spoiled)
    with pytest.raises(InputError, match=message):
        open_imageset(tmp_path / "set")


def test_what_cannot_be_used_is_skipped_and_counted(tmp_path):
    folder = make_photos(tmp_path / "photos", count=4)
    breed = "n90000001-Red_dog"
    photo = encode(Image.new("RGB", (96, 80)), "JPEG")
    cases = {
        "no_annotation": (photo, None),
        "damaged": (photo[:200], annotation((96, 80), [(1, 1, 50, 50)])),
        "outside": (photo, annotation((96, 80), [(100, 1, 150, 50)])),
        "small_and_good": (photo, annotation((96, 80), [(1, 1, 5, 5), (1, 1, 50, 50)])),
        "thin": (photo, annotation((96, 80), [(0, 0, 96, 17)])),
        "odd_box": (photo, annotation((96, 80), [(9, 9, 1, 1)])),
        "odd_xml": (photo, b"<annotation>"),
        "no_photo": (None, annotation((96, 80), [(1, 1, 50, 50)])),
    }
    for name, (image, xml) in cases.items():
        if image:
            write(folder / "Images" / breed / f"{name}.jpg", image)
        if xml:
            write(folder / "Annotation" / breed / name, xml)
    built = build_imageset([folder], tmp_path / "set", RECIPE)
    assert built.manifest["counts"] == {
        "images": 5,
        "photos": 11,
        "annotations": 11,
        "skipped": {
            "annotation without a photo": 1,
            "box outside the frame": 1,
            "box over the maximum aspect": 1,
            "box under the minimum side": 1,
            "photo without an annotation": 2,
            "unreadable annotation": 1,
            "unreadable box": 1,
            "unreadable photo": 1,
        },
    }
    assert built.manifest["skipped"]["unreadable photo"] == [f"Images/{breed}/damaged.jpg"]


def test_whole_frames_need_no_annotation(photos, tmp_path):
    write(
        photos / "Images" / "n90000001-Red_dog" / "n90000001_99.jpg",
        encode(Image.new("RGB", (96, 80)), "PNG"),
    )  # a PNG that is named .jpg, too
    reference = read_reference([photos])
    assert reference.images.shape == (13, 64, 64, 3)
    assert reference.name == f"{photos}, crop 'full', Lanczos to 64x64"
    assert reference.whole_frames
    assert len(read_images([photos], RECIPE)) == 12


def test_a_plain_folder_of_images_is_a_source(tmp_path):
    write(tmp_path / "in" / "pugs" / "a.png", encode(Image.new("L", (50, 30), 9), "PNG"))
    built = build_imageset([tmp_path / "in"], tmp_path / "set", RECIPE)
    assert (built.images == 9).all()
    assert built.label_names == ["pugs"]


def test_nothing_usable_is_said_with_the_reasons(tmp_path):
    folder = tmp_path / "photos"
    write(folder / "Images" / "n1-A" / "n1_1.jpg", b"damaged")
    write(folder / "Annotation" / "n1-A" / "n1_1", annotation((9, 9), [(1, 1, 5, 5)]))
    with pytest.raises(InputError, match=r"nothing usable in 1 photos \(unreadable photo: 1\)"):
        build_imageset([folder], tmp_path / "set", RECIPE)
    with pytest.raises(InputError, match="none of 1 photos is usable"):
        read_images([folder], RECIPE)
    assert not (tmp_path / "set").exists()


def test_a_set_replaces_a_set_and_nothing_else(photos, tmp_path):
    first = build_imageset([photos], tmp_path / "set", RECIPE)
    second = build_imageset([photos], tmp_path / "set", DataRecipe(side_px=32))
    assert (first.images.shape[1], second.images.shape[1]) == (16, 32)
    with pytest.raises(InputError, match="exists and is not a built set"):
        build_imageset([photos], photos, RECIPE)
    assert (photos / "Images").exists()


def test_a_set_is_held_against_its_manifest(tiny_set):
    folder = tiny_set.folder
    manifest = json.loads((folder / "manifest.json").read_text())
    cases = {
        "not the file that its manifest names": lambda: np.save(
            folder / "images.npy", np.array(tiny_set.images)[::-1]
        ),
        "expected images": lambda: np.save(folder / "images.npy", np.zeros((3, 3))),
        "images.npy cannot be read": lambda: (folder / "images.npy").write_bytes(b"\x93NUMPY"),
        "labels that the manifest lacks": lambda: np.save(
            folder / "labels.npy", np.full(12, 2, np.int64)
        ),
        "not a manifest of format": lambda: (folder / "manifest.json").write_text("[]"),
        "manifest.json cannot be read": lambda: (folder / "manifest.json").write_text("{"),
        "is not a built set": lambda: (folder / "manifest.json").unlink(),
    }
    good = folder_bytes(folder)
    for message, spoil in cases.items():
        spoil()
        with pytest.raises(InputError, match=message):
            open_imageset(folder)
        for name, data in good.items():
            (folder / name).write_bytes(data)
    assert open_imageset(folder).manifest == manifest
    assert is_imageset(folder)


def test_no_pickle_in_a_set_is_loaded(tiny_set):
    np.save(tiny_set.folder / "labels.npy", np.array([{}] * 12), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read"):
        open_imageset(tiny_set.folder)


def test_finished_images_are_read_as_they_are(tmp_path, tiny_set):
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    for index, image in enumerate(images):
        write(tmp_path / "in" / f"{index}.png", encode(Image.fromarray(image), "PNG"))
    assert (load_images(tmp_path / "in") == images).all()
    assert (load_images(tiny_set.folder) == tiny_set.images).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("RGB", (16, 17)), "b.png is 16x17 and a.png is 16x16"),
        (Image.new("L", (16, 16)), "b.png: the mode is L; expected RGB"),
        (Image.new("RGBA", (16, 16)), "the mode is RGBA"),
        (Image.new("RGB", (2000, 2)), "at most 1024 a side"),
        (None, "b.png: not a readable image"),
    ],
)
def test_an_image_that_does_not_fit_is_named(tmp_path, image, message):
    write(tmp_path / "a.png", encode(Image.new("RGB", (16, 16)), "PNG"))
    write(tmp_path / "b.png", encode(image, "PNG") if image else b"damaged")
    with pytest.raises(InputError, match=message):
        load_images(tmp_path)


def test_no_images_at_all_is_said(tmp_path):
    with pytest.raises(InputError, match="holds no images"):
        load_images(tmp_path)


@pytest.mark.slow
def test_the_real_photos_give_nearly_all_their_boxes(real_photos, tmp_path):
    built = build_imageset([real_photos], tmp_path / "set", DataRecipe())
    counts = built.manifest["counts"]
    assert (counts["photos"], counts["annotations"]) == (11_641, 11_641)
    assert len(built) + sum(counts["skipped"].values()) == 12_479
    assert len(built) >= 12_400
    assert len(built.label_names) == 120
