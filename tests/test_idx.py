"""idx files: read as torchvision reads them, found by their names, refused where they lie."""

import gzip
import hashlib
import os
import zipfile

import numpy as np
import pytest
from torchvision import datasets

from bad_server import Answer, running
from conftest import REAL_DATA, write
from doggan.data.idx import DIGITS, FASHION, download_idx, find_idx, read_idx
from doggan.support.errors import DogganError, InputError

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx_bytes(array):
    """The array as an idx file of unsigned bytes."""
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def write_pair(folder, images=IMAGES, labels=LABELS, *, count=12, side=28, seed=0):
    """Noise images labelled 0, 1, ... 9, 0, ...; gzipped where a name says so. Returns both."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, side, side), np.uint8)
    numbers = np.arange(count) % 10
    for name, array in ((images, pixels), (labels, numbers)):
        data = idx_bytes(array)
        write(folder / name, gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return pixels, numbers


def read(path):
    found = find_idx([path])
    return read_idx(found, found.pairs[0])


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (IMAGES, LABELS),
        (f"{IMAGES}.gz", f"{LABELS}.gz"),
        (f"{IMAGES}.gz", LABELS),
        ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("fashion900-images-idx3-ubyte.gz", "fashion900-labels-idx1-ubyte.gz"),
    ],
)
def test_images_and_labels_are_found_and_read(tmp_path, images, labels):
    pixels, numbers = write_pair(tmp_path / "in", images, labels)
    for source in (tmp_path / "in", tmp_path / "in" / images):
        part = read(source)
        assert (part.images == pixels).all()
        assert (part.labels == numbers).all()
        assert part.labels.dtype == np.int64


def test_a_zip_of_the_files_is_read_in_place(tmp_path):
    pixels, _ = write_pair(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name in (IMAGES, LABELS):
            archive.write(tmp_path / "in" / name, name)
    assert (read(tmp_path / "in.zip").images == pixels).all()


def test_torchvision_reads_the_same(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    write_pair(raw)
    write_pair(raw, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", seed=1)
    theirs, ours = datasets.MNIST(tmp_path), read(tmp_path)
    assert (theirs.data.numpy() == ours.images).all()
    assert (theirs.targets.numpy() == ours.labels).all()


def test_training_files_are_preferred_and_unpacked_ones_read_once(tmp_path):
    write_pair(tmp_path)
    write_pair(tmp_path, f"{IMAGES}.gz", f"{LABELS}.gz")
    write_pair(tmp_path, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    assert [pair[0] for pair in find_idx([tmp_path]).pairs] == [IMAGES]
    chosen = find_idx([tmp_path / "t10k-images-idx3-ubyte"])
    assert [pair[0] for pair in chosen.pairs] == ["t10k-images-idx3-ubyte"]


def test_the_path_says_what_the_labels_stand_for(tmp_path):
    write_pair(tmp_path / "MNIST" / "raw")
    write_pair(tmp_path / "FashionMNIST" / "raw")
    assert find_idx([tmp_path / "MNIST"]).label_names == DIGITS
    fashion = find_idx([tmp_path / "FashionMNIST"])
    assert (fashion.dataset, fashion.label_names) == ("fashion", FASHION)
    assert FASHION[7] == "Sneaker"
    with pytest.raises(InputError, match="holds digits and fashion"):
        find_idx([tmp_path])


def test_photos_are_no_idx_files(photos):
    assert find_idx([photos]) is None


def test_missing_labels_and_several_sources_are_said(tmp_path):
    write_pair(tmp_path / "a")
    write_pair(tmp_path / "b")
    with pytest.raises(InputError, match="one folder of them at a time"):
        find_idx([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "a" / LABELS).unlink()
    with pytest.raises(InputError, match=f"no labels beside it; expected {LABELS}"):
        find_idx([tmp_path / "a"])


def header(*numbers, kind=8):
    return bytes((0, 0, kind, len(numbers))) + np.array(numbers, ">u4").tobytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it begins with "),
        (header(2, 2), "it begins with '00000802'; expected '00000803'"),
        (header(2, 2, 2, kind=13), "it begins with '00000d03'"),
        (header(2, 28, 28)[:9], "it ends within its header"),
        (header(2, 2, 2) + bytes(7), "announces 8 bytes, and only 7 follow"),
        (header(2, 2, 2) + bytes(9), "announces 8 bytes, and more follow"),
        (header(0, 28, 28), "header says 0 x 28 x 28"),
        (header(2, 0, 28), "header says 2 x 0 x 28"),
        (header(2, 28, 2000), "at most 1024 pixels a side"),
        (header(2**32 - 1, 28, 28), "at most 1,000,000"),
        (header(1_000_000, 1024, 1024), "more than 1.0 GB"),
        (gzip.compress(header(2, 2, 2) + bytes(8), mtime=0)[:-9], "not a usable idx file"),
        (
            gzip.compress(header(2, 2, 2) + bytes(10**7), mtime=0),
            "announces 8 bytes, and more follow",
        ),
        (b"\x1f\x8bnot gzip at all", "not a usable idx file"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(tmp_path, data, message):
    write_pair(tmp_path)
    write(tmp_path / IMAGES, data)
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path)
    assert IMAGES in str(error.value)


def test_labels_must_be_as_many_as_images_and_have_names(tmp_path):
    write_pair(tmp_path)
    write(tmp_path / LABELS, idx_bytes(np.arange(11) % 10))
    with pytest.raises(InputError, match="12 images and train-labels-idx1-ubyte 11 labels"):
        read(tmp_path)
    write(tmp_path / LABELS, idx_bytes(np.arange(12)))
    with pytest.raises(InputError, match="holds the label 11; digits have 0 to 9"):
        read(tmp_path)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A server that torchvision takes for MNIST's mirror, and the pixels it publishes."""
    names = [
        *(f"{IMAGES}.gz", f"{LABELS}.gz"),
        *("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    ]
    pixels, _ = write_pair(tmp_path / "server", *names[:2])
    write_pair(tmp_path / "server", *names[2:], seed=1)
    with running() as server:
        data = {name: (tmp_path / "server" / name).read_bytes() for name in names}
        for name in names:
            server.put(f"/{name}", data[name])
        resources = [(name, hashlib.md5(data[name]).hexdigest()) for name in names]
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"{server.url}/"])
        monkeypatch.setattr(datasets.MNIST, "resources", resources)
        yield server, pixels


