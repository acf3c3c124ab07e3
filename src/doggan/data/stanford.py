"""Kaggle's or Stanford's layout -> photos with their boxes.

Both layouts name an annotation `Annotation/<wnid-breed>/<id>` and a photo `<id>.jpg`, under
whatever folders. The path is the key: some annotations carry a literal `%s` as their <filename>.
"""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from doggan.competition import ANNOTATION_FOLDER
from doggan.data.archives import Source, UnreadableFileError, open_files
from doggan.support.errors import InputError

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
# What Pillow may take a photo for, whatever it is called: of others some run programs (EPS).
PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MAX_ANNOTATION_BYTES = 1_000_000
MAX_BOXES = 1_000  # in a photo; Stanford's have six at most
_ENCODINGS = {b"utf-8", b"us-ascii", b"ascii", b"iso-8859-1", b"latin-1", b"windows-1252"}


class Box(NamedTuple):
    """A rectangle in pixels, left and top inside, right and bottom outside."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def center(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """One annotation file: the frame it was drawn on, if it says so, and a box per <object>.

    A box that cannot be read is None, so that it can be counted.
    """

    frame: tuple[int, int] | None  # width, height in pixels
    boxes: tuple[Box | None, ...]


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A photo's path in its source, its label, and its annotation (None where it has none)."""

    name: str
    label: str
    annotation: Annotation | None


@dataclass(frozen=True, kw_only=True)
class Photos(Source):
    """The photos of a source, in the order of their names."""

    photos: list[Photo]


def find_photos(sources: list[Path]) -> Photos:
    """Pairs the photos of folders, zips or tars with their annotations.

    Without any annotation the source is a plain folder of images: each is its own whole frame, and
    the folder it lies in is its label.
    Raises InputError where there is no photo at all.
    """
    files, where = open_files(sources), ", ".join(map(str, sources))
    names = files.names()
    annotation_names = [name for name in names if _is_annotation(name)]
    photo_names = [name for name in names if is_photo(name)]
    if not photo_names:
        raise InputError(
            f"{where} holds no photos; expected .jpg or .png files in Kaggle's layout "
            "(all-dogs/, annotation/), in Stanford's (Images/, Annotation/), or plain"
        )
    photo_ids = {_id(name) for name in photo_names}
    annotations, breeds, skipped = {}, {}, []
    for name in annotation_names:
        breed = breeds[_wnid(_folder(name))] = _folder(name)
        if _id(name) not in photo_ids:
            skipped.append(("annotation without a photo", name))
            continue
        try:
            annotations[_id(name)] = (breed, parse_annotation(files.read(name)))
        except (ValueError, UnreadableFileError):
            skipped.append(("unreadable annotation", name))
    photos = []
    for name in photo_names:
        breed = breeds.get(_wnid(_id(name)), "unknown") if breeds else _folder(name)
        label, annotation = annotations.get(_id(name), (breed, None))
        photos.append(Photo(name=name, label=label, annotation=annotation))
    return Photos(
        files=files, where=where, annotations=len(annotation_names), skipped=skipped, photos=photos
    )


def names_annotated_photos(names: Sequence[str]) -> bool:
    """Whether these paths, with forward slashes, name at least one photo and its annotation."""
    annotated = {_id(name) for name in names if _is_annotation(name)}
    return any(is_photo(name) and _id(name) in annotated for name in names)


def is_photo(name: str) -> bool:
    """Whether a file of that name is a photo."""
    return PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES


def parse_annotation(data: bytes) -> Annotation:
    """Parses one annotation; raises ValueError where it is not one."""
    if len(data) > MAX_ANNOTATION_BYTES or b"<!" in data.replace(b"<!--", b""):
        # A document type can declare entities that expand without bound.
        raise ValueError("too large, or with a document type")
    encoding = re.search(rb"encoding\s*=\s*[\"']([^\"']*)", data[:200])
    if b"\0" in data or (encoding and encoding[1].lower() not in _ENCODINGS):
        raise ValueError("in an encoding that could hide a document type")
    try:
        root = ET.fromstring(data)
    except (ET.ParseError, UnicodeDecodeError, LookupError) as error:
        raise ValueError(f"not XML: {error}") from error
    if root.tag != "annotation":
        raise ValueError(f"the root is <{root.tag}>, not <annotation>")
    width, height = (_number(root.find(f"size/{name}")) for name in ("width", "height"))
    # What is less than a pixel is no frame.
    frame = (round(width), round(height)) if min(width or 0, height or 0) >= 1 else None
    boxes = tuple(_box(item) for item in root.iterfind("object"))
    if len(boxes) > MAX_BOXES:
        raise ValueError(f"{len(boxes):,} boxes in one photo")
    return Annotation(frame=frame, boxes=boxes)


def _box(element: ET.Element) -> Box | None:
    sides = [_number(element.find(f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax")]
    if None in sides or sides[0] >= sides[2] or sides[1] >= sides[3]:
        return None
    return Box(*sides)


def _number(element: ET.Element | None) -> float | None:
    try:
        value = float(element.text)
    except (AttributeError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _is_annotation(name: str) -> bool:
    path = PurePosixPath(name)
    inside = len(path.parts) >= 3 and path.parts[-3].lower() == ANNOTATION_FOLDER
    return inside and path.suffix.lower() in ("", ".xml")


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.name


def _id(name: str) -> str:
    return PurePosixPath(name).stem


def _wnid(name: str) -> str:
    # n02085620-Chihuahua and n02085620_10074 both begin with the WordNet id of the breed.
    return name.partition("-")[0].partition("_")[0]
