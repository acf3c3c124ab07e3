"""What is attached to a kernel: photos, a judge's weights, an earlier run, wherever they lie.

Where Kaggle puts data has changed: `../input/` and `../input/<competition>/` in 2019, then
`/kaggle/input/<slug>/`, today `/kaggle/input/competitions/<slug>/` and
`/kaggle/input/datasets/<owner>/<slug>/`. So all is found by its content, wherever it lies.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from doggan.competition import ANNOTATION_FOLDER, KAGGLE_FOLDERS, STANFORD_FOLDERS
from doggan.data.archives import ARCHIVE_SUFFIXES, open_files
from doggan.data.stanford import is_photo, names_annotated_photos
from doggan.gan.run_folder import CHECKPOINT, RIVAL
from doggan.support.errors import InputError

ROOTS = ("/kaggle/input", "../input")
MAX_DEPTH = 8  # models/<owner>/<model>/<framework>/<variation>/<version>/ and two of its own
_LISTED = 12
_FEW = 100  # files; on Kaggle's mounts it takes long to look at each of a folder's with more


class Inputs:
    """What lies under the roots; every folder is read once, when this is made."""

    def __init__(self, roots: list[Path]):
        self._roots = roots
        self._files = _walk(roots)

    def find_photos(self) -> Path:
        """The one folder that holds photos together with their annotations.

        Photos and annotations may be folders or archives, in Kaggle's layout or Stanford's.
        Raises InputError, with what was searched and found, where there is none, or more than one.
        """
        files = self._files
        # What holds archives or a folder of annotations, and all above it up to a root.
        starts = [
            folder
            for folder, names in files.items()
            if any(name.endswith(ARCHIVE_SUFFIXES) for name in names)
        ]
        starts += [folder.parent for folder in files if folder.name.lower() == ANNOTATION_FOLDER]
        beyond = {folder for root in self._roots for folder in root.resolve().parents}
        candidates = {top for start in starts for top in (start, *start.parents)} - beyond
        tops = [top for top in candidates if names_annotated_photos(_names(top, files))]
        # Without those that only hold another one.
        found = sorted(top for top in tops if not any(top in other.parents for other in tops))
        if not found:
            layouts = (KAGGLE_FOLDERS, STANFORD_FOLDERS)
            kaggle, stanford = (f"{'/ and '.join(names)}/" for names in layouts)
            raise InputError(
                f"no photos with annotations are attached; expected {kaggle}, as the competition "
                f"has them, or Stanford's {stanford}.{self._listing()}\n"
                "Attach the competition's data (Add Input, Competition, Generative Dog Images)."
            )
        if len(found) > 1:
            listed = "".join(f"\n  {folder}" for folder in found)
            raise InputError(
                f"photos with annotations lie in {len(found)} folders:{listed}\n"
                "Set INPUT at the top of the script to one of them, or detach the others."
            )
        return found[0]

    def find_file(self, wanted: Callable[[Path], bool]) -> Path | None:
        """The first file that is wanted, among those that lie with few others and are no photos and
        no annotations; None for none."""
        for folder, names in self._files.items():
            if len(names) > _FEW or ANNOTATION_FOLDER in map(str.lower, folder.parts):
                continue
            for name in names:
                if not is_photo(name) and wanted(folder / name):
                    return folder / name
        return None

    def find_checkpoint(self, kernel: str) -> Path:
        """The one run's checkpoint that is attached; `kernel` is what errors name as its source.

        Raises InputError where there is none, or more than one.
        """
        runs = [folder for folder in self._files if CHECKPOINT in self._files[folder]]
        found = [folder / CHECKPOINT for folder in runs if folder.name != RIVAL]
        if len(found) != 1:
            listed = "".join(f"\n  {path}" for path in found) or self._listing()
            raise InputError(
                f"CONTINUE names {kernel}, and {len(found) or 'no'} {CHECKPOINT} "
                f"{'are' if found else 'is'} attached.{listed}\n"
                "Attach the output of its last version, and no other (Add Input, Your Work), or "
                "set CONTINUE to None to begin anew."
            )
        return found[0]

    def _listing(self) -> str:
        places = [str(root) + ("" if root.is_dir() else " (not there)") for root in self._roots]
        lines = [f"\n  {top}: {len(names):,} files" for top, names in self._files.items() if names]
        if len(lines) > _LISTED:
            lines[_LISTED:] = [f"\n  and {len(lines) - _LISTED:,} more folders"]
        found = "".join(lines) or " nothing"
        return f"\nSearched: {', '.join(places)}. Found:{found}"


def input_roots() -> list[Path]:
    """The folders that attachments lie under: Kaggle's, or `$DOGGAN_KAGGLE_INPUT` alone."""
    chosen = os.environ.get("DOGGAN_KAGGLE_INPUT")
    return [Path(root) for root in ([chosen] if chosen else ROOTS)]


def _walk(roots: list[Path]) -> dict[Path, list[str]]:
    """Every folder below the roots, each once, as roots may be links to each other; upper first."""
    files = {}
    level = [root.resolve() for root in roots]
    for _ in range(MAX_DEPTH + 1):
        below = []
        for folder in level:
            if folder in files:
                continue
            with suppress(OSError):
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
                files[folder] = [entry.name for entry in entries if not entry.is_dir()]
                for entry in entries:
                    if entry.is_dir():
                        path = folder / entry.name  # which a folder's own entries need not resolve
                        below.append(path.resolve() if entry.is_symlink() else path)
        level = below
    return files


def _names(top: Path, files: dict[Path, list[str]]) -> list[str]:
    """The paths of all files below `top`, and of those in the archives that it directly holds."""
    within = [folder for folder in files if folder.is_relative_to(top)]
    names = [f"{folder}/{name}" for folder in within for name in files[folder]]
    archives = [name for name in files.get(top, ()) if name.endswith(ARCHIVE_SUFFIXES)]
    for archive in archives:
        with suppress(InputError):  # an archive that is none
            names += open_files([top / archive]).names()
    return names
