"""Hostile and broken input: kind -> cases, each made when it is asked for.

A case makes its files in an empty folder, given the paths of a good set and of a good run, and
returns the words of a command that reads them. `code` is what the command must exit with: 2 unless
the case is to be taken, or is a failure by its nature; `says` is what it must say then.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import random
import shutil
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, PngImagePlugin

from bad_server import Answer

ID = "n02085620_1"
BREED = "n02085620-Chihuahua"
BOX = (10, 10, 60, 60)
SECRET = "/etc/passwd"


@dataclass(frozen=True, kw_only=True)
class Good:
    """What a case may damage a copy of: a built set, and the run that was trained on it."""

    imageset: Path
    run: Path


@dataclass(frozen=True, kw_only=True)
class Case:
    """See above. `code` may be None where any answer but a crash will do."""

    make: Callable[[Path, Good], list]
    code: int | None = 2
    says: str = ""


# --- annotations: one photo, and what is said of it


def picture(side: int = 80, mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def building(folder: Path, source: Path | None = None) -> list:
    return ["build", source or folder / "in", "--out", folder / "out"]


def annotated(data: bytes, code: int | None = 2, says: str = "unreadable annotation: 1") -> Case:
    def make(folder: Path, good: Good) -> list:
        write(folder / "in" / "Images" / BREED / f"{ID}.jpg", encoded(picture(), "JPEG"))
        write(folder / "in" / "Annotation" / BREED / ID, data)
        return building(folder)

    return Case(make=make, code=code, says=says)


def objects(*boxes: tuple) -> str:
    names = ("xmin", "ymin", "xmax", "ymax")
    return "".join(
        "<object><bndbox>"
        + "".join(f"<{name}>{side}</{name}>" for name, side in zip(names, box, strict=True))
        + "</bndbox></object>"
        for box in boxes
    )


def document(inside: str, head: str = "") -> str:
    return f"{head}<annotation>{inside}</annotation>"


def boxed(*box: object, code: int | None = 2, says: str = "unreadable box: 1") -> Case:
    return annotated(document(objects(box)).encode(), code, says)


BOMB = document("&b;", '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>')
EXTERNAL = document("&b;", f'<!DOCTYPE a [<!ENTITY b SYSTEM "file://{SECRET}">]>')
PARAMETER = document("", '<!DOCTYPE a [<!ENTITY % b SYSTEM "http://127.0.0.1:9/x"> %b;]>')
TAKEN = {"code": 0, "says": "1 images"}
OUTSIDE = {"says": "box outside the frame: 1"}

ANNOTATIONS = {
    "empty": annotated(b""),
    "truncated": annotated(document(objects(BOX)).encode()[:-20]),
    "no XML": annotated(b"\x00\x01\x02" * 100),
    "JSON": annotated(b'{"boxes": []}'),
    "another root": annotated(b"<html/>"),
    "two roots": annotated(b"<annotation/><annotation/>"),
    "entity bomb": annotated(BOMB.encode()),
    "entity bomb in UTF-16": annotated(BOMB.encode("utf-16")),
    "entity bomb in UTF-16 without a mark": annotated(BOMB.encode("utf-16-be")),
    "entity bomb in UTF-32": annotated(BOMB.encode("utf-32")),
    "entity bomb in EBCDIC": annotated(
        b'<?xml version="1.0" encoding="cp037"?>' + BOMB.encode("cp037")
    ),
    "entity bomb in UTF-7": annotated(
        b'<?xml version="1.0" encoding="utf-7"?>' + BOMB.encode("utf-7")
    ),
    "external entity": annotated(EXTERNAL.encode()),
    "external parameter entity": annotated(PARAMETER.encode()),
    "an unknown encoding": annotated(document("", '<?xml version="1.0" encoding="x"?>').encode()),
    "another encoding than it says": annotated(document("<name>\xe9</name>").encode("latin-1")),
    "1,001 objects": annotated(document(objects(*[BOX] * 1_001)).encode()),
    "a million objects": annotated(document("<object/>" * 1_000_000).encode()),
    "a megabyte of spaces": annotated(document(" " * 1_000_000).encode()),
    "nesting without end": annotated(b"<annotation>" + b"<b>" * 100_000),
    "nesting that ends": annotated(
        document("<b>" * 100_000 + "</b>" * 100_000 + objects(BOX)).encode(), **TAKEN
    ),
    "no object": annotated(document("").encode(), says="nothing usable"),
    "a frame of no size": annotated(
        document(f"<size><width>0</width><height>-1</height></size>{objects(BOX)}").encode(),
        **TAKEN,
    ),
    "a frame without end": annotated(
        document(f"<size><width>1e308</width><height>9e9</height></size>{objects(BOX)}").encode(),
        None,
        "",
    ),
    "a box of words": boxed("a", "b", "c", "d"),
    "a box of nothing": boxed("", "", "", ""),
    "NaN": boxed("nan", 10, 60, 60),
    "infinity": boxed(0, 0, "inf", "1e999"),
    "a reversed box": boxed(60, 60, 10, 10),
    "a box of no width": boxed(10, 10, 10, 60),
    "a negative box": boxed(-60, -60, -10, -10, **OUTSIDE),
    "a box beyond the frame": boxed(1e6, 1e6, 2e6, 2e6, **OUTSIDE),
    "a huge box": boxed(-1e308, -1e308, 1e308, 1e308, **TAKEN),
    "a box of less than a pixel": boxed(10.1, 10.1, 10.2, 10.2, **OUTSIDE),
}

# --- photos: one, in a plain folder


def photo(data: Callable[[], bytes] | bytes, code: int | None = 2, name: str = "x.jpg") -> Case:
    def make(folder: Path, good: Good) -> list:
        write(folder / "in" / name, data if isinstance(data, bytes) else data())
        return building(folder)

    return Case(make=make, code=code, says="unreadable photo: 1" if code == 2 else "")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    """A PNG whose pixels are as many zeros as a deflate stream of 20 kB unpacks to."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(bytes(min(height * (1 + width * 6), 20_000_000)))
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def sixteen_bits() -> bytes:
    return png(64, 64, depth=16)


