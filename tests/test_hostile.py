"""Special files, numbers without end, and memory: what `hostile.CORPUS` does not hold."""

import os
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from conftest import as_options
from doggan.cli.main import main
from doggan.data.archives import open_files
from doggan.gan.checkpoint import read_last_checkpoint, save_checkpoint
from doggan.gan.generator_file import GENERATORS, read_tensors
from doggan.gan.memory import free_bytes, most_bytes, require_memory, training_bytes
from doggan.gan.run_folder import CHECKPOINT
from doggan.gan.state import new_state
from doggan.recipe import MAX_RECIPE_BYTES, load_recipe, with_value
from doggan.support.errors import InputError
from doggan.support.files import read_small_file
from processes import run


@pytest.mark.parametrize("kind", ["large", "binary", "pipe", "folder", "device"])
def test_a_recipe_that_is_no_small_file_is_refused(tmp_path, kind):
    path = tmp_path / "own.toml"
    make = {
        "large": lambda: path.write_bytes(b"#" * (MAX_RECIPE_BYTES + 1)),
        "binary": lambda: path.write_bytes(b"\xff" * 10),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "device": lambda: path.symlink_to("/dev/zero"),
    }
    make[kind]()
    with pytest.raises(InputError, match=r"own\.toml"):
        load_recipe(str(path))
    with pytest.raises(InputError, match=r"own\.toml"):
        read_small_file(path, MAX_RECIPE_BYTES)


@pytest.mark.parametrize(
    "value",
    [
        "train.images=1" + "0" * 20,
        "train.images=1" + "0" * 400,
        "train.images=1" + "0" * 5000,
        "train.cooldown=1" + "0" * 400,
        "train.gradient_penalty=inf",
        "train.ema_half_life_images=nan",
        "data.max_box_aspect=1e400",
        "budget.widths=[" + "64," * 11 + "]",
        "budget.widths=[1" + "0" * 400 + "]",
    ],
    ids=lambda value: value[:30],
)
def test_numbers_that_no_run_reaches_are_refused(value):
    with pytest.raises(InputError, match=value.partition("=")[0]) as found:
        load_recipe("dogs", [value])
    assert len(str(found.value)) < 600


@pytest.mark.parametrize(
    "words",
    [
        ["zip", "run", "--count", "100001"],
        ["sample", "run", "--count", "9" * 5000],
        ["demo", "--photos", "4000000000"],
        ["train", "set", "--out", "run", "--threads", "1025"],
        ["train", "set", "--out", "run", "--time-limit", "9" * 400 + "h"],
        ["train", "set", "--out", "run", "--images", "9" * 20],
    ],
    ids=lambda words: words[0],
)
def test_options_that_no_machine_can_serve_are_refused(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    error = capsys.readouterr().err
    assert "whole number from" in error or "is not a duration" in error
    assert len(error.splitlines()[-1]) < 600


@pytest.fixture
def checkpoint(tiny_set, tiny_recipe, tmp_path):
    """The path of a checkpoint from before the first step."""
    state = new_state(tiny_set, tiny_recipe, torch.device("cpu"), "fp32")
    save_checkpoint(tmp_path, state, tiny_recipe, tiny_set.sha256)
    return tmp_path / CHECKPOINT


def same_many_times():
    value = [0]
    for _ in range(60):
        value = [value, value]
    return value


def compress(path):
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data + bytes(1_000_000))


def test_a_checkpoint_that_holds_itself_many_times_is_read_in_time(checkpoint):
    content, _, _ = read_last_checkpoint(checkpoint.parent)
    torch.save(content | {"extra": same_many_times()}, checkpoint)
    assert read_last_checkpoint(checkpoint.parent)[0]["images_seen"] == 0


@pytest.mark.parametrize("kind", ["pipe", "device", "compressed"])
def test_checkpoints_and_generators_that_never_end_are_refused(checkpoint, kind):
    generator = checkpoint.with_name(GENERATORS[1])
    torch.save({"metadata": {}, "tensors": {}}, generator)
    for path in (checkpoint, generator):
        if kind == "compressed":
            compress(path)
        else:
            path.unlink()
            os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"checkpoint\.pt is not .*(regular file|would unpack to)"):
        read_last_checkpoint(checkpoint.parent)
    with pytest.raises(ValueError, match=r"regular file|would unpack to"):
        read_tensors(generator)


def test_folders_may_nest_deeper_than_python_calls(tmp_path, monkeypatch):
    depth = 1_500
    monkeypatch.chdir(tmp_path)
    for _ in range(depth):  # step by step, as the way there is too long to be named elsewhere
        Path("d").mkdir()
        os.chdir("d")
    Path("dog.jpg").touch()
    try:
        assert open_files([tmp_path]).names() == [f"{'d/' * depth}dog.jpg"]
    finally:
        Path("dog.jpg").unlink()
        for _ in range(depth):
            os.chdir("..")
            Path("d").rmdir()


def test_what_no_machine_can_hold_is_refused_before_it_is_made(tiny_set, tiny_recipe):
    cpu = torch.device("cpu")
    require_memory(tiny_set, tiny_recipe, cpu)
    for key, value in (("train.batch_size", 2**40), ("train.batch_doublings", 16)):
        huge = with_value(with_value(tiny_recipe, "train.batch_size", 2**20), key, value)
        with pytest.raises(InputError, match=r"takes some .*B and there are .*B free"):
            require_memory(tiny_set, huge, cpu)


@pytest.mark.parametrize("architecture", ["dcgan", "resnet", "dense"])
@pytest.mark.parametrize("conditional", [False, True])
def test_what_a_training_holds_is_counted(tiny_set, tiny_recipe, architecture, conditional):
    recipe = with_value(tiny_recipe, "networks.architecture", architecture)
    recipe = with_value(recipe, "networks.conditional", conditional)
    found = training_bytes(tiny_set, recipe)
    assert 1e5 < found < 1e9
    twice = training_bytes(tiny_set, with_value(recipe, "train.batch_size", 16))
    assert found < twice < 2 * found
    assert training_bytes(tiny_set, with_value(recipe, "train.batch_doublings", 1)) == twice
    assert found <= most_bytes(tiny_set, recipe)


@pytest.mark.parametrize("name", ["dogs", "dogs-2015", "dogs-2019", "demo", "mnist-dense"])
def test_what_holds_easily_is_known_without_loading_a_compiler(tiny_set, name):
    assert training_bytes(tiny_set, load_recipe(name)) <= most_bytes(tiny_set, load_recipe(name))
    code = (
        "import sys; from doggan.data.imageset import open_imageset; "
        "from doggan.gan.memory import most_bytes; from doggan.recipe import load_recipe; "
        "most_bytes(open_imageset(sys.argv[1]), load_recipe(sys.argv[2])); "
        "print('torch._dynamo' in sys.modules)"
    )
    assert run([sys.executable, "-c", code, tiny_set.folder, name]).stdout == "False\n"


def test_a_system_that_does_not_tell_is_taken_to_have_enough(monkeypatch, tmp_path):
    monkeypatch.setattr("doggan.gan.memory.MEMINFO", tmp_path / "nothing")
    assert free_bytes(torch.device("cpu")) is None


def test_a_network_too_wide_ends_the_command_with_2(tiny_set, tmp_path, capsys):
    wide = [
        "networks.channel_max=4096",
        "networks.generator_width=4096",
        "networks.discriminator_width=4096",
        "train.batch_size=65536",
    ]
    code = main(["train", str(tiny_set.folder), "--out", str(tmp_path / "run"), *as_options(wide)])
    assert code == 2
    assert "free: lower networks.generator_width" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
