"""Generated images, reference images and a judge in; a Scorecard out that says what it is."""

import json
import textwrap
import time
from collections.abc import Sized
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from doggan import __version__
from doggan.competition import IMAGES, REFERENCE_PHOTOS
from doggan.scoring.features import extract_features
from doggan.scoring.interval import Interval
from doggan.scoring.judges import Judge
from doggan.scoring.mifid import score_features
from doggan.scoring.reference import Say, extract_reference, say_on_stderr
from doggan.support.deadline import Deadline
from doggan.support.errors import InputError

# Below this mean distance the images are the same, but for the rounding of float32 features.
# MiFID divides by it.
SAME_IMAGES_DISTANCE = 1e-6
# What `doggan.scoring.interval` says at length.
_COVERED = (
    "intervals hold chance in which images were drawn; not FID's bias with their number,\n"
    "          the reference's choice, another training, or a distance that crosses eps"
)
_INTERVALS = ("fid_interval", "mifid_interval")


@dataclass(frozen=True, kw_only=True)
class Scorecard:
    """One score and all that it depends on.

    `distance` is the memorisation distance before the threshold `eps`; `resize`, `precision` and
    `weights_sha256` are the judge's; `reference` says in words which images, and how cropped and
    resized, and `reference_sha256` is the hash of their pixels, None on the cards of doggan's first
    days. `comparable_with_kaggle`: Kaggle's judge and crop, and as many images of either kind.
    `notice` holds what people must read beside the number, "" where there is nothing.
    The intervals (low, high) hold 95% of what chance in the draw of the generated images does:
    entries whose intervals overlap are not ranked by them. They leave out FID's bias with the
    number of images, the choice of reference, another training's seed, and an `eps` so near that
    another draw falls on its other side.
    """

    fid: float
    fid_interval: Interval
    distance: float
    mifid: float
    mifid_interval: Interval
    eps: float
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
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def reference_in_words(self) -> str:
        """The reference and the beginning of its hash, where that is known."""
        sha256 = self.reference_sha256
        return f"{self.reference} (sha256 {sha256[:8]})" if sha256 else self.reference

    def as_dict(self) -> dict:
        """What `to_json` writes; `Scorecard(**...)` takes it back."""
        return asdict(self) | {name: list(getattr(self, name)) for name in _INTERVALS}

    def to_json(self) -> str:
        """Indented JSON, without NaN or infinity."""
        return json.dumps(self.as_dict(), indent=2, allow_nan=False)

    def summary(self) -> str:
        """Some lines for people; a notice stands first, framed."""
        counted = "a penalty" if self.distance < self.eps else "no penalty"
        lines = [
            f"MiFID     {self.mifid:.4f} (95%: {_in_words(self.mifid_interval)})",
            f"FID       {self.fid:.4f} (95%: {_in_words(self.fid_interval)})",
            f"distance  {self.distance:.4f} ({counted}: eps {self.eps})",
            f"judge     {self.judge}, {self.precision}, weights {self.weights_sha256[:8]}, "
            f"{self.resize}",
            f"images    {self.generated_images:,} against {self.reference_images:,} of "
            f"{self.reference_in_words}",
            _COVERED,
        ]
        if self.notice:
            notice = textwrap.wrap(self.notice, 78, initial_indent="!! ", subsequent_indent="!! ")
            lines = ["!" * 78, *notice, "!" * 78, *lines]
        return "\n".join(lines)


def score_images(
    generated: np.ndarray,
    reference: np.ndarray,
    judge: Judge,
    *,
    reference_name: str,
    whole_frames: bool = False,
    deadline: Deadline | None = None,
    cache: Path | None = None,
    say: Say = say_on_stderr,
) -> Scorecard:
    """Scores [N, H, W, C] uint8 images against [M, H, W, C] uint8; C is 1 or 3.

    `reference_name` says which images, and how cropped, and goes into the scorecard; `whole_frames`
    that they are whole photos squashed to 64x64, as Kaggle's are. Bars on stderr show how far it
    is. The reference's features are kept for the next score in the folder `cache`
    (`~/.cache/doggan` by default); `say` gets a line where that fails.
    Raises InputError for images that cannot be scored, fewer than two of either, and generated
    images that are the reference images; DeadlineExpiredError once `deadline` is over.
    """
    check_counts(generated, reference)
    start = time.monotonic()
    reference_features, reference_sha256 = extract_reference(
        reference, judge, cache=cache, deadline=deadline, say=say
    )
    generated_features = extract_features(generated, judge, deadline=deadline, label="generated")
    return score_extracted(
        generated_features,
        reference_features,
        judge,
        reference_name=reference_name,
        reference_sha256=reference_sha256,
        whole_frames=whole_frames,
        seconds=time.monotonic() - start,
    )


def score_extracted(
    generated_features: np.ndarray,
    reference_features: np.ndarray,
    judge: Judge,
    *,
    reference_name: str,
    reference_sha256: str,
    whole_frames: bool = False,
    seconds: float = 0.0,
) -> Scorecard:
    """Scores [N, D] against [M, D] features that `judge` extracted; raises as `score_images` does.

    `reference_sha256` is the hash of the reference images, `seconds` what the extraction took, as
    far as it is to count; the others are those of `score_images`.
    """
    start = time.monotonic()
    score = score_features(generated_features, reference_features, judge.eps)
    if score.distance < SAME_IMAGES_DISTANCE:
        raise InputError(
            "every generated image is one of the reference images (distance 0), and MiFID divides "
            "by that distance; score images that a generator made"
        )
    counts = (len(generated_features), len(reference_features))
    differences = _differences_from_kaggle(*counts, whole_frames)
    return Scorecard(
        fid=score.fid,
        fid_interval=score.fid_interval,
        distance=score.distance,
        mifid=score.mifid,
        mifid_interval=score.mifid_interval,
        eps=judge.eps,
        judge=judge.name,
        weights_sha256=judge.weights_sha256,
        resize=judge.resize,
        precision=judge.precision,
        generated_images=counts[0],
        reference_images=counts[1],
        reference=reference_name,
        reference_sha256=reference_sha256,
        comparable_with_kaggle=judge.comparable_with_kaggle and not differences,
        notice="; ".join(filter(None, [judge.notice, *differences])),
        seconds=round(seconds + time.monotonic() - start, 3),
    )


def check_counts(generated: Sized, reference: Sized) -> None:
    """Raises InputError for fewer than two of either, images or seeds: they have no covariance."""
    for images, what in ((generated, "generated"), (reference, "reference")):
        if len(images) < 2:
            raise InputError(
                f"found {len(images)} {what} image(s); a score takes at least 2, "
                f"and Kaggle's takes {IMAGES:,} generated ones"
            )


def _in_words(interval: Interval) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


def _differences_from_kaggle(generated: int, reference: int, whole_frames: bool) -> list[str]:
    differences = []
    if generated != IMAGES:
        differences.append(f"Kaggle scores {IMAGES:,} images, here {generated:,}")
    if reference not in REFERENCE_PHOTOS:
        differences.append(
            f"Kaggle's reference has {REFERENCE_PHOTOS[0]:,} images, here {reference:,}"
        )
    if not whole_frames:
        differences.append("Kaggle's reference is whole frames squashed to 64x64, this is not")
    return differences
