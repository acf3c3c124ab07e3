"""Photo + box + policy -> square crops, cut with albumentations."""

import io
import os
from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageOps

from doggan.data.stanford import Annotation, Box
from doggan.recipe import DataRecipe

# albumentations asks the network for its newest version when it is imported, unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A

CROPS = {"square": 0, "tight": 0, "full": 0, "four": 0}
MAX_PHOTO_PIXELS = 100_000_000
WIDE_SQUARE = 1.25  # side of the wide square of `four`, in sides of the grown square
_EXIF_ORIENTATION = 0x0112

Window = tuple[int, int, int, int]  # left, top, right, bottom, in whole pixels inside the frame


class UnreadablePhotoError(Exception):
    """The bytes are not a photo that can be decoded."""


def decode_photo(data: bytes) -> tuple[Image.Image, int]:
    """Decodes a photo of any format and mode to upright RGB.

    Returns the photo and the EXIF orientation (1 to 8) that was undone. Transparency shows white.
    Raises UnreadablePhotoError for what cannot be decoded whole, and past MAX_PHOTO_PIXELS.
    """
    try:
        with Image.open(io.BytesIO(data)) as photo:
            if photo.width * photo.height > MAX_PHOTO_PIXELS:
                raise UnreadablePhotoError(f"{photo.width}x{photo.height} pixels are too many")
            orientation = photo.getexif().get(_EXIF_ORIENTATION, 1)
            return _to_rgb(ImageOps.exif_transpose(photo)), orientation
    # Pillow's decoders raise far more than OSError on damaged files.
    except Exception as error:
        raise UnreadablePhotoError(str(error)) from error


def place_boxes(
    annotation: Annotation, size: tuple[int, int], orientation: int
) -> list[Box | None]:
    """The annotation's boxes on an upright photo of `size` (width, height).

    The annotated frame decides: drawn on the stored pixels of a photo that EXIF turns, the boxes
    turn along; drawn on the same picture at another size, they scale along. Else they stand.
    """
    boxes, frame = annotation.boxes, annotation.frame
    if frame is None or frame == size:
        return list(boxes)
    if orientation >= 5 and frame == size[::-1]:
        return [box and _turn(box, frame, orientation) for box in boxes]
    scale_x, scale_y = size[0] / frame[0], size[1] / frame[1]
    if abs(scale_x / scale_y - 1) > 0.02:
        return list(boxes)
    return [
        box
        and Box(box.left * scale_x, box.top * scale_y, box.right * scale_x, box.bottom * scale_y)
        for box in boxes
    ]


def usable_box(box: Box | None, size: tuple[int, int], recipe: DataRecipe) -> Box | str:
    """The box clipped to a frame of `size` (width, height), or the reason why it is skipped."""
    if box is None:
        return "unreadable box"
    width, height = size
    box = Box(max(box.left, 0), max(box.top, 0), min(box.right, width), min(box.bottom, height))
    if box.width < 1 or box.height < 1:
        return "box outside the frame"
    if min(box.width, box.height) < recipe.min_box_side_px:
        return "box under the minimum side"
    if max(box.width, box.height) > recipe.max_box_aspect * min(box.width, box.height):
        return "box over the maximum aspect"
    return box


def crop_windows(box: Box, size: tuple[int, int], policy: str) -> list[Window]:
    """Where `policy` cuts for one box in a frame of `size` (width, height), without repeats.

    - `square`: the box grown to a square, moved inside the frame; never wider than the frame.
    - `tight`: the box itself, squashed to a square when resized.
    - `full`: the whole frame, squashed, as the public board's reference is.
    - `four`: the two squares at the ends of the box, the grown square, and one WIDE_SQUARE times
      as wide, after the four crops a dog of the DCGAN that led the 2019 public board.
    """
    if policy == "full":
        return [(0, 0, *size)]
    if policy == "tight":
        return [_inside(box, size)]
    long_side, short_side = max(box.width, box.height), min(box.width, box.height)
    grown = _square((box.left + box.right) / 2, (box.top + box.bottom) / 2, long_side, size)
    if policy == "square":
        return [grown]
    half = short_side / 2
    first = _square(box.left + half, box.top + half, short_side, size)
    last = _square(box.right - half, box.bottom - half, short_side, size)
    wide = _square(
        (box.left + box.right) / 2, (box.top + box.bottom) / 2, long_side * WIDE_SQUARE, size
    )
    return list(dict.fromkeys([first, last, grown, wide]))


def cut(photo: Image.Image, windows: Iterable[Window], side: int) -> np.ndarray:
    """Cuts the windows out of an RGB photo and resizes each to side x side.

    Lanczos with antialiasing, the filter that the competition's reference was made with.
    Returns [windows, side, side, 3] uint8.
    """
    pixels = np.asarray(photo)  # [H, W, 3] uint8
    crops = (A.Crop(*window)(image=pixels)["image"] for window in windows)
    resized = [
        Image.fromarray(crop).resize((side, side), Image.Resampling.LANCZOS) for crop in crops
    ]
    return np.stack([np.asarray(crop) for crop in resized])


def _to_rgb(photo: Image.Image) -> Image.Image:
    if photo.mode.startswith("I;16"):  # 16-bit grey: convert() would clip, not scale
        photo = Image.fromarray((np.asarray(photo) >> 8).astype(np.uint8))
    if photo.mode in ("RGBA", "LA", "PA") or "transparency" in photo.info:
        layer = photo.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        photo = Image.alpha_composite(white, layer)
    return photo.convert("RGB")


def _turn(box: Box, frame: tuple[int, int], orientation: int) -> Box:
    # EXIF 5 to 8 exchange the axes: transpose, then mirror the new axes as the value says.
    width, height = frame
    left, top, right, bottom = box.top, box.left, box.bottom, box.right
    if orientation in (6, 7):  # the stored top becomes the right
        left, right = height - right, height - left
    if orientation in (7, 8):  # the stored right becomes the top
        top, bottom = width - bottom, width - top
    return Box(left, top, right, bottom)


def _square(center_x: float, center_y: float, side: float, size: tuple[int, int]) -> Window:
    side = max(1, min(round(side), *size))
    left = min(max(0, round(center_x - side / 2)), size[0] - side)
    top = min(max(0, round(center_y - side / 2)), size[1] - side)
    return left, top, left + side, top + side


def _inside(box: Box, size: tuple[int, int]) -> Window:
    left, top = min(int(box.left), size[0] - 1), min(int(box.top), size[1] - 1)
    right = min(max(left + 1, round(box.right)), size[0])
    bottom = min(max(top + 1, round(box.bottom)), size[1])
    return left, top, right, bottom
