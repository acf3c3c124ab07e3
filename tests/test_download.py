"""Whatever a server does, the file is whole under its name, or it is not there."""

import fcntl
import hashlib
import json
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from types import SimpleNamespace

import pytest

import processes
from bad_server import DATE, Answer, running
from doggan.support import download as module
from doggan.support import part_file, transfer
from doggan.support.download import download
from doggan.support.errors import DogganError, InputError

DATA = random.Random(0).randbytes(40_000)
OTHER = random.Random(1).randbytes(40_000)
HALF = len(DATA) // 2
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(transfer, "FIRST_WAIT_SECONDS", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    with running() as server:
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "photos" / "images.tar"


def fetch(url, target, **options):
    options = {"progress": False, "timeout": 2.0, "attempts": 3, **options}
    return download(url, target, **options)


def left(target):
    return sorted(item.name for item in target.parent.iterdir())


def assert_whole(target, data=DATA):
    assert target.read_bytes() == data
    assert left(target) == [target.name]


def test_brings_the_file_and_nothing_else(server, target):
    url = server.put("/images.tar", DATA)
    assert fetch(url, target, size=len(DATA), sha256=SHA.upper()) == target
    assert_whole(target)
    assert server.header("Range") == [None]


def test_empty_file(server, target):
    fetch(server.put("/images.tar", b""), target)
    assert_whole(target, b"")


def test_follows_a_redirect(server, target):
    server.put("/moved.tar", DATA)
    fetch(server.put("/images.tar", b"", Answer(redirect="/moved.tar")), target)
    assert_whole(target)


def test_what_comes_beside_a_redirect_is_not_read(server, target):
    server.put("/moved.tar", DATA)
    url = server.put("/images.tar", b"", Answer(redirect="/moved.tar", data=bytes(64_000_000)))
    tracemalloc.start()
    try:
        fetch(url, target)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert_whole(target)
    assert most < 20_000_000


@pytest.mark.parametrize("place", ["/images.tar", "file:///etc/hosts", "http://[x/"])
def test_a_redirect_that_leads_nowhere_is_refused(server, target, place):
    url = server.put("/images.tar", b"", Answer(redirect=place))
    with pytest.raises(DogganError, match=r"leads to no file .*opens in a browser") as caught:
        fetch(url, target)
    assert "\n" not in str(caught.value)
    assert left(target) == []


def test_goes_on_after_a_cut(server, target):
    fetch(server.put("/images.tar", DATA, Answer(cut=HALF), Answer()), target)
    assert_whole(target)
    assert server.header("Range") == [None, f"bytes={HALF}-"]
    assert server.header("If-Range") == [None, '"1"']


def test_a_cut_of_the_rest_is_continued_too(server, target):
    fetch(server.put("/images.tar", DATA, Answer(cut=10_000)), target, attempts=5)
    assert_whole(target)
    assert server.header("Range")[1:] == [f"bytes={n}0000-" for n in (1, 2, 3)]


def test_the_next_call_goes_on(server, target):
    url = server.put("/images.tar", DATA, Answer(cut=HALF), Answer())
    with pytest.raises(DogganError, match=r"cut after 20\.0 kB of 40\.0 kB .*goes on at 20\.0 kB"):
        fetch(url, target, attempts=1)
    assert left(target) == ["images.tar.part", "images.tar.part.json"]
    fetch(url, target)
    assert_whole(target)
    assert server.header("Range") == [None, f"bytes={HALF}-"]


def test_the_next_call_goes_on_after_a_kill(server, target):
    url = server.put("/images.tar", DATA, Answer(cut=HALF, stall=True), Answer())
    code = "import sys; from doggan.support.download import download; download(*sys.argv[1:])"
    part = target.with_name("images.tar.part")

    def half_is_there():
        return part.exists() and part.stat().st_size >= HALF // 2

    arguments = [sys.executable, "-c", code, url, target]
    with processes.started(arguments, stderr=subprocess.DEVNULL) as process:
        processes.wait_until(half_is_there, process)  # and killed at the end
    assert process.returncode == -signal.SIGKILL
    assert not target.exists()
    kept = part.stat().st_size
    assert 0 < kept <= HALF
    fetch(url, target)
    assert_whole(target)
    assert server.header("Range") == [None, f"bytes={kept}-"]


def test_a_part_that_is_whole_needs_no_answer(server, target):
    url = server.put("/images.tar", DATA, Answer(cut=HALF))
    with pytest.raises(DogganError):
        fetch(url, target, attempts=1)
    target.with_name("images.tar.part").write_bytes(DATA)
    server.answers["/images.tar"] = [Answer(status=500)]
    fetch(url, target, sha256=SHA)
    assert_whole(target)


@pytest.mark.parametrize(
    "changed",
    [
        Answer(data=OTHER, etag='"2"'),
        Answer(data=OTHER, etag='"2"', if_range=False),
        Answer(data=OTHER[:-1], etag=None, modified=None, if_range=False),
    ],
    ids=["If-Range heeded", "If-Range ignored", "only the length tells"],
)
def test_a_changed_file_is_not_spliced(server, target, changed):
    fetch(server.put("/images.tar", DATA, Answer(cut=HALF), changed), target)
    assert_whole(target, changed.data)


def test_a_weak_etag_gives_way_to_the_date(server, target):
    answers = (Answer(cut=HALF, etag='W/"1"'), Answer(etag='W/"1"'))
    fetch(server.put("/images.tar", DATA, *answers), target)
    assert_whole(target)
    assert server.header("If-Range") == [None, DATE]


@pytest.mark.parametrize("sha256", [None, SHA])
def test_without_a_validator_only_a_known_hash_allows_to_go_on(server, target, sha256):
    answers = (Answer(cut=HALF, etag=None, modified=None), Answer(etag=None, modified=None))
    fetch(server.put("/images.tar", DATA, *answers), target, sha256=sha256)
    assert_whole(target)
    assert server.header("Range") == [None, sha256 and f"bytes={HALF}-"]
    assert server.header("If-Range") == [None, None]


def test_starts_over_where_ranges_are_ignored(server, target):
    fetch(server.put("/images.tar", DATA, Answer(cut=HALF), Answer(ranges=False)), target)
    assert_whole(target)


def test_starts_over_after_416(server, target):
    answers = (Answer(cut=HALF), Answer(status=416), Answer())
    fetch(server.put("/images.tar", DATA, *answers), target)
    assert_whole(target)
    assert server.header("Range") == [None, f"bytes={HALF}-", None]


@pytest.mark.parametrize(
    "lie",
    [
        f"bytes 0-{len(DATA) - 1}/{len(DATA)}",
        f"bytes {HALF + 1}-{len(DATA) - 1}/{len(DATA)}",
        f"bytes {HALF}-{len(DATA) - 1}/{len(DATA) + 1}",
        f"bytes {HALF}-{len(DATA)}/{len(DATA)}",
        f"bytes {HALF}-{len(DATA) - 2}/{len(DATA)}",
        f"bytes {HALF}-{len(DATA) - 1}/*",
        "nonsense",
    ],
)
def test_starts_over_where_content_range_lies(server, target, lie):
    answers = (Answer(cut=HALF), Answer(content_range=lie), Answer())
    fetch(server.put("/images.tar", DATA, *answers), target)
    assert_whole(target)
    assert server.header("Range") == [None, f"bytes={HALF}-", None]


def test_a_rest_that_would_end_past_the_file_is_refused(server, target):
    lie = Answer(data=DATA + OTHER, chunked=True, content_range=f"bytes {HALF}-79999/{len(DATA)}")
    with pytest.raises(DogganError, match="another part"):
        fetch(server.put("/images.tar", DATA, Answer(cut=HALF), lie), target, attempts=2)
    assert left(target) == []


def test_a_part_of_the_file_unasked_for_is_refused(server, target):
    head = (
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 9\r\nContent-Range: bytes 0-8/9\r\n\r\n"
    )
    url = server.put("/images.tar", DATA, Answer(raw=head + b"123456789"))
    with pytest.raises(DogganError, match="another part"):
        fetch(url, target)
    assert left(target) == []


def test_starts_over_where_the_rest_has_the_right_headers_and_wrong_bytes(server, target):
    answers = (Answer(cut=HALF), Answer(data=OTHER), Answer())
    fetch(server.put("/images.tar", DATA, *answers), target, sha256=SHA)
    assert_whole(target)
    assert server.header("Range") == [None, f"bytes={HALF}-", None]


def test_content_length_promises_too_much(server, target):
    url = server.put("/images.tar", DATA, Answer(length=len(DATA) + 5, ranges=False))
    with pytest.raises(DogganError, match="3 attempts in a row failed"):
        fetch(url, target)
    assert len(server.requests) == 3
    assert not target.exists()


def test_content_length_promises_too_little(server, target):
    url = server.put("/images.tar", DATA, Answer(length=100))
    with pytest.raises(DogganError, match="offers 100 bytes, expected 40,000"):
        fetch(url, target, size=len(DATA))
    with pytest.raises(DogganError, match="sha256"):
        fetch(url, target, sha256=SHA)
    assert left(target) == []
    assert len(server.requests) == 2


def test_never_writes_more_than_promised(server, target):
    url = server.put("/images.tar", DATA, Answer(chunked=True))
    with pytest.raises(DogganError, match="sends more than 1,000 bytes"):
        fetch(url, target, size=1000)
    assert not target.exists()
    assert target.with_name("images.tar.part").stat().st_size <= 1000


def test_an_unknown_length_is_refused_and_a_given_one_will_do(server, target):
    url = server.put("/images.tar", DATA, Answer(chunked=True))
    with pytest.raises(DogganError, match="does not say how long"):
        fetch(url, target)
    fetch(url, target, size=len(DATA))
    assert_whole(target)


def test_goes_on_after_a_stall(server, target):
    url = server.put("/images.tar", DATA, Answer(cut=HALF, stall=True), Answer())
    fetch(url, target, timeout=0.3)
    assert_whole(target)
    assert server.header("Range") == [None, f"bytes={HALF}-"]


@pytest.mark.parametrize("answer", [Answer(cut=0, stall=True), Answer(pause=0.05)])
def test_a_server_that_goes_to_sleep_is_given_up(server, target, answer):
    url = server.put("/images.tar", DATA, answer)
    start = time.monotonic()
    with pytest.raises(DogganError, match=r"(no answer in time|only \d+ bytes) .*2 attempts"):
        fetch(url, target, timeout=0.3, attempts=2)
    assert time.monotonic() - start < 15  # before the server, which is silent for 20 s, hangs up
    assert not target.exists()


def test_a_slow_but_steady_server_is_not_given_up(server, target, monkeypatch):
    monkeypatch.setattr(transfer, "SLOWEST_BYTES_PER_SECOND", 2)
    # All of it takes longer than the timeout, a byte far less.
    url = server.put("/images.tar", DATA[:40], Answer(pause=0.03))
    sha256 = hashlib.sha256(DATA[:40]).hexdigest()
    fetch(url, target, timeout=1.0, attempts=1, sha256=sha256)
    assert_whole(target, DATA[:40])


def test_bytes_that_drip_in_do_not_make_attempts_endless(server, target):
    url = server.put("/images.tar", DATA, Answer(cut=1))
    with pytest.raises(DogganError, match="4 attempts in a row"):
        fetch(url, target, attempts=4)
    assert len(server.requests) == 4


def test_progress_starts_the_count_of_attempts_anew(server, target, monkeypatch):
    monkeypatch.setattr(module, "STEP_BYTES", 5_000)
    fetch(server.put("/images.tar", DATA, Answer(cut=5_000)), target, attempts=2)
    assert_whole(target)
    assert len(server.requests) == 8


def test_waits_longer_after_each_failure(server, target, monkeypatch):
    waits = []
    clock = SimpleNamespace(sleep=waits.append, monotonic=time.monotonic)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(transfer, "FIRST_WAIT_SECONDS", 1.0)
    with pytest.raises(DogganError):
        fetch(server.put("/images.tar", DATA, Answer(status=503)), target, attempts=8)
    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_waits_as_long_as_the_server_asks(server, target, monkeypatch):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    busy = [Answer(status=503, retry_after=text) for text in ("7", "nonsense", "301")]
    url = server.put("/images.tar", DATA, busy[0], busy[1], Answer())
    fetch(url, target)
    assert waits == [7, 0]
    with pytest.raises(DogganError, match="the server asks to wait 5 minutes"):
        fetch(server.put("/images.tar", DATA, busy[2]), target)
    assert len(waits) == 2


def test_a_wrong_hash_is_named_and_the_file_not_kept(server, target):
    url = server.put("/images.tar", OTHER)
    found = hashlib.sha256(OTHER).hexdigest()
    with pytest.raises(DogganError, match=f"{found}, expected {SHA}"):
        fetch(url, target, sha256=SHA)
    assert left(target) == []
    assert len(server.requests) == 1


def test_a_failure_leaves_the_previous_file(server, target):
    target.parent.mkdir()
    target.write_bytes(b"previous")
    with pytest.raises(DogganError):
        fetch(server.put("/images.tar", DATA, Answer(cut=HALF)), target, attempts=1)
    assert target.read_bytes() == b"previous"


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "404 Not Found"), (403, "403 Forbidden"), (599, "599;"), (204, "204 No Content")],
)
def test_a_refusal_is_final(server, target, status, message):
    with pytest.raises(DogganError, match=message) as caught:
        fetch(server.put("/images.tar", DATA, Answer(status=status)), target)
    assert "\n" not in str(caught.value)
    assert len(server.requests) == 1
    assert left(target) == []


