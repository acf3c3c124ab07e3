"""Where to compute, and in which precision."""

import os
import platform

import torch

import doggan
from doggan.support.errors import InputError


def choose_device(name: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`; raises InputError for cuda where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch finds no CUDA GPU here; use --device cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """`fp32`, `bf16` or `fp16` for a recipe's precision on this device.

    `auto` is bf16 where the hardware multiplies it, else fp16 on GPUs and fp32 on CPUs.
    Raises InputError for fp16 on a CPU.
    """
    if name == "fp16" and device.type == "cpu":
        raise InputError("precision fp16 needs a GPU; use bf16, fp32 or auto")
    if name != "auto":
        return name
    if device.type == "cuda":
        # Before compute capability 8.0 bf16 is emulated; is_bf16_supported() counts that too.
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "bf16" if _cpu_multiplies_bf16() else "fp32"


def describe_environment(device: torch.device, precision: str) -> dict:
    """Versions and hardware, as a run's environment.json has them."""
    if device.type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    else:
        hardware = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return {
        "doggan": doggan.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": device.type,
        "hardware": hardware,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def _cpu_multiplies_bf16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
