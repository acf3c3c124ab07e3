"""The command line: what it prints, where it writes, and one line for every mistake."""

import json
import os
import re
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

import processes
from conftest import TINY, encode, make_photos
from doggan import __version__
from doggan.cli.main import COMMANDS, main
from doggan.cli.score import truncations
from doggan.recipe import load_recipe

# What --seed and --device are for: commands that draw by chance, and that compute by a network.
DRAW = ("train", "sample", "zip", "score", "run", "demo")
COMPUTE = (*DRAW, "neighbours")
JUDGE = ("--judge", "efficientnet-lite0")
SET_TINY = [part for value in TINY for part in ("--set", value)]


def doggan(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture
def run_folder(photos, tmp_path, capsys):
    assert doggan("build", photos, "--out", tmp_path / "set") == 0
    assert doggan("train", tmp_path / "set", "--out", tmp_path / "run", *SET_TINY) == 0
    capsys.readouterr()
    return tmp_path / "run"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "kernel"])
def test_every_command_explains_itself_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"example:\n  doggan {command} " in text
    assert "--json" in text
    assert ("--seed" in text) == (command in DRAW)
    assert ("--device" in text) == (command in COMPUTE)


def test_an_unknown_kernel_command_names_the_nearest(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["kernel", "psuh"])
    assert stop.value.code == 2
    assert "the command is 'psuh'; expected one of build, push" in (text := capsys.readouterr().err)
    assert "the nearest is 'push'" in text


def test_the_package_runs_as_a_module():
    output = processes.run([sys.executable, "-m", "doggan", "--version"])
    assert output.stdout == f"doggan {__version__}\n"


def test_build_says_what_it_built(photos, tmp_path, capsys):
    (photos / "Images" / "n90000001-Red_dog" / "alone.jpg").write_bytes(b"")
    assert doggan("build", photos, "--out", tmp_path / "set", "--crop", "tight") == 0
    out = capsys.readouterr().out
    assert "12 images of 64x64x3, 2 labels, crop 'tight', from 13 photos" in out
    assert "skipped: photo without an annotation: 1" in out


def test_json_is_one_object_and_nothing_else(photos, tmp_path, capsys):
    assert doggan("build", photos, "--out", tmp_path / "set", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["images"], result["photos"], result["skipped"]) == (12, 12, {})


