"""What a score is taken against: the reference images, and their features by a judge.

Features are kept from one score to the next in `~/.cache/doggan/features`
(`$XDG_CACHE_HOME/doggan/features` where that is set): one file a reference and judge, up to 170 MB,
the latest eight. The folder can be removed at any time; the next score extracts again. A file is a
NumPy array [N, D] float32 with 32 bytes behind it, the SHA-256 of its key and its numbers, so that
one that is torn, altered or another's is found out.
"""

import hashlib
import io
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from doggan.competition import SIDE_PX
from doggan.data.build import read_images
from doggan.data.imageset import ImageSet, hash_images, is_imageset, open_imageset
from doggan.recipe import DataRecipe
from doggan.scoring.features import check_images, extract_features
from doggan.scoring.judges.judge import Judge, default_cache
from doggan.support.deadline import Deadline
from doggan.support.errors import DogganError, InputError
from doggan.support.files import atomic_path, require_free_space

KAGGLE_CROP = "full"  # the public board's reference: whole frames, squashed
# To be raised whenever the same weights come to give other features.
FORMAT_VERSION = 2
MOST_FILES = 8
_CHECKSUM_BYTES = 32

Say = Callable[[str], None]


def say_on_stderr(line: str) -> None:
    """Prints a line for people where it does not mix with results."""
    print(line, file=sys.stderr)


@dataclass(eq=False)
class Reference:
    """Reference images, [N, H, W, C] uint8 with C 1 or 3, and what a score says of them.

    `name` says in words which images, and how cropped and resized; `whole_frames` that this was
    done as for Kaggle's board; `names` has a name for each image, or None where there are none;
    `part_of` says of how many these images are some, if they are.
    Features are kept in the folder `cache` (`default_cache()` unless given); `say` gets a line
    where that fails.
    """

    images: np.ndarray | None
    name: str
    whole_frames: bool = False
    names: Sequence[str] | None = None
    cache: Path | None = None
    say: Say = say_on_stderr
    part_of: int | None = None
    _features: dict[Judge, np.ndarray | None] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self):
        self._count = len(self.images)

    def __len__(self) -> int:
        return self._count

    def part(self, count: int) -> "Reference":
        """So many of the images, evenly from all of them, as a reference of their own."""
        chosen = np.linspace(0, len(self) - 1, count).round().astype(int)
        return Reference(
            self.images[chosen],
            f"{self.name}, evenly {count:,} of {len(self):,}",
            whole_frames=self.whole_frames,
            names=self.names and [self.names[index] for index in chosen],
            cache=self.cache,
            say=self.say,
            part_of=len(self),
        )

    def forget_images(self) -> None:
        """Lets go of the images, 250 MB of all photos; their hash and the held features stay."""
        _ = self.sha256  # taken while they are here
        self.images = None

    @cached_property
    def sha256(self) -> str:
        """The hash of the images' shape and pixels."""
        return hash_images(self.images)

    def features(self, judge: Judge, deadline: Deadline | None = None) -> np.ndarray:
        """[N, D] float32 as `extract_features` gives them: held, from the cache, or extracted.

        Raises as `extract_features` does; a cache that fails makes it slower, and no more.
        """
        features = self.kept_features(judge)
        if features is None:
            features = extract_features(self.images, judge, deadline=deadline, label="reference")
            self.keep_features(judge, features)
        return features

    def kept_features(self, judge: Judge) -> np.ndarray | None:
        """`features` where they are held or in the cache; None where extracting them is needed."""
        if judge not in self._features:
            self._features[judge] = self.cache_entry(judge).read()
        return self._features[judge]

    def keep_features(self, judge: Judge, features: np.ndarray) -> None:
        """Holds features [N, D] that were extracted from `images`, and writes them to the cache."""
        self._features[judge] = features
        self.cache_entry(judge).write(features)

    def cache_entry(self, judge: Judge) -> "CacheEntry":
        """The features' place in the cache; raises InputError for what is no images."""
        check_images(self.images)
        content = {
            "format": FORMAT_VERSION,
            "images": self.sha256,
            "judge": judge.name,
            "weights": judge.weights_sha256,
            "resize": judge.resize,
            "precision": judge.precision,
            "device": torch.device(judge.device).type,
        }
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        path = (self.cache or default_cache()) / "features" / f"{key}.npy"
        return CacheEntry(path, key, (len(self), judge.dimensions), self.say)