def text_bomb(kind: bytes = b"zTXt") -> bytes:
    name = b"Comment\0" if kind == b"zTXt" else b"ICC Profile\0"
    return png(64, 64, extra=chunk(kind, name + b"\0" + zlib.compress(bytes(200_000_000))))


def many_texts() -> bytes:
    notes = PngImagePlugin.PngInfo()
    for _ in range(100):
        notes.add_text("Comment", "a" * 1_000_000, zip=True)
    return encoded(picture(), "PNG", pnginfo=notes)


def animated() -> bytes:
    frames = [picture(mode="L") for _ in range(3)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def bad_exif() -> bytes:
    return encoded(picture(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")


def jpeg_that_says(side: int) -> bytes:
    data = encoded(picture(), "JPEG")
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", side, side) + data[place + 4 :]


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/x) (w) file closefile\n"
PHOTOS = {
    "empty": photo(b""),
    "text": photo(b"a dog" * 100),
    "truncated JPEG": photo(lambda: encoded(picture(), "JPEG")[:900]),
    "truncated PNG": photo(lambda: encoded(picture(), "PNG")[:900]),
    "truncated WebP": photo(lambda: encoded(picture(), "WEBP")[:200]),
    "PostScript named .jpg": photo(POSTSCRIPT),
    "SVG named .png": photo(b'<svg xmlns="http://www.w3.org/2000/svg"/>', name="x.png"),
    "PDF named .tif": photo(lambda: encoded(picture(), "PDF"), name="x.tif"),
    "20000x20000 pixels": photo(lambda: png(20_000, 20_000)),
    "20000x20000 pixels in a JPEG's header": photo(lambda: jpeg_that_says(20_000)),
    "9000x9000 pixels of a few bytes": photo(lambda: png(9_000, 9_000)),
    "4 billion pixels a side": photo(lambda: png(2**31 - 1, 2**31 - 1)),
    "no pixels": photo(lambda: png(0, 0)),
    "200 MB of text": photo(text_bomb),
    "100 MB of texts": photo(many_texts),
    "200 MB of ICC profile": photo(lambda: text_bomb(b"iCCP"), None),
    "corrupt EXIF": photo(bad_exif, 0),
    "animated GIF named .jpg": photo(animated, 0),
    "16-bit grey": photo(lambda: encoded(picture(mode="I;16"), "PNG"), 0),
    "16-bit RGB": photo(sixteen_bits, 0),
    "CMYK": photo(lambda: encoded(picture(mode="CMYK"), "JPEG"), 0),
    "one pixel": photo(lambda: encoded(picture(1), "PNG"), 0),
    "one column": photo(lambda: encoded(Image.new("RGB", (1, 5_000)), "PNG"), 0),
    "a name of a terminal's commands": photo(b"x", name="\x1b[2J\x07.jpg"),
}

# --- archives: photos in a zip or a tar


def archive(make: Callable[[Path], object], name: str, code: int | None, says: str = "") -> Case:
    def make_it(folder: Path, good: Good) -> list:
        make(folder / name)
        return building(folder, folder / name)

    return Case(make=make_it, code=code, says=says)


def zip_of(
    *entries: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED
) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as file:
            warnings.simplefilter("ignore")  # of names used twice
            for name, data in entries:
                file.writestr(name, data)

    return make


def tar_of(*members: tuple[str, bytes, bytes], mode: str = "w") -> Callable[[Path], None]:
    """Members of a name, a type and their data, or the link's target."""

    def make(path: Path) -> None:
        with tarfile.open(path, mode) as file:
            for name, kind, data in members:
                info = tarfile.TarInfo(name)
                info.type = kind
                if kind == tarfile.REGTYPE:
                    info.size = len(data)
                    file.addfile(info, io.BytesIO(data))
                else:
                    info.linkname = data.decode()
                    file.addfile(info)

    return make


def lying(compression: int, size: int) -> Callable[[Path], None]:
    """A zip whose one entry unpacks to 50 MB, and says that it has `size` bytes."""

    def make(path: Path) -> None:
        zip_of(("x.png", bytes(50_000_000)), compression=compression)(path)
        data = bytearray(path.read_bytes())
        for mark, place in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
            start = data.index(mark) + place
            data[start : start + 4] = struct.pack("<I", size)
        path.write_bytes(bytes(data))

    return make


def encrypted(path: Path) -> None:
    zip_of(("x.png", encoded(picture(64), "PNG")))(path)
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + place] |= 1
    path.write_bytes(bytes(data))


def nameless(path: Path) -> None:
    zip_of(("x.p", good_png()))(path)
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\3\4", 26), (b"PK\1\2", 28)):  # its name counts as something else
        start = data.index(mark) + place
        data[start : start + 4] = struct.pack("<HH", 0, 3)
    path.write_bytes(bytes(data))


def of_many(count: int) -> Callable[[Path], None]:
    """A zip that lists so many entries, all of the same empty one."""

    def make(path: Path) -> None:
        zip_of(("x.png", b""), compression=zipfile.ZIP_STORED)(path)
        data = path.read_bytes()
        start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
        size, listed = end - start, data[start:end]
        ending = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count,
                             size * count, start)  # fmt: skip
        locator = struct.pack("<IIQI", 0x07064B50, 0, start + size * count, 1)
        last = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
        path.write_bytes(data[:start] + listed * count + ending + locator + last)

    return make


