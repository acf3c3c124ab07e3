"""A photo's bytes -> an upright picture, the boxes on it that are usable, and its cut windows."""

import hashlib
import io
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from doggan.data.archives import UnreadableFileError
from doggan.data.crops import CROPS, WHOLE_FRAME, WITH_FRAMES, Size, Window
from doggan.data.imageset_writer import Part
from doggan.data.stanford import PHOTO_FORMATS, Annotation, Box, Photo, Photos
from doggan.recipe import DataRecipe
from doggan.support.errors import is_out_of_memory

# albumentations asks the network for its newest version when it is imported, unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

MAX_PHOTO_PIXELS = 100_000_000
# Of larger ones a process decodes one at a time, since the largest take 1.8 GB.
LARGE_PHOTO_PIXELS = 25_000_000
_large_photo = Lock()
# What a JPEG can be reduced to while it is decoded, and how many pixels a side of a crop then still
# has for each that it gets: Pillow's own factor for thumbnails, the `reducing_gap` of its docs.
JPEG_REDUCTIONS = (8, 4, 2)
REDUCING_GAP = 2
NO_LABEL = "unlabelled"  # of images that lie in no folder of their own


class UnusableBoxError(Exception):
    """A box is skipped; the message is the reason, the same for all boxes skipped for it."""


def crop_photo(source: Photos, photo: Photo, recipe: DataRecipe) -> Part:
    """The crops of one photo of `source`, and why there are none, or fewer than boxes."""
    with ExitStack() as stack:
        return _crop(source, photo, recipe, stack)


def _crop(source: Photos, photo: Photo, recipe: DataRecipe, stack: ExitStack) -> Part:
    part = Part()
    whole_frame = recipe.crop in WHOLE_FRAME or not source.annotations
    if photo.annotation is None and not whole_frame:
        part.skipped.append(("photo without an annotation", photo.name))
        return part
    try:
        data = source.files.read(photo.name)
        part.sha256 = hashlib.sha256(data).digest()
        opened, size, orientation = open_photo(data, stack)
        windows = []
        if whole_frame:
            boxes = [Box(0, 0, *size)]
        else:
            boxes = place_boxes(photo.annotation, size, orientation)
        for number, box in enumerate(boxes):
            origin = f"{photo.name}#{number}"
            try:
                box = box if whole_frame else usable_box(box, size, recipe)
            except UnusableBoxError as reason:
                part.skipped.append((str(reason), origin))
                continue
            found = CROPS[recipe.crop](box, size)
            windows += found
            part.origins += [origin] * len(found)
        frames = [(0, 0, *size)] if recipe.crop in WITH_FRAMES else []
        most = 1
        if windows:
            most = min(spare(windows, recipe.side_px), spare(frames, recipe.frame_side_px))
        picture, reduction = decode(opened, orientation, most)
    except UnreadableFileError:
        return Part(sha256=part.sha256, skipped=[("unreadable photo", photo.name)])
    if windows:
        part.images = cut(picture, windows, recipe.side_px, reduction)
        part.labels = [photo.label or NO_LABEL] * len(windows)
        if frames:
            frame = cut(picture, frames, recipe.frame_side_px, reduction)
            part.frames = np.repeat(frame, len(windows), axis=0)
            part.sizes = [size] * len(windows)
    return part


def decode_photo(data: bytes) -> tuple[Image.Image, int]:
    """Decodes a photo of any format and mode to upright RGB.

    Returns the photo and the EXIF orientation (1 to 8) that was undone. Transparency shows white.
    Raises UnreadableFileError for what cannot be decoded whole, and past MAX_PHOTO_PIXELS.
    """
    with ExitStack() as stack:
        opened, _, orientation = open_photo(data, stack)
        return decode(opened, orientation)[0], orientation


def open_photo(data: bytes, stack: ExitStack) -> tuple[Image.Image, Size, int]:
    """Reads a JPEG's head, and any other photo whole: the photo, its size once it is upright, and
    its EXIF orientation.

    It is open, and a large one keeps others from being opened, until `stack` is left.
    Raises UnreadableFileError for what is no photo, and past MAX_PHOTO_PIXELS.
    """
    with _damage_told():
        opened = stack.enter_context(Image.open(io.BytesIO(data), formats=PHOTO_FORMATS))
        if opened.width * opened.height > MAX_PHOTO_PIXELS:
            raise UnreadableFileError(f"{opened.width}x{opened.height} pixels are too many")
        if opened.width * opened.height > LARGE_PHOTO_PIXELS:
            stack.enter_context(_large_photo)
        orientation = _orientation_of(opened)
        if not isinstance(opened, JpegImageFile):
            opened.load()  # by which a TIFF turns itself
        turned = _orientation_of(opened) >= 5
        return opened, opened.size[::-1] if turned else opened.size, orientation


