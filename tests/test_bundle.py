"""The kernel's script: the whole package, unchanged, in the same bytes on every machine."""

import ast
import hashlib
import os
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest

import doggan
import processes
from doggan.competition import SIDE_PX
from doggan.kaggle.bundle import LINE_LENGTH, SUFFIXES, fill_in, pack, write_bundle
from doggan.kaggle.settings import SETTINGS
from doggan.recipe import load_recipe, recipe_names
from doggan.support.errors import DogganError

PACKAGE = Path(doggan.__file__).parent
COMMITTED = Path(__file__).parents[1] / "kernel" / "doggan_kernel.py"
MAX_BYTES = 250_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundle") / "script.py")


def contents_of(script):
    return runpy.run_path(str(script))["read_contents"]()


def test_it_carries_every_source_and_recipe_unchanged(bundle):
    contents = contents_of(bundle.path)
    expected = {
        f"doggan/{path.relative_to(PACKAGE).as_posix()}": path.read_bytes()
        for path in PACKAGE.rglob("*")
        if path.suffix in SUFFIXES
    }
    assert {name: text.encode() for name, text in contents.items()} == expected
    assert {
        "doggan/kaggle/inside/start.py",
        "doggan/recipes/dogs.toml",
        "doggan/report/templates/report.html",
    } <= set(contents)
    assert bundle.files == len(expected)


def test_it_is_small_and_can_be_read(bundle):
    text = bundle.path.read_text("utf-8")
    assert bundle.size_bytes == bundle.path.stat().st_size < MAX_BYTES
    assert max(map(len, text.splitlines())) <= LINE_LENGTH
    head, _, _ = text.partition('CONTENTS = """')
    assert doggan.__version__ in head.splitlines()[0]
    assert bundle.sha256 in head
    assert "@" not in head
    names = [node.targets[0].id for node in ast.parse(head).body if isinstance(node, ast.Assign)]
    assert names == [*SETTINGS, "CONTENTS_SHA256"]


def test_its_settings_name_the_recipes_that_fit_and_values_that_they_take(bundle):
    text = bundle.path.read_text("utf-8")
    comments = dict(re.findall(r"^([A-Z_]+) = \S+  # (.*)$", text, re.MULTILINE))
    fitting = [name for name in recipe_names() if load_recipe(name).data.side_px == SIDE_PX]
    assert re.findall(r'"([\w-]+)"', comments["RECIPE"]) == fitting
    examples = ast.literal_eval(comments["OVERRIDES"].partition("such as ")[2])
    assert load_recipe("dogs", examples[:1]) != load_recipe("dogs", examples)


def test_the_same_sources_give_the_same_bytes_elsewhere(bundle, tmp_path):
    # A copy whose files were made in another order, at other times, with other permissions.
    for path in sorted(PACKAGE.rglob("*"), reverse=True):
        if path.suffix in SUFFIXES:
            copy = tmp_path / "doggan" / path.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            os.utime(copy, (10**9, 10**9))
            copy.chmod(0o600)
    code = (
        "import os; os.umask(0o077)\n"
        "import doggan; from pathlib import Path; from doggan.kaggle.bundle import write_bundle\n"
        "print(doggan.__file__); write_bundle(Path('script.py'))"
    )
    surroundings = {"LC_ALL": "C", "PYTHONUTF8": "0", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}
    output = processes.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | surroundings | {"PYTHONPATH": str(tmp_path)},
    )
    assert output.returncode == 0, output.stderr
    assert output.stdout.startswith(str(tmp_path))
    assert (tmp_path / "script.py").read_bytes() == bundle.path.read_bytes()


def test_the_order_of_the_files_does_not_matter_and_their_text_does():
    files = {"doggan/a.py": "1\n", "doggan/b.py": "ä\r\n"}
    assert pack(files) == pack(dict(reversed(files.items())))
    assert pack(files) != pack(files | {"doggan/a.py": "2\n"})


