"""Deadlines, atomic files, stop requests, the choice of device."""

import io
import json
import math
import os
import re
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from conftest import TINY
from doggan.cli.main import main
from doggan.support import device, files, threads
from doggan.support.allocator import keep_freed_memory
from doggan.support.deadline import Deadline, format_duration, parse_duration
from doggan.support.errors import DogganError, InputError
from doggan.support.progress import progress_bar
from doggan.support.signals import stop_request
from processes import run

CPUINFO = Path("/proc/cpuinfo")


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_deadline_counts_down_on_its_own_clock():
    clock = Clock()
    deadline = Deadline(60, clock)
    earlier = deadline.minus(10)
    clock.now += 45
    assert (deadline.elapsed(), deadline.remaining(), earlier.remaining()) == (45, 15, 5)
    assert not deadline.expired()
    assert deadline.expired(reserve=15)
    clock.now += 5
    assert earlier.expired()
    assert not deadline.expired()


def test_no_limit_never_expires():
    deadline = Deadline(None)
    assert deadline.remaining() == math.inf
    assert not deadline.expired(reserve=1e12)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("8h45m", 31500), ("90m", 5400), ("1h30m10s", 5410), ("30s", 30), ("45", 45), ("0.5s", 0.5)],
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "soon", "-5", "5m8h", "1d"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(InputError, match="8h45m"):
        parse_duration(text)


def test_durations_are_shown():
    shown = [format_duration(seconds) for seconds in (31500, 245, 12.4, -3, math.inf)]
    assert shown == ["8h45m", "4m05s", "12s", "0s", "no limit"]


def test_a_failed_write_leaves_the_previous_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    files.write_text(path, "old")

    def fail_halfway():
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_folder_leaves_the_previous_folder(tmp_path):
    folder = tmp_path / "folder"
    with files.atomic_folder(folder) as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(RuntimeError), files.atomic_folder(folder):
        raise RuntimeError
    assert (folder / "a").read_text() == "old"
    with files.atomic_folder(folder) as temporary:
        (temporary / "b").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [folder]


