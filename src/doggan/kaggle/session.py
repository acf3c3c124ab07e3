"""A kernel's run on Kaggle: how it does, what it left, and the GPU time that remains.

Every function that takes a `Client` raises DogganError where Kaggle refuses or is out of reach.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from doggan.kaggle.client import Client
from doggan.kaggle.credentials import readable
from doggan.kaggle.metadata import Kernel
from doggan.support.deadline import format_duration
from doggan.support.errors import DogganError

POLL_SECONDS = 30.0
_TELL_SECONDS = 600.0  # how often a wait says that it still waits


@dataclass(frozen=True, kw_only=True)
class SessionStatus:
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

    def describe(self, quota: "GpuQuota | None") -> str:
        """One line: `someone/dogs: running. GPU time left this week: ...`."""
        message = f" ({self.message})" if self.message else ""
        time_left = quota.summary() if quota else "Kaggle does not say how much GPU time is left"
        return f"{self.kernel}: {self.status.replace('_', ' ')}{message}. {time_left}"


@dataclass(frozen=True, kw_only=True)
class GpuQuota:
    """The week's GPU time, in seconds; `refreshes` is when it begins anew (ISO 8601, UTC)."""

    used_seconds: float
    allowed_seconds: float
    refreshes: str

    def summary(self) -> str:
        left = format_duration(max(0.0, self.allowed_seconds - self.used_seconds))
        allowed = format_duration(self.allowed_seconds)
        return f"GPU time left this week: {left} of {allowed}, anew {self.refreshes}"


def session_status(client: Client, kernel: Kernel) -> SessionStatus:
    """How the run does: of the version that is meant, else the latest one."""
    answer = _ask(client, kernel, "get_kernel_session_status")
    return SessionStatus(
        kernel=kernel.reference,
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


def wait_for_session(client: Client, kernel: Kernel, tell: Callable[[str], None]) -> SessionStatus:
    """Asks every 30 seconds until the run is over; tells every change, and the GPU time left."""
    told, told_at = None, 0.0
    while not (status := session_status(client, kernel)).over:
        if status.status != told or time.monotonic() - told_at >= _TELL_SECONDS:
            tell(status.describe(gpu_quota(client)))
            told, told_at = status.status, time.monotonic()
        time.sleep(POLL_SECONDS)
    return status


def current_version(client: Client, kernel: Kernel) -> int:
    """The number of the version that is meant, else of the kernel's latest."""
    if kernel.version is not None:
        return kernel.version
    answer = _ask(client, kernel, "get_kernel")
    version = answer.metadata.current_version_number if answer.metadata else 0
    if not version:
        raise DogganError(f"Kaggle names no version of {kernel}; say --version N, as on its page")
    return version


def session_output(client: Client, kernel: Kernel, token: str = "") -> Any:
    """A page of what the run left: `files`, `next_page_token`, and its `log` so far."""
    return _ask(client, kernel, "list_kernel_session_output", page_size=100, page_token=token)


def not_there(kernel: Kernel) -> dict[int, str]:
    """What refusals mean of a kernel; Kaggle answers 403 for names that it does not know, too."""
    return {
        status: f"Kaggle shows no kernel '{kernel.reference}' to you ({status}); its name is in "
        "its page's address, kaggle.com/code/OWNER/SLUG, and a private one is its owner's alone"
        for status in (403, 404)
    }


def _ask(client: Client, kernel: Kernel, method: str, **fields: object) -> Any:
    """The answer of the client's `method`, asked about the kernel."""
    from kagglesdk.kernels.types import kernels_api_service as types

    # `get_kernel` takes an ApiGetKernelRequest, and so with all.
    request = getattr(types, f"Api{method.title().replace('_', '')}Request")()
    fields |= {"user_name": kernel.owner, "kernel_slug": kernel.slug}
    if kernel.version is not None:
        fields["version_label"] = f"v{kernel.version}"
    for name, value in fields.items():
        setattr(request, name, value)
    return client.ask_sdk(
        lambda sdk: getattr(sdk.kernels.kernels_api_client, method)(request), not_there(kernel)
    )
