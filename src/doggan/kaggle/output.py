"""What a kernel's run left: the files that are asked for, and no others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from doggan.kaggle.client import Client, readable
from doggan.kaggle.metadata import Kernel
from doggan.kaggle.push import session_output
from doggan.support.errors import DogganError, InputError
from doggan.support.files import atomic_path, format_bytes, require_free_space

if TYPE_CHECKING:
    from requests import Response

MAX_FILE_BYTES = 2_000_000_000
MAX_LISTED = 2_000  # Kaggle keeps 500 files of a run
_PIECE_BYTES = 1 << 20
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
    """Downloads the files called `names` of the latest run into the folder `out`.

    Each is whole or absent, and of 2 GB at most. Raises InputError for a name that leaves the
    folder and for one that the run did not leave, DogganError for every failure.
    """
    for name in names:
        _require_inside(name)
    addresses = _list_files(client, kernel)
    if missing := [name for name in names if name not in addresses]:
        raise InputError(f"{kernel} left no {' and no '.join(missing)}; {_there(addresses)}")
    return tuple(_fetch(client, name, addresses[name], Path(out) / name) for name in names)


def _require_inside(name: str) -> None:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise InputError(f"'{name}' points out of its folder; expected a name such as images.zip")


def _there(addresses: dict[str, str]) -> str:
    if not addresses:
        return "there is no output (see doggan kernel status, and doggan kernel logs)"
    names = sorted(addresses)
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f"there are {readable(', '.join(names[:_SHOWN_NAMES]))}{more}"


def _list_files(client: Client, kernel: Kernel) -> dict[str, str]:
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
    # As the client itself does, without its habit of holding the whole file in memory. The
    # address is signed: it is neither shown nor written down, so `download` does not fit here.
    with atomic_path(path) as temporary:
        client.ask(lambda _: _save(address, temporary, name), patient=True, seconds=None)
    return OutputFile(name=name, path=str(path), size_bytes=path.stat().st_size)


def _save(address: str, path: Path, name: str) -> None:
    import requests

    if not address.startswith(("https://", "http://")):
        raise DogganError(f"Kaggle gives no address of '{name}'")
    headers = {"Accept-Encoding": "identity"}
    timeout = (_CONNECT_SECONDS, _SILENCE_SECONDS)
    with requests.get(address, headers=headers, stream=True, timeout=timeout) as response:
        response.raise_for_status()
        expected = int(response.headers.get("Content-Length", 0))
        _require_bounded(expected, name)
        require_free_space(path.parent, expected)
        with path.open("wb") as file:
            for piece in _pieces(response, name):
                file.write(piece)
        if expected and path.stat().st_size != expected:
            raise requests.ConnectionError("cut")


def _pieces(response: "Response", name: str) -> Iterator[bytes]:
    got = 0
    for piece in response.iter_content(_PIECE_BYTES):
        got += len(piece)
        _require_bounded(got, name)
        yield piece


def _require_bounded(size: int, name: str) -> None:
    if size > MAX_FILE_BYTES:
        raise DogganError(f"'{name}' is over {format_bytes(MAX_FILE_BYTES)}; none of it is kept")
