"""The campaign that kills any command at a random moment, and then gives the same command again."""

import argparse
import contextlib
import shutil
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

from chaos_kill import INTERVAL, TINY
from doggan.gan.run_folder import CHECKPOINT
from doggan.recipe import load_recipe, recipe_to_toml
from doggan.support.files import sha256_of
from promises import (
    check_files,
    doggan,
    make_set,
    must_end_well,
    one_thread,
    set_words,
)

JUDGE = ["--judge", "efficientnet-lite0"]
DOWNLOADED_BYTES = 20_000_000
FIRST_SECONDS = 10.0  # within which a command is killed whose length is not known yet
FETCH = """
import sys
from pathlib import Path
from doggan.support.download import download
url, out, size, sha256 = sys.argv[1:]
download(url, Path(out), size=int(size), sha256=sha256)
"""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command, where it writes, and what it says besides to begin, and to go on."""

    words: list[str]
    out: Path
    to_begin: tuple[str, ...] = ()
    to_resume: tuple[str, ...] = ()

    def line(self) -> list[str]:
        """The command as it is given now."""
        begun = (self.out / CHECKPOINT).exists()
        return [*self.words, *(self.to_resume if begun else self.to_begin)]


def kill_commands(args: argparse.Namespace, work: Path) -> dict:
    """Kills each command in turn, `args.count` times in all; what it leaves must be whole, and the
    same command must then end well."""
    random, killed, early = np.random.default_rng(args.seed), Counter(), 0
    imageset = make_set(work)
    with _served(work / "served") as url:
        commands = _commands(work, imageset, url)
        seconds = dict.fromkeys(commands, FIRST_SECONDS)
        for number in range(args.count):
            name = list(commands)[number % len(commands)]
            command = commands[name]
            if command.to_resume:  # trained to its end it would have nothing left to do
                shutil.rmtree(command.out, ignore_errors=True)
            if _kill(command, random.uniform(0, seconds[name])):
                killed[name] += 1
            else:
                early += 1  # it had ended before
            check_files(command.out)
            started = time.monotonic()
            must_end_well(command.line())
            seconds[name] = time.monotonic() - started
            check_files(command.out)
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
    images = ["--images", 2 * INTERVAL, "--device", "cpu"]
    train = doggan("train", imageset, *images)
    must_end_well([*train, "--out", str(trained), *set_words(TINY)])
    must_end_well(doggan("zip", trained, "--count", 200, "--out", zipped))
    recipe = work / "tiny.toml"
    tiny = [f"{key}={value}" for key, value in (TINY | {"submission.count": 50}).items()]
    recipe.write_text(recipe_to_toml(load_recipe("dogs", tiny)), "utf-8")

    fetched, digest = work / "fetched" / "file", sha256_of(work / "served" / "file")
    fetch = [sys.executable, "-c", FETCH, url, str(fetched), str(DOWNLOADED_BYTES), digest]
    scorecard, page = work / "scored" / "scorecard.json", work / "reported" / "a.html"
    score = doggan("score", zipped, "--reference", photos, *JUDGE, "--out", scorecard)
    again = {"to_begin": ("--recipe", str(recipe)), "to_resume": ("--resume",)}
    run = doggan("run", photos, *images, *JUDGE)
    outs = {name: work / f"{name}-killed" for name in ("train", "run", "build", "zip")}
    return {
        "run": Command(words=[*run, "--out", str(outs["run"])], out=outs["run"], **again),
        "train": Command(words=[*train, "--out", str(outs["train"])], out=outs["train"], **again),
        "build": Command(words=doggan("build", photos, "--out", outs["build"]), out=outs["build"]),
        "zip": Command(
            words=doggan("zip", trained, "--count", 200, "--out", outs["zip"] / "images.zip"),
            out=outs["zip"],
        ),
        "score": Command(words=score, out=scorecard.parent),
        "report": Command(words=doggan("report", trained, "--out", page), out=page.parent),
        "fetch": Command(words=fetch, out=fetched.parent),
    }


def _kill(command: Command, seconds: float) -> bool:
    """Starts it and kills it after so long; returns whether it was still running."""
    process = subprocess.Popen(
        command.line(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=one_thread()
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


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
