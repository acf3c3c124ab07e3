"""The curves of a training, as charts: losses, accuracies, speed, gradients and memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from doggan.report.charts import COLOURS, Chart, add_hover, as_item, new_figure
from doggan.report.images import evenly_spaced
from doggan.report.read import Run

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource, GlyphRenderer
    from bokeh.plotting import figure as Figure

MAX_POINTS = 800  # of a panel, over all runs of a page
_MOST_DOTS = 60


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A column of stats.jsonl on a chart: its words, and what it is multiplied by."""

    column: str
    label: str
    format: str
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A chart of curves over images shown."""

    key: str
    title: str
    what: str
    curves: tuple[Curve, ...]


PANELS = (
    Panel(
        key="loss",
        title="Losses",
        what="mean of an interval",
        curves=(
            Curve(column="loss_d", label="discriminator", format="0.000"),
            Curve(column="loss_g", label="generator", format="0.000"),
        ),
    ),
    Panel(
        key="accuracy",
        title="How often the discriminator is right",
        what="of 100",
        curves=(
            Curve(column="accuracy_real", label="on photos", format="0.0", factor=100),
            Curve(column="accuracy_fake", label="on generated images", format="0.0", factor=100),
        ),
    ),
    Panel(
        key="speed",
        title="Speed",
        what="images/s",
        curves=(Curve(column="images_per_second", label="images/s", format="0.0"),),
    ),
    Panel(
        key="gradients",
        title="Gradient norms",
        what="mean of an interval",
        curves=(
            Curve(column="grad_norm_d", label="discriminator", format="0.000"),
            Curve(column="grad_norm_g", label="generator", format="0.000"),
        ),
    ),
    Panel(
        key="memory",
        title="Memory",
        what="GB at most",
        curves=(Curve(column="memory_bytes", label="memory", format="0.00", factor=1e-9),),
    ),
)


def draw_curves(runs: Sequence[Run]) -> list[Chart]:
    """A chart a panel, all runs in each; a panel of which no run has a value is left out."""
    charts = []
    for panel in PANELS:
        having = [run for run in runs if any(_has(run, curve) for curve in panel.curves)]
        if having:
            charts.append(_draw_panel(panel, runs))
    return charts


def _has(run: Run, curve: Curve) -> bool:
    return any(curve.column in row for row in run.rows)


def _draw_panel(panel: Panel, runs: Sequence[Run]) -> Chart:
    from bokeh.models import ColumnDataSource, NumeralTickFormatter

    plot = new_figure("images shown", panel.what)
    plot.xaxis.formatter = NumeralTickFormatter(format="0.[0]a")
    legend, words = [], []
    for number, run in enumerate(runs):
        rows = evenly_spaced(run.rows, MAX_POINTS // len(runs))
        source = ColumnDataSource(_columns(panel, rows))
        drawn = []
        for place, curve in enumerate(panel.curves):
            if not _has(run, curve):
                continue
            dashed = len(runs) > 1 and place == 1
            colour = COLOURS[place if len(runs) == 1 else number]
            drawn.append(_draw_line(plot, curve.column, source, run.name, colour, dashed))
            name = _series_name(run, curve, len(runs), len(panel.curves))
            legend.append((name, colour, dashed))
            words.append(_in_words(name, [row.get(curve.column) for row in rows], curve))
        if drawn:  # one tooltip holds the values of all curves of a run
            add_hover(plot, drawn[0], _tooltips(panel, run, len(runs)))
    alt = f"{panel.title} ({panel.what}) over images shown. {'; '.join(words)}."
    return Chart(key=panel.key, title=panel.title, alt=alt, legend=legend, item=as_item(plot))


def _draw_line(
    plot: "Figure", column: str, source: "ColumnDataSource", name: str, colour: str, dashed: bool
) -> "GlyphRenderer":
    """A line, with dots where they are few; returns what the mouse is to find."""
    dash = "dashed" if dashed else "solid"
    line = plot.line(
        "images", column, source=source, name=name, color=colour, width=2.2, line_dash=dash
    )
    points = len(source.data["images"])
    if points > _MOST_DOTS:
        return line
    dots = plot.scatter("images", column, source=source, name=name, color=colour, size=5)
    return line if points > 1 else dots


def _series_name(run: Run, curve: Curve, runs: int, curves: int) -> str:
    if runs == 1:
        return curve.label
    return run.name if curves == 1 else f"{run.name}: {curve.label}"


def _columns(panel: Panel, rows: list[dict[str, float]]) -> dict[str, list]:
    columns = {"images": [row["images"] for row in rows]}
    columns["minutes"] = [row.get("seconds", math.nan) / 60 for row in rows]
    for curve in panel.curves:
        columns[curve.column] = [row.get(curve.column, math.nan) * curve.factor for row in rows]
    return columns


def _tooltips(panel: Panel, run: Run, runs: int) -> list[tuple[str, str]]:
    names = [("run", "$name")] if runs > 1 else []
    values = [
        (curve.label, f"@{curve.column}{{{curve.format}}}")
        for curve in panel.curves
        if _has(run, curve)
    ]
    return [*names, ("images shown", "@images{0,0}"), *values, ("minutes", "@minutes{0,0.0}")]


def _in_words(name: str, values: list[float | None], curve: Curve) -> str:
    known = [value * curve.factor for value in values if value is not None]
    return f"{name}: from {known[0]:.4g} to {known[-1]:.4g}"
