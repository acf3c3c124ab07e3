"""A photo's bytes -> an upright picture, the boxes on it that are usable, and its cut windows."""

import hashlib
import io
import os
from collections.abc import Iterable
from contextlib import ExitStack
from threading import Lock

import numpy as np
from PIL import ExifTags, Image, ImageOps

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
        picture, orientation = decode_until(data, stack)
    except UnreadableFileError:
        part.skipped.append(("unreadable photo", photo.name))
        return part
    size, windows = picture.size, []
    boxes = [Box(0, 0, *size)] if whole_frame else place_boxes(photo.annotation, size, orientation)
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
    if windows:
        part.images = cut(picture, windows, recipe.side_px)
        part.labels = [photo.label or NO_LABEL] * len(windows)
        if recipe.crop in WITH_FRAMES:
            frame = cut(picture, [(0, 0, *size)], recipe.frame_side_px)
            part.frames = np.repeat(frame, len(windows), axis=0)
            part.sizes = [size] * len(windows)
    return part


def decode_photo(data: bytes) -> tuple[Image.Image, int]:
    """Decodes a photo of any format and mode to upright RGB.

    Returns the photo and the EXIF orientation (1 to 8) that was undone. Transparency shows white.
    Raises UnreadableFileError for what cannot be decoded whole, and past MAX_PHOTO_PIXELS.
    """
    with ExitStack() as stack:
        return decode_until(data, stack)


def decode_until(data: bytes, stack: ExitStack) -> tuple[Image.Image, int]:
    """`decode_photo`; a large photo keeps others from being decoded until `stack` is left."""
    try:
        with Image.open(io.BytesIO(data), formats=PHOTO_FORMATS) as photo:
            if photo.width * photo.height > MAX_PHOTO_PIXELS:
                raise UnreadableFileError(f"{photo.width}x{photo.height} pixels are too many")
            if photo.width * photo.height > LARGE_PHOTO_PIXELS:
                stack.enter_context(_large_photo)
            orientation = _orientation_of(photo)
            photo.load()  # it outlives its file
            upright = photo if orientation == 1 else ImageOps.exif_transpose(photo)
            return _to_rgb(upright), orientation
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


def cut(photo: Image.Image, windows: Iterable[Window], side: int) -> np.ndarray:
    """Cuts the windows out of an RGB photo: [windows, side, side, 3] uint8."""
    # Late: those who only read what was built can do without it. The function, since to make a
    # transform of each window takes longer than to decode a small photo.
    from albumentations.augmentations.crops.functional import crop

    pixels = np.asarray(photo)  # [H, W, 3] uint8
    return squash((crop(pixels, *window) for window in windows), side)


def squash(images: Iterable[np.ndarray], side: int) -> np.ndarray:
    """Resizes images [H, W] or [H, W, 3] uint8 to side x side, and stacks them.

    Lanczos with antialiasing, the filter that the competition's reference was made with.
    """
    squares = [Image.fromarray(image).resize((side, side), Image.LANCZOS) for image in images]
    return np.stack([np.asarray(image) for image in squares])


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
