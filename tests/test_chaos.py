"""The campaigns in short: killed, resumed, never torn; and limits that are kept."""

import json
import subprocess

import pytest
import torch
from PIL import Image

import chaos
import promises
from chaos_deadline import Trial
from chaos_kill import same_course
from doggan.cli.main import main
from doggan.support.errors import InputError
from promises import BrokenPromiseError, check_file, doggan, ran, run_as_root


@pytest.fixture
def in_this_process(monkeypatch, capsys):
    """What a campaign does before and after it breaks something is done in this process: to start
    another one takes longer than the work."""

    def run_here(command):
        if command[: len(doggan())] != doggan():
            return ran(command)
        code = main(command[len(doggan()) :])
        return subprocess.CompletedProcess(command, code, *capsys.readouterr())

    monkeypatch.setattr(promises, "ran", run_here)


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_two_kills_tear_nothing_and_change_nothing(tmp_path, capsys):
    assert chaos.main(["kill", "--count", "2", "--work", str(tmp_path / "w"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])["kill"]
    assert result["kills"] == sum(result["phases"].values()) == 2
    assert result["same_bits_as_undisturbed"]
    assert result["most_images_lost"] <= result["interval_images"]


@pytest.mark.slow
def test_two_limits_leave_what_they_should(tmp_path, capsys):
    # How late they are is for the campaign itself: a test may run on a busy machine.
    limits = ["--count", "2", "--shortest", "6", "--longest", "8", "--zip-count", "50"]
    chaos.main(["deadline", *limits, "--work", str(tmp_path / "w"), "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])["deadline"]
    assert (result["limits"], result["failures"]) == (2, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    # What the others promise is held within one process, in less time: test_distributed.py has
    # `process`, test_nothing_lost.py `folder` and `divergence`, test_faults.py `device`.
    ["commands", "sources", "memory", "clock", "events", "rights", "disk"],
)
def test_a_campaign_keeps_its_promises(tmp_path, capsys, request, name):
    if name in ("rights", "disk"):
        if not may_mount(tmp_path):
            pytest.skip("only root may mount a disk")
    elif name != "clock":  # which needs one of its own, as what has files on a mounted disk does
        request.getfixturevalue("in_this_process")
    work = ["--work", str(tmp_path / "w"), "--out", str(tmp_path / "chaos.md")]
    assert chaos.main([name, "--count", "1", *work]) == 0
    assert f"| `{name}`: " in (tmp_path / "chaos.md").read_text()


def may_mount(folder):
    """Whether this process may mount a disk in memory, as the campaigns do."""
    try:
        run_as_root("mount", "-t", "tmpfs", "chaos", folder)
    except InputError:
        return False
    run_as_root("umount", folder)
    return True


def test_a_broken_promise_is_told_and_the_next_campaign_tried(tmp_path, capsys, monkeypatch):
    def breaks(args, work):
        raise BrokenPromiseError("a.png is torn")

    def keeps(args, work):
        return {"kept": True, "summary": "as promised"}

    campaigns = {"one": (breaks, 1, "first"), "two": (keeps, 1, "then")}
    monkeypatch.setattr(chaos, "CAMPAIGNS", campaigns)
    assert chaos.main(["all"]) == 1
    rows = capsys.readouterr().out
    assert "| **broken**: a.png is torn |" in rows
    assert "| as promised |" in rows


@pytest.mark.parametrize(
    "name",
    ["checkpoint.pt", "generator.safetensors", "stats.jsonl", "a.json", "recipe.toml", "a.png"],
)
def test_a_torn_file_is_noticed(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b'{"images": 1')
    with pytest.raises(BrokenPromiseError, match="is torn"):
        check_file(path)


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_a_picture_cut_off_is_torn(tmp_path, name):
    Image.effect_noise((64, 64), 80).save(tmp_path / name)
    check_file(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BrokenPromiseError, match="is torn"):
        check_file(tmp_path / name)


def test_one_bit_makes_another_course(tmp_path):
    weight = torch.ones(3)
    state = {"generator": {"weight": weight}, "scaler": {}, "list": [1, weight]}
    state |= {"seconds": 1.0, "recipe": "often"}
    other = state | {"seconds": 2.0, "recipe": "once"}  # neither is a part of the course
    for name, content in (("one", state), ("other", other)):
        (tmp_path / name).mkdir()
        torch.save(content, tmp_path / name / "checkpoint.pt")
    assert same_course(tmp_path / "one", tmp_path / "other")
    changed = other | {"list": [1, torch.nextafter(weight, 2 * weight)]}
    torch.save(changed, tmp_path / "other" / "checkpoint.pt")
    assert not same_course(tmp_path / "one", tmp_path / "other")


def test_the_overshoot_is_the_whole_processs():
    trial = Trial(command="train", limit=20.0, seed=0, interval_images=200, wall=21.5, main=20.0)
    assert trial.overshoot == 1.5


def test_a_folder_in_use_is_refused(tmp_path, capsys):
    (tmp_path / "mine").touch()
    assert chaos.main(["kill", "--work", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
