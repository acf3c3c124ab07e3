"""The sources compile on every version of Python that they are for, without a warning."""

import shutil
import sys
from pathlib import Path

import pytest

from processes import run

ROOT = Path(__file__).parents[1]
COMPILE = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("error")
print(sys.version_info[:2])
for folder in ("src", "tools", "tests", "kernel"):
    for path in Path(folder).rglob("*.py"):
        compile(path.read_bytes(), path, "exec", dont_inherit=True)
"""


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_all_sources_compile(version):
    own = version == ".".join(map(str, sys.version_info[:2]))
    python = sys.executable if own else shutil.which(f"python{version}")
    if python is None:
        pytest.skip(f"Python {version} is not here")
    found = run([python, "-c", COMPILE], cwd=ROOT)
    if "No version is set" in found.stderr or "command not found" in found.stderr:
        pytest.skip(f"Python {version} is not here")
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == f"({version.replace('.', ', ')})"