def test_files_are_as_readable_as_any_other(tmp_path):
    (tmp_path / "plain").write_text("")
    files.write_text(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_where_nothing_can_be_written_one_sentence_says_so(tmp_path):
    file, long = tmp_path / "file", tmp_path / ("n" * 300)
    file.write_text("")
    for path, kind, reason in (
        (file / "inside", InputError, f"{file} is not a folder"),
        (file / "deep" / "inside", InputError, f"{file} is not a folder"),
        (long, DogganError, "File name too long"),
    ):
        says = re.escape(f"cannot write {path}: {reason}")
        with pytest.raises(kind, match=says) as told:
            files.write_text(path, "text")
        assert type(told.value) is kind
        with pytest.raises(kind, match=says), files.atomic_folder(path):
            pass


def test_nan_never_reaches_a_json_file(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "file", {"value": math.nan})
    assert not (tmp_path / "file").exists()


def test_free_space_is_asked_for_before_it_is_needed(tmp_path):
    files.require_free_space(tmp_path / "not" / "there" / "yet", 1)
    with pytest.raises(DogganError, match=r"needs 1000000\.0 TB"):
        files.require_free_space(tmp_path, 10**18)


def test_a_file_is_known_by_its_length_and_hash(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"dogs")
    sha256 = files.sha256_of(path)
    assert files.is_file_of(path, 4, sha256)
    assert not files.is_file_of(path, 5, sha256)
    assert not files.is_file_of(path, 4, sha256[::-1])
    assert not files.is_file_of(tmp_path, 4, sha256)
    assert not files.is_file_of(tmp_path / "missing", 4, sha256)


def test_what_leads_out_of_its_folder_is_known():
    assert all(map(files.leaves_folder, ["/etc/hosts", "..", "../x", "a/../../x", "a/..", "a\\b"]))
    assert not any(map(files.leaves_folder, ["x", "./x", "a/b..c", "..a/x", "a//b"]))


def test_a_missing_path_is_named_with_what_it_should_be(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist; a zip was expected"):
        files.require_exists(tmp_path / "nowhere", "a zip")


@pytest.mark.parametrize(("count", "text"), [(512, "512 B"), (3.1e6, "3.1 MB"), (2e12, "2.0 TB")])
def test_bytes_are_shown_in_powers_of_a_thousand(count, text):
    assert files.format_bytes(count) == text


def test_the_first_signal_asks_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_request() as stop:
        assert not stop
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.name == "SIGTERM"
        assert signal.getsignal(signal.SIGTERM) is before  # a second signal acts as usual
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_device_is_what_was_asked_for():
    assert device.choose_device("cpu").type == "cpu"
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert device.choose_device("auto").type == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_said():
    with pytest.raises(InputError, match="no CUDA GPU"):
        device.choose_device("cuda")


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp16"), ((8, 0), "bf16")])
def test_gpus_without_bf16_use_fp16(monkeypatch, capability, precision):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda place: capability)
    assert device.choose_precision("auto", torch.device("cuda")) == precision


@pytest.mark.skipif(not CPUINFO.exists(), reason=f"there is no {CPUINFO} here")
def test_a_cpu_multiplies_bf16_where_linux_lists_it():
    words = set(CPUINFO.read_text().split())
    assert device.cpu_multiplies_bf16() == bool(words & {"avx512_bf16", "amx_tile"})


def test_a_cpu_that_is_told_to_compute_as_an_older_one_gets_fp32(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not device.cpu_multiplies_bf16()
    assert device.choose_precision("auto", torch.device("cpu")) == "fp32"


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16"), (False, "fp32")])
def test_cpus_without_bf16_use_fp32(monkeypatch, has_bf16, precision):
    monkeypatch.setattr(device, "cpu_multiplies_bf16", lambda: has_bf16)
    cpu = torch.device("cpu")
    assert device.choose_precision("auto", cpu) == precision
    assert device.choose_precision("fp32", cpu) == "fp32"
    for name in ("fp16", "tf32"):
        with pytest.raises(InputError, match=f"precision {name} needs a GPU"):
            device.choose_precision(name, cpu)


@pytest.mark.parametrize(("precision", "rounded"), [("fp32", False), ("tf32", True)])
def test_a_gpu_rounds_the_factors_of_float32_in_tf32_alone(precision, rounded):
    # PyTorch's own defaults: convolutions round, products of matrices do not.
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        device.set_arithmetic(precision, deterministic=False)
        assert torch.backends.cudnn.allow_tf32 == rounded
        assert torch.backends.cuda.matmul.allow_tf32 == rounded
        with device.autocast(torch.device("cpu"), precision):
            assert not torch.is_autocast_enabled("cpu")
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


class Screen(io.StringIO):
    """A stream that is a terminal, or is none."""

    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.mark.parametrize(("terminal", "fewest", "most"), [(True, 100, 110), (False, 2, 13)])
def test_a_bar_leaves_a_log_a_line_every_ten_seconds(monkeypatch, terminal, fewest, most):
    seconds, screen = [0.0], Screen(terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("tqdm.std.time", lambda: seconds[0])
    for _ in progress_bar("zip", 100, of=range(100)):
        seconds[0] += 1
    assert fewest <= screen.getvalue().count("zip:") <= most
    assert "100%" in screen.getvalue()


def test_without_a_label_there_is_no_bar(capsys):
    assert list(progress_bar(None, 3, of="abc")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


REUSED = """
import resource, sys
from doggan.support.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        b"x" * (16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

new = faults()
print(keep_freed_memory(), new, faults())
"""


def test_freed_memory_is_used_again():
    kept, new, reused = run([sys.executable, "-c", REUSED]).stdout.split()
    if kept == "False":
        pytest.skip("the allocator is not glibc's")
    assert int(reused) < int(new) / 10


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_another_allocator_is_left_as_it_is(monkeypatch, error):
    def no_library(name):
        raise error

    monkeypatch.setattr("ctypes.CDLL", no_library)
    assert not keep_freed_memory()


@pytest.fixture
def threads_as_before(monkeypatch):
    for variable in threads.VARIABLES:
        monkeypatch.setenv(variable, "7")
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_are_those_asked_for_else_one_a_core_that_may_be_used(
    monkeypatch, threads_as_before
):
    assert threads.thread_count() == 7
    threads.use_threads(3)
    assert (threads.thread_count(), torch.get_num_threads()) == (3, 3)
    for unusable in ("", "0", "2,1"):
        monkeypatch.setenv("OMP_NUM_THREADS", unusable)
        assert threads.thread_count() == threads.available_cores()
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {4, 5, 9}, raising=False)
    assert threads.available_cores() == 3


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 4)]
    + [(text, 4) for text in ("max 100000", "", "1 0", "none at all")],
)
def test_a_container_with_less_time_has_fewer_cores(
    tmp_path, monkeypatch, threads_as_before, quota, cores
):
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(threads, "CORE_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(threads, "CORE_TIMES", tmp_path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS")
    torch.set_num_threads(4)
    lines = []
    threads.choose_threads(None, lines.append)
    assert (threads.available_cores(), threads.thread_count()) == (cores, cores)
    assert (torch.get_num_threads(), lines) == (cores, [])