def test_a_damaged_script_says_so_and_unpacks_nothing(bundle, tmp_path):
    text = bundle.path.read_text("utf-8")
    damaged = tmp_path / "script.py"
    start = text.index('CONTENTS = """') + 5000
    for altered in (
        text[:start] + ("A" if text[start] != "A" else "B") + text[start + 1 :],
        text[:start] + text[start + 400 :],
    ):
        damaged.write_text(altered, "utf-8")
        with pytest.raises(SystemExit, match="contents are damaged"):
            contents_of(damaged)
    # What is whole, but not what the script's hash promises.
    damaged.write_text(fill_in(text_of_template(), pack({"doggan/a.py": ""}), "0" * 64), "utf-8")
    with pytest.raises(SystemExit, match="contents are damaged"):
        contents_of(damaged)


def text_of_template():
    return (PACKAGE / "kaggle" / "inside" / "script.py").read_text("utf-8")


FAKE_START = """
import multiprocessing, subprocess, sys
from dataclasses import dataclass
from doggan import where

@dataclass
class Settings:
    recipe: str
    overrides: list
    time_limit: str
    seed: int
    only_zip: bool
    goes_on_from: str
    photos: str

def run_kernel(settings):
    where.show("parent", settings.seed)
    worker = multiprocessing.get_context("spawn").Process(target=where.show, args=("spawned", 0))
    worker.start()
    worker.join()
    subprocess.run([sys.executable, "-c", "from doggan.where import show; show('started', 0)"])
    return 3
"""


def write_script(path, files):
    contents = pack({"doggan/__init__.py": "", "doggan/kaggle/inside/__init__.py": "", **files})
    template = text_of_template().replace("SEED = 0", "SEED = 5")
    path.write_text(fill_in(template, contents, hashlib.sha256(contents).hexdigest()), "utf-8")
    return path


def run_python(folder, *arguments):
    """Runs Python in an empty folder, with nothing on its path and temporary files at hand."""
    return processes.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": "", "TMPDIR": str(folder)},
    )


def test_run_again_in_one_process_it_unpacks_and_imports_again(tmp_path):
    code = "from dataclasses import make_dataclass as make\n" + (
        "names = 'recipe overrides time_limit seed only_zip goes_on_from photos'\n"
        "Settings = make('Settings', names.split())\n"
        "def run_kernel(settings): from doggan import late; print(late.__file__); return 0\n"
    )
    files = {"doggan/kaggle/inside/start.py": code, "doggan/late.py": ""}
    script = write_script(tmp_path / "script.py", files)
    twice = f"import runpy\nfor _ in 'ab': runpy.run_path({str(script)!r}, run_name='__main__')"
    output = run_python(tmp_path, "-c", twice)
    assert output.returncode == 0, output.stderr
    assert len(set(output.stdout.splitlines())) == 2


def test_its_processes_import_the_package_from_the_script_too(tmp_path):
    show = "def show(who, seed): print(who, seed, __file__, flush=True)"
    files = {"doggan/kaggle/inside/start.py": FAKE_START, "doggan/where.py": show}
    output = run_python(tmp_path, write_script(tmp_path / "script.py", files))
    shown = [line.split() for line in output.stdout.splitlines()]
    assert [line[:2] for line in shown] == [["parent", "5"], ["spawned", "0"], ["started", "0"]]
    assert all(line[2].startswith(str(tmp_path / "doggan-")) for line in shown)
    assert output.returncode == 3
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


def test_a_script_that_cannot_be_written_is_an_error_for_people(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DogganError, match="cannot write"):
        write_bundle(tmp_path / "file" / "script.py")


def test_the_committed_script_is_up_to_date(bundle):
    # No diff: it would be two thousand lines of base64.
    up_to_date = COMMITTED.exists() and COMMITTED.read_bytes() == bundle.path.read_bytes()
    assert up_to_date, "kernel/doggan_kernel.py is not what the sources give: doggan kernel build"
