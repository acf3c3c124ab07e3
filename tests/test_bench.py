"""What the benchmarks share: figures come as they are measured, and none that is there is lost."""

import json

import pytest

from bench import make_parser, run_parts, side_by_side
from doggan.support.errors import DogganError


def interrupted(args):
    raise KeyboardInterrupt


def failing(args):
    raise DogganError("no memory")


@pytest.mark.parametrize(
    ("second", "said"),
    [(interrupted, "bench: interrupted; without two"), (failing, "bench: no memory")],
)
def test_what_was_finished_before_an_end_is_told(capsys, second, said):
    parts = {"one": lambda args: {"speed": 2.5}, "two": second}
    args = make_parser("a benchmark", parts).parse_args(["--json"])
    code = run_parts(
        "bench", args, parts, {"repeats": (3, 1)}, lambda args, folder: {"hardware": "a chip"}
    )
    out, err = capsys.readouterr()
    assert code == 1
    found = json.loads(out)
    assert (found["speed"], found["hardware"], found["unfinished"]) == (2.5, "a chip", ["two"])
    assert said in err
    assert "a chip" in err


def test_contenders_take_turns_and_each_turn_is_told(capsys):
    turns, speeds = [], {"a": iter([1.0, 9.0, 2.0]), "b": iter([5.0, 5.0, 4.0])}

    def contender(name):
        def run():
            turns.append(name)
            return {"speed": next(speeds[name])}

        return run

    found = side_by_side({name: contender(name) for name in speeds}, 3)
    assert found == {"a": {"speed": 2.0}, "b": {"speed": 5.0}}
    assert turns == ["a", "b"] * 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert lines[2] == "  a, 2 of 3: speed 9"
