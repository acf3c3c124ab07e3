"""The architecture: imports point down, and light commands load nothing heavy."""

import ast
import sys
from pathlib import Path

import pytest

import doggan
import processes
from doggan.cli.kernel import COMMANDS as KERNEL_COMMANDS
from doggan.cli.main import COMMANDS

PACKAGE = Path(doggan.__file__).parent
ENTRANCES = ("__init__", "__main__")

# A folder, or a module beside the folders, imports only from itself and from those before it.
ORDER = (
    "support competition recipe submission data drawn_dogs gan scoring report pipeline "
    "demo kaggle cli"
)


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "doggan":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
            yield from (name.split(".")[1] for name in names if name.startswith("doggan."))


def test_rooms_import_only_from_those_before_them():
    order = ORDER.split()
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {imported}"
        for path in PACKAGE.rglob("*.py")
        if (room := path.relative_to(PACKAGE).parts[0].removesuffix(".py")) not in ENTRANCES
        for imported in imported_rooms(path)
        if imported not in order[: order.index(room) + 1] and imported != "__version__"
    ]
    assert wrong == []


def loaded_by(code):
    script = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    output = processes.run([sys.executable, "-c", script])
    assert output.returncode == 0, output.stderr
    return set(output.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "words",
    [[], *([name] for name in COMMANDS), *(["kernel", name] for name in KERNEL_COMMANDS)],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(words):
    loaded = loaded_by(
        "from doggan.cli.main import main\n"
        f"try: main({[*words, '--help']})\nexcept SystemExit: pass"
    )
    assert not loaded & {"torch", "numpy", "scipy", "PIL", "albumentations", "kaggle", "tqdm"}


def test_only_the_command_that_is_called_is_loaded():
    loaded = loaded_by("from doggan.cli.main import main; main(['check', 'nowhere'])")
    assert {name for name in COMMANDS if f"doggan.cli.{name}" in loaded} == {"check"}


def test_training_loads_neither_albumentations_nor_kaggle():
    loaded = loaded_by("import doggan.gan.trainer, doggan.data.imageset")
    assert "torch" in loaded
    assert not loaded & {"albumentations", "kaggle", "cv2", "scipy"}
