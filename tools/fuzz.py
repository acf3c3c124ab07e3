#!/usr/bin/env python3
"""Feeds parsers with damaged input, and counts what becomes of it.

    .venv/bin/python tools/fuzz.py --minutes 10

Each target begins with good inputs and changes them at random: bits, lengths, numbers, pieces
twice or taken away. A parser may take an input or refuse it in its own words; anything else, a
crash, or more than SECONDS for one input, which is interrupted then, is a failure: the input is
kept in --out, and the exit code is 1. Outcomes are told apart by their sentence, without names,
numbers and hashes.
"""

import argparse
import gzip
import io
import json
import random
import re
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from doggan.data.idx import find_idx, read_idx
from doggan.data.stanford import parse_annotation
from doggan.report.read import RunRecord
from doggan.scoring.interval import Interval
from doggan.scoring.neighbours import Neighbours
from doggan.scoring.scorecard import Scorecard
from doggan.scoring.sweep import sweep_as_dict
from doggan.submission import SubmissionCheck, check_submission
from doggan.support.errors import InputError

SECONDS = 10.0
_NUMBERS = (b"0", b"-1", b"0.4", b"nan", b"inf", b"1e999", b"9" * 30, b"", b"\xff")
_OBJECT = b"""<object><name>Chihuahua</name><bndbox><xmin>25</xmin><ymin>10</ymin>
<xmax>276</xmax><ymax>498</ymax></bndbox></object>"""
_ANNOTATION = b"""<annotation><folder>02085620</folder><size><width>333</width><height>500</height>
<depth>3</depth></size>%s</annotation>"""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A parser: good inputs, what reads one within a folder of its own, and how it refuses."""

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], object]
    refuses: tuple[type[Exception], ...] = (InputError,)


def _idx(images: int, side: int) -> bytes:
    header = bytes((0, 0, 8, 3)) + np.array([images, side, side], ">u4").tobytes()
    return header + bytes(images * side * side)


def _read_idx(data: bytes, folder: Path) -> object:
    (folder / "train-images-idx3-ubyte").write_bytes(data)
    labels = bytes((0, 0, 8, 1)) + np.array([2], ">u4").tobytes() + bytes(2)
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)
    found = find_idx([folder])
    return read_idx(found, found.pairs[0]).images.shape


def _zip(compression: int) -> bytes:
    png, stream = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (64, 64), "brown").save(png, "PNG")
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for number in range(3):
            archive.writestr(f"{number}.png", png.getvalue())
    return stream.getvalue()


def _check(data: bytes, folder: Path) -> object:
    (folder / "images.zip").write_bytes(data)
    return "; ".join(sorted(check_submission(folder / "images.zip", count=3).problems))


def _run_files() -> dict[str, object]:
    """Each file of a run that a report reads, as doggan writes it."""
    card = Scorecard(
        fid=70.0,
        fid_interval=Interval(69.0, 71.0),
        distance=0.4,
        mifid=70.0,
        mifid_interval=Interval(69.0, 71.0),
        eps=0.21,
        judge="inception",
        weights_sha256="0" * 64,
        resize="bicubic",
        precision="fp32",
        generated_images=10,
        reference_images=10,
        reference="photos",
        comparable_with_kaggle=False,
        notice="",
        seconds=1.0,
    )
    neighbours = Neighbours(
        distances=np.array([0.3, 0.5]),
        nearest=np.array([0, 1]),
        mean=0.4,
        eps=0.21,
        judge="inception",
        notice="",
        reference="photos",
        reference_images=2,
    )
    check = SubmissionCheck(path="", images=2, expected=3, problems={"unreadable": ["1.png"]})
    return {
        "stats.jsonl": {"images": 32, "seconds": 1.5, "loss_d": 1.2, "stopped_by": ""},
        "scorecard.json": card.as_dict(),
        "environment.json": {"device": "cpu", "torch": "2.11"},
        "neighbours.json": neighbours.as_dict(count=2),
        "truncation.json": sweep_as_dict({0.8: card, 1.0: card}),
        "result.json": {"submission": check.as_dict()},
    }


def _read_run(data: bytes, folder: Path) -> object:
    (folder / "recipe.toml").write_text("seed = 0\n")
    name = _RUN_FILES[data[0] % len(_RUN_FILES)] if data else _RUN_FILES[0]
    (folder / name).write_bytes(data[1:])
    return f"{name}: {'; '.join(RunRecord(folder, 'run').notes)}"


_RUN_FILES = tuple(_run_files())
TARGETS = {
    "annotations": Target(
        seeds=lambda: [*(_ANNOTATION % (_OBJECT * count) for count in (1, 2)), b"<annotation/>"],
        read=lambda data, folder: type(parse_annotation(data)),
        refuses=(ValueError,),
    ),
    "idx": Target(seeds=lambda: [_idx(2, 28), gzip.compress(_idx(2, 28), mtime=0)], read=_read_idx),
    "check": Target(
        seeds=lambda: [_zip(zipfile.ZIP_STORED), _zip(zipfile.ZIP_DEFLATED)], read=_check
    ),
    "report": Target(
        seeds=lambda: [
            bytes([place]) + json.dumps(content).encode()
            for place, content in enumerate(_run_files().values())
        ],
        read=_read_run,
    ),
}


def mutate(chance: random.Random, data: bytes) -> bytes:
    """The input with one to four changes."""
    for _ in range(chance.randint(1, 4)):
        place = chance.randint(0, len(data))
        end = min(len(data), place + chance.choice((1, 4, 40, 400)))
        change = chance.randrange(7)
        if change == 0 and data:  # a bit
            place = min(place, len(data) - 1)
            data = (
                data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]
            )
        elif change == 1:  # cut short
            data = data[:place]
        elif change == 2:  # a piece away
            data = data[:place] + data[end:]
        elif change == 3:  # a piece twice, or many times
            data = data[:end] + data[place:end] * chance.choice((1, 2, 50)) + data[end:]
        elif change == 4:  # bytes of chance
            data = data[:place] + chance.randbytes(end - place) + data[end:]
        elif change == 5:  # a number that is none, or none that fits
            numbers = list(re.finditer(rb"[0-9]+", data))
            if numbers:
                found = chance.choice(numbers)
                data = data[: found.start()] + chance.choice(_NUMBERS) + data[found.end() :]
        else:  # nesting
            data = data[:place] + chance.choice((b"[", b"<a>", b'{"a":')) * 5000 + data[place:]
        data = data[:2_000_000]
    return data


class TookTooLong(BaseException):
    """One input takes more than SECONDS; no parser takes this for an error of its own."""


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Interrupts what is within after so many seconds, by TookTooLong."""

    def interrupt(number: int, frame: object) -> None:
        raise TookTooLong(f"it took more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome_of(target: Target, data: bytes) -> tuple[str, bool]:
    """What becomes of an input, in general, and whether that is a failure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            with bounded(SECONDS), redirect_stderr(io.StringIO()):  # without progress bars
                return f"taken: {in_general(str(target.read(data, folder)), folder)}", False
        except target.refuses as error:
            return f"refused: {in_general(str(error), folder)}", False
        except (Exception, TookTooLong) as error:  # what it looks for
            return f"failed: {type(error).__name__}: {in_general(str(error), folder)}", True


def fuzz(name: str, seconds: float, seed: int, out: Path) -> dict:
    """Feeds one target for so long; returns counts of inputs, outcomes and failures."""
    target, chance, outcomes, failures = TARGETS[name], random.Random(seed), Counter(), 0
    pool = target.seeds()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        data = mutate(chance, chance.choice(pool))
        outcome, failed = outcome_of(target, data)
        if outcome not in outcomes and len(pool) < 500:
            pool.append(data)  # what led somewhere new leads further
        outcomes[outcome] += 1
        if failed:
            failures += 1
            out.mkdir(parents=True, exist_ok=True)
            path = out / f"{name}-{failures}"
            path.write_bytes(data)
            print(f"{name}: {outcome} ({path})", file=sys.stderr, flush=True)
    return {"inputs": outcomes.total(), "outcomes": len(outcomes), "failures": failures}


def in_general(words: str, folder: Path) -> str:
    """A sentence without what differs from input to input: names, numbers, hashes."""
    words = words.replace(str(folder), "")
    names = r"'[^']*'|\"[^\"]*\"|<[^>]*>|\b0x[0-9a-f]+|\b[0-9a-f]{8,}\b|[0-9][0-9,.]*"
    return re.sub(names, "#", words)[:100]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Damaged input for the parsers.")
    add = parser.add_argument
    add("--minutes", type=float, default=10, help="for each target (default 10)")
    add("--only", nargs="+", choices=TARGETS, default=list(TARGETS), help="leave out the others")
    add("--seed", type=int, default=0, help="where chance begins (default 0)")
    add("--out", type=Path, default=Path("fuzz-failures"), help="where failing inputs are kept")
    args = parser.parse_args(arguments)
    print("| target | inputs | distinct outcomes | failures |", "|---|---|---|---|", sep="\n")
    failures = 0
    for name in args.only:
        found = fuzz(name, 60 * args.minutes, args.seed, args.out)
        failures += found["failures"]
        print(f"| {name} | {' | '.join(f'{count:,}' for count in found.values())} |", flush=True)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
