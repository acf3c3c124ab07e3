"""Grids, strips and the GIF."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from doggan.support.files import atomic_path

MARGIN_PX = 2
MAX_GIF_FRAMES = 40
GIF_SECONDS = 8.0


def make_grid(images: np.ndarray, columns: int) -> Image.Image:
    """[N, H, W, 1 or 3] uint8 -> one picture, row by row, on white with a small margin."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    step_y, step_x = height + MARGIN_PX, width + MARGIN_PX
    shape = (rows * step_y + MARGIN_PX, columns * step_x + MARGIN_PX, channels)
    canvas = np.full(shape, 255, np.uint8)
    for index, image in enumerate(images):
        top = index // columns * step_y + MARGIN_PX
        left = index % columns * step_x + MARGIN_PX
        canvas[top : top + height, left : left + width] = image
    return Image.fromarray(canvas.squeeze(2) if channels == 1 else canvas)


def evenly_spaced(items: Sequence, most: int) -> list:
    """`most` of the items at most, in order, the first and the last among them."""
    places = np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)
    return [items[place] for place in places]


def save_picture(picture: Image.Image, path: Path) -> None:
    """Writes a PNG atomically."""
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")


def save_gif(frames: list[Path], path: Path) -> None:
    """Writes the pictures, in order, as a GIF that loops; the last one stays longer.

    Of more than MAX_GIF_FRAMES, evenly spaced ones are taken, the first and the last among them.
    """
    pictures = []
    for shown in evenly_spaced(frames, MAX_GIF_FRAMES):
        with Image.open(shown, formats=("PNG",)) as frame:
            # By octree: Pillow's default, the median cut, takes a hundred times as long.
            pictures.append(frame.quantize(256, method=Image.Quantize.FASTOCTREE))
    milliseconds = [round(1000 * GIF_SECONDS / MAX_GIF_FRAMES)] * len(pictures)
    milliseconds[-1] = 2000
    with atomic_path(path) as temporary:
        pictures[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=milliseconds,
            loop=0,
        )
