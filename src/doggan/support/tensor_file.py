"""Named tensors and text about them in one file: safetensors, or PyTorch's own where it is missing.

Kaggle's image need not have safetensors. Either file is read without running anything in it.
"""

from collections.abc import Mapping
from pathlib import Path

import torch

from doggan.support.files import atomic_path

SUFFIXES = (".safetensors", ".pt")


def save_tensors(
    folder: Path, stem: str, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> Path:
    """Writes `stem.safetensors`, or `stem.pt` without safetensors; the other one is removed."""
    suffix, other = SUFFIXES if _has_safetensors() else reversed(SUFFIXES)
    path = folder / f"{stem}{suffix}"
    with atomic_path(path) as temporary:
        if suffix == ".pt":
            torch.save({"metadata": dict(metadata), "tensors": dict(tensors)}, temporary)
        else:
            from safetensors.torch import save_file

            save_file(dict(tensors), temporary, dict(metadata))
    (folder / f"{stem}{other}").unlink(missing_ok=True)  # it would be of an earlier state
    return path


def find_tensors(folder: Path, stem: str) -> Path:
    """The file of that name in `folder`, of either kind; `stem.safetensors` if there is none."""
    paths = [folder / f"{stem}{suffix}" for suffix in SUFFIXES]
    return next((path for path in paths if path.is_file()), paths[0])


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a file that `save_tensors` wrote, on the CPU.

    Raises ValueError, saying why, where it is damaged or foreign, or needs safetensors and that is
    missing.
    """
    if path.suffix == ".pt":
        return _read_pt(path)
    if not _has_safetensors():
        raise ValueError("safetensors is missing; install it with: pip install safetensors")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(error) from error


def _read_pt(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        tensors, metadata = content["tensors"], content["metadata"]
        whole = all(map(torch.is_tensor, tensors.values())) and all(
            isinstance(value, str) for value in metadata.values()
        )
    # A torn or foreign file fails in whatever part of the unpickler meets it.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(reason) from error
    if not whole:
        raise ValueError("it holds something other than tensors and text about them")
    return tensors, metadata


def _has_safetensors() -> bool:
    try:
        import safetensors.torch  # noqa: F401
    except ImportError:
        return False
    return True
