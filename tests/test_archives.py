"""Folders, zips and tars are read alike, in place, and only what they may be."""

import io
import tarfile
import warnings
import zipfile

import pytest

from doggan.data import archives
from doggan.data.archives import UnreadableFileError, open_files
from doggan.support.errors import InputError

CONTENT = {"a/one.txt": b"1", "a/b/two.txt": b"22", "three.txt": b"333"}


def make_folder(path, content=CONTENT):
    for name, data in content.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def make_zip(path, content=CONTENT):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def make_tar(path, content=CONTENT, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("make", "name"), [(make_folder, "folder"), (make_zip, "x.zip"), (make_tar, "x.tar")]
)
def test_all_kinds_hold_the_same_files(tmp_path, make, name):
    files = open_files([make(tmp_path / name)])
    assert files.names() == sorted(CONTENT)
    assert {name: files.read(name) for name in files.names()} == CONTENT


def test_several_sources_are_one_and_the_first_counts(tmp_path):
    first = make_tar(tmp_path / "first.tar", {"x": b"first"})
    second = make_zip(tmp_path / "second.zip", {"x": b"second", "y": b"also"})
    files = open_files([first, second])
    assert files.names() == ["x", "y"]
    assert (files.read("x"), files.read("y")) == (b"first", b"also")


def test_a_folder_is_read_with_the_archives_that_lie_in_it(tmp_path):
    make_tar(tmp_path / "images.tar", {"Images/x.jpg": b"x"})
    make_tar(tmp_path / "annotation.tar", {"Annotation/x": b"y"})
    names = open_files([tmp_path]).names()
    assert {"Images/x.jpg", "Annotation/x"} <= set(names)


def test_hidden_files_are_left_out(tmp_path):
    content = {"__MACOSX/._x.jpg": b"", ".hidden/x.jpg": b"", "x.jpg": b"x"}
    assert open_files([make_zip(tmp_path / "x.zip", content)]).names() == ["x.jpg"]
    assert open_files([make_folder(tmp_path / "folder", content)]).names() == ["x.jpg"]


def test_links_do_not_lead_out_of_a_folder_or_tar(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    folder = make_folder(tmp_path / "folder")
    (folder / "link.txt").symlink_to(secret)
    assert "link.txt" not in open_files([folder]).names()
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(folder / "link.txt", "link.txt")
        archive.add(folder / "three.txt", "three.txt")
    assert open_files([tmp_path / "x.tar"]).names() == ["three.txt"]


def test_oversized_and_damaged_entries_are_refused_one_by_one(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "x.zip", {"big": b"0" * 1000, "small": b"0", "bad": b"abcdefgh" * 9})
    data = bytearray(path.read_bytes())
    place = data.index(b"bad") + 5
    data[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 100)
    files = open_files([path])
    assert files.read("small") == b"0"
    with pytest.raises(UnreadableFileError, match="more than 100 B"):
        files.read("big")
    with pytest.raises(UnreadableFileError, match="decompressing data"):
        files.read("bad")


def hostile_zip(path):
    """Names that lead out, a name twice, a link, a locked entry, and one whose size lies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the name that is there twice
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("../../up", "/absolute", "twice", "twice", "a\\b"):
                archive.writestr(name, b"first" if name != "twice" else str(archive.namelist()))
            link = zipfile.ZipInfo("link")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
            archive.writestr("locked", b"x")
            archive.writestr("lies", b"x" * 50)
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    for name, offset, value in ((b"locked", 8, 1), (b"lies", 24, 10)):
        place = data.index(name, directory) - 46 + offset
        data[place : place + 2] = value.to_bytes(2, "little")
    path.write_bytes(data)
    return path


def test_no_entry_of_a_hostile_zip_leads_out_of_it(tmp_path):
    files = open_files([hostile_zip(tmp_path / "x.zip")])
    assert set(files.names()) >= {"/absolute", "twice", "link"}
    assert not any(".." in name for name in files.names())
    assert files.read("link") == b"/etc/passwd"  # a text, as any other
    for name in ("locked", "lies"):
        with pytest.raises(UnreadableFileError, match=r"password|CRC"):
            files.read(name)


def endless_tar(count):
    """A long name for a long name for a long name ..., `count` times."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2
    return (header.tobuf(tarfile.GNU_FORMAT) + b"x".ljust(512, b"\0")) * count


def boundless_tar():
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**62
    return header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


@pytest.mark.parametrize("name", ["x.tar", "x"])
@pytest.mark.parametrize("data", [endless_tar(5_000), boundless_tar()], ids=["endless", "size"])
def test_tars_whose_headers_have_no_bound_are_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=r"uncompressed tar|neither a folder"):
        open_files([tmp_path / name])


@pytest.mark.parametrize(
    ("make", "name"), [(make_folder, "folder"), (make_zip, "x.zip"), (make_tar, "x.tar")]
)
def test_more_files_than_any_set_has_are_refused(tmp_path, monkeypatch, make, name):
    monkeypatch.setattr(archives, "MAX_FILES", 2)
    with pytest.raises(InputError, match=f"{name} holds more than 2 files"):
        open_files([make(tmp_path / name)])


def test_a_file_gone_or_cut_short_is_unreadable(tmp_path):
    folder = open_files([make_folder(tmp_path / "folder")])
    (tmp_path / "folder" / "three.txt").unlink()
    with pytest.raises(UnreadableFileError, match="No such file"):
        folder.read("three.txt")
    path = make_tar(tmp_path / "x.tar", {"a": b"x" * 2000})
    files = open_files([path])
    with path.open("r+b") as stream:
        stream.truncate(1000)
    with pytest.raises(UnreadableFileError, match="cut short"):
        files.read("a")


def test_what_is_no_source_is_said(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        open_files([tmp_path / "nowhere"])
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(InputError, match="neither a folder, a zip nor an uncompressed tar"):
        open_files([tmp_path / "text.txt"])
    (tmp_path / "x.zip").write_bytes(b"PK half a zip")
    with pytest.raises(InputError, match="not a readable zip"):
        open_files([tmp_path / "x.zip"])
    with pytest.raises(InputError, match="uncompressed tar"):
        open_files([make_tar(tmp_path / "x.tar", mode="w:gz")])
