"""The architecture: imports point down, and light commands load nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import doggan

PACKAGE = Path(doggan.__file__).parent

# A module imports only from lower ranks. The README's tree has the same order.
RANKS = [
    {"__init__", "support.errors"},
    {"support.deadline", "support.files", "support.signals", "support.device"},
    {"support.archives", "support.download", "support.tensor_file", "recipe", "scoring.interval"},
    {"support.kaggle_client"},
    {"data.stanford", "data.idx", "data.dog_breeds", "data.imageset", "data.fetch", "gan.networks",
     "gan.losses", "gan.ema", "gan.distributed", "gan.health", "scoring.mifid", "scoring.inception",
     "scoring.efficientnet", "reporting.history", "reporting.pictures"},
    {"data.batches", "data.crops", "data.images", "data.dog_drawing", "gan.checkpoint",
     "gan.generator_file", "gan.sampler", "scoring.judges", "kernel.metadata"},
    {"data.build", "data.sample_dogs", "gan.monitor", "gan.run_folder", "gan.walks",
     "scoring.features", "kernel.bundle", "kernel.inputs", "kernel.log", "kernel.remote"},
    {"gan.trainer", "scoring.cache", "kernel.remote_log", "kernel.remote_output",
     "kernel.remote_submit"},
    {"scoring.scorecard", "submission"},
    {"scoring.neighbours", "scoring.comparison", "scoring.scorecard_file"},
    {"pipeline", "scoring.sweep", "reporting.neighbours_picture", "reporting.run_results",
     "reporting.report_pictures"},
    {"reporting.run_files", "kernel.start"},
    {"reporting.report_charts", "reporting.report_facts", "kernel.script"},
    {"reporting.report_curves"},
    {"reporting.report"},
    {"commands", "commands_kernel", "cli_options"},
    {"cli_parser_kernel"},
    {"cli_parser"},
    {"cli"},
    {"__main__"},
]  # fmt: skip
RANK = {module: rank for rank, modules in enumerate(RANKS) for module in modules}


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_has_a_rank_and_imports_from_below():
    paths = {module_name(path): path for path in PACKAGE.rglob("*.py")}
    packages = {"support", "data", "gan", "scoring", "reporting", "kernel"}
    assert set(paths) - packages == set(RANK)
    wrong = [
        f"{name} imports {imported}"
        for name, path in paths.items()
        for imported in (item.removeprefix("doggan.") for item in imported_modules(path))
        if imported in RANK and name in RANK and RANK[imported] >= RANK[name]
    ]
    assert wrong == []


def loaded_by(code):
    script = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(output.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy():
    loaded = loaded_by(
        "from doggan.cli import main\ntry: main(['run', '--help'])\nexcept SystemExit: pass"
    )
    assert not loaded & {"torch", "numpy", "scipy", "PIL", "albumentations", "kaggle", "tqdm"}


def test_training_loads_neither_albumentations_nor_kaggle():
    loaded = loaded_by("import doggan.gan.trainer, doggan.data.imageset")
    assert "torch" in loaded
    assert not loaded & {"albumentations", "kaggle", "cv2", "scipy"}