def decode(
    opened: Image.Image, orientation: int, most_reduction: float = 1
) -> tuple[Image.Image, int]:
    """Decodes an opened photo to upright RGB, a JPEG to a half, quarter or eighth of its sides.

    Returns the photo and by how much it is reduced: 8, 4 or 2 where `most_reduction` is no less,
    else 1. A reduced JPEG takes part of the time, since its blocks are decoded to fewer pixels.
    Raises UnreadableFileError for what cannot be decoded whole.
    """
    with _damage_told():
        reduction = next((step for step in JPEG_REDUCTIONS if step <= most_reduction), 1)
        asked = opened.width // reduction, opened.height // reduction
        if reduction > 1 and opened.draft(None, asked) is None:
            reduction = 1  # no JPEG
        opened.load()  # it outlives its file
        upright = opened if orientation == 1 else ImageOps.exif_transpose(opened)
        return _to_rgb(upright), reduction


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    # Pillow's decoders raise far more than OSError on damaged files.
    except Exception as error:
        if is_out_of_memory(error):  # no fault of the photo's
            raise
        raise UnreadableFileError(str(error)) from error


def place_boxes(annotation: Annotation, size: Size, orientation: int) -> list[Box | None]:
    """The annotation's boxes on an upright photo of `size` (width, height).

    The annotated frame decides: drawn on the stored pixels of a photo that EXIF turns, the boxes
    turn along; drawn on the same picture at another size, they scale along. Else they stand.
    Where EXIF leaves the frame's sides as they are, the boxes count as drawn on the stored pixels,
    as those of photos whose frames tell are.
    """
    boxes, frame = annotation.boxes, annotation.frame
    if frame is None:
        return list(boxes)
    if orientation >= 5 and frame == size[::-1]:
        return [box and _turn(box, frame, orientation) for box in boxes]
    x, y = size[0] / frame[0], size[1] / frame[1]
    if abs(x / y - 1) > 0.02:
        return list(boxes)
    if orientation in (2, 3, 4):
        boxes = [box and _turn(box, frame, orientation) for box in boxes]
    if frame == size:
        return list(boxes)
    return [box and Box(box.left * x, box.top * y, box.right * x, box.bottom * y) for box in boxes]


def usable_box(box: Box | None, size: Size, recipe: DataRecipe) -> Box:
    """The box clipped to a frame of `size` (width, height).

    Raises UnusableBoxError where it is None, outside, or not what the recipe asks for.
    """
    if box is None:
        raise UnusableBoxError("unreadable box")
    width, height = size
    box = Box(max(box.left, 0), max(box.top, 0), min(box.right, width), min(box.bottom, height))
    if box.width < 1 or box.height < 1:
        raise UnusableBoxError("box outside the frame")
    if min(box.width, box.height) < recipe.min_box_side_px:
        raise UnusableBoxError("box under the minimum side")
    if max(box.width, box.height) > recipe.max_box_aspect * min(box.width, box.height):
        raise UnusableBoxError("box over the maximum aspect")
    return box


def spare(windows: Iterable[Window], side: int) -> float:
    """By how much a photo can be reduced, so that its windows keep enough pixels for `side`."""
    sides = (min(right - left, bottom - top) for left, top, right, bottom in windows)
    return min(sides, default=math.inf) / (REDUCING_GAP * side)


def cut(photo: Image.Image, windows: Iterable[Window], side: int, reduction: int = 1) -> np.ndarray:
    """Cuts the windows of a photo out of it, RGB, whose sides were divided by `reduction`.

    Returns [windows, side, side, 3] uint8, resized as by `squash`.
    """
    # Late: those who only read what was built can do without it. The function, since to make a
    # transform of each window takes longer than to decode a small photo.
    from albumentations.augmentations.crops.functional import crop

    pixels = np.asarray(photo)  # [H, W, 3] uint8
    squares = []
    for window in windows:
        left, top, right, bottom = (edge / reduction for edge in window)
        x, y = math.floor(left), math.floor(top)
        whole = Image.fromarray(crop(pixels, x, y, math.ceil(right), math.ceil(bottom)))
        squares.append(_resize(whole, side, (left - x, top - y, right - x, bottom - y)))
    return np.stack(squares)


def squash(images: Iterable[np.ndarray], side: int) -> np.ndarray:
    """Resizes images [H, W] or [H, W, 3] uint8 to side x side, and stacks them.

    Lanczos with antialiasing, the filter that the competition's reference was made with.
    """
    return np.stack([_resize(Image.fromarray(image), side) for image in images])


def _resize(image: Image.Image, side: int, box: tuple[float, ...] | None = None) -> np.ndarray:
    return np.asarray(image.resize((side, side), Image.LANCZOS, box))


def _orientation_of(photo: Image.Image) -> int:
    """1 to 8; 1, upright, where its EXIF is damaged or says something else."""
    try:
        found = photo.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the pixels are as good without
        return 1
    return found if found in range(1, 9) else 1


def _to_rgb(photo: Image.Image) -> Image.Image:
    if photo.mode.startswith("I;16"):  # 16-bit grey: convert() would clip, not scale
        photo = Image.fromarray((np.asarray(photo) >> 8).astype(np.uint8))
    if photo.mode in ("RGBA", "LA", "PA") or "transparency" in photo.info:
        layer = photo.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        photo = Image.alpha_composite(white, layer)
    return photo if photo.mode == "RGB" else photo.convert("RGB")


def _turn(box: Box, frame: Size, orientation: int) -> Box:
    # EXIF 5 to 8 exchange the axes; then an axis is mirrored, or both, as the value says.
    width, height = frame
    left, top, right, bottom = box
    if orientation >= 5:
        left, top, right, bottom = top, left, bottom, right
        width, height = height, width
    if orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    if orientation in (3, 4, 7, 8):
        top, bottom = height - bottom, height - top
    return Box(left, top, right, bottom)