def test_a_busy_server_is_asked_again(server, target):
    answers = (Answer(status=503), Answer(status=429), Answer())
    fetch(server.put("/images.tar", DATA, *answers), target)
    assert_whole(target)


def test_an_answer_that_is_not_http_is_not_shown(server, target):
    url = server.put("/images.tar", DATA, Answer(raw=b"\x1b[31mgarbage\r\n\r\n"))
    with pytest.raises(DogganError, match="malformed answer, BadStatusLine") as caught:
        fetch(url, target)
    assert "\x1b" not in str(caught.value)


def test_no_server_fails_at_once(target, monkeypatch):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/images.tar"
        with pytest.raises(DogganError, match=r"cannot reach 127\.0\.0\.1 \(Connection refused\)"):
            fetch(url, target, attempts=6)
    assert waits == []
    assert left(target) == []


def test_a_name_that_nobody_resolves_fails_in_time(target, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: over.wait(60))
    start = time.monotonic()
    with pytest.raises(DogganError, match=r"cannot reach no\.such\.host \(no answer in time\)"):
        fetch("http://no.such.host/images.tar", target, timeout=0.2)
    assert time.monotonic() - start < 30  # the name itself is looked up for 60 s
    over.set()


def test_a_server_that_vanishes_midway_is_tried_again(server, target, monkeypatch):
    def refuse(*_):
        raise OSError(0, "unplugged")

    url = server.put("/images.tar", DATA, Answer(cut=HALF))
    monkeypatch.setattr(
        module.time,
        "sleep",
        lambda _: monkeypatch.setattr(socket, "getaddrinfo", refuse),
    )
    with pytest.raises(DogganError, match=r"\(unplugged\) \(3 attempts in a row failed\)"):
        fetch(url, target)
    assert target.with_name("images.tar.part").stat().st_size == HALF


