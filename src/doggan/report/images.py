"""Pictures for a page that carries everything in itself: WebP within a budget of bytes."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from doggan.gan.pictures import MARGIN_PX
from doggan.support.errors import InputError

MAX_FILE_BYTES = 50_000_000
MAX_PIXELS = 40_000_000
MAX_SIDE_PX = 1400
_QUALITIES = (35, 45, 55, 66, 74, 82, 90)
_EFFORT = 2  # of 6: more of it makes files a little smaller, and takes longer
_LEAST_SIDE_PX = 16


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture for an `<img>`: its source, a data URI, and its size in pixels."""

    source: str
    width: int
    height: int


def read_picture(path: Path) -> Image.Image:
    """A PNG as RGB.

    Raises InputError for what is no PNG, damaged, or too large: a small file can hold a huge one.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path.name} has over {MAX_FILE_BYTES:,} bytes")
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InputError(f"{path.name} has over {MAX_PIXELS:,} pixels")
            rgb = picture.convert("RGB")
    # A damaged file fails in zlib or Pillow, each with its own errors.
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path.name} cannot be read as a PNG") from error
    return rgb


def encode_within(picture: Image.Image, most_bytes: int) -> Picture:
    """The picture as WebP of at most `most_bytes`: first its quality gives way, then its size.

    It is at most MAX_SIDE_PX wide and high in any case.
    """
    if max(picture.size) > MAX_SIDE_PX:
        picture = picture.copy()
        picture.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
    data = _encode(picture, _QUALITIES[-1])
    if len(data) > most_bytes:
        data = _encode_worse(picture, most_bytes)
    if len(data) > most_bytes and max(picture.size) > _LEAST_SIDE_PX:
        half = tuple(max(1, side // 2) for side in picture.size)
        return encode_within(picture.resize(half, Image.Resampling.LANCZOS), most_bytes)
    text = base64.b64encode(data).decode("ascii")
    return Picture(
        source=f"data:image/webp;base64,{text}", width=picture.width, height=picture.height
    )


def _encode_worse(picture: Image.Image, most_bytes: int) -> bytes:
    """The picture in the best quality that fits; in the worst where none does."""
    worst, best = 0, len(_QUALITIES) - 1  # indices: the worst may fit, the best does not
    data = _encode(picture, _QUALITIES[worst])
    while len(data) <= most_bytes and best - worst > 1:
        middle = (worst + best) // 2
        better = _encode(picture, _QUALITIES[middle])
        if len(better) <= most_bytes:
            worst, data = middle, better
        else:
            best = middle
    return data


def _encode(picture: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="WEBP", quality=quality, method=_EFFORT)
    return stream.getvalue()


def evenly_spaced(items: Sequence, most: int) -> list:
    """`most` of the items at most, in order, the first and the last among them."""
    places = np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)
    return [items[place] for place in dict.fromkeys(places.tolist())]


def cut_pairs(picture: Image.Image, count: int) -> list[Image.Image]:
    """The rows of a grid of two columns (`make_grid`), without the margin around each.

    Raises InputError where the picture has not the proportions of `count` such rows.
    """
    side, step = (picture.width - 3 * MARGIN_PX) // 2, (picture.height - MARGIN_PX) / max(count, 1)
    if count < 1 or step != side + MARGIN_PX:
        raise InputError("the picture of the pairs is not of the pairs that its JSON names")
    boxes = (
        (MARGIN_PX, top, picture.width - MARGIN_PX, top + side)
        for top in (round(index * step) + MARGIN_PX for index in range(count))
    )
    return [picture.crop(box) for box in boxes]
