"""The report's charts, as Bokeh draws them: a training's curves, histograms and intervals.

Colours of axes and text are left to the page, which knows whether it is light or dark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, GlyphRenderer, HoverTool, NumeralTickFormatter, Span
from bokeh.plotting import figure as Figure

from doggan.gan.history import PANELS, Panel
from doggan.gan.pictures import evenly_spaced
from doggan.report.read import RunRecord
from doggan.scoring.comparison import Ranking
from doggan.scoring.neighbours import Nearest, bins_below
from doggan.scoring.sweep import Sweep

# Each is seen on white as on near-black (contrast of 3 or more), and no two differ by hue alone
# for eyes that see few: dashes and the legend's words tell them apart, too.
COLOURS = ("#3b82d6", "#d0742a", "#2a9d78", "#c4539a", "#8572d8", "#8d8a2c", "#d9534f", "#5f8f9f")
ALARM, WARM = "#d9534f", "#d0922a"
MAX_POINTS = 800  # of a panel, over all runs of a page
_MOST_DOTS = 60


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


def draw_curves(runs: Sequence[RunRecord]) -> list[Chart]:
    """A chart a panel, all runs in each; a panel of which no run has a value is left out."""
    named = [(run.name, evenly_spaced(run.rows, MAX_POINTS // len(runs))) for run in runs]
    measured = {column for _, rows in named for row in rows for column in row}
    return [_draw_panel(panel, named) for panel in PANELS if not measured.isdisjoint(panel.curves)]


def _draw_panel(panel: Panel, named_rows: list[tuple[str, list[dict[str, float]]]]) -> Chart:
    """Colours tell the curves of one run apart; of several, colours the runs, dashes the curves."""
    plot = _new_figure("images shown", panel.unit)
    plot.xaxis.formatter = NumeralTickFormatter(format="0.[0]a")
    alone = len(named_rows) == 1
    form = f"{{0.{'0' * panel.decimals}}}"
    legend, words = [], []
    for number, (run, rows) in enumerate(named_rows):
        source = ColumnDataSource(_columns(panel, rows))
        lines, values = [], []
        for place, (column, label) in enumerate(panel.curves.items()):
            known = [row[column] * panel.factor for row in rows if column in row]
            if not known:
                continue
            colour = COLOURS[place if alone else number]
            dashed = not alone and place == 1
            lines.append(_draw_line(plot, source, column, colour, dashed))
            values.append((label, f"@{column}{form}"))
            name = label if alone else run
            if not alone and len(panel.curves) > 1:
                name = f"{run}: {label}"
            legend.append((name, colour, dashed))
            words.append(f"{name}: from {known[0]:.4g} to {known[-1]:.4g}")
        if lines:  # one tooltip, on the first, holds the values of all curves of a run
            lines[0].name = run
            tooltips = [("images shown", "@images{0,0}"), *values, ("minutes", "@minutes{0,0.0}")]
            _add_hover(plot, lines[0], tooltips if alone else [("run", "$name"), *tooltips])
    alt = f"{panel.title} ({panel.unit}) over images shown. {'; '.join(words)}."
    return Chart(key=panel.key, title=panel.title, alt=alt, legend=legend, item=json_item(plot))


def _columns(panel: Panel, rows: list[dict[str, float]]) -> dict[str, list[float]]:
    columns = {"images": [row["images"] for row in rows]}
    columns["minutes"] = [row.get("seconds", math.nan) / 60 for row in rows]
    for column in panel.curves:
        columns[column] = [row.get(column, math.nan) * panel.factor for row in rows]
    return columns


def _draw_line(
    plot: Figure, source: ColumnDataSource, column: str, colour: str, dashed: bool
) -> GlyphRenderer:
    """A line, with dots where they are few; returns what the mouse is to find."""
    look = {"source": source, "color": colour}
    dash = "dashed" if dashed else "solid"
    line = plot.line("images", column, width=2.2, line_dash=dash, **look)
    points = len(source.data["images"])
    if points > _MOST_DOTS:
        return line
    dots = plot.scatter("images", column, size=5, **look)
    return line if points > 1 else dots


def draw_histogram(nearest: Nearest, key: str) -> Chart:
    """The distances of all generated images to their nearest, with eps and the mean marked."""
    counts, left, right = nearest.counts, nearest.edges[:-1], nearest.edges[1:]
    below = bins_below(nearest.eps, nearest.edges)
    total = max(sum(counts), 1)
    columns = {
        "left": left,
        "right": right,
        "count": counts,
        "share": [100 * count / total for count in counts],
        "colour": [WARM if is_below else COLOURS[0] for is_below in below],
    }
    plot = _new_figure("distance to the nearest reference image", "generated images")
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.x_range.start, plot.y_range.start = 0, 0
    bars = plot.quad(
        "left", "right", "count", 0, source=ColumnDataSource(columns), fill_color="colour",
        line_color=None, fill_alpha=0.9,
    )  # fmt: skip
    mark = partial(Span, dimension="height", line_width=2)
    plot.add_layout(mark(location=nearest.eps, line_color=ALARM, line_dash="dashed"))
    plot.add_layout(mark(location=nearest.mean, name="ink"))  # in the colour of the page's text
    tooltips = [
        ("distance", "@left{0.000} to @right{0.000}"),
        ("images", "@count{0,0} (@share{0.0}%)"),
    ]
    _add_hover(plot, bars, tooltips)
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
    return Chart(key=key, title=title, alt=alt, legend=legend, item=json_item(plot))


def draw_sweep(sweep: Sweep, key: str) -> Chart:
    """MiFID over truncation, with 95% intervals."""
    points, best, colour = sweep.points, sweep.best, COLOURS[0]
    names = ("truncation", "mifid", "low", "high", "fid", "distance")
    source = ColumnDataSource({name: [getattr(point, name) for point in points] for name in names})
    look = {"source": source, "color": colour}
    plot = _new_figure("truncation", "MiFID (lower is better)")
    plot.segment("truncation", "low", "truncation", "high", width=2, **look)
    line = plot.line("truncation", "mifid", width=1.5, line_alpha=0.6, **look)
    dots = plot.scatter("truncation", "mifid", size=9, **look)
    plot.scatter([best.truncation], [best.mifid], color=COLOURS[2], size=13, marker="diamond")
    tooltips = [
        ("truncation", "@truncation{0.[00]}"),
        ("MiFID", "@mifid{0.00} (@low{0.00} to @high{0.00})"),
        ("FID", "@fid{0.00}"),
        ("distance", "@distance{0.000}"),
    ]
    _add_hover(plot, line if len(points) > 1 else dots, tooltips)
    alt = (
        f"MiFID at {len(points)} truncations from {points[0].truncation:g} to "
        f"{points[-1].truncation:g}; least at {best.truncation:g}: {best.mifid:.2f}."
    )
    legend = [("MiFID with its 95% interval", colour, False), ("the least", COLOURS[2], False)]
    return Chart(key=key, title="MiFID by truncation", alt=alt, legend=legend, item=json_item(plot))


def draw_ranking(ranking: Ranking, names: Sequence[str], key: str) -> Chart:
    """MiFID of several runs with their intervals, best on top; `names` give each its colour."""
    runs = [entry.name for entry in ranking.entries]
    cards = [entry.scorecard for entry in ranking.entries]
    colours = [COLOURS[names.index(run)] for run in runs]
    low, high = zip(*(card.mifid_interval for card in cards), strict=True)
    columns = {
        "run": runs,
        "place": list(range(len(runs), 0, -1)),
        "mifid": [card.mifid for card in cards],
        "low": low,
        "high": high,
        "colour": colours,
    }
    look = {"source": ColumnDataSource(columns), "color": "colour"}
    plot = _new_figure("MiFID (lower is better)", "", height=90 + 44 * len(runs))
    plot.y_range.start, plot.y_range.end = 0.4, len(runs) + 0.6
    plot.yaxis.visible = plot.ygrid.visible = False
    plot.xgrid.visible = True
    plot.segment("low", "place", "high", "place", width=4, **look)
    dots = plot.scatter("mifid", "place", size=12, **look)
    tooltips = [("run", "@run"), ("MiFID", "@mifid{0.00} (@low{0.00} to @high{0.00})")]
    _add_hover(plot, dots, tooltips, "hline")
    legend = [(run, colour, False) for run, colour in zip(runs, colours, strict=True)]
    alt = "MiFID with 95% intervals. " + "; ".join(
        f"{run}: {card.mifid:.2f}, {card.mifid_interval:.2f}"
        for run, card in zip(runs, cards, strict=True)
    )
    title = "MiFID and its 95% interval, best first"
    return Chart(key=key, title=title, alt=alt, legend=legend, item=json_item(plot))


def _new_figure(x: str, y: str, height: int = 250) -> Figure:
    """An empty chart `height` px high, as wide as the page lets it be, with its axes' words."""
    plot = Figure(
        height=height, sizing_mode="stretch_width", toolbar_location=None, tools="",
        x_axis_label=x, y_axis_label=y, background_fill_alpha=0, border_fill_alpha=0,
        outline_line_color=None, min_border_right=12,
    )  # fmt: skip
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.minor_tick_line_color = None
    plot.xgrid.visible = False
    return plot


def _add_hover(
    plot: Figure, renderer: GlyphRenderer, tooltips: list[tuple[str, str]], mode: str = "vline"
) -> None:
    """Shows `tooltips` of the renderer's point under the mouse, or above and below it."""
    plot.add_tools(
        HoverTool(renderers=[renderer], tooltips=tooltips, mode=mode, line_policy="nearest")
    )
