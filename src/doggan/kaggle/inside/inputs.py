"""What is attached to a kernel: the photos, and the weights of a judge, wherever they lie.

Where Kaggle puts data has changed: `../input/` and `../input/<competition>/` in 2019, then
`/kaggle/input/<slug>/`, today `/kaggle/input/competitions/<slug>/` and
`/kaggle/input/datasets/<owner>/<slug>/`. So all is found by its content, wherever it lies.
"""

import os
from contextlib import suppress
from pathlib import Path

from doggan.competition import ANNOTATION_FOLDER, KAGGLE_FOLDERS, STANFORD_FOLDERS
from doggan.data.archives import ARCHIVE_SUFFIXES, open_files
from doggan.data.stanford import PHOTO_SUFFIXES, names_annotated_photos
from doggan.support.errors import InputError
from doggan.support.files import is_file_of

ROOTS = ("/kaggle/input", "../input")
MAX_DEPTH = 8  # models/<owner>/<model>/<framework>/<variation>/<version>/ and two of its own
_LISTED = 12

Files = dict[Path, list[str]]  # folder -> the names of the files that lie directly in it


def input_roots() -> list[Path]:
    """The folders that attachments lie under: Kaggle's, or `$DOGGAN_KAGGLE_INPUT` alone."""
    chosen = os.environ.get("DOGGAN_KAGGLE_INPUT")
    return [Path(root) for root in ([chosen] if chosen else ROOTS)]


def find_photos(roots: list[Path]) -> Path:
    """The one folder below the roots that holds photos together with their annotations.

    Photos and annotations may be folders or archives, in Kaggle's layout or Stanford's.
    Raises InputError, with what was searched and found, where there is none, or more than one.
    """
    files = _walk(roots)
    # What holds archives or a folder of annotations, and all above it up to a root.
    starts = [top for top in files if any(name.endswith(ARCHIVE_SUFFIXES) for name in files[top])]
    starts += [folder.parent for folder in files if folder.name.lower() == ANNOTATION_FOLDER]
    beyond = {folder for root in roots for folder in root.resolve().parents}
    candidates = {top for start in starts for top in (start, *start.parents)} - beyond
    tops = [top for top in candidates if names_annotated_photos(_names(top, files))]
    # Without those that only hold another one.
    found = sorted(top for top in tops if not any(top in other.parents for other in tops))
    if not found:
        kaggle, stanford = ("/ and ".join(names) for names in (KAGGLE_FOLDERS, STANFORD_FOLDERS))
        raise InputError(
            f"no photos with annotations are attached; expected {kaggle}/, as the competition "
            f"has them, or Stanford's {stanford}/.{_listing(roots, files)}\n"
            "Attach the competition's data (Add Input, Competition, Generative Dog Images)."
        )
    if len(found) > 1:
        listed = "".join(f"\n  {folder}" for folder in found)
        raise InputError(
            f"photos with annotations lie in {len(found)} folders:{listed}\n"
            "Set INPUT at the top of the script to one of them, or detach the others."
        )
    return found[0]


def find_file(roots: list[Path], *, size: int, sha256: str) -> Path | None:
    """The file of that length in bytes and SHA-256, under whatever name; None if there is none."""
    for path in (folder / name for folder, names in _walk(roots).items() for name in names):
        if path.suffix.lower() not in PHOTO_SUFFIXES and is_file_of(path, size, sha256):
            return path
    return None


def _walk(roots: list[Path]) -> Files:
    """Every folder below the roots, each once, as roots may be links to each other; upper first."""
    files: Files = {}
    level = [root.resolve() for root in roots]
    for _ in range(MAX_DEPTH + 1):
        below = []
        for folder in level:
            if folder in files:
                continue
            with suppress(OSError):
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
                files[folder] = [entry.name for entry in entries if not entry.is_dir()]
                below += [(folder / entry.name).resolve() for entry in entries if entry.is_dir()]
        level = below
    return files


def _names(top: Path, files: Files) -> list[str]:
    """The paths of all files below `top`, and of those in the archives that it directly holds."""
    within = [folder for folder in files if folder.is_relative_to(top)]
    names = [f"{folder}/{name}" for folder in within for name in files[folder]]
    archives = [name for name in files.get(top, ()) if name.endswith(ARCHIVE_SUFFIXES)]
    for archive in archives:
        with suppress(InputError):  # an archive that is none
            names += open_files([top / archive]).names()
    return names


def _listing(roots: list[Path], files: Files) -> str:
    places = ", ".join(str(root) + ("" if root.is_dir() else " (not there)") for root in roots)
    lines = [f"\n  {folder}: {len(names):,} files" for folder, names in files.items() if names]
    if len(lines) > _LISTED:
        lines[_LISTED:] = [f"\n  and {len(lines) - _LISTED:,} more folders"]
    return f"\nSearched: {places}. Found:{''.join(lines) or ' nothing'}"
