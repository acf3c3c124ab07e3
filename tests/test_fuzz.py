"""The fuzzing tool in short: nothing fails, and what would is kept."""

import random

import pytest

import fuzz


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_a_second_of_damaged_input_is_taken_or_refused(name, tmp_path):
    found = fuzz.fuzz(name, 1.0, seed=0, out=tmp_path / "failures")
    assert found["failures"] == 0
    assert found["inputs"] > 10
    assert found["outcomes"] > 2


def test_what_fails_is_kept_and_counted(tmp_path, monkeypatch, capsys):
    def crash(data, folder):
        raise ZeroDivisionError("by nothing")

    target = fuzz.Target(seeds=lambda: [b"1"], read=crash)
    monkeypatch.setitem(fuzz.TARGETS, "idx", target)
    code = fuzz.main(["--minutes", "0.001", "--only", "idx", "--out", str(tmp_path / "kept")])
    assert code == 1
    assert "idx: failed: ZeroDivisionError: by nothing" in capsys.readouterr().err
    assert (tmp_path / "kept" / "idx-1").exists()


def test_the_same_seed_gives_the_same_damage():
    damaged = [fuzz.mutate(random.Random(7), b"<a>12</a>") for _ in range(2)]
    assert damaged[0] == damaged[1] != b"<a>12</a>"