def test_behind_a_proxy_the_proxy_resolves_the_name(server, target, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    server.put("http://no.such.host/images.tar", DATA)
    fetch("http://no.such.host/images.tar", target)
    assert_whole(target)


def test_a_full_disk_is_told_before_the_first_byte(server, target, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=30_000))
    with pytest.raises(DogganError, match=r"needs 40\.0 kB and its disk has 30\.0 kB"):
        fetch(server.put("/images.tar", DATA), target)
    assert left(target) == []


def test_only_the_rest_needs_space(server, target, monkeypatch):
    url = server.put("/images.tar", DATA, Answer(cut=HALF), Answer())
    with pytest.raises(DogganError):
        fetch(url, target, attempts=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=HALF))
    fetch(url, target)
    assert_whole(target)


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://host/file", "images.tar", "http:///x"])
def test_only_http_is_fetched(target, url):
    with pytest.raises(InputError, match="expected an http"):
        fetch(url, target)


def test_the_target_must_be_a_file_that_can_be_written(server, tmp_path):
    url = server.put("/images.tar", DATA)
    with pytest.raises(InputError, match="is a folder"):
        fetch(url, tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DogganError, match=r"cannot write .*file/images"):
        fetch(url, tmp_path / "file" / "images.tar")
    assert server.requests == []


