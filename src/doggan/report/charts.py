"""The report's histograms and intervals, and what all its charts have, as Bokeh draws them.

Colours of axes and text are left to the page, which knows whether it is light or dark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from doggan.report.results import Nearest, Sweep
from doggan.scoring.comparison import Ranking

if TYPE_CHECKING:
    from bokeh.models import GlyphRenderer
    from bokeh.plotting import figure as Figure

# Each is seen on white as on near-black (contrast of 3 or more), and no two differ by hue alone
# for eyes that see few: dashes and the legend's words tell them apart, too.
COLOURS = ("#3b82d6", "#d0742a", "#2a9d78", "#c4539a", "#8572d8", "#8d8a2c", "#d9534f", "#5f8f9f")
ALARM, WARM = "#d9534f", "#d0922a"
_HEIGHT_PX = 250


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart of the page; `alt` says in words what it shows, `item` is what Bokeh embeds.

    `legend` holds (words, colour, whether dashed).
    """

    key: str
    title: str
    alt: str
    legend: list[tuple[str, str, bool]]
    item: dict


def draw_histogram(nearest: Nearest, key: str) -> Chart:
    """The distances of all generated images to their nearest, with eps and the mean marked."""
    from bokeh.models import ColumnDataSource, NumeralTickFormatter, Span

    counts, left, right = nearest.counts, nearest.edges[:-1], nearest.edges[1:]
    below = [stop < nearest.eps * 1.001 for stop in right]
    total = max(sum(counts), 1)
    source = ColumnDataSource(
        {
            "left": left,
            "right": right,
            "count": counts,
            "share": [100 * count / total for count in counts],
            "colour": [WARM if is_below else COLOURS[0] for is_below in below],
        }
    )
    plot = new_figure("distance to the nearest reference image", "generated images")
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.x_range.start, plot.y_range.start = 0, 0
    bars = plot.quad(
        "left", "right", "count", 0, source=source, fill_color="colour", line_color=None,
        fill_alpha=0.9,
    )  # fmt: skip
    eps, mean = (
        Span(location=place, dimension="height", line_width=2)
        for place in (nearest.eps, nearest.mean)
    )
    eps.line_color, eps.line_dash = ALARM, "dashed"
    mean.name = "ink"  # the page gives it the colour of its text
    plot.add_layout(eps)
    plot.add_layout(mean)
    tooltips = [
        ("distance", "@left{0.000} to @right{0.000}"),
        ("images", "@count{0,0} (@share{0.0}%)"),
    ]
    add_hover(plot, bars, tooltips)
    legend = [
        (f"eps {nearest.eps:.4g}", ALARM, True),
        (f"mean {nearest.mean:.4g}", "currentColor", False),
    ]
    near = sum(count for count, is_below in zip(counts, below, strict=True) if is_below)
    if near:
        legend.append(("below eps", WARM, False))
    alt = (
        f"Histogram of {total:,} distances: mean {nearest.mean:.4g}, eps {nearest.eps:.4g}, "
        f"{near:,} of them below eps."
    )
    title = "Distances of all generated images to their nearest"
    return Chart(key=key, title=title, alt=alt, legend=legend, item=as_item(plot))


