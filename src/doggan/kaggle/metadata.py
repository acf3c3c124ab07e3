"""kernel-metadata.json: filled, and held against every rule before anything is sent.

The rules are those of Kaggle's client and site, and the competition's own: no internet, and the
competition's photos attached.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from slugify import slugify  # Kaggle's client makes slugs by it, too

from doggan.competition import JUDGE_DATASET, SLUG
from doggan.kaggle.machines import machine_problems
from doggan.support.errors import InputError
from doggan.support.files import write_json

METADATA_NAME = "kernel-metadata.json"
SCRIPT_NAME, NOTEBOOK_NAME = "doggan_kernel.py", "doggan_kernel.ipynb"
_NOBODY = "USER_NAME"

DEFAULTS = {
    "id": f"{_NOBODY}/doggan-dcgan",
    "title": "Doggan DCGAN",
    "code_file": SCRIPT_NAME,
    "language": "python",
    "kernel_type": "script",
    "is_private": True,
    "enable_gpu": True,
    "enable_tpu": False,
    "enable_internet": False,
    "machine_shape": "NvidiaTeslaT4",
    "dataset_sources": [JUDGE_DATASET],
    "competition_sources": [SLUG],
    "kernel_sources": [],
    "model_sources": [],
}
_OPTIONAL = {"docker_image", "docker_image_pinning_type", "keywords"}
_SOURCES = {  # what each list holds, as a pattern and in words
    "dataset_sources": (r"[\w-]+/[\w-]+(/\d+)?", "OWNER/SLUG"),
    "competition_sources": (r"[\w-]+", "SLUG"),
    "kernel_sources": (r"[\w-]+/[\w-]{5,}", "OWNER/SLUG"),
    "model_sources": (r"[\w-]+(/[\w.-]+){3}/\d+", "OWNER/MODEL/FRAMEWORK/VARIATION/VERSION"),
}
_MAX_METADATA_BYTES = 100_000


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A kernel's name on Kaggle, OWNER/SLUG, and the version that is meant (None: its latest)."""

    owner: str
    slug: str
    version: int | None = None

    def __str__(self) -> str:
        return f"{self.owner}/{self.slug}"

    @property
    def reference(self) -> str:
        """OWNER/SLUG, or OWNER/SLUG/VERSION where a version is meant: the client's own notation."""
        return str(self) if self.version is None else f"{self}/{self.version}"

    @property
    def page(self) -> str:
        """The address of its page."""
        return f"https://www.kaggle.com/code/{self}"


def parse_kernel(text: str) -> Kernel:
    """`someone/doggan-dcgan`, or `someone/doggan-dcgan/3` for a version of it -> Kernel.

    Raises InputError for anything else.
    """
    name, version = text, None
    if found := re.fullmatch(r"([^/]*/[^/]*)/([1-9]\d{0,8})", text, re.ASCII):
        name, version = found[1], int(found[2])
    if name.count("/") != 1:
        raise InputError(f"'{text}' names no kernel; expected OWNER/SLUG or OWNER/SLUG/VERSION")
    problems = list(_id_problems(name))
    if problems:
        raise InputError("; ".join(problems))
    owner, slug = name.split("/")
    return Kernel(owner=owner, slug=slug, version=version)


def load_metadata(folder: Path | str) -> dict:
    """What `folder`/kernel-metadata.json holds, with defaults for what it leaves out.

    Without the file, the defaults alone. Raises InputError where it is no JSON object.
    """
    path = Path(folder) / METADATA_NAME
    if not path.exists():
        return dict(DEFAULTS)
    if path.stat().st_size > _MAX_METADATA_BYTES:
        raise InputError(f"{path} is over {_MAX_METADATA_BYTES:,} bytes; expected a few lines")
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}; expected an object with an 'id'")
    return {**DEFAULTS, **found}


def fill_metadata(
    metadata: dict,
    *,
    user: str | None = None,
    title: str | None = None,
    datasets: Sequence[str] = (),
    judge: bool = True,
    goes_on: bool = False,
    notebook: bool = False,
) -> dict:
    """The metadata with what is given put in; a title also makes the slug, so that they agree.

    Given `datasets` (OWNER/SLUG) replace those of the metadata, but for the organisers' Inception,
    which is there for a `judge` alone. A kernel that `goes_on` has its own last output as a source.
    A `notebook` is sent in the script's place, and a script again without.
    """
    filled = dict(metadata)
    owner, _, slug = str(metadata.get("id", "")).partition("/")
    if title is not None:
        filled["title"], slug = title, slugify(title)
    if user is not None or title is not None:
        filled["id"] = f"{owner if user is None else user}/{slug}"
    if datasets:
        filled["dataset_sources"] = list(datasets)
    if notebook != _is_notebook(filled):
        filled["code_file"] = NOTEBOOK_NAME if notebook else SCRIPT_NAME
        filled["kernel_type"] = "notebook" if notebook else "script"
    _attach(filled, "dataset_sources", JUDGE_DATASET, judge)
    _attach(filled, "kernel_sources", filled.get("id"), goes_on)
    return filled


