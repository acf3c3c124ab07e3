"""Photos and weights are found wherever Kaggle ever put them; nothing else is taken for them."""

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from conftest import make_photos
from doggan.data.archives import open_files
from doggan.kaggle.inside.inputs import Inputs, input_roots
from doggan.support.errors import InputError
from doggan.support.files import is_file_of


def kaggle(folder):
    """The competition's files: annotation and photos side by side, each in a folder of its name."""
    made = make_photos(folder.parent / "made", count=4)
    (folder / "all-dogs" / "all-dogs").mkdir(parents=True)
    for photo in made.glob("Images/*/*.jpg"):
        shutil.move(photo, folder / "all-dogs" / "all-dogs")
    shutil.move(made / "Annotation", folder / "annotation" / "Annotation")
    shutil.rmtree(made)
    return folder


def stanford(folder):
    """As data sets of Stanford's download have it."""
    made = make_photos(folder.parent / "made", count=4)
    for outer, inner in (("images", "Images"), ("annotations", "Annotation")):
        (folder / outer).mkdir(parents=True)
        shutil.move(made / inner, folder / outer / inner)
    shutil.rmtree(made)
    return folder


def zipped(folder):
    """The competition's files as the zips that a download has."""
    made = kaggle(folder / "unpacked")
    for name in ("all-dogs", "annotation"):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for path in (made / name).rglob("*"):
                archive.write(path, path.relative_to(made / name))
    shutil.rmtree(made)
    return folder


@pytest.mark.parametrize("layout", [kaggle, stanford, zipped])
@pytest.mark.parametrize(
    "place",
    [
        ".",
        "generative-dog-images",
        "competitions/generative-dog-images",
        "datasets/somebody/dogs",
    ],
)
def test_photos_are_found_in_every_layout_and_place(layout, place, tmp_path):
    folder = layout(tmp_path / "input" / place)
    assert Inputs([tmp_path / "input"]).find_photos() == folder.resolve()


def test_other_attachments_are_not_taken_for_the_photos(tmp_path):
    root = tmp_path / "input"
    folder = kaggle(root / "competitions" / "dogs")
    cats = make_photos(root / "cats", count=2)
    shutil.rmtree(cats / "Annotation")
    # The annotations of the same dogs once more, alone; another's; and a zip of something else.
    shutil.copytree(folder / "annotation", root / "annotations-only")
    alien = root / "alien" / "Annotation" / "n1-x" / "n1_0"
    alien.parent.mkdir(parents=True)
    alien.write_text("<annotation/>")
    with zipfile.ZipFile(root / "alien" / "code.zip", "w") as archive:
        archive.writestr("code.py", "")
    (root / "alien" / "torn.zip").write_bytes(b"PK")
    assert Inputs([root]).find_photos() == folder.resolve()


def test_two_roots_that_are_one_count_once(tmp_path):
    folder = kaggle(tmp_path / "input" / "dogs")
    (tmp_path / "link").symlink_to(tmp_path / "input")
    (tmp_path / "input" / "again").symlink_to(folder)
    assert Inputs([tmp_path / "link", tmp_path / "input"]).find_photos() == folder.resolve()


def test_photos_and_annotations_may_be_links_but_are_not_joined_above_the_roots(tmp_path):
    folder = kaggle(tmp_path / "elsewhere")
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "annotation").symlink_to(folder / "annotation")
    with pytest.raises(InputError, match="no photos with annotations"):
        Inputs([tmp_path / "input"]).find_photos()
    (tmp_path / "input" / "all-dogs").symlink_to(folder / "all-dogs")
    assert Inputs([tmp_path / "input"]).find_photos() == folder.resolve()
    with pytest.raises(InputError, match="no photos with annotations"):
        Inputs([folder / "all-dogs", folder / "annotation"]).find_photos()


