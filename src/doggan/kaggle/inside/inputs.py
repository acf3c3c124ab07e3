"""What is attached to a kernel: the photos, and the weights of a judge, wherever they lie.

Where Kaggle puts data has changed: `../input/` and `../input/<competition>/` in 2019, then
`/kaggle/input/<slug>/`, today `/kaggle/input/competitions/<slug>/` and
`/kaggle/input/datasets/<owner>/<slug>/`. So all is found by its content, wherever it lies.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from doggan.data.archives import ARCHIVE_SUFFIXES, open_files
from doggan.data.stanford import PHOTO_SUFFIXES, names_annotated_photos
from doggan.support.errors import InputError
from doggan.support.files import sha256_of

ROOTS = ("/kaggle/input", "../input")
MAX_DEPTH = 8  # models/<owner>/<model>/<framework>/<variation>/<version>/ and two of its own
_LISTED = 12


def input_roots() -> list[Path]:
    """The folders that attachments lie under: Kaggle's, or `$DOGGAN_KAGGLE_INPUT` alone."""
    chosen = os.environ.get("DOGGAN_KAGGLE_INPUT")
    return [Path(root) for root in ([chosen] if chosen else ROOTS)]


def find_photos(roots: list[Path]) -> Path:
    """The one folder below the roots that holds photos together with their annotations.

    Photos and annotations may be folders or archives, in Kaggle's layout or Stanford's.
    Raises InputError, with what was searched and found, where there is none, or more than one.
    """
    folders = list(_walk(roots))
    ends = {root.resolve() for root in roots}
    found = _innermost({top for start in _starts(folders) for top in _rise(start, ends, folders)})
    if len(found) == 1:
        return found[0]
    if found:
        listed = "".join(f"\n  {folder}" for folder in found)
        raise InputError(
            f"photos with annotations lie in {len(found)} folders:{listed}\n"
            "Set INPUT at the top of the script to one of them, or detach the others."
        )
    raise InputError(
        "no photos with annotations are attached; expected all-dogs/ and annotation/, as the "
        f"competition has them, or Stanford's Images/ and Annotation/.{_listing(roots, folders)}\n"
        "Attach the competition's data (Add Input, Competition, Generative Dog Images)."
    )


def find_file(roots: list[Path], *, size: int, sha256: str) -> Path | None:
    """The file of that length in bytes and SHA-256, under whatever name; None if there is none."""
    for folder, _, names in _walk(roots):
        for path in (folder / name for name in names):
            try:
                # Length first: it is known at once, the hash takes a while.
                same_size = not _is_photo(path) and path.stat().st_size == size
                if same_size and sha256_of(path) == sha256:
                    return path
            except OSError:
                continue
    return None


Folder = tuple[Path, list[str], list[str]]  # its path, and the names of its folders and files


def _walk(roots: list[Path]) -> Iterator[Folder]:
    """Every folder below the roots, each once: roots may be links to each other."""
    seen: set[Path] = set()
    waiting = [(Path(root).resolve(), 0) for root in roots]
    while waiting:
        folder, depth = waiting.pop(0)
        if folder in seen:
            continue
        seen.add(folder)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        inner = [entry.name for entry in entries if entry.is_dir()]
        yield folder, inner, [entry.name for entry in entries if not entry.is_dir()]
        if depth < MAX_DEPTH:
            waiting += [((folder / name).resolve(), depth + 1) for name in inner]


def _starts(folders: list[Folder]) -> Iterator[Path]:
    """Folders worth a closer look: those with a folder of annotations, or with archives."""
    for folder, inner, names in folders:
        has_archive = any(name.endswith(ARCHIVE_SUFFIXES) for name in names)
        if has_archive or any(name.lower() == "annotation" for name in inner):
            yield folder


def _rise(start: Path, ends: set[Path], folders: list[Folder]) -> Iterator[Path]:
    """The folder itself or the first one above it, up to a root, where photos join annotations."""
    for folder in (start, *start.parents):
        if names_annotated_photos(_names(folder, folders)):
            yield folder
            return
        if folder in ends:
            return


def _names(top: Path, folders: list[Folder]) -> list[str]:
    """The paths of all files below `top`, and of those in the archives that it directly holds."""
    within = [item for item in folders if item[0] == top or top in item[0].parents]
    paths = [f"{folder}/{name}" for folder, _, names in within for name in names]
    held = [name for folder, _, names in within for name in names if folder == top]
    for archive in (top / name for name in held if name.endswith(ARCHIVE_SUFFIXES)):
        with suppress(InputError):  # an archive that is none
            paths += open_files([archive]).names()
    return paths


def _innermost(found: set[Path]) -> list[Path]:
    """Without folders that only hold another one that was found."""
    return sorted(folder for folder in found if not any(folder in other.parents for other in found))


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in PHOTO_SUFFIXES


def _listing(roots: list[Path], folders: list[Folder]) -> str:
    places = ", ".join(str(root) + ("" if root.is_dir() else " (not there)") for root in roots)
    holding = [(folder, names) for folder, _, names in folders if names]
    lines = [f"\n  {folder}: {len(names):,} files" for folder, names in holding[:_LISTED]]
    if len(holding) > _LISTED:
        lines.append(f"\n  and {len(holding) - _LISTED:,} more folders")
    return f"\nSearched: {places}. Found:{''.join(lines) or ' nothing'}"