def sparse_zip(path: Path) -> None:
    """A zip whose list has 8 GB, in a file that takes no space."""
    size, count = 2**33, 2**33 // 50
    ending = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size, 0)
    locator = struct.pack("<IIQI", 0x07064B50, 0, size, 1)
    last = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    with path.open("wb") as file:
        file.seek(size)
        file.write(ending + locator + last)


def nested(depth: int = 6) -> bytes:
    data, name = encoded(picture(64), "PNG"), "x.png"
    for _ in range(depth):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
            for number in range(4):
                file.writestr(f"{number}{name}", data)
        data, name = stream.getvalue(), ".zip"
    return data


def cut(make: Callable[[Path], object], part: float) -> Callable[[Path], None]:
    def cut_it(path: Path) -> None:
        make(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * part)])

    return cut_it


def tar_header(name: bytes, kind: bytes, size: int, *, base256: bool = False) -> bytes:
    field = b"\x80" + size.to_bytes(11, "big", signed=False) if base256 else b"%011o\0" % size
    if size < 0:
        field = b"\xff" + (size + (1 << 88)).to_bytes(11, "big")
    header = bytearray(512)
    header[: len(name)] = name
    header[100:124] = b"0000644\0" + b"0000000\0" * 2
    header[124:136], header[136:148] = field, b"00000000000\0"
    header[156:157], header[257:265] = kind, b"ustar\x0000"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def sparse_tar(path: Path) -> None:
    """A tar whose first header is of a name of 8 GB, in a file that takes no space."""
    with path.open("wb") as file:
        file.write(tar_header(b"././@LongLink", b"L", 2**33, base256=True))
        file.truncate(2**33 + 1024)


JPEG = encoded(picture(), "JPEG")
NOTHING = "holds no photos"
ARCHIVES = {
    "a path out of the folder": archive(zip_of(("../../x.jpg", JPEG)), "x.zip", 2, NOTHING),
    "an absolute path": archive(zip_of(("/x/x.jpg", JPEG)), "x.zip", 0),
    "a path out of the folder in a tar": archive(
        tar_of(("../../x.jpg", tarfile.REGTYPE, JPEG)), "x.tar", 2, NOTHING
    ),
    "a symbolic link in a tar": archive(
        tar_of(("x.jpg", tarfile.SYMTYPE, SECRET.encode())), "x.tar", 2, NOTHING
    ),
    "a hard link in a tar": archive(
        tar_of(("x.jpg", tarfile.LNKTYPE, SECRET.encode())), "x.tar", 2, NOTHING
    ),
    "a device in a tar": archive(tar_of(("x.jpg", tarfile.CHRTYPE, b"")), "x.tar", 2, NOTHING),
    "a name of no letters": archive(nameless, "x.zip", 2, NOTHING),
    "names used twice": archive(zip_of(("x.jpg", JPEG), ("x.jpg", JPEG)), "x.zip", 0),
    "a bomb by its ratio": archive(zip_of(("x.jpg", bytes(99_000_000))), "x.zip", 2),
    "a bomb over the bound": archive(zip_of(("x.jpg", bytes(101_000_000))), "x.zip", 2),
    "a bomb by nesting": archive(lambda path: write(path, nested()), "x.zip", 2, NOTHING),
    "encrypted": archive(encrypted, "x.zip", 2, "unreadable photo: 1"),
    "a zip cut in its middle": archive(
        cut(zip_of(("x.jpg", JPEG)), 0.5), "x.zip", 2, "not a readable zip"
    ),
    "a tar cut in its middle": archive(
        cut(tar_of(("x.jpg", tarfile.REGTYPE, JPEG)), 0.1), "x.tar", 2
    ),
    "a million entries": archive(of_many(1_100_000), "x.zip", 2, "holds more than 1,000,000 files"),
    "a list of 8 GB": archive(sparse_zip, "x.zip", 2, "its headers take"),
    "more than it says, deflated": archive(lying(zipfile.ZIP_DEFLATED, 99), "x.zip", 2),
    "more than it says, by bz2": archive(lying(zipfile.ZIP_BZIP2, 99), "x.zip", 2),
    "more than it says, by lzma": archive(lying(zipfile.ZIP_LZMA, 99), "x.zip", 2),
    "less than it says": archive(lying(zipfile.ZIP_DEFLATED, 90_000_000), "x.zip", 2),
    "a tar in gzip": archive(
        tar_of(("x.jpg", tarfile.REGTYPE, JPEG), mode="w:gz"), "x.tar", 2, "uncompressed tar"
    ),
    "a tar in bz2": archive(
        tar_of(("x.jpg", tarfile.REGTYPE, JPEG), mode="w:bz2"), "x.bin", 2, "uncompressed tar"
    ),
    "a tar in xz": archive(
        lambda path: write(path, lzma.compress(bytes(10_000_000))), "x.bin", 2, "uncompressed tar"
    ),
    "a tar's file of a negative size": archive(
        lambda path: write(path, tar_header(b"x.jpg", b"0", -1024) + bytes(1024)), "x.tar", 2
    ),
    "a tar's name of 8 GB": archive(sparse_tar, "x.tar", 2, "its headers take"),
    "neither": archive(lambda path: write(path, bz2.compress(b"x")), "x.7z", 2),
}