def test_none_says_what_was_searched_and_found(tmp_path):
    cats = make_photos(tmp_path / "input" / "cats", count=2)
    shutil.rmtree(cats / "Annotation")
    roots = [tmp_path / "input", tmp_path / "elsewhere"]
    with pytest.raises(InputError) as error:
        Inputs(roots).find_photos()
    message = str(error.value)
    for part in (*map(str, roots), "(not there)", "cats/Images", ": 1 files", "Add Input"):
        assert part in message
    with pytest.raises(InputError, match="Found: nothing"):
        Inputs([tmp_path / "elsewhere"]).find_photos()


def test_many_folders_are_not_all_listed(tmp_path):
    for index in range(40):
        folder = tmp_path / f"{index:02d}"
        folder.mkdir()
        (folder / "x.csv").write_text("")
    with pytest.raises(InputError, match=r"11: 1 files\n  and 28 more folders"):
        Inputs([tmp_path]).find_photos()


def test_two_are_both_named(tmp_path):
    folders = [kaggle(tmp_path / "input" / name) for name in ("a", "b")]
    with pytest.raises(InputError, match="lie in 2 folders") as error:
        Inputs([tmp_path / "input"]).find_photos()
    assert all(str(folder.resolve()) in str(error.value) for folder in folders)
    assert "Set INPUT" in str(error.value)


def test_a_file_is_found_under_any_name_among_few_others(tmp_path):
    def wanted(path):
        return path.is_file() and path.read_bytes() == b"weights"

    assert Inputs([tmp_path]).find_file(wanted) is None
    place = tmp_path / "models" / "me" / "inception" / "pytorch" / "default" / "1" / "model.bin"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"weights")
    (tmp_path / "other").write_bytes(b"x")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert Inputs([tmp_path]).find_file(wanted) == place.resolve()


def test_one_checkpoint_is_found_and_two_or_none_are_named(tmp_path):
    found = tmp_path / "doggan-dcgan" / "checkpoint.pt"
    with pytest.raises(InputError, match=r"names me/dogs, and no checkpoint\.pt is attached"):
        Inputs([tmp_path]).find_checkpoint("me/dogs")
    found.parent.mkdir()
    found.touch()
    assert Inputs([tmp_path]).find_checkpoint("me/dogs") == found.resolve()
    (tmp_path / "checkpoint.pt").touch()
    with pytest.raises(InputError, match=r"2 checkpoint\.pt are attached.\n  .*\n  .*"):
        Inputs([tmp_path]).find_checkpoint("me/dogs")


def test_files_are_not_looked_at_one_by_one(tmp_path, monkeypatch):
    """On Kaggle's mount each look takes long, and there are 41,000 files."""
    folder, breeds, photos = tmp_path / "input" / "dogs", 20, 70
    for outer, suffix in (("images/Images", ".jpg"), ("annotations/Annotation", "")):
        for breed in range(breeds):
            place = folder / outer / f"n{breed}-x"
            place.mkdir(parents=True)
            for number in range(photos):
                (place / f"n{breed}_{number}{suffix}").touch()
    (folder / "other").mkdir()
    for number in range(700):
        (folder / "other" / f"{number}.csv").touch()
    looks = []

    def counted(look):
        def count(*arguments, **options):
            looks.append(arguments)
            return look(*arguments, **options)

        return count

    for name in ("stat", "lstat"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    inputs = Inputs([tmp_path / "input"])
    found = inputs.find_photos()
    assert inputs.find_file(is_weights) is None
    assert len(open_files([found]).names()) == 2 * breeds * photos + 700
    assert 0 < len(looks) < 200


def is_weights(path):
    return is_file_of(path, 7, "0")


def test_the_roots_are_kaggles_unless_one_is_chosen(monkeypatch):
    monkeypatch.delenv("DOGGAN_KAGGLE_INPUT", raising=False)
    assert input_roots() == [Path("/kaggle/input"), Path("../input")]
    monkeypatch.setenv("DOGGAN_KAGGLE_INPUT", "/elsewhere")
    assert input_roots() == [Path("/elsewhere")]
