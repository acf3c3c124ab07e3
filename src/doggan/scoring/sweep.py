"""A generator scored at several truncations, and the truncation.json of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from doggan.gan.networks import Generator
from doggan.gan.sampler import latents
from doggan.scoring.comparison import Entry, Ranking
from doggan.scoring.interval import Interval
from doggan.scoring.judges.judge import Judge
from doggan.scoring.reference import Reference
from doggan.scoring.score import score_generator
from doggan.scoring.scorecard import Scorecard
from doggan.support.json_values import plain_fields

_MAX_TRUNCATIONS = 100  # that a report shows


def score_truncations(
    generator: Generator,
    seeds: Sequence[int],
    truncations: Sequence[float],
    reference: Reference,
    judge: Judge,
) -> Iterator[tuple[float, Scorecard]]:
    """`score_generator` at each truncation, one by one as they come.

    All truncations share the seeds, so what differs between them is less than their intervals, each
    on its own, allow for. Raises InputError as `score_generator` does, and for a truncation outside
    0 to 2.
    """
    for truncation in truncations:
        latents(seeds[:1], 1, truncation=truncation)  # refused before any work
    for truncation in truncations:
        yield truncation, score_generator(generator, seeds, truncation, reference, judge)


def rank_truncations(scorecards: dict[float, Scorecard]) -> Ranking:
    """The scorecards by truncation, in their order, as entries that may be compared."""
    return Ranking(
        tuple(Entry(f"truncation {value:g}", card) for value, card in scorecards.items())
    )


def summarise_sweep(ranking: Ranking) -> str:
    """The table, which entry is best, and which others may be as good."""
    best = ranking.best
    others = [entry.name for entry in ranking.within_noise_of(best)]
    noise = f"; within noise of it: {', '.join(others)}" if others else ""
    return f"{ranking.table()}\nbest: {best.name}, MiFID {best.scorecard.mifid:.2f}{noise}"


def sweep_as_dict(scorecards: dict[float, Scorecard]) -> dict:
    """The scorecards by truncation, ranked, for JSON; `parse_sweep` reads it again."""
    return {"truncations": list(scorecards), **rank_truncations(scorecards).as_dict()}


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
    """A truncation.json as a report reads it: what was compared, and the points in order."""

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
        span = Interval(self.best.low, self.best.high)
        overlap = (point for point in self.points if span.overlaps(Interval(point.low, point.high)))
        return [point for point in overlap if point is not self.best]


def parse_sweep(content: object) -> Sweep:
    """The content of a truncation.json, which may come from anywhere.

    Raises KeyError, TypeError or ValueError where it is not what `sweep_as_dict` gives.
    """
    values = content["truncations"][:_MAX_TRUNCATIONS]
    entries = content["entries"][:_MAX_TRUNCATIONS]
    points = []
    for truncation, entry in zip(values, entries, strict=True):
        card = entry["scorecard"]
        low, high = card["mifid_interval"]
        point = card | {"truncation": truncation, "low": low, "high": high}
        points.append(SweepPoint(**plain_fields(SweepPoint, point)))
    if not points:
        raise ValueError("there is no truncation")
    points.sort(key=lambda point: point.truncation)
    return Sweep(**plain_fields(Sweep, content["conditions"]), points=points)
