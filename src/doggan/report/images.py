"""Pictures for a page that carries everything in itself: WebP within a budget of bytes."""

import base64
import io
from bisect import bisect_right
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from doggan.gan.pictures import MARGIN_PX
from doggan.support.errors import InputError

MAX_FILE_BYTES = 50_000_000
MAX_PIXELS = 40_000_000
MAX_SIDE_PX = 1400
_QUALITIES = (35, 45, 55, 66, 74, 82, 90)
_EFFORT = 2  # of 6: more of it makes files a little smaller, and takes longer
_LEAST_SIDE_PX = 16


class Picture(NamedTuple):
    """A picture for an `<img>`: its source, a data URI, and its size in pixels."""

    source: str
    width: int
    height: int


def read_picture(path: Path) -> Image.Image:
    """A PNG as RGB.

    Raises InputError for what is no PNG, damaged, or too large: a small file can hold a huge one.
    """
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if path.stat().st_size > MAX_FILE_BYTES:
                limit = f"{MAX_FILE_BYTES:,} bytes"
            elif picture.width * picture.height > MAX_PIXELS:
                limit = f"{MAX_PIXELS:,} pixels"
            else:
                return picture.convert("RGB")
    # A damaged file fails in zlib or Pillow, each with its own errors.
    except Exception as error:
        raise InputError(f"{path.name} cannot be read as a PNG") from error
    raise InputError(f"{path.name} has over {limit}")


def encode_within(picture: Image.Image, most_bytes: int) -> Picture:
    """The picture as WebP of at most `most_bytes`: first its quality gives way, then its size.

    It is at most MAX_SIDE_PX wide and high in any case.
    """
    if max(picture.size) > MAX_SIDE_PX:
        picture = picture.copy()
        picture.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
    encode = cache(partial(_encode, picture))
    worst, best = _QUALITIES[0], _QUALITIES[-1]
    if len(encode(best)) <= most_bytes:
        data = encode(best)
    elif len(encode(worst)) > most_bytes and max(picture.size) > _LEAST_SIDE_PX:
        half = tuple(max(1, side // 2) for side in picture.size)
        return encode_within(picture.resize(half, Image.Resampling.LANCZOS), most_bytes)
    else:
        too_large = bisect_right(
            _QUALITIES[:-1], most_bytes, lo=1, key=lambda quality: len(encode(quality))
        )
        data = encode(_QUALITIES[too_large - 1])
    text = base64.b64encode(data).decode("ascii")
    return Picture(f"data:image/webp;base64,{text}", picture.width, picture.height)


def _encode(picture: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="WEBP", quality=quality, method=_EFFORT)
    return stream.getvalue()


def cut_pairs(picture: Image.Image, count: int) -> list[Image.Image]:
    """The rows of a grid of two columns (`make_grid`), without the margin around each.

    Raises InputError where the picture has not the proportions of `count` such rows.
    """
    side = (picture.width - 3 * MARGIN_PX) // 2
    if side < 1 or picture.height != count * (side + MARGIN_PX) + MARGIN_PX:
        raise InputError("the picture of the pairs is not of the pairs that its JSON names")
    tops = range(MARGIN_PX, picture.height, side + MARGIN_PX)
    return [picture.crop((MARGIN_PX, top, picture.width - MARGIN_PX, top + side)) for top in tops]
