"""What a kernel's run left: the files that are asked for, and no others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import requests

from doggan.kaggle.client import Client
from doggan.kaggle.credentials import readable
from doggan.kaggle.metadata import Kernel
from doggan.kaggle.session import session_output
from doggan.support.errors import DogganError, InputError
from doggan.support.files import atomic_path, format_bytes, leaves_folder, require_free_space
from doggan.support.transfer import skip_redirects_body, stream

MAX_FILE_BYTES = 2_000_000_000
MAX_LISTED = 2_000  # Kaggle keeps 500 files of a run
_CONNECT_SECONDS, _SILENCE_SECONDS = 15.0, 60.0
_SHOWN_NAMES = 10


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """A file that is here now."""

    name: str
    path: str
    size_bytes: int


def fetch_outputs(
    client: Client, kernel: Kernel, names: Sequence[str], out: Path | str
) -> tuple[OutputFile, ...]:
    """Downloads the files called `names` of the run into the folder `out`.

    Each is whole or absent, and of 2 GB at most. Raises InputError for a name that leaves the
    folder and for one that the run did not leave, DogganError for every failure.
    """
    for name in names:
        if not PurePosixPath(name).parts or leaves_folder(name) or "\0" in name:
            raise InputError(
                f"'{name}' points out of its folder; expected a name such as images.zip"
            )
    addresses = list_files(client, kernel)
    if missing := [name for name in names if name not in addresses]:
        raise InputError(f"{kernel} left no {' and no '.join(missing)}; {_there(addresses)}")
    return tuple(_fetch(client, name, addresses[name], Path(out) / name) for name in names)


def _there(addresses: dict[str, str]) -> str:
    if not addresses:
        return "there is no output (see doggan kernel status, and doggan kernel logs)"
    names = sorted(addresses)
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f"there are {readable(', '.join(names[:_SHOWN_NAMES]))}{more}"


def list_files(client: Client, kernel: Kernel) -> dict[str, str]:
    """The names of the run's files, and where each can be had for some minutes."""
    files, token = {}, ""
    while True:
        page = session_output(client, kernel, token)
        files |= {file.file_name: file.url for file in page.files or [] if file}
        token = page.next_page_token
        if not token:
            return files
        if len(files) > MAX_LISTED or not page.files:
            raise DogganError(f"Kaggle's list of the files of {kernel} does not end")


def _fetch(client: Client, name: str, address: str, path: Path) -> OutputFile:
    """Brings one file. Its address is signed: it is neither shown nor written down."""
    if not address.startswith(("https://", "http://")):
        raise DogganError(f"Kaggle gives no address of '{name}'")
    with atomic_path(path) as temporary:
        client.ask(lambda _: _save(address, temporary, name), patient=True, bounded=False)
    return OutputFile(name=name, path=str(path), size_bytes=path.stat().st_size)


def _save(address: str, path: Path, name: str) -> None:
    headers = {"Accept-Encoding": "identity"}
    timeout = (_CONNECT_SECONDS, _SILENCE_SECONDS)
    hooks = {"response": skip_redirects_body}
    with requests.get(
        address, headers=headers, stream=True, timeout=timeout, hooks=hooks
    ) as response:
        response.raise_for_status()
        expected = response.raw.length_remaining or 0
        _require_bounded(expected, name)
        require_free_space(path.parent, expected)
        with path.open("wb") as file:
            for piece in stream(response, MAX_FILE_BYTES + 1, _SILENCE_SECONDS):
                file.write(piece)
            _require_bounded(file.tell(), name)
            if expected and file.tell() != expected:
                raise requests.ConnectionError("cut")


def _require_bounded(size: int, name: str) -> None:
    if size > MAX_FILE_BYTES:
        raise DogganError(f"'{name}' is over {format_bytes(MAX_FILE_BYTES)}; none of it is kept")
