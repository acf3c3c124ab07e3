"""Progress bars, all alike: on a terminal they move, a log gets a line every ten seconds."""

import sys
from collections.abc import Iterable

from tqdm import tqdm

TERMINAL_SECONDS, LOG_SECONDS = 0.5, 10.0


def progress_bar(
    label: str | None,
    total: float | None,
    *,
    of: Iterable | None = None,
    unit: str = "image",
    **options,
) -> tqdm:
    """A bar on standard error, named `label`; none without a label.

    It goes through `of` where that is given, else by its `update`. `options` are tqdm's.
    """
    seconds = TERMINAL_SECONDS if sys.stderr.isatty() else LOG_SECONDS
    return tqdm(
        of,
        desc=label,
        total=total,
        unit=unit,
        mininterval=seconds,
        maxinterval=max(seconds, LOG_SECONDS),
        disable=label is None,
        **options,
    )
