"""What commands leave beside a run, as JSON: neighbours, the truncation sweep, a zip's check.

Each `parse_...` takes the file's content and raises KeyError, TypeError or ValueError where it is
not what the command writes. Lists and texts are cut to what a page can show.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from doggan.competition import IMAGES
from doggan.submission import SHOWN_NAMES, SubmissionCheck, check_submission

MAX_PAIRS = 24
MAX_BINS = 400
MAX_TRUNCATIONS = 100
MAX_RULES = 20
_MAX_TEXT = 300


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A generated image and its nearest reference image, by number from 0, and by name if known."""

    generated: int
    reference: int
    reference_name: str
    distance: float


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """`doggan neighbours`: the closest pairs and the histogram, counts [K] in edges [K + 1]."""

    verdict: str
    mean: float
    eps: float
    judge: str
    notice: str
    reference: str
    generated_images: int
    reference_images: int
    counts: list[int]
    edges: list[float]
    pairs: list[Pair]


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """The score at one truncation; `low` to `high` is the 95% interval of MiFID."""

    truncation: float
    mifid: float
    low: float
    high: float
    fid: float
    distance: float


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """`doggan score --truncation FROM:TO:STEP`: what was compared, and the points in order."""

    judge: str
    generated_images: int
    reference_images: int
    reference: str
    points: list[SweepPoint]

    @property
    def best(self) -> SweepPoint:
        """The point of least MiFID."""
        return min(self.points, key=lambda point: point.mifid)

    @property
    def as_good(self) -> list[SweepPoint]:
        """The other points whose intervals overlap with the best one's."""
        best = self.best
        overlap = (p for p in self.points if p.low <= best.high and best.low <= p.high)
        return [point for point in overlap if point is not best]


@dataclass(frozen=True, kw_only=True)
class Check:
    """A zip against the rules: `problems` are (rule, first names, how many more names)."""

    valid: bool
    images: int
    expected: int
    problems: list[tuple[str, list[str], int]]
    zip_is_here: bool


def parse_nearest(content: object) -> Nearest:
    """The content of neighbours.json."""
    counts = [_count(value) for value in content["histogram"]["counts"][:MAX_BINS]]
    edges = [_number(value) for value in content["histogram"]["edges"][: MAX_BINS + 1]]
    if len(edges) != len(counts) + 1 or not counts or sorted(edges) != edges:
        raise ValueError("the histogram's edges and counts do not match")
    return Nearest(
        verdict=_text(content["verdict"]),
        mean=_number(content["mean"]),
        eps=_number(content["eps"]),
        judge=_text(content["judge"]),
        notice=_text(content["notice"]),
        reference=_text(content["reference"]),
        generated_images=_count(content["generated_images"]),
        reference_images=_count(content["reference_images"]),
        counts=counts,
        edges=edges,
        pairs=[_pair(pair) for pair in content["pairs"][:MAX_PAIRS]],
    )


def _pair(content: object) -> Pair:
    reference = _count(content["reference"])
    return Pair(
        generated=_count(content["generated"]),
        reference=reference,
        reference_name=_text(content["reference_name"] or f"#{reference}"),
        distance=_number(content["distance"]),
    )


def parse_sweep(content: object) -> Sweep:
    """The content of truncation.json."""
    conditions = content["conditions"]
    entries = content["entries"][:MAX_TRUNCATIONS]
    values = content["truncations"][:MAX_TRUNCATIONS]
    points = [
        _point(value, entry["scorecard"]) for value, entry in zip(values, entries, strict=True)
    ]
    if not points:
        raise ValueError("there is no truncation")
    return Sweep(
        judge=_text(conditions["judge"]),
        generated_images=_count(conditions["generated_images"]),
        reference_images=_count(conditions["reference_images"]),
        reference=_text(conditions["reference"]),
        points=sorted(points, key=lambda point: point.truncation),
    )


def _point(truncation: object, card: object) -> SweepPoint:
    low, high = card["mifid_interval"]
    return SweepPoint(
        truncation=_number(truncation),
        mifid=_number(card["mifid"]),
        low=_number(low),
        high=_number(high),
        fid=_number(card["fid"]),
        distance=_number(card["distance"]),
    )


def check_zip(path: Path, count: int | None) -> Check:
    """Holds the zip against the rules, for `count` images or the competition's.

    Raises InputError where it is no zip.
    """
    return _check(check_submission(path, count=count or IMAGES), zip_is_here=True)


def parse_check(content: object) -> Check:
    """The `submission` of result.json."""
    problems = {
        _text(rule): [_text(name) for name in names] for rule, names in content["problems"].items()
    }
    check = SubmissionCheck(
        path="",
        images=_count(content["images"]),
        expected=_count(content["expected"]),
        problems=problems,
    )
    return _check(check, zip_is_here=False)


def _check(check: SubmissionCheck, *, zip_is_here: bool) -> Check:
    return Check(
        valid=check.valid,
        images=check.images,
        expected=check.expected,
        problems=[
            (rule, [name[:_MAX_TEXT] for name in names[:SHOWN_NAMES]], len(names[SHOWN_NAMES:]))
            for rule, names in list(check.problems.items())[:MAX_RULES]
        ],
        zip_is_here=zip_is_here,
    )


def _number(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError("not a finite number")
    return float(value)


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError("not a count")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value[:_MAX_TEXT]
