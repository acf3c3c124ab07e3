"""Finished images, as a generator leaves them, read as they are: nothing is cropped or resized."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from doggan.data.archives import UnreadableFileError, open_files
from doggan.data.imageset import is_imageset, open_imageset
from doggan.data.stanford import PHOTO_FORMATS, is_photo
from doggan.support.errors import InputError
from doggan.support.files import format_bytes
from doggan.support.progress import progress_bar

MAX_SIDE_PX = 1024
MAX_BYTES = 16_000_000_000  # of all images, unpacked


def load_images(path: Path) -> np.ndarray:
    """The images of a built set, or of a zip, tar or folder in the order of their names.

    Returns [N, H, W, C] uint8. Raises InputError, naming the file, where one cannot be read, is
    not RGB, or differs in size from the first.
    """
    if is_imageset(path):
        return open_imageset(path).images
    files = open_files([path])
    names = [name for name in files.names() if is_photo(name)]
    if not names:
        raise InputError(f"{path} holds no images; expected PNG files of one size, or a built set")
    images = None
    for index, name in enumerate(progress_bar("read", len(names), of=names)):
        try:
            image = _decode(files.read(name))
        except (UnreadableFileError, ValueError) as error:
            raise InputError(f"{path}: {name}: {error}") from error
        if images is None:
            if len(names) * image.nbytes > MAX_BYTES:
                raise InputError(
                    f"{path}: {len(names):,} images of {_size(image)} are more than "
                    f"{format_bytes(MAX_BYTES)}"
                )
            images = np.empty((len(names), *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            raise InputError(
                f"{path}: {name} is {_size(image)} and {names[0]} is "
                f"{_size(images[0])}; all images must be of one size"
            )
        images[index] = image
    return images


def _decode(data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=PHOTO_FORMATS) as image:
            if max(image.size) > MAX_SIDE_PX:
                raise ValueError(
                    f"{image.width}x{image.height} pixels; generated images have at "
                    f"most {MAX_SIDE_PX} a side"
                )
            if image.mode != "RGB":
                raise ValueError(f"the mode is {image.mode}; expected RGB")
            return np.asarray(image)
    except ValueError:
        raise
    # Pillow's decoders raise far more than OSError on damaged files.
    except Exception as error:
        raise ValueError(f"not a readable image ({error})") from error


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