def read_reference(
    sources: list[Path], crop: str | None = None, say: Say = say_on_stderr
) -> Reference:
    """A built set's images, or photos cropped by the policy `crop`.

    Without one, photos are squashed as whole frames, as for Kaggle's board. `say` is the
    reference's. Raises InputError for a built set that was made with another crop than the given.
    """
    where, names = ", ".join(map(str, sources)), None
    if len(sources) == 1 and is_imageset(sources[0]):
        imageset = open_imageset(sources[0])
        images, made_with, names = imageset.images, imageset.manifest["crop"], _names(imageset)
        if crop not in (None, made_with):
            raise InputError(
                f"{where} is a set built with crop '{made_with}', not '{crop}'; leave out "
                "--reference-crop, or give the photos as the reference"
            )
    else:
        made_with = crop or KAGGLE_CROP
        images = read_images(sources, DataRecipe(crop=made_with))
    height, width = images.shape[1:3]
    return Reference(
        images,
        f"{where}, crop '{made_with}', Lanczos to {width}x{height}",
        whole_frames=made_with == KAGGLE_CROP and height == width == SIDE_PX,
        names=names,
        say=say,
    )


def _names(imageset: ImageSet) -> list[str] | None:
    """The images' origins in the manifest, where it has one for each."""
    origins = imageset.manifest.get("origins")
    whole = isinstance(origins, list) and len(origins) == len(imageset)
    return origins if whole and all(isinstance(name, str) for name in origins) else None


@dataclass(frozen=True)
class CacheEntry:
    """Where the features of some images by some judge are kept, if they are.

    `key` is the SHA-256 of all that the features depend on, `shape` theirs: [N, D].
    """

    path: Path
    key: str
    shape: tuple[int, int]
    say: Say

    def read(self) -> np.ndarray | None:
        """The features, or None where they have to be extracted; says so where a file is bad."""
        try:
            features = self._read_checked()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            self.say(f"{self.path} is not usable ({reason}); extracting the features again")
            return None
        with suppress(OSError):  # a folder that cannot be written serves all the same
            self.path.touch()  # the latest used is the last to go
        return features

    def write(self, features: np.ndarray) -> None:
        """Keeps the features; where it cannot it says why, and raises nothing."""
        header = self._header()
        try:
            require_free_space(self.path.parent, len(header) + features.nbytes + _CHECKSUM_BYTES)
            with atomic_path(self.path) as temporary, temporary.open("wb") as stream:
                stream.write(header)
                stream.write(np.ascontiguousarray(features))
                stream.write(self._checksum(features))
            self._remove_oldest()
        except (DogganError, OSError) as error:
            self.say(f"the reference's features are not kept for the next score: {error}")

    def _read_checked(self) -> np.ndarray:
        header = self._header()
        numbers = self.shape[0] * self.shape[1]
        # The length comes first: nothing is allocated for what a damaged file claims.
        if self.path.stat().st_size != len(header) + 4 * numbers + _CHECKSUM_BYTES:
            raise ValueError("its length is wrong")
        with self.path.open("rb") as stream:
            if stream.read(len(header)) != header:
                raise ValueError("it holds other numbers")
            features = np.fromfile(stream, np.float32, numbers).reshape(self.shape)
            checksum = stream.read()
        if checksum != self._checksum(features):
            raise ValueError("its checksum is wrong")
        return features

    def _header(self) -> bytes:
        """What a NumPy file of these features begins with."""
        stream = io.BytesIO()
        content = {"descr": "<f4", "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(stream, content)
        return stream.getvalue()

    def _checksum(self, features: np.ndarray) -> bytes:
        digest = hashlib.sha256(self.key.encode())
        digest.update(np.ascontiguousarray(features))
        return digest.digest()

    def _remove_oldest(self) -> None:
        files = sorted(self.path.parent.glob("*.npy"), key=lambda path: path.stat().st_mtime)
        for path in files[:-MOST_FILES]:
            path.unlink(missing_ok=True)
