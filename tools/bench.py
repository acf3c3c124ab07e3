"""What the benchmarks share: parts by name, contenders in turn, medians, and how results are told.

A part is a function of a benchmark's arguments that returns figures by name.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

from doggan.support.errors import DogganError

Figures = dict[str, float]


def make_parser(description: str, parts: Mapping[str, object]) -> argparse.ArgumentParser:
    """A parser with the arguments of every benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--quick", action="store_true", help="only see that it works")
    parser.add_argument("--repeats", type=int, help="turns of each contender (3)")
    parser.add_argument(
        "--only", nargs="+", choices=parts, default=list(parts), help="leave out the other parts"
    )
    return parser


def run_parts(
    name: str,
    args: argparse.Namespace,
    parts: Mapping[str, Callable[[argparse.Namespace], Figures]],
    sizes: Mapping[str, tuple],
    prepare: Callable[[argparse.Namespace, Path], dict],
) -> int:
    """Runs the parts in `args.only`, each told as it comes; returns the exit code.

    `sizes` says how much is measured: name -> (in full, under --quick); parts find them in
    `args.sizes`. `prepare` is given a temporary folder; it adds to `args` what the parts need
    beside, and returns what the results say of the whole. An error is one line on stderr that
    begins with `name`; after it, or Ctrl-C, the parts that were finished are told all the same.
    """
    args.sizes = SimpleNamespace(**{size: values[args.quick] for size, values in sizes.items()})
    args.sizes.repeats = args.repeats or args.sizes.repeats
    results, code = {"quick": args.quick, "repeats": args.sizes.repeats, "unfinished": []}, 0
    # Under --json the last line of stdout is the JSON's alone.
    stream = sys.stderr if args.json else sys.stdout
    left = list(args.only)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            where = prepare(args, Path(scratch))
            results |= where
            for key, value in where.items():
                print(f"{key:36} {value}", file=sys.stderr, flush=True)
            while left:
                figures = parts[left[0]](args)
                results |= figures
                left.pop(0)
                for figure, value in figures.items():
                    print(f"{figure:36} {value:.4g}", file=stream, flush=True)
    except DogganError as error:
        print(f"{name}: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print(f"{name}: interrupted; without {', '.join(left)}", file=sys.stderr)
        code = 1
    if args.json and left != args.only:
        print(json.dumps(results | {"unfinished": left}))
    return code


def side_by_side(
    contenders: Mapping[str, Callable[[], Figures]], repeats: int
) -> dict[str, Figures]:
    """The medians of each contender's figures, run A B C A B C A B C; a line each on stderr."""
    rounds = [{} for _ in range(repeats)]
    for number, figures in enumerate(rounds, start=1):
        for name, run in contenders.items():
            figures[name] = run()
            told = ", ".join(f"{figure} {value:.4g}" for figure, value in figures[name].items())
            print(f"  {name}, {number} of {repeats}: {told}", file=sys.stderr, flush=True)
    return {
        name: {
            figure: statistics.median(figures[name][figure] for figures in rounds)
            for figure in rounds[0][name]
        }
        for name in contenders
    }


def in_own_process(function: Callable[..., Figures], *arguments: object) -> Figures:
    """What `function` returns in a new process: memory and first steps are that call's alone.

    What it raises is raised here. Raises DogganError where the process was killed.
    """
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()
    except BrokenProcessPool as error:
        raise DogganError("a benchmark's process was killed; is there enough memory?") from error


def seconds_of(function: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
