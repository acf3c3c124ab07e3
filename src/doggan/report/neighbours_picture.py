"""Generated images beside their nearest reference images, and the histogram of all distances."""

import re
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from doggan.gan.pictures import make_grid
from doggan.scoring.neighbours import Neighbours

MAX_PAIRS = 120
_WIDTH, _MARGIN = 1184, 32
_HEADER_HEIGHT = 136
_COLUMNS, _TILE, _GUTTER = 4, 128, 4
_PAIR_WIDTH, _PAIR_HEIGHT = 2 * _TILE + _GUTTER, _TILE + 64
_PLOT_ABOVE, _PLOT_HEIGHT, _PLOT_BELOW = 92, 220, 56
_INK, _MUTED, _RULE, _PAPER = "#1f2328", "#59636e", "#dfe3e8", "#ffffff"
_BELOW_EPS, _OTHERS, _ALARM = "#e8a33d", "#8fa9c4", "#c4372c"


@dataclass(frozen=True)
class _Plot:
    """Where a histogram lies on the picture, in pixels, and what its axes span, both from 0."""

    left: int
    top: int
    right: int
    bottom: int
    most_distance: float
    most_count: float

    def x(self, distance: float) -> float:
        return self.left + (self.right - self.left) * distance / self.most_distance

    def y(self, count: float) -> float:
        return self.bottom - (self.bottom - self.top) * count / self.most_count


