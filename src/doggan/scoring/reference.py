"""The reference's features, kept from one score to the next.

They lie in `~/.cache/doggan/features` (`$XDG_CACHE_HOME/doggan/features` where that is set): one
file a reference and judge, up to 170 MB, the latest eight. The folder can be removed at any time;
the next score extracts again. A file is a NumPy array [N, D] float32 with 32 bytes behind it, the
SHA-256 of its key and its numbers, so that one that is torn, altered or another's is found out.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from doggan.data.imageset import hash_images
from doggan.scoring.features import check_images, extract_features
from doggan.scoring.judges import Judge, default_cache
from doggan.support.deadline import Deadline
from doggan.support.errors import DogganError
from doggan.support.files import atomic_path, require_free_space

# To be raised whenever the same weights come to give other features.
_FORMAT_VERSION = 2
_MOST_FILES = 8
_CHECKSUM_BYTES = 32
_LARGEST_HEADER_BYTES = 4096

Say = Callable[[str], None]


def say_on_stderr(line: str) -> None:
    """Prints a line for people where it does not mix with results."""
    print(line, file=sys.stderr)


@dataclass(frozen=True)
class CacheEntry:
    """Where the features of some images by some judge are kept, if they are.

    `key` is the SHA-256 of all that the features depend on, `images_sha256` that of the images
    alone (`hash_images`), `shape` the features': [N, D].
    """

    path: Path
    key: str
    images_sha256: str
    shape: tuple[int, int]
    say: Say = say_on_stderr

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
        try:
            require_free_space(self.path.parent, features.nbytes + _LARGEST_HEADER_BYTES)
            with atomic_path(self.path) as temporary, temporary.open("wb") as stream:
                header = np.lib.format.header_data_from_array_1_0(features)
                np.lib.format.write_array_header_1_0(stream, header)
                stream.write(np.ascontiguousarray(features))
                stream.write(self._checksum(features))
            self._remove_oldest()
        except (DogganError, OSError) as error:
            self.say(f"the reference's features are not kept for the next score: {error}")

    def _read_checked(self) -> np.ndarray:
        # Length and header come first: nothing is allocated for what a damaged header claims.
        numbers = self.shape[0] * self.shape[1]
        excess = self.path.stat().st_size - 4 * numbers - _CHECKSUM_BYTES
        if not 0 < excess <= _LARGEST_HEADER_BYTES:
            raise ValueError("its length is wrong")
        with self.path.open("rb") as stream:
            if _read_header(stream) != (self.shape, False, np.dtype(np.float32)):
                raise ValueError("it holds other numbers")
            features = np.fromfile(stream, np.float32, numbers).reshape(self.shape)
            checksum = stream.read()
        if checksum != self._checksum(features):
            raise ValueError("its checksum is wrong")
        return features

    def _checksum(self, features: np.ndarray) -> bytes:
        digest = hashlib.sha256(self.key.encode())
        digest.update(np.ascontiguousarray(features))
        return digest.digest()

    def _remove_oldest(self) -> None:
        files = sorted(self.path.parent.glob("*.npy"), key=lambda path: path.stat().st_mtime)
        for path in files[:-_MOST_FILES]:
            path.unlink(missing_ok=True)


def cache_entry(
    images: np.ndarray, judge: Judge, *, cache: Path | None = None, say: Say = say_on_stderr
) -> CacheEntry:
    """The place of the features of `images` [N, H, W, C] uint8 in the folder `cache`.

    `cache` is `default_cache()` unless given; `say` gets a line where a file is bad.
    Raises InputError for what is no images.
    """
    check_images(images)
    images_sha256 = hash_images(images)
    content = {
        "format": _FORMAT_VERSION,
        "images": images_sha256,
        "judge": judge.name,
        "weights": judge.weights_sha256,
        "resize": judge.resize,
        "precision": judge.precision,
        "device": torch.device(judge.device).type,
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    folder = (default_cache() if cache is None else Path(cache)) / "features"
    shape = (len(images), judge.dimensions)
    return CacheEntry(folder / f"{key}.npy", key, images_sha256, shape, say)


def extract_reference(
    images: np.ndarray,
    judge: Judge,
    *,
    cache: Path | None = None,
    deadline: Deadline | None = None,
    say: Say = say_on_stderr,
) -> tuple[np.ndarray, str]:
    """[N, D] float32 as `extract_features` gives them, from the cache where they are there.

    Beside them stands the SHA-256 of the images, which is taken for the cache's key anyway.
    Raises as `extract_features` does; a cache that fails makes it slower, and no more.
    """
    entry = cache_entry(images, judge, cache=cache, say=say)
    features = entry.read()
    if features is None:
        features = extract_features(images, judge, deadline=deadline, label="reference")
        entry.write(features)
    return features, entry.images_sha256


def _read_header(stream: BinaryIO) -> tuple:
    try:
        np.lib.format.read_magic(stream)
        return np.lib.format.read_array_header_1_0(stream)
    # A torn header fails in whatever part of NumPy meets it.
    except Exception as error:
        raise ValueError("it is no NumPy array") from error
