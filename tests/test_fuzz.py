"""The fuzzing tool in short: nothing fails, and what would is kept."""

import random
import time
from pathlib import Path

import pytest

import fuzz


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_a_second_of_damaged_input_is_taken_or_refused(name, tmp_path):
    found = fuzz.fuzz(name, 1.0, seed=0, out=tmp_path / "failures")
    assert found["failures"] == 0
    assert found["inputs"] >= found["outcomes"] > 1


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


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_it_begins_with_inputs_that_are_taken_as_they_are(name):
    target = fuzz.TARGETS[name]
    for seed in target.seeds():
        outcome, _ = fuzz.outcome_of(target, seed)
        assert outcome.startswith("taken")
        assert name != "report" or outcome.endswith(": ")  # nothing to note


def test_what_hangs_is_interrupted_and_is_a_failure(monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 0.1)

    def hang(data, folder):
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                continue

    target = fuzz.Target(seeds=list, read=hang)
    outcome, failed = fuzz.outcome_of(target, b"")
    assert failed
    assert "TookTooLong: it took more than # s" in outcome


def test_outcomes_are_told_apart_by_their_sentence():
    folder = Path("/somewhere/x")
    one = fuzz.in_general(
        "/somewhere/x/a.zip: 'b' has 1,200 bytes and begins with 00ff08ff", folder
    )
    two = fuzz.in_general("/somewhere/x/a.zip: 'c' has 9 bytes and begins with 1234567a", folder)
    assert one == two == "/a.zip: # has # bytes and begins with #"
