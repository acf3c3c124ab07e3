"""The search of recipes: a file of variants in, one table and one sheet out, nothing run twice."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import search_recipes
from conftest import TINY
from doggan.recipe import load_recipe
from doggan.support.errors import InputError
from processes import MARK, PATIENCE_SECONDS, PROC, marked, started, wait_until

PUBLISHED = Path(__file__).parents[1] / "submission" / "recipes"
VARIANTS = """
[wide]
networks.generator_width = 8

[small-batches]
recipe = "demo"
seed = 5
train.batch_size = 4
train.ema_parts = [0.05, 0.5]
"""


def write_variants(folder, text):
    path = folder / "variants.toml"
    path.write_text(text)
    return path


def test_a_variant_is_a_recipe_and_what_differs(tmp_path):
    variants = search_recipes.read_variants(write_variants(tmp_path, VARIANTS))
    assert variants == {
        "wide": load_recipe("dogs", ["networks.generator_width=8"]),
        "small-batches": load_recipe(
            "demo", ["seed=5", "train.batch_size=4", "train.ema_parts=[0.05, 0.5]"]
        ),
    }


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.toml")), ids=lambda path: path.name)
def test_the_variants_of_every_table_can_be_run_again(path):
    shown = (PUBLISHED.parent / "RECIPES.md").read_text("utf-8")
    assert f"recipes/{path.name} --out search" in shown
    for name in search_recipes.read_variants(path):
        assert f"| {name} |" in shown or f"`{name}`" in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no variant"),
        ("[a]\ntrain.batchsize = 1", "nearest known one is 'train.batch_size'"),
        ("[a]\ntrain.batch_size = 1", "expected 2 or more"),
        ('[a]\nrecipe = "cats"', "'cats' is neither a recipe"),
        ("x = 1", r"expected \[name\] and its values; found 'x'"),
        ('["../a"]', r"expected \[name\] and its values"),
        ("[a", "is not a file of variants"),
    ],
)
def test_a_wrong_file_is_said(tmp_path, text, message, capsys):
    path = write_variants(tmp_path, text)
    with pytest.raises(InputError, match=message):
        search_recipes.read_variants(path)
    arguments = [str(tmp_path), str(path), "--out", str(tmp_path / "out"), "--budget", "1s"]
    assert search_recipes.main(arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def tiny_as_toml():
    """The values of TINY, but for the zip's, as a variant has them."""
    lines = []
    for key, value in (line.split("=") for line in TINY if not line.startswith("submission")):
        lines.append(f"{key} = {value if value[0] in '[0123456789' else json.dumps(value)}")
    return "\n".join(lines)


@pytest.mark.slow
def test_a_search_ends_in_a_table_and_a_sheet_and_is_found_again(photos, tmp_path, capsys):
    tiny = tiny_as_toml()
    other = tiny.replace("0.002", "0.2")
    refused = "\n".join([tiny, "train.gradient_penalty = 1.0"])  # with batch norm in D
    path = write_variants(tmp_path, f"[a]\n{tiny}\n[bad]\n{refused}\n[b]\n{other}\n")
    out = tmp_path / "out"
    arguments = [str(photos), str(path), "--out", str(out), "--budget", "30s", "--count", "12"]
    assert search_recipes.main(arguments) == 0
    table, said = (out / "table.md").read_text(), capsys.readouterr().out
    assert said.endswith(table + "\n")
    assert "bad-seed0: failed: train.gradient_penalty is 1" in said  # and stops no other
    rows = table.splitlines()[2:]
    assert sorted(row.split(" | ")[0] for row in rows) == ["| a-seed0", "| b-seed0"]
    scores = [float(row.split(" | ")[1].split()[0]) for row in rows]
    assert scores == sorted(scores)
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.height == 2 * 68
    results = {path: path.read_text() for path in sorted((out / "runs").glob("*/result.json"))}
    content = [json.loads(text) for text in results.values()]
    assert [result["images"] for result in content] == [64, 64]
    # Of a search that was cut, only what is missing is done: the same numbers come of it.
    write_variants(tmp_path, f"[a]\n{tiny}\n[b]\n{other}\n")
    next(iter(results)).unlink()
    assert search_recipes.main(arguments) == 0
    again = json.loads(next(iter(results)).read_text())
    for result in (again, content[0]):
        del result["scorecards"][0]["seconds"]
    assert again == content[0]


@pytest.mark.slow
@pytest.mark.skipif(not PROC.is_dir(), reason="there is no /proc to see processes in")
def test_a_search_that_is_killed_leaves_nobody_training(photos, tmp_path):
    out, endless = tmp_path / "out", tiny_as_toml().replace("images = 64", "images = 1_000_000_000")
    command = [sys.executable, search_recipes.__file__, photos]
    command += [write_variants(tmp_path, f"[tiny]\n{endless}\n"), "--out", out, "--budget", "1h"]
    with started(command) as process:
        wait_until((out / "runs" / "tiny-seed0" / "stats.jsonl").exists, process)
        assert len(marked(os.environ[MARK])) > 1
        process.kill()
        until = time.monotonic() + PATIENCE_SECONDS
        while marked(os.environ[MARK]):
            assert time.monotonic() < until
            time.sleep(0.1)
