"""Run folders -> one HTML page that carries everything in itself and opens from disk."""

import base64
import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
from bokeh.resources import Resources

from doggan import __version__
from doggan.gan.pictures import evenly_spaced
from doggan.report import charts
from doggan.report.facts import describe_runs, headline, tiles
from doggan.report.images import Picture, cut_pairs, encode_within, read_picture
from doggan.report.read import RunRecord
from doggan.scoring.comparison import Entry, Ranking, compare, differing_conditions
from doggan.scoring.neighbours import Pair
from doggan.support.errors import InputError
from doggan.support.files import write_bytes

MAX_RUNS = 8
MAX_BYTES = 5_000_000  # of a page; the plotting code has 1,270,000 of them
# Bytes of WebP for all runs of a page; as text in the page they are a third more.
_FRAMES_BYTES, _FINAL_BYTES, _PAIRS_BYTES = 1_600_000, 400_000, 300_000
_MAX_FRAMES, _FRAME_BYTES = 36, 25_000  # a frame gets at least so much, or there are fewer
_TABLE_ROWS = 40
_MAX_NAME = 60


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `write_report` wrote: where, how large, of which runs, and what it could not use."""

    path: str
    bytes: int
    runs: list[str]
    notes: list[str]


class RunSection:
    """A run's part of the page: the run, its pictures, and the charts that are its own.

    A picture that turns out damaged is left out, and the run's notes say so.
    """

    def __init__(self, run: RunRecord, number: int, runs: int, path: Path):
        """Run `number`, from 0, of `runs`, which share the page's bytes; commands on the page name
        it by `path`."""
        self.run = run
        self.colour = charts.COLOURS[number]
        self.command_path = shlex.quote(str(path))
        self.headline = headline(run)
        self.tiles = tiles(run)
        self.final = run.final_grid and self._encode(run.final_grid, _FINAL_BYTES // runs)
        self.frames = self._encode_frames(_FRAMES_BYTES // runs)
        self.pairs = self._encode_pairs(_PAIRS_BYTES // runs)
        self.histogram = run.nearest and charts.draw_histogram(run.nearest, f"distances-{number}")
        self.sweep = run.sweep and charts.draw_sweep(run.sweep, f"truncation-{number}")
        self.rows = evenly_spaced(run.rows, _TABLE_ROWS)

    def _encode(self, path: Path, most_bytes: int) -> Picture | None:
        try:
            return encode_within(read_picture(path), most_bytes)
        except InputError as error:
            self.run.note(f"{error}; it was left out")
            return None

    def _encode_frames(self, most_bytes: int) -> list[tuple[int, Picture]]:
        """Evenly spaced grids after so many images shown, within `most_bytes` together."""
        count = max(2, min(_MAX_FRAMES, most_bytes // _FRAME_BYTES))
        shown = evenly_spaced(self.run.grids, count)
        found = ((images, self._encode(path, most_bytes // len(shown))) for images, path in shown)
        return [(images, picture) for images, picture in found if picture]

    def _encode_pairs(self, most_bytes: int) -> list[tuple[Pair, Picture]]:
        nearest, path = self.run.nearest, self.run.pairs_picture
        if not (nearest and nearest.pairs and path):
            return []
        count = len(nearest.pairs)
        try:
            rows = cut_pairs(read_picture(path), count)
        except InputError as error:
            self.run.note(f"{error}; it was left out")
            return []
        pictures = [encode_within(row, most_bytes // count) for row in rows]
        return list(zip(nearest.pairs, pictures, strict=True))


def write_report(
    folders: Sequence[Path], out: Path, *, named: Sequence[Path] | None = None
) -> Report:
    """Writes the page of one run, or of up to MAX_RUNS side by side, atomically.

    It stays under MAX_BYTES, needs no network, and says what a folder lacks. Commands on it name
    the folders as `named`, where they will lie (None: where they are). Raises InputError
    where a folder is no run's or there are too many, DogganError where `out` cannot be written.
    """
    if not 1 <= len(folders) <= MAX_RUNS:
        raise InputError(f"{len(folders)} runs were given; a report holds 1 to {MAX_RUNS}")
    runs = list(map(RunRecord, folders, _names(folders)))
    # JSON and file names can hold half characters.
    page = render(runs, named).encode("utf-8", "replace")
    write_bytes(out, page)
    notes = [f"{run.name}: {note}" for run in runs for note in run.notes]
    return Report(path=str(out), bytes=len(page), runs=[run.name for run in runs], notes=notes)


def render(runs: Sequence[RunRecord], named: Sequence[Path] | None = None) -> str:
    """The page's HTML; what turns out damaged on the way is added to the runs' notes."""
    paths = named or [run.folder for run in runs]
    sections = [
        RunSection(run, number, len(runs), path)
        for number, (run, path) in enumerate(zip(runs, paths, strict=True))
    ]
    curves = charts.draw_curves(runs)
    rankings, differ_in = _rankings(runs)
    own = [chart for section in sections for chart in (section.histogram, section.sweep) if chart]
    drawn = [*curves, *(chart for _, chart in rankings), *own]
    data = {
        "charts": {chart.key: chart.item for chart in drawn},
        "training": [
            [{"images": images, "source": picture.source} for images, picture in section.frames]
            for section in sections
        ],
    }
    bokeh = Resources(mode="inline", components=["bokeh"]).js_raw[0]
    scripts = [bokeh, _template_text("report.js")]
    return (
        _environment()
        .get_template("report.html")
        .render(
            title=" / ".join(run.name for run in runs),
            sections=sections,
            facts=describe_runs(runs),
            curves=curves,
            rankings=rankings,
            differ_in=differ_in,
            notices=_notices(runs),
            steps=sorted({images for section in sections for images, _ in section.frames}),
            data=data,
            scripts=scripts,
            script_hashes=[_hash(script) for script in scripts],
            style=_template_text("report.css"),
            version=__version__,
        )
    )


def _rankings(runs: Sequence[RunRecord]) -> tuple[list[tuple[Ranking, charts.Chart]], list[str]]:
    """A chart for every group of two or more scorecards that compare, and the conditions in which
    the groups differ."""
    if len(runs) < 2:
        return [], []
    groups = compare([Entry(run.name, card) for run in runs for _, card in run.scorecards])
    names = [run.name for run in runs]
    drawn = [
        (group, charts.draw_ranking(group, names, f"ranking-{number}"))
        for number, group in enumerate(groups)
        if len(group.entries) > 1
    ]
    return drawn, differing_conditions(groups) if len(groups) > 1 else []


def _notices(runs: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """What must be read beside the scores, "" where they are Kaggle's, and of which runs."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for _, card in run.scorecards:
            other = card.notice or "does not compare with Kaggle's public board"
            notice = "" if card.comparable_with_kaggle else other
            found.setdefault(notice, []).append(run.name)
    return list(found.items())


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names; where two are alike, their paths, numbered if need be."""
    names = [folder.resolve().name or str(folder) for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, 1)]
    return [name[-_MAX_NAME:] for name in names]


def _environment() -> jinja2.Environment:
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


def _hash(script: str) -> str:
    """The script's hash as a Content-Security-Policy names it."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
