"""Images -> images.zip, and the competition's rules on one."""

import hashlib
import io
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from doggan.competition import IMAGES, SIDE_PX
from doggan.support.errors import DogganError, InputError
from doggan.support.files import atomic_path, format_bytes, not_regular, require_exists
from doggan.support.json_values import as_count, as_text
from doggan.support.progress import progress_bar
from doggan.support.threads import thread_count
from doggan.support.zips import UNREADABLE_ZIP, BoundedZip, is_folder, read_entry

MAX_ENTRY_BYTES = 1_000_000  # a 64x64 RGB PNG has at most some 13,000
SHOWN_NAMES = 5
_SPARE_FILES = 10_000  # beside twice as many as expected: more than these are not looked at
_SHOWN_RULES, _SHOWN_LENGTH = 20, 300
# A zip stores local times; a fixed one makes the same images the same bytes.
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_SAME_PICTURE = "the same picture twice"


@dataclass(kw_only=True)
class SubmissionCheck:
    """What `check_submission` found: the images it counted, and the names that break each rule.

    `path` is "" where only what a run wrote down is known.
    """

    path: str
    images: int
    expected: int
    problems: dict[str, list[str]] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        return not self.problems

    @property
    def shown_problems(self) -> list[tuple[str, list[str], int]]:
        """For a page: each rule, the first names that break it, how many more; of bounded size."""
        return [
            (rule, [name[:_SHOWN_LENGTH] for name in names[:SHOWN_NAMES]], len(names[SHOWN_NAMES:]))
            for rule, names in list(self.problems.items())[:_SHOWN_RULES]
        ]

    def as_dict(self) -> dict:
        """For JSON; `parse_check` reads it again."""
        return {"valid": self.valid, **asdict(self)}

    def summary(self) -> str:
        """For people: one line if valid, else one line a broken rule with the first names."""
        if self.valid:
            return (
                f"{self.path}: valid, {self.images:,} PNG images of "
                f"{SIDE_PX}x{SIDE_PX} RGB at the root"
            )
        lines = [f"{self.path}: not valid"]
        for rule, names in self.problems.items():
            more = f" and {len(names) - SHOWN_NAMES:,} more" if len(names) > SHOWN_NAMES else ""
            lines.append(f"  {rule}: {', '.join(names[:SHOWN_NAMES])}{more}")
        return "\n".join(lines)

    def add(self, rule: str, name: str) -> None:
        self.problems.setdefault(rule, []).append(name)


def write_submission(
    batches: Iterable[np.ndarray], path: Path, *, count: int = IMAGES
) -> SubmissionCheck:
    """Writes `count` images, given as batches [n, 64, 64, 3] uint8, to a zip, and checks it.

    The same images give the same bytes. The zip takes its name only once it was read back whole.
    Returns that check, which may still name equal pictures: a collapsed generator makes them.
    Raises InputError for images of another shape, DogganError where the check fails.
    """
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,  # a PNG is compressed
        ThreadPoolExecutor(thread_count()) as pool,
        progress_bar("zip", count) as bar,
    ):
        index = 0
        for batch in batches:
            if batch.shape[1:] != (SIDE_PX, SIDE_PX, 3) or batch.dtype != np.uint8:
                raise InputError(
                    f"the competition wants {SIDE_PX}x{SIDE_PX} RGB images; "
                    f"these are {'x'.join(map(str, batch.shape[1:]))}"
                )
            for png in pool.map(encode_png, batch):
                entry = zipfile.ZipInfo(f"dog_{index:05d}.png", _FIXED_TIME)
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, png)
                index += 1
            bar.update(len(batch))
        archive.close()
        check = replace(check_submission(temporary, count=count), path=str(path))
        if check.problems.keys() - {_SAME_PICTURE}:
            raise DogganError(
                f"the zip just written breaks the competition's rules and was not "
                f"kept. {check.summary()}"
            )
    return check


def check_submission(path: Path, *, count: int = IMAGES) -> SubmissionCheck:
    """Holds a zip against every rule of the competition.

    Raises InputError where `path` is missing or no zip at all, or holds far more files.
    """
    path = require_exists(path, "a submission zip")
    if not path.is_file():  # a pipe would be waited for
        raise InputError(f"{path} {not_regular(path)}; expected a submission zip")
    try:
        archive = BoundedZip(path, 2 * count + _SPARE_FILES)
    except UNREADABLE_ZIP as error:
        raise InputError(f"{path} is not a readable zip: {error}") from error
    with archive:
        return _check_archive(path, archive, count)


def parse_check(content: object) -> SubmissionCheck:
    """The `submission` of a result.json, which may come from anywhere.

    Raises AttributeError, KeyError, TypeError or ValueError where it is not what
    `SubmissionCheck.as_dict` gives.
    """
    return SubmissionCheck(
        path="",
        images=as_count(content["images"]),
        expected=as_count(content["expected"]),
        problems={
            as_text(rule): [as_text(name) for name in names]
            for rule, names in content["problems"].items()
        },
    )


def encode_png(image: np.ndarray) -> bytes:
    """[H, W, 3] uint8 -> the bytes of a PNG."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG", compress_level=6)
    return stream.getvalue()


def _check_archive(path: Path, archive: zipfile.ZipFile, count: int) -> SubmissionCheck:
    entries = [entry for entry in archive.infolist() if not is_folder(entry)]
    check = SubmissionCheck(path=str(path), images=0, expected=count)
    for folder in (entry.filename for entry in archive.infolist() if is_folder(entry)):
        check.add("folders, where all images lie at the root", folder)
    seen: set[str] = set()
    first_with: dict[bytes, str] = {}
    for entry in progress_bar("check", len(entries), of=entries):
        name = entry.filename
        if name in seen:
            check.add("names used twice", name)
        seen.add(name)
        if len(PurePosixPath(name).parts) > 1 or "\\" in name:
            check.add("not at the root", name)
        if not name.lower().endswith(".png"):
            check.add("other files than .png", name)
            continue
        check.images += 1
        pixels = _check_image(archive, entry, check)
        if pixels is not None:
            twin = first_with.setdefault(hashlib.sha256(pixels).digest(), name)
            if twin != name:
                check.add(_SAME_PICTURE, f"{name} = {twin}")
    if check.images != count:
        check.add("wrong number of images", f"{check.images:,} found, {count:,} expected")
    return check


def _check_image(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, check: SubmissionCheck
) -> bytes | None:
    """The pixels of one entry if it keeps the rules; else its name goes under those it breaks."""
    name = entry.filename
    if entry.file_size > MAX_ENTRY_BYTES:
        check.add(f"over {format_bytes(MAX_ENTRY_BYTES)}", name)
        return None
    try:
        data = io.BytesIO(read_entry(archive, entry))
        with Image.open(data, formats=("PNG", "JPEG", "GIF", "BMP", "WEBP")) as image:
            rules = {
                f"not in PNG format ({image.format})": image.format == "PNG",
                f"not {SIDE_PX}x{SIDE_PX} pixels": image.size == (SIDE_PX, SIDE_PX),
                f"not RGB ({image.mode})": image.mode == "RGB",
            }
            broken = [rule for rule, kept in rules.items() if not kept]
            # Only a picture of the right size is decoded: a small file can hold a huge one.
            if not broken:
                return image.tobytes()
    # A damaged or encrypted entry fails in zipfile, zlib or Pillow, each with its own errors.
    except Exception:
        broken = ["unreadable"]
    for rule in broken:
        check.add(rule, name)
    return None
