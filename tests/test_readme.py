"""The READMEs: short enough, every link leads somewhere, and what they say of doggan is so."""

import json
import pkgutil
import re
import shlex
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

import doggan
from conftest import MAY_BE_MISSING
from doggan.cli.main import main
from doggan.recipe import Recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
READMES = [ROOT / "README.md", *sorted(ROOT.glob("[a-z]*/README.md"))]
IN_A_BLOCK = re.compile(r"^(?:\$ )?doggan ([^#\n]*[^#\s])", re.MULTILINE)


def blocks(text):
    """What stands between fences, without their languages."""
    return "\n".join(text.split("```")[1::2])


def commands():
    """Every `doggan ...` of a block, and those within a line."""
    within = re.findall(r"`doggan ([^`]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
    return sorted({*IN_A_BLOCK.findall(blocks(README)), *within})


def test_it_takes_few_screens():
    lines = README.splitlines()
    assert len(lines) <= 180
    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(readme):
    targets = re.findall(r"\]\(([^)]+)\)", readme.read_text("utf-8"))
    relative = [target for target in targets if "://" not in target]
    for target in relative:
        path, _, heading = target.partition("#")
        found = (readme.parent / path).resolve()
        assert found.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", found.read_text("utf-8"), re.MULTILINE)
            assert heading in {name.lower().replace(" ", "-") for name in headings}, target


def test_there_are_links_to_follow():
    assert README.count("](") > 5
    assert len(READMES) >= 4


@pytest.mark.parametrize("command", commands())
def test_every_command_is_known_with_its_options(command, capsys):
    words = shlex.split(command)
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    assert {word for word in words if word.startswith("--")} <= set(re.findall(r"--[\w-]+", out))


def test_the_blocks_hold_a_command_for_each_stage():
    first = {command.split()[0] for command in commands()}
    assert first >= {"fetch", "build", "train", "sample", "zip", "check", "score", "report", "run"}
    assert first >= {"watch", "neighbours", "compare", "kernel", "submit"}


def test_the_recipes_keys_and_defaults_are_those_of_the_code():
    page = (ROOT / "src" / "doggan" / "recipes" / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| `([^`]+)` \|", page, re.MULTILINE)
    shown = {key: tomllib.loads(f"value = {value}")["value"] for key, value in rows}
    default = {}
    for name, value in asdict(Recipe()).items():
        section = value.items() if isinstance(value, dict) else ()
        default |= {f"{name}.{key}": inner for key, inner in section} or {name: value}
    default = json.loads(json.dumps(default))  # a recipe's tuples are TOML's lists
    assert shown == default
    assert list(shown) == list(default)
    assert {key: type(value) for key, value in shown.items()} == {
        key: type(value) for key, value in default.items()
    }


@pytest.mark.parametrize("file", [".ci/run", "tools/README.md", "tests/conftest.py"])
def test_what_a_machine_may_lack_is_the_same_everywhere(file):
    assert f"DOGGAN_REQUIRE={','.join(MAY_BE_MISSING)}" in (ROOT / file).read_text("utf-8")


def test_what_is_named_of_the_sources_exists():
    paths = re.findall(r"\b(?:src/doggan|tools|kernel)/[\w./]+", README)
    assert len(paths) > 10
    for path in paths:
        assert (ROOT / path).exists(), path
    tables = re.findall(r"`([A-Z]+)` (?:in|of) `src/([\w/]+)\.py`", README)
    assert len(tables) == 4
    for table, module in tables:
        assert pkgutil.resolve_name(f"{module.replace('/', '.')}:{table}")


def test_the_licence_of_every_dependency_is_told():
    required = (ROOT / "setup.py").read_text("utf-8").partition("install_requires")[2]
    names = re.findall(r'^ +"([\w-]+)', required.partition("]")[0], re.MULTILINE)
    told = (ROOT / "SECURITY.md").read_text("utf-8")
    assert len(names) > 10
    assert [name for name in names if not re.search(rf"[| ]{name}\b", told)] == []


def test_the_way_through_the_code_has_every_module():
    package = Path(doggan.__file__).parent
    modules = (path.name for path in package.rglob("*.py") if not path.name.startswith("__"))
    way = blocks((ROOT / "src" / "README.md").read_text("utf-8"))
    assert sorted(re.findall(r"\b\w+\.py\b", way)) == sorted(modules)
