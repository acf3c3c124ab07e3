"""What `doggan train` and `doggan run` exit with, and leave, when they are stopped.

Each is started as people start it: a process of its own, which gets a signal of its own.
"""

import json
import signal
import subprocess
import sys

import pytest

from conftest import LOUD, TINY, as_options, make_photos
from doggan.cli.main import main
from doggan.gan.checkpoint import read_checkpoint
from doggan.gan.generator_file import load_generator
from doggan.gan.history import read_history
from doggan.gan.run_folder import CHECKPOINT, RESULT, SCORECARD, STATS, ZIP
from doggan.submission import check_submission
from processes import PATIENCE_SECONDS, started, wait_until

ENDLESS = (*TINY, LOUD, "train.images=1000000000")
STOPS = {  # the signal, the options, the exit code
    "SIGTERM": (signal.SIGTERM, (), 1),
    "SIGINT": (signal.SIGINT, (), 1),  # which Ctrl-C sends
    "time limit": (None, ("--time-limit", "1s"), 0),  # over while PyTorch is loaded
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A folder with `photos`, and the `set` that was built of them."""
    folder = tmp_path_factory.mktemp("sources")
    make_photos(folder / "photos", count=12)
    assert main(["build", str(folder / "photos"), "--out", str(folder / "set")]) == 0
    return folder


def launched(*arguments):
    """`doggan` with these arguments and the endless recipe, for the length of a test."""
    words = [sys.executable, "-m", "doggan", *arguments, *as_options(ENDLESS)]
    return started(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def stop(process, folder, number):
    """Sends the signal, if any, once it trains; what it printed on stdout and stderr."""
    if number:
        wait_until((folder / STATS).exists, process)
        process.send_signal(number)
    return process.communicate(timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize("how", STOPS)
def test_a_stopped_training_exits_as_promised_and_goes_on(sources, tmp_path, how):
    number, options, code = STOPS[how]
    folder = tmp_path / "run"
    with launched("train", sources / "set", "--out", folder, *options) as process:
        out, err = stop(process, folder, number)
        assert process.returncode == code, err
    assert f"stopped by {how}; next: doggan zip {folder}" in out
    told = f"Stopped by {how}; the same command with --resume --out {folder} goes on" in out
    assert told == (code == 1)
    assert "Traceback" not in err
    # What was trained until then is whole.
    images = read_checkpoint(folder / CHECKPOINT)["images_seen"]
    end = read_history(folder)[-1]
    assert (end["images"], end["stopped_by"]) == (images, how)
    assert load_generator(folder, "cpu")
    longer = ["--resume", "--images", str(images + 8), "--device", "cpu"]
    assert main(["train", str(sources / "set"), "--out", str(folder), *longer]) == 0
    assert read_checkpoint(folder / CHECKPOINT)["images_seen"] == images + 8


@pytest.mark.slow
@pytest.mark.parametrize("how", STOPS)
def test_a_stopped_run_exits_as_promised_and_leaves_its_zip(sources, tmp_path, how):
    number, options, code = STOPS[how]
    folder = tmp_path / "run"
    command = ("run", sources / "photos", "--out", folder, "--judge", "efficientnet-lite0")
    with launched(*command, "--json", *options) as process:
        out, err = stop(process, folder, number)
        assert process.returncode == code, err
    assert "Traceback" not in err
    result = json.loads(out)  # one object and nothing else
    written = json.loads((folder / RESULT).read_text())
    assert result == {**written, **{key: result[key] for key in ("folder", "submission", "files")}}
    assert result["training"]["stopped_by"] == how
    assert check_submission(folder / ZIP, count=20).valid
    assert (folder / SCORECARD).exists() == (result["scorecard"] is not None)
    if code:
        assert result["unscored"] == f"the run was stopped by {how}"