def _is_notebook(metadata: dict) -> bool:
    return str(metadata["code_file"]).endswith(Path(NOTEBOOK_NAME).suffix)


def _attach(metadata: dict, key: str, source: object, wanted: bool) -> None:
    """Puts a source into a list, or takes it out; what is no list is a problem for later."""
    sources = metadata.get(key)
    if isinstance(sources, list):
        others = [other for other in sources if other != source]
        metadata[key] = [*others, source] if wanted else others


def owner_of(metadata: dict) -> str | None:
    """The user whom the id names, None while it is the placeholder."""
    owner = str(metadata.get("id", "")).partition("/")[0]
    return None if owner in ("", _NOBODY) else owner


def require_valid(metadata: dict, folder: Path | str) -> None:
    """Raises InputError that names every broken rule."""
    if problems := find_problems(metadata, folder):
        raise InputError(f"{METADATA_NAME}: {'; '.join(problems)}")


def find_problems(metadata: dict, folder: Path | str) -> list[str]:
    """One sentence for each rule that the metadata breaks; `folder` is where the script lies."""
    return [
        *(
            f"'{key}' is no key of Kaggle's that is used here; remove it"
            for key in sorted(metadata.keys() - DEFAULTS.keys() - _OPTIONAL)
        ),
        *_id_problems(metadata["id"]),
        *_title_problems(metadata["title"], metadata["id"]),
        *_script_problems(metadata["code_file"], Path(folder)),
        *_value_problems(metadata),
        *_source_problems(metadata),
        *machine_problems(metadata),
    ]


def save_metadata(metadata: dict, folder: Path | str) -> Path:
    """Writes `folder`/kernel-metadata.json; returns its path."""
    path = Path(folder) / METADATA_NAME
    write_json(path, metadata)
    return path


def _id_problems(identity: object) -> Iterator[str]:
    if not isinstance(identity, str) or identity.count("/") != 1:
        yield f"the kernel is called {identity!r}; expected OWNER/SLUG, without a version"
        return
    owner, slug = identity.split("/")
    if owner == _NOBODY:
        yield "the id names no user yet; say --user NAME, as in kaggle.com/NAME"
    elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", owner):
        yield f"'{owner}' is no user name; expected letters, digits and hyphens"
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug):
        yield f"'{slug}' is no slug; expected lower-case letters, digits and single hyphens"
    elif len(slug) < 5:
        yield f"the slug '{slug}' is too short; Kaggle wants 5 characters or more"


def _title_problems(title: object, identity: object) -> Iterator[str]:
    if not isinstance(title, str):
        yield f"the title is {title!r}; expected text"
    elif len(title) < 5:
        yield f"the title '{title}' is too short; Kaggle wants 5 characters or more"
    elif (slug := slugify(title)) != str(identity).rpartition("/")[2]:
        yield f"the title '{title}' becomes the slug '{slug}', and the id is {identity!r}"


def _script_problems(name: object, folder: Path) -> Iterator[str]:
    if not isinstance(name, str) or PurePosixPath(name).name != name or "\\" in name:
        yield f"code_file is {name!r}; expected the name of a script beside {METADATA_NAME}"
        return
    path = folder / name
    if not path.is_file() or not path.stat().st_size:
        fault = "is empty" if path.is_file() else "does not exist"
        flag = " --notebook" if path.suffix == Path(NOTEBOOK_NAME).suffix else ""
        yield f"{path} {fault}; run: doggan kernel build{flag} --out {path}"


def _value_problems(metadata: dict) -> Iterator[str]:
    for key, default in DEFAULTS.items():
        if isinstance(default, bool) and not isinstance(metadata[key], bool):
            yield f"{key} is {metadata[key]!r}; expected true or false"
    kind = "notebook" if _is_notebook(metadata) else "script"
    for key, expected in (("language", "python"), ("kernel_type", kind)):
        if metadata[key] != expected:
            yield f"{key} is {metadata[key]!r}; expected '{expected}' for {metadata['code_file']}"
    pinning = metadata.get("docker_image_pinning_type", "original")
    if pinning not in ("original", "latest"):
        yield f"docker_image_pinning_type is {pinning!r}; expected 'original' or 'latest'"


def _source_problems(metadata: dict) -> Iterator[str]:
    for key, (pattern, words) in _SOURCES.items():
        sources = metadata[key]
        if not isinstance(sources, list):
            yield f"{key} is {sources!r}; expected a list"
            continue
        for source in sources:
            if not (isinstance(source, str) and re.fullmatch(pattern, source, re.ASCII)):
                yield f"{key} holds {source!r}; expected {words}"
    competitions = metadata["competition_sources"]
    if isinstance(competitions, list) and SLUG not in competitions:
        yield f"competition_sources lacks '{SLUG}'; without it there are no photos"
