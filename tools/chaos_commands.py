"""The campaign that kills any command at a random moment, and then gives the same command again."""

import argparse
import contextlib
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from chaos_kill import TINY
from doggan.gan.run_folder import CHECKPOINT
from doggan.support.files import sha256_of
from promises import BrokenPromiseError, check_file, make_set, one_thread

JUDGE = ["--judge", "efficientnet-lite0"]
DOWNLOADED_BYTES = 20_000_000
FETCH = """
import sys
from pathlib import Path
from doggan.support.download import download
url, out, size, sha256 = sys.argv[1:]
download(url, Path(out), size=int(size), sha256=sha256)
"""


@dataclass(frozen=True, kw_only=True)
class Command:
    """Words of a command, where it writes, and what it adds to go on with what is there."""

    words: list[str]
    out: Path
    to_resume: tuple[str, ...] = ()

    def line(self) -> list[str]:
        """The command as it is given now."""
        resume = self.to_resume if (self.out / CHECKPOINT).exists() else ()
        return [sys.executable, *self.words, *resume]


def kill_commands(args: argparse.Namespace, work: Path) -> dict:
    """Kills each command in turn, `args.count` times in all; what it leaves must be whole, and the
    same command must then end well."""
    random, killed, early = np.random.default_rng(args.seed), Counter(), 0
    imageset = make_set(work)
    with _served(work / "served") as url:
        commands = _commands(work, imageset, url)
        durations = {name: _time(command) for name, command in commands.items()}
        for number in range(args.count):
            name = list(commands)[number % len(commands)]
            command = commands[name]
            if _kill(command, random.uniform(0, durations[name])):
                killed[name] += 1
            else:
                early += 1  # it had ended before
            _check_files(command.out)
            _run(command)
            _check_files(command.out)
            print(f"{number + 1:3} {name}", flush=True)
    counts = ", ".join(f"{count} {name}" for name, count in killed.items())
    return {
        "kept": True,  # a broken promise would have ended it
        "kills": dict(killed),
        "ended_before": early,
        "summary": f"{killed.total()} killed ({counts}): no torn file, and each ended well again",
    }


def _commands(work: Path, imageset: Path, url: str) -> dict[str, Command]:
    """What is killed; a trained run is made for those that need one."""
    trained, photos, zipped = work / "trained", work / "photos", work / "zipped" / "images.zip"
    tiny = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    doggan = ["-m", "doggan"]
    train = [*doggan, "train", str(imageset), *tiny, "--images", "3200", "--device", "cpu"]
    _run(Command(words=[*train, "--out", str(trained)], out=trained))
    zipping = [*doggan, "zip", str(trained), "--count", "500", "--out", str(zipped)]
    _run(Command(words=zipping, out=zipped.parent))
    digest = sha256_of(work / "served" / "file")
    scoring = ["score", str(zipped), "--reference", str(photos), *JUDGE]
    found = {
        "build": [*doggan, "build", str(photos), "--out", str(work / "built")],
        "zip": [*doggan, "zip", str(trained), "--count", "500", "--out", str(work / "z" / "a.zip")],
        "score": [*doggan, *scoring, "--out", str(work / "scored" / "scorecard.json")],
        "report": [*doggan, "report", str(trained), "--out", str(work / "reported" / "a.html")],
        "fetch": ["-c", FETCH, url, str(work / "fetched" / "file"), str(DOWNLOADED_BYTES), digest],
    }
    outs = {"build": "built", "zip": "z", "score": "scored", "report": "reported"}
    commands = {
        name: Command(words=words, out=work / outs.get(name, "fetched"))
        for name, words in found.items()
    }
    # A killed training is gone on with by --resume, without the recipe's values.
    for name, source in (("train", imageset), ("run", photos)):
        out = work / f"{name}-killed"
        start = work / f"{name}.toml"
        start.write_text(_recipe(trained), "utf-8")
        extra = [*JUDGE, "--time-limit", "60s"] if name == "run" else []
        words = [*doggan, name, str(source), "--out", str(out), "--images", "100000000", *extra]
        if name == "train":
            words[words.index("100000000")] = "6400"
        commands[name] = Command(
            words=[*words, "--recipe", str(start)], out=out, to_resume=("--resume",)
        )
    return commands


def _recipe(run: Path) -> str:
    return (run / "recipe.toml").read_text("utf-8")


def _line(command: Command) -> list[str]:
    line = command.line()
    if "--resume" in line:  # which goes on with the run's own recipe
        place = line.index("--recipe")
        del line[place : place + 2]
    return line


def _time(command: Command) -> float:
    started = time.monotonic()
    _run(command)
    return time.monotonic() - started


def _kill(command: Command, seconds: float) -> bool:
    """Starts it and kills it after so long; returns whether it was still running."""
    process = subprocess.Popen(
        _line(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=one_thread()
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def _run(command: Command) -> None:
    ended = subprocess.run(_line(command), capture_output=True, text=True, env=one_thread())
    if ended.returncode:
        raise BrokenPromiseError(f"{' '.join(_line(command))}: {ended.stderr[-500:]}")


def _check_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in (".partial", ".part"):
            check_file(path)


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    """A file in `folder` on 127.0.0.1, and its address."""
    folder.mkdir()
    (folder / "file").write_bytes(np.random.default_rng(0).bytes(DOWNLOADED_BYTES))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/file"
    finally:
        server.shutdown()
