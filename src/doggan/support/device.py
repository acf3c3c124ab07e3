"""Where to compute, and in which precision."""

import os
import platform
import re
import resource
import sys
from pathlib import Path

import torch

import doggan
from doggan.support.errors import InputError
from doggan.support.threads import available_cores

# What a recipe's precision may be, and what networks compute in; `auto` is resolved by
# `choose_precision`. In tf32 a GPU rounds the factors of products to 10 bits, as it would for fp32
# too, unless told otherwise.
PRECISIONS = {
    "auto": None,
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def choose_device(name: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`; raises InputError for cuda where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch finds no CUDA GPU here; use --device cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":  # what deterministic products need is read before the first of them
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """`fp32`, `tf32`, `bf16` or `fp16` for a recipe's precision on this device.

    `auto` is bf16 where the hardware multiplies it, else fp16 on GPUs and fp32 on CPUs.
    Raises InputError for fp16 and tf32 on a CPU.
    """
    if name in ("fp16", "tf32") and device.type == "cpu":
        raise InputError(f"precision {name} needs a GPU; use bf16, fp32 or auto")
    if name != "auto":
        return name
    if device.type == "cuda":
        # Before compute capability 8.0 bf16 is emulated; is_bf16_supported() counts that too.
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "bf16" if cpu_multiplies_bf16() else "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """What runs networks in `fp32`, `tf32`, `bf16` or `fp16`; weights stay in float32."""
    kind = PRECISIONS[precision]
    return torch.autocast(device.type, kind, enabled=kind != torch.float32)


def set_arithmetic(precision: str, deterministic: bool) -> None:
    """Makes GPUs multiply float32 in full unless `precision` is tf32, and give the same bits for
    the same seed where `deterministic`; otherwise they pick by speed.

    CPUs always do both, the latter for the same number of threads.
    """
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    if deterministic != torch.are_deterministic_algorithms_enabled():  # setting it takes seconds
        torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory that was held so far: the GPU's by PyTorch, or this process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # bytes there, KiB elsewhere


def describe_environment(device: torch.device, precision: str) -> dict:
    """Versions and hardware, as a run's environment.json has them."""
    gpu = device.type == "cuda"
    return {
        "doggan": doggan.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": device.type,
        "hardware": torch.cuda.get_device_name(device) if gpu else describe_processor(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def describe_processor() -> str:
    """The processor's name where the system tells it, and what it computes in."""
    name, cpuinfo = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        name = found[1] if found else name
    kinds = [torch.backends.cpu.get_cpu_capability(), *["bf16"] * cpu_multiplies_bf16()]
    return f"{name}, {', '.join(kinds)}"


def cpu_multiplies_bf16() -> bool:
    """Whether this processor multiplies bf16 in hardware, by AVX-512 or AMX, and may.

    ATEN_CPU_CAPABILITY=avx2 and ONEDNN_MAX_CPU_ISA=AVX2 together make PyTorch compute as on a
    processor that has neither.
    """
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
