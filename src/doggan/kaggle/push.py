"""Sends a kernel to Kaggle, which runs it at once."""

import json
from dataclasses import dataclass
from pathlib import Path

from doggan.competition import RULES_URL
from doggan.gan.run_folder import CHECKPOINT, STATS
from doggan.kaggle.client import Client
from doggan.kaggle.credentials import readable
from doggan.kaggle.metadata import Kernel
from doggan.kaggle.output import list_files
from doggan.kaggle.session import current_version, session_status
from doggan.support.errors import DogganError, InputError
from doggan.support.files import write_json

PUSHED_NAME = "pushed.json"  # beside the metadata: which version was pushed last from there


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
    is not asked for again, as the run may have begun. The version is noted in `folder`, see
    `pushed_version`. Raises DogganError where Kaggle refuses or cannot be reached.
    """
    refusals = {
        403: "Kaggle refuses the kernel (403): is the user name yours, the phone number verified "
        f"(a GPU needs it), and are the competition's rules accepted ({RULES_URL})?",
        404: "Kaggle knows no such user, competition or data set (404); check the metadata",
    }
    # Should the answer be lost, the version before is no longer the last one.
    (Path(folder) / PUSHED_NAME).unlink(missing_ok=True)
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
    pushed = Pushed(
        kernel=readable(answer.ref).removeprefix("/code/").strip("/"),
        version=answer.version_number,
        url=readable(answer.url),
        dropped=tuple(readable(source) for source in dropped),
    )
    noted = {"kernel": pushed.kernel, "version": pushed.version}
    write_json(Path(folder) / PUSHED_NAME, noted)
    return pushed


def require_checkpoint(client: Client, kernel: Kernel) -> None:
    """Raises InputError where the kernel's last version is not over, or has left no checkpoint."""
    version = current_version(client, kernel)
    if not session_status(client, kernel).over:
        raise InputError(
            f"version {version} of {kernel} is not over; wait for it: doggan kernel status --wait"
        )
    if CHECKPOINT not in list_files(client, kernel):
        raise InputError(
            f"version {version} of {kernel} left no {CHECKPOINT}, so there is nothing to go on "
            f"from. An earlier version may have one: doggan kernel output {kernel}/VERSION --file "
            f"{CHECKPOINT} --file {STATS}; make a data set of both, and push it with --continue "
            "--dataset NAME/SLUG. Or begin anew, without --continue"
        )


def pushed_version(folder: Path, kernel: Kernel) -> int | None:
    """The version of this kernel that was pushed last from `folder`; None if that is not noted."""
    try:
        noted = json.loads((folder / PUSHED_NAME).read_bytes())
        known = noted["kernel"] == str(kernel) and type(noted["version"]) is int
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return noted["version"] if known else None
