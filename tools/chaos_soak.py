"""The campaign that lasts: a training with short intervals, watched from outside."""

import argparse
import os
import statistics
import subprocess
import time
from pathlib import Path

from chaos_kill import ENDLESS, TINY
from doggan.support.files import format_bytes
from promises import BrokenPromiseError, doggan, make_set, one_thread, set_words

_EVERY_SECONDS = 5.0
_MOST_GROWTH = 1.05  # of the last quarter over the second one
_PAGE = os.sysconf("SC_PAGE_SIZE")


def soak(args: argparse.Namespace, work: Path) -> dict:
    """Trains for `args.count` minutes, with a save every few seconds; memory, open files, threads
    and disk must be flat once the pictures of the whole course are thinned out."""
    imageset, folder = make_set(work), work / "run"
    values = TINY | {"train.interval_images": 400}
    command = doggan("train", imageset, "--out", folder, "--images", ENDLESS, "--device", "cpu")
    command += ["--time-limit", f"{args.count}m", *set_words(values)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=one_thread()
    )
    seen: dict[str, list[int]] = {}
    try:
        while process.poll() is None:
            time.sleep(_EVERY_SECONDS)
            for what, value in _look(process.pid, folder).items():
                seen.setdefault(what, []).append(value)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise BrokenPromiseError(f"the training ended with {process.returncode}")
    growth, words = {}, []
    for what, values in seen.items():
        quarter = len(values) // 4
        before, after = (
            statistics.median(part) for part in (values[quarter : 2 * quarter], values[-quarter:])
        )
        growth[what] = after / max(before, 1)
        shown = format_bytes if "bytes" in what else "{:,.0f}".format
        words.append(f"{what.removesuffix('_bytes')} {shown(before)} to {shown(after)}")
    kept = all(grown <= _MOST_GROWTH for what, grown in growth.items() if what != "disk_bytes")
    return {"kept": kept, "growth": growth, "summary": ", ".join(words)}


def _look(pid: int, folder: Path) -> dict[str, int]:
    """What the process holds now; nothing once it has ended."""
    place = Path(f"/proc/{pid}")
    try:
        return {
            "memory_bytes": _PAGE * int((place / "statm").read_text().split()[1]),
            "files": len(list((place / "fd").iterdir())),
            "threads": len(list((place / "task").iterdir())),
            "disk_bytes": sum(path.lstat().st_size for path in folder.rglob("*")),
        }
    except OSError:
        return {}