def test_two_downloads_of_the_same_file_do_not_mix(server, target, monkeypatch):
    url = server.put("/images.tar", DATA)
    target.parent.mkdir()
    with target.with_name("images.tar.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DogganError, match="by another process"):
            fetch(url, target)
    fetch(url, target)
    assert_whole(target)


@pytest.mark.parametrize("begun_again", [False, True])
def test_a_download_that_ends_meanwhile_keeps_its_file(server, target, monkeypatch, begun_again):
    def end_the_other_one(*_):
        part.write_bytes(OTHER)
        part.replace(target)
        if begun_again:
            part.write_bytes(b"")

    part = target.with_name("images.tar.part")
    monkeypatch.setattr(part_file.fcntl, "flock", end_the_other_one)
    with pytest.raises(DogganError, match="by another process"):
        fetch(server.put("/images.tar", DATA), target)
    assert target.read_bytes() == OTHER


def test_a_file_system_without_locks_will_do(server, target, monkeypatch):
    def refuse(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr(part_file.fcntl, "flock", refuse)
    fetch(server.put("/images.tar", DATA), target)
    assert_whole(target)


@pytest.mark.parametrize(
    "origin",
    [
        "{",
        "[]",
        "{}",
        {"url": "http://elsewhere/images.tar"},
        {"total": HALF - 1},
        {"total": len(DATA) + 1},
        {"total": "many"},
        {"total": True},
        {"validator": "1\r\nX-Header: 2"},
        {"validator": " 1"},
        {"validator": 1},
    ],
)
def test_a_part_of_unclear_origin_is_not_continued(server, target, origin):
    url = server.put("/images.tar", DATA)
    target.parent.mkdir()
    target.with_name("images.tar.part").write_bytes(OTHER[:HALF])
    good = {"url": url, "total": len(DATA), "validator": '"1"'}
    text = origin if isinstance(origin, str) else json.dumps({**good, **origin})
    target.with_name("images.tar.part.json").write_text(text)
    fetch(url, target, size=len(DATA))
    assert_whole(target)
    assert server.header("Range") == [None]


def test_a_whole_part_without_validator_and_hash_is_not_taken(server, target):
    url = server.put("/images.tar", DATA)
    target.parent.mkdir()
    target.with_name("images.tar.part").write_bytes(OTHER)
    origin = {"url": url, "total": len(OTHER), "validator": None}
    target.with_name("images.tar.part.json").write_text(json.dumps(origin))
    fetch(url, target)
    assert_whole(target)


def test_progress_shows_rate_and_time_left_on_stderr(server, target, capsys):
    url = server.put("/images.tar", DATA[:20], Answer(cut=15, pause=0.02), Answer())
    fetch(url, target, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(r"images\.tar: +\d+%.*/20\.0 \[\d+:\d+<\d+:\d+, .*B/s\]", err)
    assert "images.tar: the connection was cut after 15 B of 20 B; trying again" in err
    fetch(url, target, progress=False)
    assert capsys.readouterr() == ("", "")