# --- submissions: what `check` must catch


def checked(make: Callable[[Path], object], says: str, code: int = 1) -> Case:
    def make_it(folder: Path, good: Good) -> list:
        make(folder / "images.zip")
        return ["check", folder / "images.zip", "--count", "1"]

    return Case(make=make_it, code=code, says=says)


def entry(data: Callable[[], bytes], says: str, name: str = "x.png") -> Case:
    return checked(lambda path: zip_of((name, data()))(path), says)


def of_kind(kind: str, mode: str = "RGB", side: int = 64) -> Callable[[], bytes]:
    return lambda: encoded(picture(side, mode), kind)


def good_png() -> bytes:
    return encoded(picture(64), "PNG")


SUBMISSIONS = {
    "no zip": checked(lambda path: write(path, b"PK" * 99), "not a readable zip", 2),
    "empty file": checked(lambda path: write(path, b""), "not a readable zip", 2),
    "truncated": checked(
        cut(lambda path: zip_of(("x.png", good_png()))(path), 0.6), "not a readable zip", 2
    ),
    "a million entries": checked(of_many(1_000_000), "its headers take", 2),
    "20,000 entries": checked(of_many(20_000), "holds more than 10,002 files", 2),
    "no entry": checked(zip_of(), "wrong number of images"),
    "encrypted": checked(encrypted, "unreadable"),
    "a bomb by its ratio": entry(lambda: bytes(100_000_000), "over 1.0 MB"),
    "a small bomb": entry(lambda: bytes(999_999), "unreadable"),
    "more than it says, deflated": checked(lying(zipfile.ZIP_DEFLATED, 99), "unreadable"),
    "more than it says, by bz2": checked(lying(zipfile.ZIP_BZIP2, 99), "unreadable"),
    "more than it says, by lzma": checked(lying(zipfile.ZIP_LZMA, 99), "unreadable"),
    "nested": entry(nested, "other files than .png", "x.zip"),
    "a zip named .png": entry(nested, "unreadable"),
    "a folder": checked(zip_of(("a/", b"")), "folders, where all images lie at the root"),
    "not at the root": entry(good_png, "not at the root", "a/x.png"),
    "a path out of the folder": entry(good_png, "not at the root", "../x.png"),
    "a Windows path": entry(good_png, "not at the root", "a\\x.png"),
    "a name of no letters": checked(nameless, "other files than .png"),
    "names used twice": checked(
        lambda path: zip_of(("x.png", good_png()), ("x.png", good_png()))(path), "names used twice"
    ),
    "the same picture twice": checked(
        lambda path: zip_of(("x.png", good_png()), ("y.png", good_png()))(path),
        "the same picture twice",
    ),
    "JPEG named .png": entry(of_kind("JPEG"), "not in PNG format (JPEG)"),
    "PostScript named .png": entry(lambda: POSTSCRIPT, "unreadable"),
    "grey": entry(of_kind("PNG", "L"), "not RGB (L)"),
    "with alpha": entry(of_kind("PNG", "RGBA"), "not RGB (RGBA)"),
    "with a palette": entry(of_kind("PNG", "P"), "not RGB (P)"),
    "of another size": entry(of_kind("PNG", side=65), "not 64x64 pixels"),
    "20000x20000 pixels": entry(lambda: png(20_000, 20_000), "unreadable"),
    "a truncated PNG": entry(lambda: good_png()[:900], "unreadable"),
    "200 MB of text in a PNG": entry(text_bomb, "unreadable"),
}

# --- idx files


def idx(images: bytes, labels: bytes | None = None, packed: bool = False) -> Case:
    def make(folder: Path, good: Good) -> list:
        name = "train-images-idx3-ubyte"
        data = gzip.compress(images) if packed else images
        write(folder / "in" / f"{name}{'.gz' * packed}", data)
        if labels != b"none":
            write(folder / "in" / "train-labels-idx1-ubyte", labels or vector(2))
        return building(folder)

    return Case(make=make, says="idx")


def vector(count: int, label: int = 0) -> bytes:
    return b"\0\0\x08\x01" + struct.pack(">I", count) + bytes([label] * count)