def test_a_download_is_read_from_torchvisions_layout(published, tmp_path, capsys):
    server, pixels = published
    download_idx("mnist", tmp_path / "mnist")
    assert (read(tmp_path / "mnist").images == pixels).all()
    assert capsys.readouterr().out == ""
    requests = len(server.requests)
    download_idx("mnist", tmp_path / "mnist")
    assert len(server.requests) == requests


def test_a_failed_download_is_said(published, tmp_path):
    server, _ = published
    server.put(f"/{LABELS}.gz", b"damaged")
    with pytest.raises(DogganError, match=r"(?s)downloaded .*run the same without --download"):
        download_idx("mnist", tmp_path / "mnist")
    server.put(f"/{LABELS}.gz", b"", Answer(status=404))
    with pytest.raises(DogganError, match="mnist could not be downloaded"):
        download_idx("mnist", tmp_path / "mnist")


@pytest.mark.parametrize(
    ("name", "publisher"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")]
)
def test_each_set_is_downloaded_from_its_own_publisher(name, publisher, tmp_path, monkeypatch):
    called = []

    def download(folder, *, download):
        called.append((publisher, folder, download))

    for other in ("MNIST", "FashionMNIST"):
        monkeypatch.setattr(datasets, other, None)
    monkeypatch.setattr(datasets, publisher, download)
    download_idx(name, tmp_path / name)
    assert called == [(publisher, str(tmp_path / name), True)]


@pytest.mark.parametrize(
    ("folder", "counts"),
    [
        ("mnist", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ("fashion", [90] * 10),
    ],
)
def test_the_real_files_are_read(folder, counts):
    path = REAL_DATA / folder
    if not path.exists():
        pytest.skip(f"{path} is not here; the same is tested on made files")
    assert np.bincount(read(path).labels).tolist() == counts
    assert os.fspath(path).endswith(find_idx([path]).dataset.replace("digits", "mnist"))
