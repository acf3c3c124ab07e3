"""Run folders -> one HTML page that carries everything in itself and opens from disk."""

import base64
import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from doggan import __version__
from doggan.report import charts as charts
from doggan.report.curves import draw_curves
from doggan.report.facts import describe_runs, headline, tiles
from doggan.report.images import (
    Picture,
    cut_pairs,
    encode_within,
    evenly_spaced,
    read_picture,
)
from doggan.report.read import Run, read_run
from doggan.report.results import Pair
from doggan.scoring.comparison import Entry, compare, differing_conditions
from doggan.support.errors import InputError
from doggan.support.files import write_bytes

MAX_RUNS = 8
MAX_BYTES = 5_000_000  # of a page; the plotting code has 1,270,000 of them
# Bytes of WebP for all runs of a page; as text in the page they are a third more.
_FRAMES_BYTES, _FINAL_BYTES, _PAIRS_BYTES = 1_600_000, 400_000, 300_000
_MAX_FRAMES, _FRAME_BYTES = 36, 25_000  # a frame gets at least so much, or there are fewer
_TABLE_ROWS = 40
NOT_KAGGLES = "does not compare with Kaggle's public board"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `write_report` wrote: where, how large, of which runs, and what it could not use."""

    path: str
    bytes: int
    runs: list[str]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A grid of the training, after so many real images shown."""

    images: int
    picture: Picture


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run with its pictures and the charts that are its own."""

    run: Run
    colour: str
    command_path: str
    headline: str
    tiles: list
    final: Picture | None
    frames: list[Frame]
    pairs: list[tuple[Pair, Picture]]
    histogram: charts.Chart | None
    sweep: charts.Chart | None
    rows: list[dict[str, float]]


def write_report(folders: Sequence[Path], out: Path) -> Report:
    """Writes the page of one run, or of up to MAX_RUNS side by side, atomically.

    It stays under MAX_BYTES, needs no network, and says what a folder lacks. Raises InputError
    where a folder is no run's or there are too many, DogganError where `out` cannot be written.
    """
    if not 1 <= len(folders) <= MAX_RUNS:
        raise InputError(f"{len(folders)} runs were given; a report holds 1 to {MAX_RUNS}")
    runs = [read_run(*named) for named in zip(folders, _names(folders), strict=True)]
    page = render(runs).encode("utf-8", "replace")  # JSON and file names can hold half characters
    write_bytes(out, page)
    notes = [f"{run.name}: {note}" for run in runs for note in run.notes]
    return Report(path=str(out), bytes=len(page), runs=[run.name for run in runs], notes=notes)


def render(runs: Sequence[Run]) -> str:
    """The page's HTML; what turns out damaged on the way is added to the runs' notes."""
    views = [_view(run, number, len(runs)) for number, run in enumerate(runs)]
    curves = draw_curves(runs)
    rankings, differ_in = _rankings(runs)
    own = [chart for view in views for chart in (view.histogram, view.sweep) if chart]
    drawn = [*curves, *(chart for _, chart in rankings), *own]
    data = {
        "charts": {chart.key: chart.item for chart in drawn},
        "training": [
            [{"images": frame.images, "source": frame.picture.source} for frame in view.frames]
            for view in views
        ],
    }
    scripts = [_plotting_code(), _template_text("report.js")]
    return (
        _environment()
        .get_template("report.html")
        .render(
            title=" / ".join(run.name for run in runs),
            views=views,
            facts=describe_runs(runs),
            curves=curves,
            rankings=rankings,
            differ_in=differ_in,
            notices=_notices(runs),
            steps=sorted({frame.images for view in views for frame in view.frames}),
            data=data,
            scripts=scripts,
            script_hashes=[_hash(script) for script in scripts],
            style=_template_text("report.css"),
            version=__version__,
        )
    )


def _view(run: Run, number: int, runs: int) -> RunView:
    final = run.final_grid and _encode(run, run.final_grid, _FINAL_BYTES // runs)
    return RunView(
        run=run,
        colour=charts.COLOURS[number],
        command_path=shlex.quote(str(run.folder)),
        headline=headline(run),
        tiles=tiles(run),
        final=final,
        frames=_frames(run, _FRAMES_BYTES // runs),
        pairs=_pairs(run, _PAIRS_BYTES // runs),
        histogram=run.nearest and charts.draw_histogram(run.nearest, f"distances-{number}"),
        sweep=run.sweep and charts.draw_sweep(run.sweep, f"truncation-{number}"),
        rows=evenly_spaced(run.rows, _TABLE_ROWS),
    )


def _encode(run: Run, path: Path, most_bytes: int) -> Picture | None:
    try:
        return encode_within(read_picture(path), most_bytes)
    except InputError as error:
        run.notes.append(f"{error}; it was left out")
        return None


def _frames(run: Run, most_bytes: int) -> list[Frame]:
    """Evenly spaced grids, within `most_bytes` together."""
    shown = evenly_spaced(run.grids, max(2, min(_MAX_FRAMES, most_bytes // _FRAME_BYTES)))
    pictures = ((images, _encode(run, path, most_bytes // len(shown))) for images, path in shown)
    return [Frame(images=images, picture=picture) for images, picture in pictures if picture]


def _pairs(run: Run, most_bytes: int) -> list[tuple[Pair, Picture]]:
    if not (run.nearest and run.nearest.pairs and run.pairs_picture):
        return []
    pairs = run.nearest.pairs
    try:
        pictures = cut_pairs(read_picture(run.pairs_picture), len(pairs))
    except InputError as error:
        run.notes.append(f"{error}; it was left out")
        return []
    share = most_bytes // len(pairs)
    return [
        (pair, encode_within(picture, share)) for pair, picture in zip(pairs, pictures, strict=True)
    ]


def _rankings(runs: Sequence[Run]) -> tuple[list, list[str]]:
    """(ranking, chart) for every group of two or more scorecards that compare, and the conditions
    in which the groups differ."""
    if len(runs) < 2:
        return [], []
    entries = [Entry(run.name, card) for run in runs for _, card in run.scorecards]
    groups = compare(entries)
    names = [run.name for run in runs]
    drawn = [
        (group, charts.draw_ranking(group, names, f"ranking-{number}"))
        for number, group in enumerate(groups)
        if len(group.entries) > 1
    ]
    return drawn, differing_conditions(groups) if len(groups) > 1 else []


def _notices(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """What must be read beside the scores, "" where they are Kaggle's, and of which runs."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for _, card in run.scorecards:
            notice = "" if card.comparable_with_kaggle else card.notice or NOT_KAGGLES
            found.setdefault(notice, []).append(run.name)
    return list(found.items())


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names; where two are alike, their paths, numbered if need be."""
    names = [folder.resolve().name or str(folder) for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, 1)]
    return [name[-60:] for name in names]


def _environment():
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters["number"] = lambda value, form=",": format(value, form)
    return environment


def _template_text(name: str) -> str:
    return (resources.files("doggan.report") / "templates" / name).read_text("utf-8")


def _plotting_code() -> str:
    from bokeh.resources import Resources

    return Resources(mode="inline", components=["bokeh"]).js_raw[0]


def _hash(script: str) -> str:
    """The script's hash as a Content-Security-Policy names it."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
