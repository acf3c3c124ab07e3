"""Generated images beside their nearest reference images, and the histogram of all distances."""

import re

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont

from doggan.gan.pictures import make_grid
from doggan.scoring.neighbours import Neighbours, bins_below

MAX_PAIRS = 120
_WIDTH, _MARGIN = 1184, 32
_HEADER_HEIGHT = 136
_COLUMNS, _TILE, _GUTTER = 4, 128, 4
_PAIR_WIDTH, _PAIR_HEIGHT = 2 * _TILE + _GUTTER, _TILE + 64
_TITLE_HEIGHT, _PLOT_HEIGHT = 38, 350
_INK, _MUTED, _RULE, _PAPER = "#1f2328", "#59636e", "#dfe3e8", "#ffffff"
_BELOW_EPS, _OTHERS, _ALARM = "#e8a33d", "#8fa9c4", "#c4372c"


def draw_neighbours(
    neighbours: Neighbours, generated: np.ndarray, reference: np.ndarray, count: int
) -> Image.Image:
    """The `count` closest pairs (120 at most), then the histogram, with eps and the mean marked.

    `generated` and `reference` are the images that `neighbours` is of, [N, H, W, 1 or 3] uint8.
    """
    pairs = neighbours.pairs(min(count, MAX_PAIRS))
    pairs_bottom = _HEADER_HEIGHT + -(-len(pairs) // _COLUMNS) * _PAIR_HEIGHT
    canvas = Image.new("RGB", (_WIDTH, pairs_bottom + _TITLE_HEIGHT + _PLOT_HEIGHT), _PAPER)
    draw = ImageDraw.Draw(canvas)
    _draw_header(draw, neighbours)
    step = (_WIDTH - 2 * _MARGIN - _PAIR_WIDTH) / (_COLUMNS - 1)
    for place, pair in enumerate(pairs):
        row, column = divmod(place, _COLUMNS)
        left, top = round(_MARGIN + column * step), _HEADER_HEIGHT + row * _PAIR_HEIGHT
        right, below = left + _TILE + _GUTTER, top + _TILE
        canvas.paste(_tile(generated[pair.generated]), (left, top))
        canvas.paste(_tile(reference[pair.reference]), (right, top))
        name = pair.reference_name.rpartition("/")[2]
        name = re.sub(r"\.[a-z]+(?=#|$)", "", name, flags=re.IGNORECASE)  # photo.jpg#1: photo#1
        _write(draw, (left, below + 5), f"distance {pair.distance:.4f}", 17)
        _write(draw, (left, below + 28), f"image {pair.generated}", 13, _MUTED)
        _write(draw, (right, below + 28), _shorten(name, _TILE, 13), 13, _MUTED)
    canvas.paste(_draw_histogram(neighbours), (0, canvas.height - _PLOT_HEIGHT))
    title = "Distances of all generated images to their nearest"
    _write(draw, (_MARGIN, pairs_bottom + 4), title, 20)
    return canvas


def draw_pairs(
    neighbours: Neighbours, generated: np.ndarray, reference: np.ndarray, count: int
) -> Image.Image:
    """The `count` closest pairs alone, a row each: the generated image, then its nearest."""
    tiles = [
        _tile(image)
        for pair in neighbours.pairs(count)
        for image in (generated[pair.generated], reference[pair.reference])
    ]
    return make_grid(np.stack([np.asarray(tile) for tile in tiles]), 2)


def _draw_header(draw: ImageDraw.ImageDraw, neighbours: Neighbours) -> None:
    what = (  # a long reference is cut short, and so it comes last
        f"{len(neighbours.distances):,} generated images (left), each with its nearest (right) by "
        f"{neighbours.judge} of {neighbours.reference_images:,} reference images: "
        f"{neighbours.reference}"
    )
    verdict = neighbours.verdict
    colour = _ALARM if neighbours.penalised else _INK
    _write(draw, (_MARGIN, 24), "The generated images closest to a reference image", 28)
    _write(draw, (_MARGIN, 66), verdict[0].upper() + verdict[1:], 20, colour)
    _write(draw, (_MARGIN, 97), _shorten(what, _WIDTH - 2 * _MARGIN, 15), 15, _MUTED)


def _tile(image: np.ndarray) -> Image.Image:
    """[H, W, 1 or 3] uint8 as a square picture; small ones are enlarged without smoothing."""
    picture = Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).convert("RGB")
    small = max(picture.size) < _TILE
    return picture.resize(
        (_TILE, _TILE), Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    )


def _draw_histogram(neighbours: Neighbours) -> Image.Image:
    """The distances of all generated images, _WIDTH x _PLOT_HEIGHT pixels."""
    counts, edges = neighbours.histogram()
    below = bins_below(neighbours.eps, edges)
    most = 1.05 * counts.max()
    figure = Figure((_WIDTH / 100, _PLOT_HEIGHT / 100), dpi=100)
    axes = figure.add_axes((0.071, 0.206, 0.902, 0.629), xlim=(0, edges[-1]), ylim=(0, most))
    tops = np.where(counts, np.maximum(counts, most / 100), 0)  # a single image is seen, too
    colours = np.where(below, _BELOW_EPS, _OTHERS)
    axes.bar(edges[:-1], tops, 0.93 * np.diff(edges), align="edge", color=colours)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="y", color=_RULE)
    axes.set_axisbelow(True)
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(_MUTED)
    axes.tick_params(length=0, pad=8, labelcolor=_MUTED)
    title = "1 - |cosine| of the features"
    if counts[below].any():
        title += " (orange: below eps; a penalty comes where the mean is)"
    axes.set_xlabel(title, loc="right", color=_MUTED)
    # Each mark has a line of text of its own, so that they may lie close together.
    for name, value, height, colour in (
        ("eps", neighbours.eps, 1.13, _ALARM),
        ("mean", neighbours.mean, 1.02, _INK),
    ):
        axes.axvline(value, ymax=height, color=colour, clip_on=False)
        middle = np.clip(value / edges[-1], 0.05, 0.95)  # the text stays on the picture
        axes.text(
            middle, height, f"{name} {value:.4g}", color=colour, backgroundcolor=_PAPER,
            ha="center", va="bottom", transform=axes.transAxes,
        )  # fmt: skip
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _write(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, colour: str = _INK
) -> None:
    draw.text(place, text, colour, _font(size))


def _shorten(text: str, width: float, size: int) -> str:
    """`text`, or its beginning and dots, within `width` pixels."""
    font, shown = _font(size), text
    while text and font.getlength(shown) > width:
        text = text[:-1]
        shown = text + "..."
    return shown


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)  # the one that comes with Pillow
