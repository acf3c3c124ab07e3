"""A kernel on Kaggle: push it, and ask how it does.

Every function takes a `Client`, and raises DogganError where Kaggle refuses or cannot be reached.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from doggan.competition import RULES_URL
from doggan.kaggle.client import Client, readable
from doggan.kaggle.metadata import Kernel
from doggan.support.deadline import format_duration
from doggan.support.errors import DogganError

if TYPE_CHECKING:
    from kagglesdk.kaggle_client import KaggleClient
    from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputResponse

POLL_SECONDS = 30.0
_TELL_SECONDS = 600.0  # how often a wait says that it still waits


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What Kaggle took: the version now runs. `dropped` are sources that it did not attach."""

    kernel: str
    version: int
    url: str
    dropped: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """How the kernel's latest run does: `queued`, `running`, `complete`, `error`, ..."""

    kernel: str
    status: str
    message: str

    @property
    def over(self) -> bool:
        return self.status in ("complete", "error", "cancel_acknowledged")

    @property
    def failed(self) -> bool:
        return self.over and self.status != "complete"


@dataclass(frozen=True, kw_only=True)
class GpuQuota:
    """The week's GPU time, in seconds; `refreshes` is when it begins anew (ISO 8601, UTC)."""

    used_seconds: float
    allowed_seconds: float
    refreshes: str

    @property
    def left_seconds(self) -> float:
        return max(0.0, self.allowed_seconds - self.used_seconds)

    def summary(self) -> str:
        left, allowed = format_duration(self.left_seconds), format_duration(self.allowed_seconds)
        return f"GPU time left this week: {left} of {allowed}, anew {self.refreshes}"


def push(client: Client, folder: Path | str, *, session_seconds: float | None = None) -> Pushed:
    """Sends the script and the metadata that lie in `folder`; Kaggle runs them at once.

    `session_seconds` is when Kaggle ends the run (None: its own limit). An answer that was lost
    is not asked for again, as the run may have begun.
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


def run_status(client: Client, kernel: Kernel) -> RunStatus:
    """How the latest run does."""
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelSessionStatusRequest

    request = ApiGetKernelSessionStatusRequest()
    request.user_name, request.kernel_slug = kernel.owner, kernel.slug
    answer = ask_kaggle(
        client,
        lambda sdk: sdk.kernels.kernels_api_client.get_kernel_session_status(request),
        kernel,
    )
    return RunStatus(
        kernel=str(kernel),
        status=answer.status.name.lower(),
        message=readable(answer.failure_message),
    )


def gpu_quota(client: Client) -> GpuQuota | None:
    """The GPU time that is left this week; None where Kaggle does not say.

    The official client asks the same for `kaggle quota`. A question beside the point: whatever
    goes wrong with it, the status counts.
    """
    try:
        answer = client.ask(lambda api: api.quota_view())
        quota = answer.gpu_quota
        return GpuQuota(
            used_seconds=quota.time_used.total_seconds() if quota.time_used else 0.0,
            allowed_seconds=quota.total_time_allowed.total_seconds(),
            refreshes=f"{answer.quota_refresh_time:%Y-%m-%d %H:%M} UTC",
        )
    except (DogganError, AttributeError, TypeError, ValueError):
        return None


def wait_for_run(client: Client, kernel: Kernel, tell: Callable[[str], None]) -> RunStatus:
    """Asks every 30 seconds until the run is over; tells every change, and the GPU time left."""
    told, told_at = None, 0.0
    while True:
        status = run_status(client, kernel)
        if status.over:
            return status
        if status.status != told or time.monotonic() - told_at >= _TELL_SECONDS:
            tell(describe_run(status, gpu_quota(client)))
            told, told_at = status.status, time.monotonic()
        time.sleep(POLL_SECONDS)


def describe_run(status: RunStatus, quota: GpuQuota | None) -> str:
    """One line: `someone/dogs: running. GPU time left this week: ...`."""
    message = f" ({status.message})" if status.message else ""
    line = f"{status.kernel}: {status.status.replace('_', ' ')}{message}"
    return (
        f"{line}. {quota.summary() if quota else 'Kaggle does not say how much GPU time is left'}"
    )


def current_version(client: Client, kernel: Kernel) -> int:
    """The number of the kernel's latest version."""
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest

    request = ApiGetKernelRequest()
    request.user_name, request.kernel_slug = kernel.owner, kernel.slug
    answer = ask_kaggle(
        client, lambda sdk: sdk.kernels.kernels_api_client.get_kernel(request), kernel
    )
    version = answer.metadata.current_version_number if answer.metadata else 0
    if not version:
        raise DogganError(f"Kaggle names no version of {kernel}; say --version N, as on its page")
    return version


def session_output(
    client: Client, kernel: Kernel, token: str = ""
) -> "ApiListKernelSessionOutputResponse":
    """A page of what the latest run left: names and addresses of files; and its log so far."""
    from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputRequest

    request = ApiListKernelSessionOutputRequest()
    request.user_name, request.kernel_slug = kernel.owner, kernel.slug
    request.page_size, request.page_token = 100, token
    return ask_kaggle(
        client,
        lambda sdk: sdk.kernels.kernels_api_client.list_kernel_session_output(request),
        kernel,
    )


def not_there(kernel: Kernel) -> dict[int, str]:
    """What refusals mean of a kernel; Kaggle answers 403 for names that it does not know, too."""
    return {
        status: f"Kaggle shows no kernel '{kernel}' to you ({status}); its name is in the address "
        "of its page, kaggle.com/code/OWNER/SLUG, and a private one is its owner's alone"
        for status in (403, 404)
    }


def ask_kaggle(
    client: Client, question: Callable[["KaggleClient"], object], kernel: Kernel | None = None
) -> object:
    """The answer to a question of the client's lower half, which takes requests as objects.

    `kernel` is what the question is about, for the text of a refusal.
    """

    def work(api):
        with api.build_kaggle_client() as sdk:
            return question(sdk)

    return client.ask(work, not_there(kernel) if kernel else None, patient=True)