def test_train_prints_its_recipe_first_and_a_dry_run_stops_there(photos, tmp_path, capsys):
    doggan("build", photos, "--out", tmp_path / "set")
    assert (
        doggan(
            "train",
            tmp_path / "set",
            "--out",
            tmp_path / "run",
            "--dry-run",
            "--seed",
            5,
            "--images",
            99,
            "--set",
            "train.batch_size=32",
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "seed = 5" in out
    assert "batch_size = 32" in out
    assert "images = 99" in out
    assert not (tmp_path / "run").exists()


def test_resume_takes_the_runs_own_recipe(run_folder, tmp_path, capsys):
    assert (
        doggan("train", tmp_path / "set", "--out", run_folder, "--resume", "--images", 96, "--json")
        == 0
    )
    assert json.loads(capsys.readouterr().out)["images"] == 96
    assert doggan("train", tmp_path / "set", "--out", run_folder, "--resume", "--seed", 1) == 2
    assert "--resume goes on with the run's own recipe" in capsys.readouterr().err


def test_sample_draws_seeds_and_noise(run_folder, tmp_path, capsys):
    assert doggan("sample", run_folder, "--count", 6, "--columns", 3) == 0
    with Image.open(run_folder / "sample.png") as grid:
        assert grid.size == (3 * 66 + 2, 2 * 66 + 2)
    assert (
        doggan(
            "sample",
            run_folder / "generator.safetensors",
            "--count",
            2,
            "--noise",
            "1.0:0.0",
            "--out",
            tmp_path / "strip.png",
            "--json",
        )
        == 0
    )
    assert "seeds 0 to 5" in capsys.readouterr().out
    strip = np.asarray(Image.open(tmp_path / "strip.png"))
    assert strip.shape == (2 * 66 + 2, 11 * 66 + 2, 3)
    # Without noise all seeds are one image; with noise they are not.
    assert (strip[2:66, -66:-2] == strip[68:132, -66:-2]).all()
    assert not (strip[2:66, 2:66] == strip[68:132, 2:66]).all()


def test_sample_follows_seed_and_truncation(run_folder, tmp_path):
    pictures = {}
    for name, options in {
        "seed 0": [],
        "seed 0 again": ["--seed", 0],
        "seed 1": ["--seed", 1],
        "scaled": ["--truncation", 0.5],
        "resampled": ["--truncation", 0.5, "--truncation-by", "resample"],
    }.items():
        doggan("sample", run_folder, "--count", 4, "--out", tmp_path / "x.png", *options)
        pictures[name] = (tmp_path / "x.png").read_bytes()
    assert pictures["seed 0"] == pictures["seed 0 again"]
    assert len(set(pictures.values())) == 4


def test_zip_check_and_score(run_folder, photos, tmp_path, capsys):
    zip_file = tmp_path / "out.zip"
    assert doggan("zip", run_folder, "--out", zip_file) == 0
    first = zip_file.read_bytes()
    assert doggan("zip", run_folder, "--out", zip_file) == 0
    assert zip_file.read_bytes() == first
    assert doggan("zip", run_folder, "--out", zip_file, "--truncation", 0.5, "--count", 30) == 0
    assert "valid, 30 PNG images" in capsys.readouterr().out
    assert doggan("check", zip_file, "--count", 30) == 0
    assert doggan("check", zip_file) == 1
    assert "wrong number of images: 30 found, 10,000 expected" in capsys.readouterr().out
    for reference in (photos, tmp_path / "set"):
        assert (
            doggan(
                "score",
                zip_file,
                "--reference",
                reference,
                "--judge",
                "efficientnet-lite0",
                "--out",
                tmp_path / "card.json",
                "--json",
            )
            == 0
        )
        card = json.loads(capsys.readouterr().out)
        assert card == json.loads((tmp_path / "card.json").read_text())
        assert (card["generated_images"], card["reference_images"]) == (30, 12)


def test_a_run_is_scored_as_its_zip_is(run_folder, tmp_path, capsys):
    reference = ("--reference", tmp_path / "set", *JUDGE, "--json")
    cards = []
    for options in ([], ["--truncation", 0.5, "--seed", 3]):
        doggan("zip", run_folder, "--out", tmp_path / "images.zip", *options)
        capsys.readouterr()
        for scored in (tmp_path / "images.zip", run_folder, run_folder / "generator.safetensors"):
            given = options if scored.suffix != ".zip" else []
            assert doggan("score", scored, *reference, *given) == 0
            cards.append(json.loads(capsys.readouterr().out) | {"seconds": 0})
    assert cards[0] == cards[1] == cards[2]
    assert cards[3] == cards[4] == cards[5] != cards[0]


def test_a_sweep_scores_every_truncation_and_writes_no_images(run_folder, tmp_path, capsys):
    before = sorted(run_folder.rglob("*"))
    arguments = ("score", run_folder, "--reference", tmp_path / "set", *JUDGE)
    arguments += ("--truncation", "0.5:1.0:0.25", "--out", tmp_path / "sweep.json")
    assert doggan(*arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == [
        "truncation 0.5",
        "truncation 0.75",
        "truncation 1",
    ]
    assert lines[-1].startswith("best: truncation ")
    sweep = json.loads((tmp_path / "sweep.json").read_text())
    scores = {entry["name"]: entry["scorecard"]["mifid"] for entry in sweep["entries"]}
    assert sweep["best"] == min(scores, key=scores.get)
    assert sweep["truncations"] == [0.5, 0.75, 1.0]
    left = run_folder / "truncation.json"  # for the report
    assert json.loads(left.read_text()) == sweep
    assert sorted(run_folder.rglob("*")) == sorted([*before, left])
    assert doggan(*arguments, "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert {entry["name"]: entry["scorecard"]["mifid"] for entry in again["entries"]} == scores


def test_neighbours_draws_the_closest_with_their_names(run_folder, tmp_path, capsys):
    reference = ("--reference", tmp_path / "set", *JUDGE)
    doggan("zip", run_folder)
    capsys.readouterr()
    assert doggan("neighbours", run_folder, *reference, "--count", 3) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"(no )?penalty: 0\.\d+, eps 0\.\d+", lines[0])
    assert "DOES NOT COMPARE" in lines[1]
    with Image.open(run_folder / "neighbours.png") as picture:
        assert picture.format == "PNG"
    assert len(json.loads((run_folder / "neighbours.json").read_text())["pairs"]) == 3
    assert doggan("report", run_folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []
    assert (run_folder / "report.html").read_text().count("its nearest reference image") == 3
    out = tmp_path / "n.png"
    zip_file = run_folder / "images.zip"
    assert doggan("neighbours", zip_file, *reference, "--out", out, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["verdict"] == lines[0]
    assert result["picture"] == str(out)
    assert out.exists()
    assert len(result["pairs"]) == 12
    assert all(pair["reference_name"].endswith(".jpg#0") for pair in result["pairs"])
    assert lines[2].endswith(result["pairs"][0]["reference_name"])


def png(mode="RGB", size=(64, 64), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return encode(Image.fromarray(pixels).convert(mode), "PNG")


@pytest.mark.parametrize("command", ["score", "neighbours"])
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no images"),
        ({"a.png": png()}, "found 1 generated image(s)"),
        ({"a.png": png(), "b.png": png(size=(32, 64))}, "b.png is 64x32 and a.png is 64x64"),
        ({"a.png": png(), "b.png": png("L")}, "b.png: the mode is L; expected RGB"),
        ({"a.png": png("RGBA"), "b.png": png()}, "a.png: the mode is RGBA; expected RGB"),
        ({"a.png": png(), "b.png": png()[:3000]}, "b.png: not a readable image"),
        ({"a.png": png(), "b.png": b""}, "b.png: not a readable image"),
    ],
)
def test_images_that_cannot_be_scored_are_one_line_and_exit_code_2(
    command, files, message, tiny_set, tmp_path, capsys
):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    assert doggan(command, tmp_path / "x.zip", "--reference", tiny_set.folder, *JUDGE) == 2
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if line.startswith("doggan: ")]
    assert message in line
    assert captured.out == ""


@pytest.mark.parametrize("command", ["score", "neighbours"])
def test_a_reference_of_one_or_of_the_same_images_is_refused(command, tiny_set, tmp_path, capsys):
    images = tiny_set.folder
    alone = make_photos(tmp_path / "alone", count=1)
    assert doggan(command, images, "--reference", alone, *JUDGE) == 2
    assert "found 1 reference image(s)" in capsys.readouterr().err
    assert doggan(command, images, "--reference", images, *JUDGE) == 2
    assert "every generated image is one of the reference images" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.png"))


def test_run_does_everything(photos, tmp_path, capsys):
    options = ["--out", tmp_path / "run", "--judge", "efficientnet-lite0", "--json", *SET_TINY]
    assert doggan("run", photos, "--dry-run", *options) == 0
    assert json.loads(capsys.readouterr().out)["submission"]["count"] == 20
    assert doggan("run", photos, *options) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["training"]["images"] == 64
    assert set(result["files"]) >= {"submission", "scorecard"}


def test_demo_prints_where_everything_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("doggan.cli.demo.load_recipe", load_tiny)
    code = doggan(
        "demo",
        "--out",
        tmp_path / "demo",
        "--photos",
        16,
        "--count",
        15,
        "--judge",
        "efficientnet-lite0",
    )
    out = capsys.readouterr().out
    assert code == 0
    assert "says nothing about real photos" in out
    for name in ("grid.png", "progress.gif", "scorecard.json", "images.zip"):
        assert f"  {tmp_path / 'demo' / name}" in out


def load_tiny(name, overrides):
    return load_recipe(name, [*TINY, *overrides])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "nowhere", "--out", "set"), "nowhere does not exist"),
        (("build", ".", "--out", "set"), "holds no photos"),
        (("train", "nowhere", "--out", "run"), "nowhere is not a built set"),
        (("train", "x", "--out", "run", "--set", "train.batchsize=3"), "'train.batch_size'"),
        (("train", "x", "--out", "run", "--resume"), "run/recipe.toml' is neither a recipe"),
        (("sample", "nowhere"), "nowhere does not exist"),
        (("zip", "nowhere"), "nowhere does not exist"),
        (("check", "nowhere"), "nowhere does not exist"),
        (("score", "nowhere", "--reference", "."), "nowhere does not exist"),
        (
            ("score", "nowhere", "--reference", ".", "--truncation", "0.8"),
            "nowhere is neither a run",
        ),
        (("neighbours", "nowhere", "--reference", "."), "nowhere does not exist"),
        (("compare", "nowhere"), "nowhere does not exist"),
        (("compare", "."), "holds no scorecard.json"),
        (("run", "nowhere", "--out", "run"), "nowhere does not exist"),
        (("kernel", "build", "--out", "."), "is a folder; expected a file's name"),
        (("kernel", "status", "dogs"), "expected OWNER/SLUG or OWNER/SLUG/VERSION"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    arguments, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if line.startswith("doggan: ")]
    assert message in line
    assert "Traceback" not in captured.err
    assert main([*arguments, "--json"]) == 2
    assert message in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "x", "--out", "y", "--time-limit", "soon"),
        ("train", "x", "--out", "y", "--images", "0"),
        ("sample", "x", "--noise", "1.0"),
        ("sample", "x", "--seed", "-1"),
        ("score", "x", "--reference", "y", "--truncation", "often"),
        ("score", "x", "--reference", "y", "--truncation", "2.1"),
        ("score", "x", "--reference", "y", "--truncation", "nan"),
        ("score", "x", "--reference", "y", "--truncation", "1.2:0.6:0.1"),
        ("score", "x", "--reference", "y", "--truncation", "0.6:1.2:0"),
        ("score", "x", "--reference", "y", "--truncation", "0:2:0.0001"),
        ("score", "x", "--reference", "y", "--truncation", "0.6:1.2"),
        ("compare",),
        ("check",),
        ("bark",),
        (),
    ],
)
def test_a_wrong_argument_exits_with_2(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.8", (0.8,)),
        ("0.6:1.2:0.1", (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)),
        ("0.5:1:0.2", (0.5, 0.7, 0.9)),
        ("1:1:0.1", (1.0,)),
        ("0:0.3:0.1", (0.0, 0.1, 0.2, 0.3)),
    ],
)
def test_truncations_include_both_ends_where_the_steps_meet_them(text, values):
    assert truncations(text) == values


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "/x"), "doggan: Permission denied: /x"),
        (KeyboardInterrupt(), "doggan: interrupted"),
    ],
)
def test_failures_are_one_line_and_exit_code_1(error, line, capsys, monkeypatch):
    def fail(args, say):
        raise error

    monkeypatch.setattr("doggan.cli.check.run", fail)
    assert main(["check", "x"]) == 1
    assert capsys.readouterr().err.strip() == line


def test_a_reader_that_leaves_is_no_error():
    script = (
        "import sys; from doggan.cli.main import main; sys.exit(main(['check', 'no', '--json']))"
    )
    read, write = os.pipe()
    os.close(read)
    process = processes.run([sys.executable, "-c", script], stdout=write)
    os.close(write)
    assert process.returncode == 1
    assert process.stderr == "doggan: no does not exist; a submission zip was expected there\n"


def test_fetch_names_its_files(tmp_path, capsys, monkeypatch):
    from doggan.data.fetch import FetchedFile

    file = FetchedFile(path=str(tmp_path / "images.tar"), size_bytes=3, downloaded=True)
    monkeypatch.setattr("doggan.data.fetch.fetch_stanford", lambda out: (file,))
    assert doggan("fetch", "stanford", "--out", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "files": [{"path": file.path, "size_bytes": 3, "downloaded": True}]
    }