def draw_neighbours(
    neighbours: Neighbours, generated: np.ndarray, reference: np.ndarray, count: int
) -> Image.Image:
    """The `count` closest pairs (120 at most), then the histogram, with eps and the mean marked.

    `generated` and `reference` are the images that `neighbours` is of, [N, H, W, 1 or 3] uint8.
    """
    closest = neighbours.closest(min(count, MAX_PAIRS))
    plot_top = _HEADER_HEIGHT + -(-len(closest) // _COLUMNS) * _PAIR_HEIGHT + 4
    height = plot_top + _PLOT_ABOVE + _PLOT_HEIGHT + _PLOT_BELOW + _MARGIN // 2
    canvas = Image.new("RGB", (_WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    _draw_header(draw, neighbours)
    step = (_WIDTH - 2 * _MARGIN - _PAIR_WIDTH) / (_COLUMNS - 1)
    for place, index in enumerate(closest):
        row, column = divmod(place, _COLUMNS)
        corner = (round(_MARGIN + column * step), _HEADER_HEIGHT + row * _PAIR_HEIGHT)
        pictures = (_tile(generated[index]), _tile(reference[neighbours.nearest[index]]))
        _draw_pair(canvas, corner, pictures, neighbours, int(index))
    _draw_histogram(draw, plot_top, neighbours)
    return canvas


def draw_pairs(
    neighbours: Neighbours, generated: np.ndarray, reference: np.ndarray, count: int
) -> Image.Image:
    """The `count` closest pairs alone, a row each: the generated image, then its nearest."""
    tiles = [
        _tile(image)
        for index in neighbours.closest(count)
        for image in (generated[index], reference[neighbours.nearest[index]])
    ]
    return make_grid(np.stack([np.asarray(tile) for tile in tiles]), 2)


def _draw_header(draw: ImageDraw.ImageDraw, neighbours: Neighbours) -> None:
    what = (  # a long reference is cut short, and so it comes last
        f"{len(neighbours.distances):,} generated images (left), each with its nearest (right) by "
        f"{neighbours.judge} of {neighbours.reference_images:,} reference images: "
        f"{neighbours.reference}"
    )
    verdict = neighbours.verdict
    colour = _ALARM if neighbours.mean < neighbours.eps else _INK
    _write(draw, (_MARGIN, 24), "The generated images closest to a reference image", 28)
    _write(draw, (_MARGIN, 66), verdict[0].upper() + verdict[1:], 20, colour)
    _write(draw, (_MARGIN, 97), _shorten(what, _WIDTH - 2 * _MARGIN, 15), 15, _MUTED)


def _draw_pair(
    canvas: Image.Image,
    corner: tuple[int, int],
    pictures: tuple[Image.Image, Image.Image],
    neighbours: Neighbours,
    index: int,
) -> None:
    x, y = corner
    right, below = x + _TILE + _GUTTER, y + _TILE
    canvas.paste(pictures[0], (x, y))
    canvas.paste(pictures[1], (right, y))
    draw = ImageDraw.Draw(canvas)
    name = neighbours.name_of(int(neighbours.nearest[index])).rpartition("/")[2]
    name = re.sub(r"\.[a-z]+(?=#|$)", "", name, flags=re.IGNORECASE)  # photo.jpg#1: photo#1
    distance = f"distance {neighbours.distances[index]:.4f}"
    _write(draw, (x, below + 5), distance, 17)
    _write(draw, (x, below + 28), f"image {index}", 13, _MUTED)
    _write(draw, (right, below + 28), _shorten(name, _TILE, 13), 13, _MUTED)


def _tile(image: np.ndarray) -> Image.Image:
    """[H, W, 1 or 3] uint8 as a square picture; small ones are enlarged without smoothing."""
    picture = Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).convert("RGB")
    small = max(picture.size) < _TILE
    return picture.resize(
        (_TILE, _TILE), Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    )


def _draw_histogram(draw: ImageDraw.ImageDraw, top: int, neighbours: Neighbours) -> None:
    counts, edges = neighbours.histogram()
    plot = _Plot(
        _MARGIN + 52,
        top + _PLOT_ABOVE,
        _WIDTH - _MARGIN,
        top + _PLOT_ABOVE + _PLOT_HEIGHT,
        float(edges[-1]),
        1.05 * counts.max(),
    )
    _write(draw, (_MARGIN, top), "Distances of all generated images to their nearest", 20)
    some_below = counts[edges[1:] < neighbours.eps * 1.001].any()
    _draw_axes(draw, plot, int(counts.max()), some_below)
    for count, start, stop in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            colour = _BELOW_EPS if stop < neighbours.eps * 1.001 else _OTHERS
            top = min(plot.y(count), plot.bottom - 2)  # a single image is seen, too
            box = (plot.x(start) + 1, top, plot.x(stop) - 1, plot.bottom - 1)
            draw.rectangle(box, colour)
    # Each mark has a line of text of its own, so that they may lie close together.
    _draw_mark(draw, plot, plot.top - 48, neighbours.eps, f"eps {neighbours.eps:.4g}", _ALARM)
    _draw_mark(draw, plot, plot.top - 24, neighbours.mean, f"mean {neighbours.mean:.4g}", _INK)


def _draw_axes(
    draw: ImageDraw.ImageDraw, plot: _Plot, most_count: int, some_below_eps: bool
) -> None:
    for count in _ticks(most_count, 4):
        if count == int(count):
            draw.line((plot.left, plot.y(count), plot.right, plot.y(count)), _RULE)
            _write(draw, (plot.left - 10, plot.y(count)), f"{count:,.0f}", 14, _MUTED, "rm")
    draw.line((plot.left, plot.bottom, plot.right, plot.bottom), _MUTED)
    for value in _ticks(plot.most_distance, 10):
        _write(draw, (plot.x(value), plot.bottom + 8), f"{value:.4g}", 14, _MUTED, "mt")
    title = "1 - |cosine| of the features"
    if some_below_eps:
        title += " (orange: below eps; a penalty comes where the mean is)"
    _write(draw, (plot.right, plot.bottom + 30), title, 14, _MUTED, "rt")


def _draw_mark(
    draw: ImageDraw.ImageDraw, plot: _Plot, top: int, value: float, text: str, colour: str
) -> None:
    """A line at `value` from its text at `top` down to the axis; the text stays on the picture."""
    x = plot.x(value)
    draw.line((x, top + 20, x, plot.bottom), colour, 2)
    half = _font(15).getlength(text) / 2 + 4
    middle = min(max(x, plot.left + half), plot.right - half)
    draw.rectangle((middle - half, top, middle + half, top + 20), _PAPER)
    _write(draw, (middle, top + 10), text, 15, colour, "mm")


def _ticks(most: float, about: int) -> np.ndarray:
    """From 0 to at most `most` in steps of 1, 2 or 5 times a power of ten, some `about` of them."""
    power = 10.0 ** np.floor(np.log10(most / about))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * about >= most)
    return np.arange(0, most * (1 + 1e-9), step)


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    colour: str = _INK,
    anchor: str = "la",
) -> None:
    draw.text(place, text, colour, _font(size), anchor)


def _shorten(text: str, width: float, size: int) -> str:
    """`text`, or its beginning and dots, within `width` pixels."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)  # the one that comes with Pillow