def core_times(path, *cores):
    """A /proc/stat of cores that were busy and idle for so many ticks."""
    lines = [f"cpu{core} {busy} 0 0 {idle} 0 0 0 0 0 0" for core, (busy, idle) in enumerate(cores)]
    path.write_text("\n".join(["cpu  9 9 9 9 9 9 9 9 9 9", *lines, "intr 12345", ""]))


@pytest.mark.parametrize(
    ("cores", "free"),
    [
        ([(0, 50), (0, 50)], 2),
        ([(50, 0), (50, 0)], 1),
        ([(50, 0), (0, 50), (2, 48)], 2),
        ([(10, 40), (10, 40)], 2),  # what a desktop does beside
        ([(0, 0), (0, 0)], 2),  # a system that counts nothing
    ],
)
def test_free_cores_are_those_that_idle(tmp_path, monkeypatch, cores, free):
    path = tmp_path / "stat"
    core_times(path, *[(1000, 1000)] * len(cores))
    later = [(1000 + busy, 1000 + idle) for busy, idle in cores]
    monkeypatch.setattr(threads, "CORE_TIMES", path)
    monkeypatch.setattr(threads.time, "sleep", lambda seconds: core_times(path, *later))
    own = set(range(len(cores)))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: own, raising=False)
    assert threads.free_cores() == free


def test_all_cores_are_free_where_the_system_does_not_tell(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "CORE_TIMES", tmp_path / "none")
    assert threads.free_cores() == threads.available_cores()


def test_threads_are_chosen_aloud_by_what_is_free(monkeypatch, threads_as_before):
    lines = []
    monkeypatch.setattr(threads, "free_cores", lambda: 2)
    monkeypatch.setattr(threads, "available_cores", lambda: 4)
    threads.choose_threads(None, lines.append)  # the environment asks for 7
    assert (threads.thread_count(), lines) == (7, [])
    monkeypatch.delenv("OMP_NUM_THREADS")
    threads.choose_threads(None, lines.append)
    assert (threads.thread_count(), torch.get_num_threads()) == (2, 2)
    assert "2 of 4 threads are used" in lines.pop()
    threads.choose_threads(3, lines.append)
    assert (threads.thread_count(), lines) == (3, [])


def test_each_thread_of_a_map_computes_for_itself(threads_as_before):
    threads.use_threads(3)

    def look(item):
        return item, threading.get_ident(), torch.get_num_threads()

    found = list(threads.map_on_threads(look, range(50)))
    assert [item for item, *_ in found] == list(range(50))
    assert {count for *_, count in found} == {1}
    assert threading.get_ident() not in {ident for _, ident, _ in found}
    assert torch.get_num_threads() == 3
    with ThreadPoolExecutor(1) as other:  # a thread that comes later has as many as before
        assert other.submit(torch.get_num_threads).result() == 3


def test_one_thread_maps_by_itself(threads_as_before):
    threads.use_threads(1)
    (ident,) = threads.map_on_threads(lambda item: threading.get_ident(), [0])
    assert ident == threading.get_ident()


def test_a_command_computes_with_as_many_threads_as_it_is_told(
    tiny_set, tmp_path, threads_as_before
):
    out = tmp_path / "run"
    values = [word for value in (*TINY, "train.images=8") for word in ("--set", value)]
    arguments = ["train", str(tiny_set.folder), "--out", str(out), "--device", "cpu", *values]
    assert main([*arguments, "--threads", "1"]) == 0
    assert json.loads((out / "environment.json").read_text())["threads"] == 1
    with pytest.raises(SystemExit):
        main([*arguments, "--threads", "0"])