def cube(*shape: int, kind: int = 8, size: int | None = None) -> bytes:
    size = int(np.prod(shape)) if size is None else size
    return bytes((0, 0, kind, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + bytes(size)


IDX = {
    "empty": idx(b""),
    "wrong magic": idx(b"\x89PNG" + bytes(99)),
    "other numbers": idx(cube(2, 28, 28, kind=13)),
    "other dimensions": idx(cube(2, 28)),
    "a header cut short": idx(cube(2, 28, 28)[:9]),
    "no images": idx(cube(0, 28, 28)),
    "images of no size": idx(cube(2, 0, 28)),
    "less than it says": idx(cube(2, 28, 28, size=100)),
    "more than it says": idx(cube(2, 28, 28, size=2_000)),
    "4 billion images": idx(cube(2**32 - 1, 1, 1, size=9)),
    "4 billion pixels a side": idx(cube(1, 2**32 - 1, 2**32 - 1, size=9)),
    "a terabyte": idx(cube(1_000_000, 1_024, 1_024, size=9)),
    "other counts of labels": idx(cube(3, 28, 28)),
    "a label without a name": idx(cube(2, 28, 28), vector(2, 99)),
    "no labels": idx(cube(2, 28, 28), b"none"),
    "labels that are none": idx(cube(2, 28, 28), b"dogs"),
    "a gzip bomb": idx(cube(2, 28, 28) + bytes(500_000_000), packed=True),
}

# --- recipes


def recipe(text: str | bytes, says: str = "own.toml") -> Case:
    def make(folder: Path, good: Good) -> list:
        path = write(folder / "own.toml", text if isinstance(text, bytes) else text.encode())
        return ["train", good.imageset, "--out", folder / "out", "--recipe", path, "--dry-run"]

    return Case(make=make, says=says)


RECIPES = {
    "an unknown key": recipe(
        "[train]\nbatch_sise = 3\n", "nearest known one is 'train.batch_size'"
    ),
    "an unknown section": recipe("[trian]\nimages = 3\n", "nearest known one is 'train.images'"),
    "a key of 19 kB": recipe(f"{'a' * 19_000} = 1\n", "the recipe has no 'aaa"),
    "text for a number": recipe('[train]\nimages = "3"\n', "train.images must be a whole number"),
    "a number for text": recipe("[train]\nloss = 3\n", "train.loss must be a text"),
    "a section for a number": recipe("[train.images]\na = 1\n", "train.images must be"),
    "a number for a section": recipe("train = 3\n", "the recipe has no 'train'"),
    "an unknown name": recipe('[train]\nloss = "bse"\n', "the nearest is 'bce'"),
    "a name of 19 kB": recipe(f'[train]\nloss = "{"a" * 19_000}"\n', "train.loss is 'aaa"),
    "out of range": recipe("[train]\nbeta1 = 1.5\n", "train.beta1 is 1.5; expected 0 to 1"),
    "a side of zero": recipe("[data]\nside_px = 0\n", "data.side_px is 0"),
    "NaN": recipe("[train]\ngradient_penalty = nan\n", "train.gradient_penalty is nan"),
    "infinity": recipe("[train]\nconsistency = inf\n", "train.consistency is inf"),
    "5,000 digits": recipe(f"[train]\nimages = {'9' * 5_000}\n", "own.toml"),
    "a date": recipe("[train]\nimages = 2019-01-01\n", "train.images must be a whole number"),
    "empty keys": recipe('"" = 1\n', "the recipe has no ''"),
    "the same key twice": recipe("seed = 1\nseed = 2\n"),
    "a million lines": recipe("# a\n" * 1_000_000),
    "100,000 dotted keys": recipe("".join(f"a.b{number} = 1\n" for number in range(100_000))),
    "a key of 9,900 dots": recipe("a" + ".a" * 9_900 + " = 1\n", "the recipe has no"),
    "lists without end": recipe("a = " + "[" * 19_000),
    "tables without end": recipe("a = " + "{a=" * 6_000),
    "binary": recipe(bytes(range(256))),
    "UTF-16": recipe("seed = 1\n".encode("utf-16")),
    "empty": Case(make=recipe("").make, code=0),
}

# --- checkpoints: a run that is to go on


class Runs:
    """Code in a pickle."""

    def __reduce__(self):
        return os.system, ("touch executed",)


def resumed(damage: Callable[[Path], object], says: str = "checkpoint.pt") -> Case:
    def make(folder: Path, good: Good) -> list:
        shutil.copytree(good.run, folder / "run")
        (folder / "run" / "checkpoint-previous.pt").unlink()
        damage(folder / "run" / "checkpoint.pt")
        return ["train", good.imageset, "--out", folder / "run", "--resume"]

    return Case(make=make, says=says)


def changed(**values: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        torch.save(torch.load(path, weights_only=True) | values, path)

    return change


def renetworked(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    content["generator"] = {
        name: tensor[:1] for name, tensor in content["generator"].items() if tensor.ndim
    }
    torch.save(content, path)


def reentered(name: str, change: Callable[[bytes], bytes], compression: int = 0) -> Callable:
    """A checkpoint with one entry of its zip changed."""

    def change_it(path: Path) -> None:
        with zipfile.ZipFile(path) as file:
            entries = [(entry, file.read(entry)) for entry in file.namelist()]
        with zipfile.ZipFile(path, "w", compression) as file:
            for entry, data in entries:
                file.writestr(entry, change(data) if entry.endswith(name) else data)

    return change_it


def bytearray_bomb(path: Path) -> None:
    bomb = b"\x80\x02cbuiltins\nbytearray\n\x8a\x06" + (10**12).to_bytes(6, "little") + b"\x85R."
    reentered("data.pkl", lambda data: bomb)(path)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHECKPOINTS = {
    "empty": resumed(lambda path: path.write_bytes(b"")),
    "text": resumed(lambda path: path.write_bytes(b"a checkpoint")),
    "truncated": resumed(cut(lambda path: None, 0.5)),
    "a pipe": resumed(pipe, "is not a regular file"),
    "code in a pickle": resumed(lambda path: path.write_bytes(pickle.dumps(Runs()))),
    "code in a zip's pickle": resumed(reentered("data.pkl", lambda data: pickle.dumps(Runs(), 2))),
    "a pickle that takes a terabyte": resumed(bytearray_bomb),
    "compressed": resumed(
        reentered("data.pkl", lambda data: data + bytes(50_000_000), 8), "would unpack to"
    ),
    "numbers that are missing": resumed(reentered("data/0", lambda data: data[:4])),
    "another list": resumed(lambda path: torch.save([1, 2], path)),
    "another format": resumed(changed(format=99), "this version reads"),
    "half of it": resumed(lambda path: torch.save({"format": 3}, path)),
    "other networks": resumed(renetworked, "does not fit its recipe"),
    "another set": resumed(changed(set_sha256="0" * 64), "was trained on another image set"),
    "another recipe": resumed(changed(recipe="seed = 7\n"), "was trained by another recipe"),
    "a recipe without end": resumed(changed(recipe="a = " + "[" * 19_000)),
    "a tensor that repeats": resumed(changed(extra=torch.zeros(1).expand(10**6, 10**6))),
    "a sparse tensor": resumed(changed(extra=torch.eye(3).to_sparse())),
    "a tensor of no device": resumed(changed(extra=torch.empty(10**9, device="meta"))),
    "negative images": resumed(changed(images_seen=-1)),
    "endless seconds": resumed(changed(seconds=float("inf"))),
    "text for a number": resumed(changed(steps="1")),
    "NaN among its weights": resumed(
        changed(generator={"x": torch.tensor(float("nan"))}), "not finite"
    ),
    "no random state": resumed(changed(random=torch.zeros(3, dtype=torch.uint8))),
}

# --- generators


def generator(change: Callable[[bytes], bytes], says: str = "generator.safetensors") -> Case:
    def make(folder: Path, good: Good) -> list:
        data = (good.run / "generator.safetensors").read_bytes()
        write(folder / "run" / "generator.safetensors", change(data))
        return ["sample", folder / "run"]

    return Case(make=make, says=says)


def header(change: Callable[[dict], object]) -> Callable[[bytes], bytes]:
    """The file with what is between its first 8 bytes and the tensors changed."""

    def change_it(data: bytes) -> bytes:
        length = struct.unpack("<Q", data[:8])[0]
        content = json.loads(data[8 : 8 + length])
        content = change(content) or content
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + length :]

    return change_it


def told(**values: str) -> Callable[[bytes], bytes]:
    return header(lambda content: content["__metadata__"].update(values))


def beyond(content: dict) -> None:
    name = next(name for name in content if name != "__metadata__")
    content[name]["data_offsets"] = [0, 2**62]


def other_kind(content: dict) -> None:
    for name, tensor in content.items():
        if name != "__metadata__" and tensor["dtype"] == "F32":
            tensor["dtype"] = "I32"


def torch_generator(content: object) -> Case:
    def make(folder: Path, good: Good) -> list:
        (folder / "run").mkdir()
        torch.save(content, folder / "run" / "generator.pt")
        return ["sample", folder / "run"]

    return Case(make=make, says="generator.pt")


WIDE = "[networks]\ngenerator_width = 4096\nchannel_max = 4096\nlatent = 4096\n"
HUGE_D = "[networks]\ndiscriminator_width = 4096\nchannel_max = 4096\n"
GENERATORS = {
    "empty": generator(lambda data: b""),
    "text": generator(lambda data: b"a generator" * 9),
    "truncated": generator(lambda data: data[: len(data) // 2]),
    "a header of 2**60 bytes": generator(lambda data: struct.pack("<Q", 2**60) + data[8:]),
    "a header without end": generator(header(lambda content: b"[" * 100_000)),
    "a tensor beyond the file": generator(header(beyond)),
    "tensors of another kind": generator(header(other_kind)),
    "no metadata": generator(header(lambda content: content.pop("__metadata__") and None)),
    "another format": generator(told(format="doggan generator 99")),
    "wider than what it holds": generator(told(recipe=WIDE)),
    "a discriminator of terabytes": generator(told(recipe=HUGE_D)),
    "a recipe without end": generator(told(recipe="a = " + "[" * 19_000)),
    "a side of 5,000 digits": generator(told(side="9" * 5_000)),
    "a side below zero": generator(told(side="-64")),
    "a billion channels": generator(told(channels="1000000000")),
    "labels without end": generator(told(label_names="[" * 100_000)),
    "code in a pickle": torch_generator({"metadata": Runs(), "tensors": {}}),
    "no tensors": torch_generator({"metadata": {}, "tensors": {"a": 1}}),
    "a list": torch_generator([1]),
}

# --- runs: what a report shows of a folder that may come from anywhere


def reported(name: str, data: bytes, says: str = "") -> Case:
    def make(folder: Path, good: Good) -> list:
        shutil.copytree(good.run, folder / "run")
        write(folder / "run" / name, data)
        return ["report", folder / "run", "--out", folder / "out.html"]

    return Case(make=make, code=0, says=says)


def compared(data: bytes) -> Case:
    def make(folder: Path, good: Good) -> list:
        return ["compare", write(folder / "card.json", data), folder / "card.json"]

    return Case(make=make, says="card.json")


SCRIPT = "<script>alert('hostile')</script>"
DEEP = b'{"a":' * 100_000
RUNS = {
    "a history that is torn": reported("stats.jsonl", b'{"images": 32, "seconds": 1.0}\n{"ima'),
    "a history of other things": reported("stats.jsonl", b'[1]\n"a"\n{"images": "x"}\nnull\n'),
    "a history without numbers": reported("stats.jsonl", b'{"images": 1, "loss_d": NaN}\n' * 9),
    "a history of huge numbers": reported("stats.jsonl", b'{"images": 1' + b"0" * 400 + b"}\n"),
    "a history without end": reported("stats.jsonl", DEEP),
    "a history that is binary": reported("stats.jsonl", random.Random(0).randbytes(10_000)),
    "an environment of scripts": reported(
        "environment.json", json.dumps({SCRIPT: SCRIPT}).encode()
    ),
    "an environment without end": reported("environment.json", DEEP),
    "a recipe of scripts": reported("recipe.toml", f'[data]\ncrop = "{SCRIPT}"\n'.encode()),
    "a recipe that is none": reported("recipe.toml", b"\x00\xff"),
    "a scorecard of scripts": reported("scorecard.json", json.dumps({"judge": SCRIPT}).encode()),
    "a scorecard without end": reported("scorecard.json", DEEP),
    "neighbours of other things": reported("neighbours.json", b'{"pairs": [1], "histogram": {}}'),
    "neighbours without end": reported("neighbours.json", DEEP),
    "a sweep of other things": reported("truncation.json", b'{"truncations": 1, "entries": []}'),
    "a result of scripts": reported(
        "result.json",
        json.dumps(
            {"submission": {"images": 1, "expected": 2, "problems": {SCRIPT: [SCRIPT]}}}
        ).encode(),
    ),
    "a result without end": reported("result.json", DEEP),
    "a grid that is none": reported("grids/000000099.png", b"no picture"),
    "a zip that is none": reported("images.zip", b"no zip"),
    "a scorecard of another version": compared(b'{"mifid": 1, "judge": "x", "doggan": "9"}'),
    "a scorecard that is damaged": compared(b'{"mifid": 1, "judge"'),
    "a scorecard of NaN": compared(b'{"mifid": NaN, "judge": "x", "doggan": "9"}'),
    "a scorecard that nests without end": compared(DEEP),
    "a scorecard of 2 MB": compared(b" " * 2_000_000),
}

# --- built sets


def reset(damage: Callable[[Path], object], says: str) -> Case:
    def make(folder: Path, good: Good) -> list:
        shutil.copytree(good.imageset, folder / "set")
        damage(folder / "set")
        return ["train", folder / "set", "--out", folder / "out"]

    return Case(make=make, says=says)


def manifest(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def array(name: str, value: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, value)


def replaced(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: write(folder / name, data) and None


NPY = b"\x93NUMPY\x01\x00v\x00"
SETS = {
    "no manifest": reset(lambda folder: (folder / "manifest.json").unlink(), "not a built set"),
    "a manifest that is none": reset(replaced("manifest.json", b"{"), "manifest.json"),
    "a manifest without end": reset(replaced("manifest.json", DEEP), "manifest.json"),
    "a manifest of another format": reset(manifest(format=99), "manifest of format"),
    "a manifest without labels": reset(manifest(label_names=7), "lacks what a set's has"),
    "other settings": reset(manifest(settings={"fresh_part": "x"}), "lacks what a set's has"),
    "another hash": reset(manifest(images_sha256="0"), "not the file that its manifest names"),
    "images that are cut": reset(
        lambda folder: cut(lambda path: None, 0.5)(folder / "images.npy"), "images.npy"
    ),
    "images that are code": reset(replaced("images.npy", pickle.dumps(Runs())), "images.npy"),
    "images of objects": reset(
        lambda folder: np.save(folder / "images.npy", np.array([Runs()]), allow_pickle=True),
        "images.npy",
    ),
    "images of a header that lies": reset(
        replaced(
            "images.npy",
            NPY
            + b"{'descr':'|u1','fortran_order':False,'shape':(99999999999,64,64,3)}".ljust(117)
            + b"\n",
        ),
        "images.npy",
    ),
    "images of another shape": reset(array("images.npy", np.zeros(3, np.uint8)), "expected images"),
    "a number in place of images": reset(array("images.npy", np.uint8(7)), "expected images"),
    "images that are not square": reset(
        array("images.npy", np.zeros((2, 64, 32, 3), np.uint8)), "expected images"
    ),
    "labels of another kind": reset(
        array("labels.npy", np.zeros(12, np.float64)), "labels [N] int64"
    ),
    "labels without names": reset(
        array("labels.npy", np.full(12, 99)), "names labels that the manifest lacks"
    ),
    "images that are a pipe": reset(
        lambda folder: pipe(folder / "images.npy"), "is not a built set"
    ),
}

# --- weights of the judge


def weighed(data: Callable[[], bytes] | bytes, name: str = "w.pth") -> Case:
    def make(folder: Path, good: Good) -> list:
        path = write(folder / name, data if isinstance(data, bytes) else data())
        return ["score", good.imageset, "--reference", good.imageset, "--weights", path]

    return Case(make=make, says=name)


def saved(content: object) -> Callable[[], bytes]:
    def save() -> bytes:
        stream = io.BytesIO()
        torch.save(content, stream)
        return stream.getvalue()

    return save


WEIGHTS = {
    "empty": weighed(b""),
    "text": weighed(b"weights" * 99),
    "truncated": weighed(lambda: saved({"a": torch.zeros(999)})()[:500]),
    "code in a pickle": weighed(pickle.dumps(Runs())),
    "of another network": weighed(saved({"a": torch.zeros(9)})),
    "a list": weighed(saved([torch.zeros(9)])),
    "a tensor that repeats": weighed(saved({"a": torch.zeros(1).expand(10**6, 10**6)})),
    "a sparse tensor": weighed(saved({"a": torch.eye(3).to_sparse()})),
    "a graph that is none": weighed(b"\n" + bytes(99), "w.pb"),
    "a graph cut short": weighed(b"\n\xff\xff\xff\xff\x7f", "w.pb"),
}

# --- pipes, and devices that never end, in place of files

READERS = {
    "check": ["check", "{path}"],
    "score": ["score", "{path}", "--reference", "{path}"],
    "build": ["build", "{path}", "--out", "{out}"],
    "neighbours": ["neighbours", "{path}", "--reference", "{path}"],
    "compare": ["compare", "{path}"],
    "report": ["report", "{path}"],
    "sample": ["sample", "{path}"],
    "zip": ["zip", "{path}", "--out", "{out}"],
    "train": ["train", "{path}", "--out", "{out}"],
    "run": ["run", "{path}", "--out", "{folder}/run", "--time-limit", "30s"],
    "weights": ["score", "{set}", "--reference", "{set}", "--weights", "{path}"],
}


def special(words: list[str], path: str) -> Case:
    def make(folder: Path, good: Good) -> list:
        if path == "pipe":
            os.mkfifo(folder / path)
        paths = {"folder": folder, "out": folder / "out", "path": folder / path}
        return [word.format(set=good.imageset, **paths) for word in words]

    return Case(make=make, says=path)


SPECIAL = {
    f"{name} of a {what}": special(words, path)
    for name, words in READERS.items()
    for what, path in (("pipe", "pipe"), ("device", "/dev/zero"))
}

CORPUS = {
    "annotations": ANNOTATIONS,
    "photos": PHOTOS,
    "zips and tars": ARCHIVES,
    "submissions": SUBMISSIONS,
    "idx files": IDX,
    "recipes": RECIPES,
    "built sets": SETS,
    "checkpoints": CHECKPOINTS,
    "generators": GENERATORS,
    "weights": WEIGHTS,
    "runs and scorecards": RUNS,
    "pipes and devices": SPECIAL,
}

# --- downloads: how a server answers, and what is said of it; the exit code is 1, for a failure

DATA, OTHER = random.Random(0).randbytes(40_000), random.Random(1).randbytes(40_000)
DOWNLOADS = {
    "not there": (Answer(status=404), "answered 404"),
    "forbidden": (Answer(status=403), "answered 403"),
    "a server that fails": (Answer(status=500), "answered 500"),
    "a wait of two hours": (Answer(status=503, retry_after="7200"), "asks to wait 120 minutes"),
    "a redirect loop": (Answer(redirect="/x.tar"), "leads to no file"),
    "a redirect to a file": (Answer(redirect=f"file://{SECRET}"), "leads to no file"),
    "a redirect to no address": (Answer(redirect="http://[x/"), "leads to no file"),
    "another file": (Answer(data=OTHER), "its sha256 is"),
    "a longer file": (Answer(data=DATA + OTHER), "the server offers 80,000 bytes"),
    "cut off": (Answer(cut=10_000), "the connection was cut after"),
    "more than it says": (Answer(length=100), "the server offers 100 bytes"),
    "less than it says": (Answer(data=DATA[:100], length=40_000), "cut after|answered 416"),
    "silence": (Answer(cut=10_000, stall=True), "no answer in time"),
    "a trickle": (Answer(pause=0.05), "bytes came in"),
    "headers that trickle": (
        Answer(raw=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9_999, pause=0.05),
        "in",
    ),
    "headers without end": (Answer(raw=b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 9_999), "malformed"),
    "no HTTP": (Answer(raw=b"SSH-2.0-OpenSSH_9.0\r\n"), "malformed"),
    "no TLS": (None, "cannot reach"),
}
