"""What a report says of runs in words: what was trained on what, by which recipe, for how long."""

from collections.abc import Sequence
from dataclasses import dataclass

from doggan.report.read import Run
from doggan.support.deadline import format_duration

_MOST = 1e15
_MAX_TEXT = 300


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A line of the table, a value a run; `differs` where they are not alike."""

    name: str
    values: list[str]

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A figure to be seen first. `tone` is "good", "bad" or ""."""

    name: str
    value: str
    detail: str
    tone: str = ""


def headline(run: Run) -> str:
    """One sentence: how much was shown, for how long, on what."""
    parts = []
    if run.rows:
        last = run.rows[-1]
        seconds = last.get("seconds")
        took = f" in {format_duration(seconds)}" if seconds else ""
        parts.append(f"{last['images']:,.0f} images shown{took}")
    machine = [run.environment.get(key) for key in ("device", "hardware", "precision")]
    if any(machine):
        parts.append("on " + ", ".join(filter(None, machine)))
    return " ".join(parts)


def tiles(run: Run) -> list[Tile]:
    """The score, the memorisation distance, the training and the submission, as far as known."""
    found = []
    if run.scorecards:
        card = run.scorecards[0][1]
        low, high = card.mifid_interval
        found.append(
            Tile(name="MiFID", value=f"{card.mifid:.2f}", detail=f"95%: {low:.2f} to {high:.2f}")
        )
        penalty = card.distance < card.eps
        found.append(
            Tile(
                name="Memorisation distance",
                value=f"{card.distance:.3f}",
                detail=f"{'a penalty' if penalty else 'no penalty'}: eps {card.eps:g}",
                tone="bad" if penalty else "good",
            )
        )
    if run.rows:
        found.append(_training_tile(run))
    if run.check:
        found.append(_check_tile(run))
    return found


def _training_tile(run: Run) -> Tile:
    last = run.rows[-1]
    seconds = last.get("seconds", 0.0)
    detail = f"images shown in {format_duration(seconds)}" if seconds else "images shown"
    return Tile(name="Training", value=f"{last['images']:,.0f}", detail=detail)


def _check_tile(run: Run) -> Tile:
    check = run.check
    return Tile(
        name="Submission",
        value="valid" if check.valid else "not valid",
        detail=f"{check.images:,} of {check.expected:,} images",
        tone="good" if check.valid else "bad",
    )


def describe_runs(runs: Sequence[Run]) -> list[tuple[str, list[Fact]]]:
    """Sections of facts, one value a run in each; an unknown one is "-"."""
    sections = {
        "Training": [_training(run) for run in runs],
        "Set": [_set(run) for run in runs],
        "Machine and versions": [_machine(run) for run in runs],
        "Recipe": [run.recipe for run in runs],
    }
    return [(title, _side_by_side(columns)) for title, columns in sections.items()]


def _side_by_side(columns: list[dict[str, str]]) -> list[Fact]:
    names = dict.fromkeys(name for column in columns for name in column)
    return [
        Fact(name=name, values=[column.get(name) or "-" for column in columns]) for name in names
    ]


def _training(run: Run) -> dict[str, str]:
    facts = {}
    if run.rows:
        last = run.rows[-1]
        seconds = last.get("seconds", 0.0)
        facts["real images shown"] = f"{last['images']:,.0f}"
        if seconds > 0:
            facts["training time"] = format_duration(seconds)
            facts["images/s, mean"] = f"{last['images'] / seconds:,.0f}"
        if "skipped_steps" in last:
            facts["skipped steps"] = f"{last['skipped_steps']:,.0f}"
    training = run.result.get("training")
    if isinstance(training, dict):
        facts["stopped by"] = _value(training.get("stopped_by"))
    facts["whole run"] = _seconds(run.result.get("seconds"))
    return {name: value for name, value in facts.items() if value}


def _set(run: Run) -> dict[str, str]:
    manifest = run.manifest
    counts = manifest.get("counts")
    counts = counts if isinstance(counts, dict) else {}
    settings = manifest.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    labels, skipped = manifest.get("label_names"), counts.get("skipped")
    facts = {
        "source": _value(manifest.get("source")),
        "images": _value(counts.get("images")),
        "from photos": _value(counts.get("photos")),
        "labels": f"{len(labels):,}" if isinstance(labels, list) else "",
        "crop": _value(manifest.get("crop")),
        "side, pixels": _value(settings.get("side_px")),
        "pixels' SHA-256": _value(manifest.get("images_sha256"))[:16],
    }
    if isinstance(skipped, dict):
        reasons = (f"{_value(reason)}: {_value(count)}" for reason, count in skipped.items())
        facts["skipped"] = "; ".join(reasons)[:_MAX_TEXT] or "none"
    return {name: value for name, value in facts.items() if value}


def _machine(run: Run) -> dict[str, str]:
    first = ("device", "hardware", "cores", "threads", "precision")
    order = [name for name in first if name in run.environment]
    order += [name for name in run.environment if name not in first]
    return {name: run.environment[name] for name in order}


def _value(value: object) -> str:
    """A number with separators, a text as it is, within bounds; "" for anything else."""
    if type(value) in (int, float) and abs(value) < _MOST:
        return f"{value:,}"
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def _seconds(value: object) -> str:
    known = type(value) in (int, float) and abs(value) < _MOST
    return format_duration(value) if known else ""
