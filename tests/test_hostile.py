"""What a stranger hands in: a sentence that names file and reason, and exit code 2."""

import os
import signal

import pytest
import torch

from conftest import as_options
from doggan.cli.main import main
from doggan.data.stanford import MAX_ANNOTATION_BYTES, MAX_BOXES, parse_annotation
from doggan.gan.memory import free_bytes, require_memory, training_bytes
from doggan.recipe import MAX_RECIPE_BYTES, load_recipe, recipe_from_toml, with_value
from doggan.support.errors import InputError
from doggan.support.files import read_small_file

BOX = "<object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb">]><annotation>&b;</annotation>'


def annotation(inside, head=""):
    return f"{head}<annotation>{inside}</annotation>"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<annotation>",
        b"\xff\xfe\x00\x01",
        BOMB.encode(),
        BOMB.encode("utf-16"),
        BOMB.encode("utf-16-be"),
        BOMB.encode("utf-32"),
        b'<?xml version="1.0" encoding="cp037"?>' + BOMB.encode("cp037"),
        b'<?xml version="1.0" encoding="utf-7"?>' + BOMB.encode("utf-7"),
        annotation(BOX * (MAX_BOXES + 1)).encode(),
        annotation(" " * MAX_ANNOTATION_BYTES).encode(),
        b"<a>" * 100_000,
        annotation("<b>" * 100_000).encode(),
        b"<other/>",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_annotations_that_are_none_are_refused(data):
    with pytest.raises(ValueError, match=r"XML|too large|encoding|boxes|the root is"):
        parse_annotation(data)


def test_nesting_without_end_is_no_crash():
    deep = "<b>" * 100_000 + "</b>" * 100_000
    assert parse_annotation(annotation(deep + BOX).encode()).boxes[0] is not None


@pytest.mark.parametrize("side", ["0", "0.4", "-3", "nan", "inf", "1e999", "", "x"])
def test_a_frame_of_no_size_is_no_frame(side):
    size = f"<size><width>{side}</width><height>40</height></size>"
    found = parse_annotation(annotation(size + BOX).encode())
    assert found.frame is None
    assert len(found.boxes) == 1


@pytest.mark.parametrize("side", ["nan", "inf", "-inf", "", "9e400", "x"])
def test_a_box_that_is_none_is_counted_and_not_used(side):
    box = BOX.replace("<xmax>9", f"<xmax>{side}")
    assert parse_annotation(annotation(box).encode()).boxes == (None,)


NESTED = ("a = " + "[" * 100_000, "a = " + "{a=" * 100_000, "[" + "a." * 100_000 + "a]")


@pytest.mark.parametrize("text", NESTED, ids=lambda text: text[:8])
def test_recipes_that_nest_without_end_are_refused(text):
    with pytest.raises(InputError, match=r"x is not valid TOML|the recipe has no"):
        recipe_from_toml(text, "x")
    with pytest.raises(InputError, match="must be a"):
        load_recipe("dogs", [f"train.beta1={'[' * 100_000}"])


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


SPECIAL = ("/dev/zero", "pipe")
COMMANDS = {
    "check": ["check", "{path}"],
    "score": ["score", "{path}", "--reference", "{path}"],
    "build": ["build", "{path}", "--out", "{out}"],
    "neighbours": ["neighbours", "{path}", "--reference", "{path}"],
    "compare": ["compare", "{path}"],
    "report": ["report", "{path}"],
    "sample": ["sample", "{path}"],
    "zip": ["zip", "{path}", "--out", "{out}"],
    "train": ["train", "{path}", "--out", "{out}"],
    "run": ["run", "{path}", "--out", "{out}", "--time-limit", "30s"],
    "weights": ["score", "{photos}", "--reference", "{photos}", "--weights", "{path}"],
}


@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("name", COMMANDS)
def test_special_files_end_no_command_in_a_wait(tmp_path, photos, capsys, name, special):
    path = special
    if special == "pipe":
        path = tmp_path / "pipe"
        os.mkfifo(path)
    words = [word.format(path=path, out=tmp_path / "out", photos=photos) for word in COMMANDS[name]]
    signal.alarm(60)  # a wait would be without end
    try:
        code = main(words)
    finally:
        signal.alarm(0)
    error = capsys.readouterr().err
    assert code == 2, error
    assert "Traceback" not in error
    assert str(path) in error


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


def test_a_system_that_does_not_tell_is_taken_to_have_enough(monkeypatch, tmp_path):
    monkeypatch.setattr("doggan.gan.memory._MEMINFO", tmp_path / "nothing")
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
