"""Sends a kernel to Kaggle, which runs it at once."""

from dataclasses import dataclass
from pathlib import Path

from doggan.competition import RULES_URL
from doggan.kaggle.client import Client
from doggan.kaggle.credentials import readable
from doggan.support.errors import DogganError


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What Kaggle took: the version now runs. `dropped` are sources that it did not attach."""

    kernel: str
    version: int
    url: str
    dropped: tuple[str, ...]


def push(client: Client, folder: Path | str, *, session_seconds: float | None = None) -> Pushed:
    """Sends the script and the metadata that lie in `folder`; Kaggle runs them at once.

    `session_seconds` is when Kaggle ends the run (None: its own limit). An answer that was lost
    is not asked for again, as the run may have begun. Raises DogganError where Kaggle refuses or
    cannot be reached.
    """
    refusals = {
        403: "Kaggle refuses the kernel (403): is the user name yours, the phone number verified "
        f"(a GPU needs it), and are the competition's rules accepted ({RULES_URL})?",
        404: "Kaggle knows no such user, competition or data set (404); check the metadata",
    }
    timeout = None if session_seconds is None else str(round(session_seconds))
    answer = client.ask(lambda api: api.kernels_push(str(folder), timeout), refusals)
    if answer.error:
        raise DogganError(f"Kaggle refuses the kernel: {readable(answer.error)}")
    dropped = (
        *answer.invalid_dataset_sources,
        *answer.invalid_competition_sources,
        *answer.invalid_kernel_sources,
        *answer.invalid_model_sources,
    )
    return Pushed(
        kernel=readable(answer.ref).removeprefix("/code/").strip("/"),
        version=answer.version_number,
        url=readable(answer.url),
        dropped=tuple(readable(source) for source in dropped),
    )
