"""What a report says of runs in words: what was trained on what, by which recipe, for how long."""

from collections.abc import Sequence
from typing import NamedTuple

from doggan.report.read import RunRecord
from doggan.support.deadline import format_duration
from doggan.support.json_values import is_number

_LARGEST = 1e15
_MAX_TEXT = 300
_MACHINE_FIRST = ("device", "hardware", "cores", "threads", "precision")


class Tile(NamedTuple):
    """A figure to be seen first. `tone` is "good", "bad" or ""."""

    name: str
    value: str
    detail: str
    tone: str = ""


def headline(run: RunRecord) -> str:
    """One sentence: how much was shown, for how long, on what."""
    images, duration = _course(run)
    parts = [f"{images} images shown"] if images else []
    if duration:
        parts.append(f"in {duration}")
    machine = [run.environment.get(key) for key in ("device", "hardware")]
    if precision := run.environment.get("precision"):
        machine.append(f"computing in {precision}")
    if any(machine):
        parts.append("on " + ", ".join(filter(None, machine)))
    return " ".join(parts)


def tiles(run: RunRecord) -> list[Tile]:
    """The score, the memorisation distance, the training and the submission, as far as known."""
    found = []
    for _, card in run.scorecards[:1]:
        found.append(Tile("MiFID", f"{card.mifid:.2f}", f"95%: {card.mifid_interval:.2f}"))
        penalty, tone = ("a penalty", "bad") if card.penalised else ("no penalty", "good")
        detail = f"{penalty}: eps {card.eps:g}"
        found.append(Tile("Memorisation distance", f"{card.distance:.3f}", detail, tone))
    images, duration = _course(run)
    if images:
        detail = f"images shown in {duration}" if duration else "images shown"
        found.append(Tile("Training", images, detail))
    if run.check:
        value, tone = ("valid", "good") if run.check.valid else ("not valid", "bad")
        detail = f"{run.check.images:,} of {run.check.expected:,} images"
        found.append(Tile("Submission", value, detail, tone))
    return found


def describe_runs(runs: Sequence[RunRecord]) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """Sections of facts: a name, and one value a run; an unknown one is "-"."""
    sections = {
        "Training": [_training(run) for run in runs],
        "Set": [_set(run) for run in runs],
        "Machine and versions": [_machine(run) for run in runs],
        "Recipe": [run.recipe for run in runs],
    }
    return [(title, _side_by_side(columns)) for title, columns in sections.items()]


def _side_by_side(columns: list[dict[str, str]]) -> list[tuple[str, list[str]]]:
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, [column.get(name) or "-" for column in columns]) for name in names]


def _course(run: RunRecord) -> tuple[str, str]:
    """How many images were shown, and for how long; "" where that is not known."""
    if not run.rows:
        return "", ""
    seconds = run.rows[-1].get("seconds", 0)
    return f"{run.rows[-1]['images']:,.0f}", format_duration(seconds) if seconds > 0 else ""


def _training(run: RunRecord) -> dict[str, str]:
    images, duration = _course(run)
    last = run.rows[-1] if run.rows else {}
    seconds = run.result.get("seconds")
    facts = {
        "real images shown": images,
        "training time": duration,
        "images/s, mean": f"{last['images'] / last['seconds']:,.0f}" if duration else "",
        "skipped steps": f"{last['skipped_steps']:,.0f}" if "skipped_steps" in last else "",
        "stopped by": _text(_object(run.result.get("training")).get("stopped_by")),
        "whole run": format_duration(seconds) if is_number(seconds, _LARGEST) else "",
    }
    return {name: value for name, value in facts.items() if value}


def _set(run: RunRecord) -> dict[str, str]:
    manifest = run.manifest
    counts, labels = _object(manifest.get("counts")), manifest.get("label_names")
    facts = {
        "source": _text(manifest.get("source")),
        "images": _text(counts.get("images")),
        "from photos": _text(counts.get("photos")),
        "labels": f"{len(labels):,}" if isinstance(labels, list) else "",
        "crop": _text(manifest.get("crop")),
        "side, pixels": _text(_object(manifest.get("settings")).get("side_px")),
        "pixels' SHA-256": _text(manifest.get("images_sha256"))[:16],
    }
    if isinstance(counts.get("skipped"), dict):
        reasons = (f"{_text(reason)}: {_text(n)}" for reason, n in counts["skipped"].items())
        facts["skipped"] = "; ".join(reasons)[:_MAX_TEXT] or "none"
    return {name: value for name, value in facts.items() if value}


def _machine(run: RunRecord) -> dict[str, str]:
    first = {name: run.environment[name] for name in _MACHINE_FIRST if name in run.environment}
    return first | run.environment


def _object(value: object) -> dict:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    """A number with separators, a text as it is, within bounds; "" for anything else."""
    if is_number(value, _LARGEST):
        return f"{value:,}"
    return value[:_MAX_TEXT] if isinstance(value, str) else ""
