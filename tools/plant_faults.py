#!/usr/bin/env python3
"""Plants one fault at a time in a copy of the sources, and says which test catches it.

    tools/environment test
    .venv/bin/python tools/plant_faults.py [--only WORD] [--out faults.md]

`faults.toml`, beside this file, has a table for each fault: what it is, in which file `old` becomes
`new`, and which tests are to fail of it. First all those tests have to pass without a fault. Ends
with 1 where a fault goes unnoticed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("src", "tests", "tools", "kernel", "submission", "README.md", "pyproject.toml")
MOST_SECONDS = 300  # a test that hangs has noticed, too


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`old` stands once in `file`; `tests` are arguments of pytest, relative to the root."""

    what: str
    file: str
    old: str
    new: str
    tests: list[str]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Which test catches which fault.")
    parser.add_argument("--only", default="", help="faults whose description holds this word")
    parser.add_argument("--out", type=Path, help="where the table goes, as Markdown")
    args = parser.parse_args(arguments)
    try:
        faults = [fault for fault in read_faults() if args.only in fault.what]
    except ValueError as error:
        print(f"plant_faults: {error}", file=sys.stderr)
        return 1
    if not faults:
        print(f"plant_faults: no fault's description holds '{args.only}'", file=sys.stderr)
        return 2
    rows = ["| fault | file | caught by |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        copy_tree(tree)
        tests = sorted({test for fault in faults for test in fault.tests})
        if failed := failing_test(tree, tests):
            print(f"plant_faults: {failed} fails without any fault", file=sys.stderr)
            return 1
        unnoticed = 0
        for number, fault in enumerate(faults, start=1):
            caught = planted(tree, fault)
            unnoticed += caught is None
            rows.append(f"| {fault.what} | {fault.file} | {caught or '**nothing**'} |")
            print(f"{number}/{len(faults)} {fault.what}: {caught or 'NOTHING'}", flush=True)
    if args.out:
        args.out.write_text("\n".join(rows) + "\n", "utf-8")
    print(f"{len(faults) - unnoticed} of {len(faults)} faults were caught")
    return 1 if unnoticed else 0


def read_faults() -> list[Fault]:
    """The faults of faults.toml; raises ValueError where one does not fit the sources."""
    text = Path(__file__).with_name("faults.toml").read_text("utf-8")
    faults = [Fault(**table) for table in tomllib.loads(text)["fault"]]
    for fault in faults:
        count = (ROOT / fault.file).read_text("utf-8").count(fault.old)
        if count != 1:
            raise ValueError(f"'{fault.what}': its old text stands {count} times in {fault.file}")
    return faults


def copy_tree(tree: Path) -> None:
    """Copies what the tests need to `tree`."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, tree / name, ignore=ignored)
        else:
            shutil.copy(source, tree / name)


def planted(tree: Path, fault: Fault) -> str | None:
    """The first test that fails of the fault, None where none does; the copy is mended again."""
    path = tree / fault.file
    text = path.read_text("utf-8")
    path.write_text(text.replace(fault.old, fault.new), "utf-8")
    try:
        return failing_test(tree, fault.tests)
    finally:
        path.write_text(text, "utf-8")


def failing_test(tree: Path, tests: list[str]) -> str | None:
    """The first of the tests that fails in the copy; None where all pass."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    # The copy's package goes before the one that is installed.
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"{tests[0]}, which does not end"
    if done.returncode == 0:
        return None
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if done.returncode != 1 or not failed:
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return failed[0].split()[1]


if __name__ == "__main__":
    sys.exit(main())
