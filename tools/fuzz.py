#!/usr/bin/env python3
"""Feeds parsers with damaged input, and counts what becomes of it.

    .venv/bin/python tools/fuzz.py --minutes 10

Each target begins with good inputs and changes them at random: bits, lengths, numbers, pieces
twice or taken away. A parser may take an input or refuse it in its own words; anything else, a
crash, or more than SECONDS for one input, is a failure: the input is kept in --out, and the exit
code is 1.
"""

import argparse
import gzip
import io
import json
import random
import re
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from doggan.data.idx import find_idx, read_idx
from doggan.data.stanford import parse_annotation
from doggan.report.read import RunRecord
from doggan.submission import check_submission
from doggan.support.errors import InputError

SECONDS = 10.0
_NUMBERS = (b"0", b"-1", b"0.4", b"nan", b"inf", b"1e999", b"9" * 30, b"", b"\xff")
_ANNOTATION = b"""<annotation><folder>02085620</folder><size><width>333</width><height>500</height>
<depth>3</depth></size><object><name>Chihuahua</name><bndbox><xmin>25</xmin><ymin>10</ymin>
<xmax>276</xmax><ymax>498</ymax></bndbox></object></annotation>"""


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
    return read_idx(found, found.pairs[0])


def _zip() -> bytes:
    png, stream = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (64, 64), "brown").save(png, "PNG")
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.png", png.getvalue())
    return stream.getvalue()


def _check(data: bytes, folder: Path) -> object:
    (folder / "images.zip").write_bytes(data)
    return sorted(check_submission(folder / "images.zip", count=3).problems)


_RUN = {
    "stats.jsonl": {"images": 32, "seconds": 1.5, "loss_d": 1.2, "stopped_by": ""},
    "scorecard.json": {"mifid": 1.0, "judge": "inception", "doggan": "0.1.0"},
    "environment.json": {"device": "cpu", "torch": "2.11"},
    "neighbours.json": {"histogram": {"counts": [1], "edges": [0, 1]}, "pairs": [], "mean": 0.3},
    "truncation.json": {"points": [{"truncation": 1.0, "mifid": 2.0}]},
    "result.json": {"submission": {"images": 3, "expected": 3, "problems": {}}},
}


def _read_run(data: bytes, folder: Path) -> object:
    (folder / "recipe.toml").write_text("seed = 0\n")
    name = list(_RUN)[data[0] % len(_RUN)] if data else "stats.jsonl"
    (folder / name).write_bytes(data[1:])
    record = RunRecord(folder, "run")
    return name, bool(record.rows), [re.sub("[0-9]+", "#", note)[:40] for note in record.notes]


TARGETS = {
    "annotations": Target(
        seeds=lambda: [_ANNOTATION, _ANNOTATION * 2, b"<annotation/>"],
        read=lambda data, folder: type(parse_annotation(data)),
        refuses=(ValueError,),
    ),
    "idx": Target(seeds=lambda: [_idx(2, 28), gzip.compress(_idx(2, 28))], read=_read_idx),
    "check": Target(seeds=lambda: [_zip()], read=_check),
    "report": Target(
        seeds=lambda: [
            bytes([place]) + json.dumps(content).encode()
            for place, content in enumerate(_RUN.values())
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


def fuzz(name: str, seconds: float, seed: int, out: Path) -> dict:
    """Feeds one target for so long; returns counts of inputs, outcomes and failures."""
    target, chance, outcomes, failures = TARGETS[name], random.Random(seed), Counter(), 0
    pool = target.seeds()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        data = mutate(chance, chance.choice(pool))
        started, failure = time.monotonic(), ""
        with tempfile.TemporaryDirectory() as folder:
            try:
                outcome = f"taken: {target.read(data, Path(folder))}"
            except target.refuses as error:
                outcome = f"refused: {_in_general(str(error), folder)}"
            except Exception as error:  # what it looks for
                failure = outcome = f"failed: {type(error).__name__}: {error}"
        if time.monotonic() - started > SECONDS:
            failure = f"it took {time.monotonic() - started:.0f} s"
        if outcome not in outcomes and len(pool) < 500:
            pool.append(data)  # what led somewhere new leads further
        outcomes[outcome] += 1
        if failure:
            failures += 1
            out.mkdir(parents=True, exist_ok=True)
            path = out / f"{name}-{failures}"
            path.write_bytes(data)
            print(f"{name}: {failure[:200]} ({path})", file=sys.stderr, flush=True)
    return {"inputs": outcomes.total(), "outcomes": len(outcomes), "failures": failures}


def _in_general(words: str, folder: str) -> str:
    """An error without what differs from input to input."""
    words = words.replace(folder, "")
    return re.sub(r"0x[0-9a-f]+|[0-9]+|'[^']*'", "#", words)[:100]


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
