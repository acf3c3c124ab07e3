"""A Scorecard: one score and all that it depends on, and the JSON file that holds it."""

import json
import textwrap
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

from doggan import __version__
from doggan.gan.run_folder import SCORECARD
from doggan.scoring.interval import Interval
from doggan.scoring.mifid import is_penalised
from doggan.support.errors import InputError
from doggan.support.files import format_bytes, require_exists, write_json
from doggan.support.json_values import is_number

_INTERVALS = ("fid_interval", "mifid_interval")
_MAX_BYTES = 1_000_000  # a scorecard has about 1,000
# Which values of JSON fit a field of each type.
_FITS = {
    float: is_number,
    int: lambda value: type(value) is int and value >= 0,
    bool: lambda value: type(value) is bool,
    # What goes to a terminal holds nothing that would steer it.
    str: lambda value: type(value) is str and value.isprintable(),
    str | None: lambda value: value is None or _FITS[str](value),
    float | None: lambda value: value is None or _FITS[float](value),
    Interval: lambda value: (
        type(value) is list
        and len(value) == 2
        and all(map(is_number, value))
        and value[0] <= value[1]
    ),
}


@dataclass(frozen=True, kw_only=True)
class Scorecard:
    """One score and all that it depends on.

    `distance` is the memorisation distance before the threshold `eps`; `resize`, `precision` and
    `weights_sha256` are the judge's; `reference` says in words which images, and how cropped and
    resized, and `reference_sha256` is the hash of their pixels, None on the cards of doggan's first
    days. `comparable_with_kaggle`: Kaggle's judge and crop, and as many images of either kind.
    `manifold_precision` and `manifold_recall` are the parts of the generated images that look like
    the reference's, and of the reference's that look like generated ones, see
    `doggan.scoring.manifolds`; None where they were not measured.
    `notice` holds what people must read beside the number, "" where there is nothing.
    The intervals hold 95% of what chance in the draw of the generated images does; what they leave
    out stands in `doggan.scoring.interval`.
    """

    fid: float
    fid_interval: Interval
    distance: float
    mifid: float
    mifid_interval: Interval
    eps: float
    manifold_precision: float | None = None
    manifold_recall: float | None = None
    judge: str
    weights_sha256: str
    resize: str
    precision: str
    generated_images: int
    reference_images: int
    reference: str
    reference_sha256: str | None = None
    comparable_with_kaggle: bool
    notice: str
    seconds: float
    doggan: str = __version__

    def __post_init__(self):
        for name in _INTERVALS:  # lists, where they come from JSON
            object.__setattr__(self, name, Interval(*getattr(self, name)))

    @property
    def penalised(self) -> bool:
        """Whether FID was divided by the distance, for the images pass for copies."""
        return is_penalised(self.distance, self.eps)

    @property
    def reference_in_words(self) -> str:
        """The reference and the beginning of its hash, where that is known."""
        sha256 = self.reference_sha256
        return f"{self.reference} (sha256 {sha256[:8]})" if sha256 else self.reference

    def as_dict(self) -> dict:
        """For JSON; `Scorecard(**...)` takes it back."""
        return asdict(self) | {name: list(getattr(self, name)) for name in _INTERVALS}

    def write(self, path: Path) -> None:
        """Writes the file that `read_scorecard` reads; raises ValueError for NaN or infinity."""
        write_json(path, self.as_dict())

    def summary(self) -> str:
        """Some lines for people; a notice stands first, framed."""
        counted = "a penalty" if self.penalised else "no penalty"
        lines = [
            f"MiFID     {self.mifid:.4f} (95%: {self.mifid_interval:.4f})",
            f"FID       {self.fid:.4f} (95%: {self.fid_interval:.4f})",
            f"distance  {self.distance:.4f} ({counted}: eps {self.eps})",
            *self._manifold_lines(),
            f"judge     {self.judge}, {self.precision}, weights {self.weights_sha256[:8]}, "
            f"{self.resize}",
            f"images    {self.generated_images:,} against {self.reference_images:,} of "
            f"{self.reference_in_words}",
            "intervals hold chance in which images were drawn; not FID's bias with their number,",
            "          the reference's choice, another training, or a distance that crosses eps",
        ]
        if self.notice:
            notice = textwrap.wrap(self.notice, 78, initial_indent="!! ", subsequent_indent="!! ")
            lines = ["!" * 78, *notice, "!" * 78, *lines]
        return "\n".join(lines)

    def _manifold_lines(self) -> list[str]:
        if self.manifold_precision is None or self.manifold_recall is None:
            return []
        return [
            f"precision {self.manifold_precision:.4f} of the generated images look like real ones",
            f"recall    {self.manifold_recall:.4f} of the real images look like generated ones",
        ]


def read_scorecard(path: Path) -> Scorecard:
    """The scorecard in a JSON file, or in the `scorecard.json` of a run's or an entry's folder.

    The file is anybody's, so it is checked: raises InputError where there is none, it is damaged,
    or another version's form.
    """
    path = require_exists(path, f"a {SCORECARD} or the folder of one")
    file = path / SCORECARD if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"{path} holds no {SCORECARD}; write one with: "
            f"doggan score {path} --reference PHOTOS --out {file}"
        )
    content = _read_json(file)
    if not isinstance(content, dict) or not {"mifid", "judge", "doggan"} <= content.keys():
        raise InputError(
            f"{file} is not a scorecard; doggan score --out writes one of a single score"
        )
    known = {field.name: field for field in fields(Scorecard)}
    needed = {name for name, field in known.items() if field.default is MISSING}
    wrong = sorted((content.keys() - known.keys()) | (needed - content.keys()))
    if wrong:
        raise InputError(
            f"{file} was written by doggan {content['doggan']}, and the scorecards of this "
            f"{__version__} differ in {', '.join(wrong)}; score the images again"
        )
    for name, value in content.items():
        if not _FITS[known[name].type](value):
            raise InputError(
                f"{file} is damaged: {name} is {str(value)[:40]!r}; score the images again"
            )
    return Scorecard(**content)


def _read_json(file: Path) -> object:
    def refuse(constant: str) -> None:
        raise ValueError(f"it holds {constant}")

    size = file.stat().st_size
    if size > _MAX_BYTES:
        raise InputError(f"{file} is not a scorecard: it has {format_bytes(size)}")
    try:
        return json.loads(file.read_text("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file} is damaged, or no scorecard ({error}); score the images again"
        ) from error
