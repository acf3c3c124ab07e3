"""The wheel holds all that is needed: installed elsewhere, it works without the checkout."""

import os
import shutil
import sys
import sysconfig
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import pytest

from conftest import skip_without
from doggan import __version__
from doggan.submission import check_submission
from processes import run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of what it is built of."""
    for module in ("pip", "setuptools"):
        if find_spec(module) is None:
            skip_without("wheel", f"{module} is not installed")
    source = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "src", source / "src", ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    built = pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", source, source)
    assert built.returncode == 0, built.stderr
    (path,) = source.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def doggan(wheel, tmp_path_factory):
    """Runs `doggan` in an environment that has the wheel, and the dependencies from this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env")
    bin_folder = folder / "env" / "bin"
    installed = pip("--python", bin_folder / "python", "install", "--no-deps", "--no-index", wheel)
    assert installed.returncode == 0, installed.stderr
    own = sysconfig.get_path("purelib")
    there = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "env")}))
    # An editable doggan is not found this way: that folder's own .pth files are not read.
    (there / "dependencies.pth").write_text(own)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*arguments):
        return run([bin_folder / "doggan", *arguments], cwd=folder, env=variables)

    call.folder = folder
    return call


def pip(*arguments):
    return run([sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments])


def test_the_wheel_holds_every_file_of_the_package(wheel):
    expected = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "doggan").rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".md")
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name for name in names if PurePosixPath(name).parts[0] == "doggan"} == expected
    assert {PurePosixPath(name).parts[0] for name in names} == {
        "doggan",
        f"doggan-{__version__}.dist-info",
    }


@pytest.mark.slow
def test_the_installed_commands_go_from_nothing_to_a_report(doggan):
    arguments = ("--photos", 20, "--count", 20, "--time-limit", "20s")
    ran = doggan("demo", "--out", "demo", *arguments, "--judge", "efficientnet-lite0")
    assert ran.returncode == 0, ran.stderr
    assert check_submission(doggan.folder / "demo" / "images.zip", count=20).valid
    drawn = doggan("report", "demo", "--out", "page.html")
    assert drawn.returncode == 0, drawn.stderr
    page = (doggan.folder / "page.html").read_text("utf-8")
    assert page.rstrip().endswith("</html>")
    assert "data:image/" in page


def test_what_is_installed_is_not_the_checkout(doggan):
    told = doggan("score", "--help")
    assert told.returncode == 0
    code = "import doggan, sys; sys.exit(doggan.__file__)"
    python = doggan.folder / "env" / "bin" / "python"
    where = run([python, "-c", code], cwd=doggan.folder).stderr.strip()
    assert Path(where).is_relative_to(doggan.folder)
