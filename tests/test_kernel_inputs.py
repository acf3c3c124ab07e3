"""Photos and weights are found wherever Kaggle ever put them; nothing else is taken for them."""

import hashlib
import shutil
import zipfile
from pathlib import Path

import pytest

from conftest import make_photos
from doggan.kaggle.inside.inputs import find_file, find_photos, input_roots
from doggan.support.errors import InputError


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
    assert find_photos([tmp_path / "input"]) == folder.resolve()


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
    assert find_photos([root]) == folder.resolve()


def test_two_roots_that_are_one_count_once(tmp_path):
    folder = kaggle(tmp_path / "input" / "dogs")
    (tmp_path / "link").symlink_to(tmp_path / "input")
    (tmp_path / "input" / "again").symlink_to(folder)
    assert find_photos([tmp_path / "link", tmp_path / "input"]) == folder.resolve()


def test_photos_and_annotations_may_be_links_but_are_not_joined_above_the_roots(tmp_path):
    folder = kaggle(tmp_path / "elsewhere")
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "annotation").symlink_to(folder / "annotation")
    with pytest.raises(InputError, match="no photos with annotations"):
        find_photos([tmp_path / "input"])
    (tmp_path / "input" / "all-dogs").symlink_to(folder / "all-dogs")
    assert find_photos([tmp_path / "input"]) == folder.resolve()
    with pytest.raises(InputError, match="no photos with annotations"):
        find_photos([folder / "all-dogs", folder / "annotation"])


def test_none_says_what_was_searched_and_found(tmp_path):
    cats = make_photos(tmp_path / "input" / "cats", count=2)
    shutil.rmtree(cats / "Annotation")
    roots = [tmp_path / "input", tmp_path / "elsewhere"]
    with pytest.raises(InputError) as error:
        find_photos(roots)
    message = str(error.value)
    for part in (*map(str, roots), "(not there)", "cats/Images", ": 1 files", "Add Input"):
        assert part in message
    with pytest.raises(InputError, match="Found: nothing"):
        find_photos([tmp_path / "elsewhere"])


def test_many_folders_are_not_all_listed(tmp_path):
    for index in range(40):
        folder = tmp_path / f"{index:02d}"
        folder.mkdir()
        (folder / "x.csv").write_text("")
    with pytest.raises(InputError, match=r"11: 1 files\n  and 28 more folders"):
        find_photos([tmp_path])


def test_two_are_both_named(tmp_path):
    folders = [kaggle(tmp_path / "input" / name) for name in ("a", "b")]
    with pytest.raises(InputError, match="lie in 2 folders") as error:
        find_photos([tmp_path / "input"])
    assert all(str(folder.resolve()) in str(error.value) for folder in folders)
    assert "Set INPUT" in str(error.value)


def test_a_file_is_found_by_its_content_under_any_name(tmp_path):
    content = b"weights" * 100
    wanted = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert find_file([tmp_path], **wanted) is None
    place = tmp_path / "models" / "me" / "inception" / "pytorch" / "default" / "1" / "model.bin"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    (tmp_path / "same-length").write_bytes(b"x" * len(content))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert find_file([tmp_path], **wanted) == place.resolve()


def test_the_roots_are_kaggles_unless_one_is_chosen(monkeypatch):
    monkeypatch.delenv("DOGGAN_KAGGLE_INPUT", raising=False)
    assert input_roots() == [Path("/kaggle/input"), Path("../input")]
    monkeypatch.setenv("DOGGAN_KAGGLE_INPUT", "/elsewhere")
    assert input_roots() == [Path("/elsewhere")]
