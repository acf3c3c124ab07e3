"""Kaggle's machines, and what metadata may say of them."""

import re
from collections.abc import Iterator

# As of November 2026. Some want a permission; Kaggle's answer to a push says so.
SHAPES = (
    "NvidiaTeslaT4",  # two of them, and the default
    "NvidiaL4",
    "NvidiaL4X1",
    "NvidiaTeslaA100",
    "NvidiaH100",
    "NvidiaRtxPro6000",
    "TpuV5E8",
    "TpuV6E8",
)
# Kaggle would run something else without a word.
RETIRED = {
    "NvidiaTeslaP100": "NvidiaTeslaT4",
    "TpuV38": "TpuV5E8",
    "Tpu1VmV38": "TpuV5E8",
    "TpuV232": "TpuV5E8",
    "TpuV2256": "TpuV5E8",
}


def machine_problems(metadata: dict) -> Iterator[str]:
    """One sentence for each rule about the machine that the metadata breaks."""
    if metadata["enable_internet"] is True:
        yield "enable_internet is true; the competition's kernels run without: set it to false"
    if metadata["enable_gpu"] is True and metadata["enable_tpu"] is True:
        yield "enable_gpu and enable_tpu are both true; a session has one of them"
    shape = metadata["machine_shape"]
    if not isinstance(shape, str) or not re.fullmatch(r"[A-Za-z0-9]*", shape):
        yield f"machine_shape is {shape!r}; expected a name such as {SHAPES[0]}"
        return
    known = {name.lower(): name for name in (*SHAPES, *RETIRED)}
    name = known.get(shape.lower())  # Kaggle does not mind capitals
    if name in RETIRED:
        yield f"machine_shape is {shape}, which Kaggle has retired; use {RETIRED[name]}"
    elif shape and name is None:
        yield f"machine_shape is {shape}, unknown to Kaggle; use one of {', '.join(SHAPES)}"
    elif shape:
        key = "enable_tpu" if name.startswith("Tpu") else "enable_gpu"
        if metadata[key] is False:
            yield f"machine_shape is {shape} and {key} is false; set it to true"
