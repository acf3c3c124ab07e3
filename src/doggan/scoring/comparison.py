"""Several scorecards side by side: which may be compared at all, and which are within noise."""

from collections.abc import Sequence
from dataclasses import dataclass

from doggan.scoring.interval import Interval
from doggan.scoring.scorecard import Scorecard

# Two scores are numbers of one kind only where all of this is the same. The count of generated
# images is among it, for FID falls as that count grows. The reference's name counts only where
# its hash is not known: the same photos may lie elsewhere, and others under the same name.
CONDITIONS = (
    "judge",
    "precision",
    "weights_sha256",
    "resize",
    "eps",
    "generated_images",
    "reference_images",
    "reference_sha256",
    "reference",
)
_HEADER = (
    *("rank", "entry", "MiFID", "95% interval", "FID", "95% interval"),
    *("distance", "precision", "recall", ""),
)
_RIGHT = ("MiFID", "FID", "distance", "precision", "recall")


@dataclass(frozen=True)
class Entry:
    """A scorecard and what to call it."""

    name: str
    scorecard: Scorecard

    @property
    def conditions(self) -> tuple:
        """The values of `CONDITIONS`; that of the name is "" where the hash is known."""
        card = self.scorecard
        *values, name = (getattr(card, condition) for condition in CONDITIONS)
        return (*values, "" if card.reference_sha256 else name)

    def overlaps(self, other: "Entry") -> bool:
        """Whether both intervals of MiFID share a value."""
        return self.scorecard.mifid_interval.overlaps(other.scorecard.mifid_interval)


@dataclass(frozen=True)
class Ranking:
    """Entries of the same conditions, in the order they are to be shown.

    Entries whose 95% intervals of MiFID overlap are within noise, and nobody knows which of them
    is better. A rank is therefore a span: from behind all that lie wholly below the entry to
    before all that lie wholly above it. The spans of two entries within noise always overlap.
    """

    entries: tuple[Entry, ...]

    @property
    def best(self) -> Entry:
        """The entry of least MiFID."""
        return min(self.entries, key=lambda entry: entry.scorecard.mifid)

    def rank(self, entry: Entry) -> tuple[int, int]:
        """The best and the worst rank the entry may have."""
        own = entry.scorecard.mifid_interval
        intervals = [other.scorecard.mifid_interval for other in self.entries]
        better = sum(other.is_below(own) for other in intervals)
        worse = sum(own.is_below(other) for other in intervals)
        return 1 + better, len(intervals) - worse

    def within_noise_of(self, entry: Entry) -> list[Entry]:
        """The other entries whose intervals overlap with this one's."""
        return [other for other in self.entries if other is not entry and other.overlaps(entry)]

    def clusters(self) -> list[list[Entry]]:
        """The largest sets of two or more entries that are all within noise of each other."""
        # Intervals that overlap in pairs have a point in common: the low end of one of them.
        intervals = [entry.scorecard.mifid_interval for entry in self.entries]
        points = [Interval(low, low) for low, _ in intervals]
        sets = {
            frozenset(index for index, one in enumerate(intervals) if one.overlaps(point))
            for point in points
        }
        largest = [one for one in sets if len(one) > 1 and not any(one < other for other in sets)]
        return [
            [self.entries[index] for index in members] for members in sorted(map(sorted, largest))
        ]

    def table(self) -> str:
        """Aligned lines for people: the conditions, a line an entry, and what is within noise."""
        lines = [
            _describe(self.entries[0].scorecard),
            *_align([_HEADER, *map(self._row, self.entries)], optional=("precision", "recall")),
            "intervals cover which images were drawn, not another training, nor FID's bias with "
            "their count",
        ]
        if any(entry.scorecard.manifold_precision is not None for entry in self.entries):
            lines.append(
                "low precision: many images look like no dog; low recall: many dogs are missing"
            )
        for members in self.clusters():
            names = ", ".join(entry.name for entry in members)
            lines.append(f"within noise, not ranked apart: {names}")
        return "\n".join(lines)

    def as_dict(self) -> dict:
        """For --json; `rank` is [best, worst]."""
        card = self.entries[0].scorecard
        return {
            "conditions": {name: getattr(card, name) for name in CONDITIONS},
            "entries": [
                {
                    "name": entry.name,
                    "rank": list(self.rank(entry)),
                    "within_noise_of": [other.name for other in self.within_noise_of(entry)],
                    "scorecard": entry.scorecard.as_dict(),
                }
                for entry in self.entries
            ],
            "best": self.best.name,
        }

    def _row(self, entry: Entry) -> tuple[str, ...]:
        card, (first, last) = entry.scorecard, self.rank(entry)
        return (
            f"{first}" if first == last else f"{first}-{last}",
            entry.name,
            f"{card.mifid:.2f}",
            f"{card.mifid_interval:.2f}",
            f"{card.fid:.2f}",
            f"{card.fid_interval:.2f}",
            f"{card.distance:.4f}",
            _in_short(card.manifold_precision),
            _in_short(card.manifold_recall),
            "penalty" if card.penalised else "",
        )


def compare(entries: Sequence[Entry]) -> list[Ranking]:
    """One ranking, least MiFID first, for each set of conditions, in the order of their entries."""
    groups: dict[tuple, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.conditions, []).append(entry)
    return [
        Ranking(tuple(sorted(group, key=lambda entry: entry.scorecard.mifid)))
        for group in groups.values()
    ]


def differing_conditions(rankings: Sequence[Ranking]) -> list[str]:
    """In which of `CONDITIONS` the rankings are not all alike."""
    values = zip(*(ranking.entries[0].conditions for ranking in rankings), strict=True)
    return [name for name, found in zip(CONDITIONS, values, strict=True) if len(set(found)) > 1]


def summarise(rankings: Sequence[Ranking]) -> str:
    """Every ranking's table, and why there are several."""
    text = "\n\n".join(ranking.table() for ranking in rankings)
    if len(rankings) > 1:
        text += (
            f"\n\n{len(rankings)} groups, which differ in "
            f"{', '.join(name.replace('_', ' ') for name in differing_conditions(rankings))}: "
            "scores of different groups do not compare"
        )
    return text


def _in_short(part: float | None) -> str:
    return "" if part is None else f"{part:.3f}"


def _describe(card: Scorecard) -> str:
    kaggle = "" if card.comparable_with_kaggle else "; not comparable with Kaggle's board"
    return (
        f"{card.judge}, {card.precision}, weights {card.weights_sha256[:8]}, {card.resize}; "
        f"{card.generated_images:,} images each against {card.reference_images:,} of "
        f"{card.reference_in_words}{kaggle}"
    )


def _align(rows: list[tuple[str, ...]], optional: Sequence[str]) -> list[str]:
    """The rows as lines; a column of an `optional` title that nobody has a value in is left out."""
    columns = [
        column for column in zip(*rows, strict=True) if column[0] not in optional or any(column[1:])
    ]
    aligned = []
    for title, *cells in columns:
        width = max(map(len, (title, *cells)))
        align = str.rjust if title in _RIGHT else str.ljust
        aligned.append([align(cell, width) for cell in (title, *cells)])
    return ["  ".join(line).rstrip() for line in zip(*aligned, strict=True)]