def draw_sweep(sweep: Sweep, key: str) -> Chart:
    """MiFID over truncation, with 95% intervals."""
    from bokeh.models import ColumnDataSource

    points = sweep.points
    names = ("truncation", "mifid", "low", "high", "fid", "distance")
    source = ColumnDataSource({name: [getattr(point, name) for point in points] for name in names})
    plot = new_figure("truncation", "MiFID (lower is better)")
    colour = COLOURS[0]
    plot.segment("truncation", "low", "truncation", "high", source=source, color=colour, width=2)
    line = plot.line("truncation", "mifid", source=source, color=colour, width=1.5, line_alpha=0.6)
    dots = plot.scatter("truncation", "mifid", source=source, color=colour, size=9)
    best = sweep.best
    plot.scatter([best.truncation], [best.mifid], color=COLOURS[2], size=13, marker="diamond")
    tooltips = [
        ("truncation", "@truncation{0.[00]}"),
        ("MiFID", "@mifid{0.00} (@low{0.00} to @high{0.00})"),
        ("FID", "@fid{0.00}"),
        ("distance", "@distance{0.000}"),
    ]
    add_hover(plot, line if len(points) > 1 else dots, tooltips)
    alt = (
        f"MiFID at {len(points)} truncations from {points[0].truncation:g} to "
        f"{points[-1].truncation:g}; least at {best.truncation:g}: {best.mifid:.2f}."
    )
    legend = [("MiFID with its 95% interval", colour, False), ("the least", COLOURS[2], False)]
    return Chart(key=key, title="MiFID by truncation", alt=alt, legend=legend, item=as_item(plot))


def draw_ranking(ranking: Ranking, names: Sequence[str], key: str) -> Chart:
    """MiFID of several runs with their intervals, best on top; `names` give each its colour."""
    from bokeh.models import ColumnDataSource

    entries = ranking.entries
    places = list(range(len(entries), 0, -1))
    cards = [entry.scorecard for entry in entries]
    colours = [COLOURS[names.index(entry.name) % len(COLOURS)] for entry in entries]
    source = ColumnDataSource(
        {
            "run": [entry.name for entry in entries],
            "place": places,
            "mifid": [card.mifid for card in cards],
            "low": [card.mifid_interval[0] for card in cards],
            "high": [card.mifid_interval[1] for card in cards],
            "colour": colours,
        }
    )
    plot = new_figure("MiFID (lower is better)", "", height=90 + 44 * len(entries))
    plot.y_range.start, plot.y_range.end = 0.4, len(entries) + 0.6
    plot.yaxis.visible = plot.ygrid.visible = False
    plot.xgrid.visible = True
    plot.segment("low", "place", "high", "place", source=source, color="colour", width=4)
    dots = plot.scatter("mifid", "place", source=source, color="colour", size=12)
    tooltips = [("run", "@run"), ("MiFID", "@mifid{0.00} (@low{0.00} to @high{0.00})")]
    add_hover(plot, dots, tooltips, "hline")
    legend = [(entry.name, colour, False) for entry, colour in zip(entries, colours, strict=True)]
    alt = "MiFID with 95% intervals. " + "; ".join(
        f"{entry.name}: {card.mifid:.2f}, {card.mifid_interval[0]:.2f} to "
        f"{card.mifid_interval[1]:.2f}"
        for entry, card in zip(entries, cards, strict=True)
    )
    title = "MiFID and its 95% interval, best first"
    return Chart(key=key, title=title, alt=alt, legend=legend, item=as_item(plot))


def new_figure(x: str, y: str, height: int = _HEIGHT_PX) -> "Figure":
    """An empty chart as wide as the page lets it be, with the words of its axes."""
    from bokeh.plotting import figure

    plot = figure(
        height=height, sizing_mode="stretch_width", toolbar_location=None, tools="",
        x_axis_label=x, y_axis_label=y, background_fill_alpha=0, border_fill_alpha=0,
        outline_line_color=None, min_border_right=12,
    )  # fmt: skip
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.minor_tick_line_color = None
    plot.xgrid.visible = False
    return plot


def add_hover(
    plot: "Figure", renderer: "GlyphRenderer", tooltips: list, mode: str = "vline"
) -> None:
    """Shows `tooltips` of the renderer's point under the mouse, or above and below it."""
    from bokeh.models import HoverTool

    plot.add_tools(
        HoverTool(renderers=[renderer], tooltips=tooltips, mode=mode, line_policy="nearest")
    )


def as_item(plot: "Figure") -> dict:
    """What Bokeh's code embeds in the page."""
    from bokeh.embed import json_item

    return json_item(plot)
