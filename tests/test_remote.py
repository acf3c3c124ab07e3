"""Pushing and collecting: the real client against a small Kaggle, and what it sent there."""

import base64
import functools
import io
import json
import sys
import threading
import time
import zipfile
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

from doggan.cli.main import main
from doggan.competition import JUDGE_DATASET
from doggan.kaggle import client as kaggle_client
from doggan.kaggle import logs as remote_log
from doggan.kaggle import output as remote_output
from doggan.kaggle import session
from doggan.kaggle import submit as remote_submit
from doggan.kaggle.client import Client
from doggan.kaggle.credentials import known_user, readable
from doggan.support import transfer
from kaggle_server import KEY, USER, Reply, forget_credentials, kaggle_server, real_client

KERNEL = "someone/doggan-dcgan"
SCRIPT = """\
RECIPE = "dogs"  # größer ist besser
OVERRIDES = []
TIME_LIMIT = None
SEED = 0
ONLY_ZIP = False
CONTINUE = None
INPUT = None
"""
PAIR = base64.b64encode(f"{USER}:{KEY}".encode()).decode()
RUNNING, COMPLETE = Reply(json={"status": "RUNNING"}), Reply(json={"status": "COMPLETE"})
QUOTA = Reply(
    json={
        "quotaRefreshTime": "2026-11-28T00:00:00Z",
        "gpuQuota": {"timeUsed": "30600s", "totalTimeAllowed": "108000s"},
    }
)
PUSHED = Reply(
    json={
        "ref": f"/code/{KERNEL}",
        "url": f"https://www.kaggle.com/code/{KERNEL}",
        "versionNumber": 3,
    }
)


@pytest.fixture(scope="module")
def client_module(tmp_path_factory):
    with real_client(tmp_path_factory.mktemp("kaggle")) as client:
        yield client


@pytest.fixture
def server(client_module, monkeypatch):
    """The client points to it, whatever it takes for its environment; nothing else is asked."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with kaggle_server() as server:
        http = sys.modules["kagglesdk.kaggle_http_client"]
        monkeypatch.setattr(http, "get_endpoint", lambda environment: server.url)
        server.on("GetAcceleratorQuotaStatistics", QUOTA)
        yield server


@pytest.fixture
def slept(monkeypatch):
    """The seconds that were slept, in no time."""
    slept = []
    clock = SimpleNamespace(**{**vars(time), "sleep": slept.append})
    clock.monotonic = lambda: sum(slept)
    for module in (transfer, kaggle_client, session, remote_log, remote_submit):
        monkeypatch.setattr(module, "time", clock)
    return slept


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, with a script in kernel/."""
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / "doggan_kernel.py").write_text(SCRIPT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def doggan(capfd):
    """Runs a command; returns its exit code and lines. Nothing it prints may be a secret."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        for secret in (KEY, PAIR):
            assert secret not in captured.out + captured.err
        assert "Traceback" not in captured.err
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return run


def error_of(result):
    (line,) = [line for line in result.err.splitlines() if line.startswith("doggan: ")]
    return line


def metadata(here):
    return json.loads((here / "kernel" / "kernel-metadata.json").read_bytes())


# push


def test_push_sends_the_script_and_the_metadata(server, here, doggan):
    server.on("SaveKernel", PUSHED)
    result = doggan("kernel", "push", "--dataset", "a/weights", "--session-limit", "9h")
    assert (result.code, result.err) == (0, "")
    (body,) = server.bodies("SaveKernel")
    assert body == {
        "slug": KERNEL,
        "newTitle": "Doggan DCGAN",
        "text": SCRIPT,
        "language": "python",
        "kernelType": "script",
        "isPrivate": True,
        "enableGpu": True,
        "enableTpu": False,
        "enableInternet": False,
        "machineShape": "NvidiaTeslaT4",
        "datasetDataSources": ["a/weights", JUDGE_DATASET],
        "competitionDataSources": ["generative-dog-images"],
        "sessionTimeoutSeconds": 32400,
    }
    assert server.calls == ["SaveKernel"]
    assert server.arrived[0].headers["Authorization"] == f"Basic {PAIR}"
    assert metadata(here)["id"] == KERNEL
    assert f"Version 3 runs: https://www.kaggle.com/code/{KERNEL}" in result.out
    assert "enable_internet:       false" in result.out


def test_push_takes_the_user_that_is_said_and_remembers_it(server, here, doggan):
    server.on("SaveKernel", PUSHED)
    assert doggan("kernel", "push", "--user", "another", "--title", "My own dogs").code == 0
    assert doggan("kernel", "push").code == 0
    assert [body["slug"] for body in server.bodies("SaveKernel")] == ["another/my-own-dogs"] * 2
    assert [body["newTitle"] for body in server.bodies("SaveKernel")] == ["My own dogs"] * 2


def test_push_as_json(server, here, doggan):
    server.on("SaveKernel", PUSHED)
    result = doggan("kernel", "push", "--json")
    report = json.loads(result.out)
    assert (report["kernel"], report["version"], report["dry_run"]) == (KERNEL, 3, False)
    assert report["metadata"] == metadata(here)


def test_a_dry_run_sends_and_writes_nothing_and_needs_no_credentials(
    server, here, doggan, monkeypatch, tmp_path
):
    nobody(monkeypatch, tmp_path)
    monkeypatch.setitem(sys.modules, "kaggle", None)  # not even imported
    result = doggan("kernel", "push", "--user", "another", "--dry-run")
    assert result.code == 0
    assert "another/doggan-dcgan" in result.out
    assert "Dry run: nothing was sent" in result.out
    assert server.calls == []
    assert [path.name for path in (here / "kernel").iterdir()] == ["doggan_kernel.py"]
    assert script_of(here) == SCRIPT
    report = json.loads(doggan("kernel", "push", "--user", "x", "--dry-run", "--json").out)
    assert report["script"]["size_bytes"] == len(SCRIPT.encode())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--title", "Dogs"), "the title 'Dogs' is too short"),
        (("--user", "bad name"), "'bad name' is no user name"),
        (("--user", "a/b"), "expected OWNER/SLUG"),
        (("--dataset", "weights"), "dataset_sources holds 'weights'"),
        (("--folder", "elsewhere"), "doggan kernel build --out elsewhere/doggan_kernel.py"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(server, here, doggan, options, message):
    result = doggan("kernel", "push", *options)
    assert result.code == 2
    assert message in error_of(result)
    assert result.out == ""
    assert server.calls == []
    assert not (here / "kernel" / "kernel-metadata.json").exists()


def script_of(here):
    return (here / "kernel" / "doggan_kernel.py").read_text("utf-8")


def test_push_writes_the_settings_and_changes_nothing_else(server, here, doggan):
    server.on("SaveKernel", PUSHED)
    options = ("--recipe", "dogs-2019", "--set", "train.batch_size=16", "--seed", "7")
    result = doggan("kernel", "push", *options, "--run-time", "8h45m", "--session-limit", "9h")
    assert result.code == 0
    expected = (
        SCRIPT.replace('"dogs"', '"dogs-2019"')
        .replace("[]", '["train.batch_size=16"]')
        .replace("TIME_LIMIT = None", 'TIME_LIMIT = "8h45m"')
        .replace("SEED = 0", "SEED = 7")
    )
    assert script_of(here) == server.bodies("SaveKernel")[0]["text"] == expected
    for line in ("RECIPE:                dogs-2019", "TIME_LIMIT:            8h45m"):
        assert line in result.out
    # What is not said stays, and other values come beside; a recipe that is said begins anew.
    assert doggan("kernel", "push").code == 0
    assert script_of(here) == expected
    assert doggan("kernel", "push", "--set", "train.beta1=0.2").code == 0
    more = '["train.batch_size=16", "train.beta1=0.2"]'
    assert script_of(here) == expected.replace('["train.batch_size=16"]', more)
    values = ("--set", "train.batch_size=32", "--set", "seed=9")
    assert doggan("kernel", "push", *values).code == 0
    assert 'OVERRIDES = ["train.batch_size=32", "train.beta1=0.2", "seed=9"]' in script_of(here)
    assert "SEED = 9" in script_of(here)
    assert doggan("kernel", "push", "--recipe", "dogs").code == 0
    assert 'RECIPE = "dogs"  # größer ist besser\nOVERRIDES = []\n' in script_of(here)
    assert 'TIME_LIMIT = "8h45m"\nSEED = 0\n' in script_of(here)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--recipe", "cats"), "'cats' is neither a recipe"),
        (("--recipe", "mnist-dcgan"), "the competition has 64"),
        (("--set", "train.batch=2"), "the nearest known one is 'train.batch_size'"),
        (("--run-time", "9h", "--session-limit", "9h"), "before it is done, after 9h00m"),
        (("--session-limit", "8h"), "before it is done, after 8h45m: make --session-limit longer"),
    ],
)
def test_settings_that_cannot_be_used_are_not_sent(server, here, doggan, options, message):
    for more in ((), ("--dry-run",)):
        result = doggan("kernel", "push", "--user", USER, *options, *more)
        assert result.code == 2
        assert message in error_of(result)
    assert server.calls == []
    assert script_of(here) == SCRIPT


def test_a_script_of_something_else_is_not_sent(server, here, doggan):
    (here / "kernel" / "doggan_kernel.py").write_text("RECIPE = 'dogs'\n")
    result = doggan("kernel", "push")
    assert result.code == 2
    assert "it has no setting OVERRIDES; run: doggan kernel build" in error_of(result)
    assert server.calls == []


def test_push_attaches_the_organisers_judge_unless_told_not_to(server, here, doggan):
    server.on("SaveKernel", PUSHED)
    for options, expected in (
        ((), [JUDGE_DATASET]),
        (("--no-judge",), []),
        ((), [JUDGE_DATASET]),
    ):
        assert doggan("kernel", "push", *options).code == 0
        assert metadata(here)["dataset_sources"] == expected


def test_push_sends_the_notebook_with_its_settings(server, here, doggan):
    server.on("SaveKernel", PUSHED)
    push = ("kernel", "push", "--notebook")
    assert "run: doggan kernel build --notebook" in error_of(doggan(*push))
    doggan("kernel", "build", "--notebook")
    assert doggan(*push, "--seed", "7").code == 0
    (body,) = server.bodies("SaveKernel")
    assert body["kernelType"] == "notebook"
    sent = next(cell for cell in json.loads(body["text"])["cells"] if cell["id"] == "settings")
    assert "SEED = 7" in "".join(sent["source"])
    # Without it the script is sent again.
    assert doggan("kernel", "push").code == 0
    body = server.bodies("SaveKernel")[-1]
    assert (body["kernelType"], body["text"]) == ("script", SCRIPT)


def listing(*names):
    files = [{"fileName": name, "url": "https://x.y/z"} for name in names]
    return Reply(json={"files": files, "log": ""})


def test_push_continues_from_what_the_last_version_left(server, here, doggan):
    server.on("SaveKernel", PUSHED)
    server.on("GetKernel", Reply(json={"metadata": {"currentVersionNumber": 2}}))
    server.on("GetKernelSessionStatus", RUNNING, COMPLETE)
    server.on("ListKernelSessionOutput", listing("images.zip"), listing("checkpoint.pt"))
    push = ("kernel", "push", "--continue")
    assert f"version 2 of {KERNEL} is not over" in error_of(doggan(*push))
    assert f"version 2 of {KERNEL} left no checkpoint.pt" in error_of(doggan(*push))
    assert "SaveKernel" not in server.calls
    assert doggan(*push).code == 0
    body = server.bodies("SaveKernel")[-1]
    assert body["kernelDataSources"] == [KERNEL]
    assert f'CONTINUE = "{KERNEL}"' in body["text"]
    # The next one begins anew, unless it is said again.
    assert doggan("kernel", "push").code == 0
    body = server.bodies("SaveKernel")[-1]
    assert "kernelDataSources" not in body
    assert body["text"] == SCRIPT


def test_sources_that_kaggle_did_not_attach(server, here, doggan):
    answer = {**PUSHED.json, "invalidDatasetSources": ["a/weights"]}
    server.on("SaveKernel", Reply(json=answer))
    result = doggan("kernel", "push", "--dataset", "a/weights")
    assert result.code == 1
    assert "NOT attached, as Kaggle does not know it: a/weights" in result.out


def test_kaggles_own_objection_is_shown_without_secrets_or_signatures(server, here, doggan):
    said = f"Maximum batch GPU sessions\n reached, {KEY} https://x.y/z?signature=s\x1b[31m"
    server.on("SaveKernel", Reply(json={"error": said}))
    result = doggan("kernel", "push")
    assert result.code == 1
    line = "Kaggle refuses the kernel: Maximum batch GPU sessions reached, *** https://x.y/z [31m"
    assert line in error_of(result)


# refusals


def nobody(monkeypatch, home):
    forget_credentials(monkeypatch)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


ASKING = (
    ("kernel", "push", "--user", USER),
    ("kernel", "status", KERNEL),
    ("kernel", "logs", KERNEL),
    ("kernel", "logs", "-f", KERNEL),
    ("kernel", "output", KERNEL),
    ("submit", KERNEL, "--version", "1"),
)


@pytest.mark.parametrize("arguments", ASKING)
def test_without_credentials_one_line_says_where_to_get_them(
    here, doggan, monkeypatch, tmp_path, arguments
):
    nobody(monkeypatch, tmp_path / "home")
    monkeypatch.setitem(sys.modules, "kaggle", None)
    for option in ((), ("--json",)):
        result = doggan(*arguments, *option)
        assert result.code == 2
        for word in ("kaggle.com/settings", "~/.kaggle/kaggle.json", "KAGGLE_USERNAME"):
            assert word in error_of(result)
        assert len(result.err.splitlines()) == 1
        assert result.out == "" or list(json.loads(result.out)) == ["error"]


EVERY_CALL = (
    "SaveKernel",
    "GetKernelSessionStatus",
    "ListKernelSessionOutput",
    "doggan-dcgan",
    "CreateCodeSubmission",
)


@pytest.mark.parametrize("arguments", ASKING)
@pytest.mark.parametrize(
    ("status", "words"),
    [(401, ("credentials",)), (403, ("Kaggle", "(403)")), (404, ("Kaggle", "(404)"))],
)
def test_a_refusal_is_one_clear_line(server, here, doggan, arguments, status, words):
    for name in EVERY_CALL:
        server.on(name, Reply(status=status, json={"code": status, "message": f"no {KEY}"}))
    for option in ((), ("--json",)):
        result = doggan(*arguments, *option)
        assert result.code == 1
        if arguments[:3] == ("kernel", "logs", "-f") and status == 401:
            words = ("(403)",)  # the client says no more than "denied"
        assert all(word in error_of(result) for word in words)
    assert len(server.calls) == 2


def test_a_refused_submission_names_what_may_be_the_matter(server, here, doggan):
    for name in EVERY_CALL:
        server.on(name, Reply(status=403, json={}))
    error = error_of(doggan("submit", "--version", "3", KERNEL))
    for cause in ("rules are not accepted", "lacks the scope", "are used up", "no late entries"):
        assert cause in error
    assert f"https://www.kaggle.com/code/{KERNEL}" in error


def test_an_error_inside_an_answer_of_200_is_a_refusal_too(server, here, doggan):
    server.on("GetKernelSessionStatus", Reply(json={"code": 404, "message": "Not found"}))
    result = doggan("kernel", "status", KERNEL)
    assert "shows no kernel 'someone/doggan-dcgan' to you (404)" in error_of(result)


@pytest.mark.parametrize("arguments", ASKING)
def test_nobody_answers(server, here, doggan, slept, arguments):
    server.stop()
    result = doggan(*arguments)
    assert result.code == 1
    assert "connection to Kaggle failed" in error_of(result)
    # What may have arrived is not sent again; a question is.
    writes = arguments[:2] == ("kernel", "push") or arguments[0] == "submit"
    assert (slept == []) == writes


def test_a_silent_server_is_given_up(client_module, here, doggan, monkeypatch):
    monkeypatch.setattr(kaggle_client, "ANSWER_SECONDS", 0.3)
    released = threading.Event()
    monkeypatch.setattr(
        type(client_module.api), "kernels_push", lambda *_: released.wait(20), raising=True
    )
    result = doggan("kernel", "push")
    released.set()
    assert result.code == 1
    assert "Kaggle did not answer in 0 seconds; look on Kaggle whether it arrived" in result.err


BUSY = [
    Reply(status=429, json={}, headers={"Retry-After": "17"}),
    Reply(status=503, json={}, headers={"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}),
    Reply(status=503, json={}),
]


@pytest.mark.parametrize(
    ("arguments", "call", "done"),
    [
        (("kernel", "push"), "SaveKernel", PUSHED),
        (("kernel", "status", KERNEL), "GetKernelSessionStatus", COMPLETE),
    ],
)
def test_while_kaggle_is_busy_it_is_asked_again(server, here, doggan, slept, arguments, call, done):
    server.on(call, *BUSY, done)
    assert doggan(*arguments).code == 0
    assert slept == [17, 0, 4]
    assert server.calls.count(call) == 4
    assert len({json.dumps(body) for body in server.bodies(call)}) == 1


def test_patience_ends(server, here, doggan, slept):
    server.on("SaveKernel", BUSY[0])
    assert "asks for fewer requests (429)" in error_of(doggan("kernel", "push"))
    assert slept == [17] * 5
    server.on("SaveKernel", Reply(status=429, json={}, headers={"Retry-After": "7200"}))
    assert "Kaggle asks to wait 120 minutes" in error_of(doggan("kernel", "push"))


@pytest.mark.parametrize("status", [500, 502, 504])
def test_only_questions_are_repeated_where_the_server_failed(server, here, doggan, slept, status):
    broken = Reply(status=status, json={})
    server.on("SaveKernel", broken)
    assert f"an error ({status})" in error_of(doggan("kernel", "push"))
    assert server.calls == ["SaveKernel"]
    server.on("GetKernelSessionStatus", broken, COMPLETE)
    assert doggan("kernel", "status", KERNEL).code == 0


def test_secrets_are_kept_even_where_the_environment_asks_for_everything(
    server, here, doggan, client_module, monkeypatch
):
    # With VERBOSE set the client prints its requests, Authorization included.
    monkeypatch.setattr(client_module.api, "args", ["--local", "--verbose"])
    server.on("GetKernelSessionStatus", RUNNING)
    assert "running" in doggan("kernel", "status", KERNEL).out
    assert client_module.api.args == ["--local"]


def test_a_token_is_no_more_shown_than_a_key(server, here, doggan, monkeypatch):
    token = "kgat-a-secret-token"
    monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    monkeypatch.delenv("KAGGLE_USERNAME")
    server.on("IntrospectToken", Reply(json={"active": True, "username": "tokenist"}))
    server.on("SaveKernel", Reply(json={"error": f"no {token}"}))
    result = doggan("kernel", "push")
    assert result.code == 1
    assert server.bodies("SaveKernel")[0]["slug"] == "tokenist/doggan-dcgan"
    assert server.arrived[-1].headers["Authorization"] == f"Bearer {token}"
    assert "no ***" in error_of(result)
    assert token not in result.out + result.err


# status


def test_status_names_the_gpu_time_that_is_left(server, here, doggan):
    server.on("GetKernelSessionStatus", RUNNING)
    result = doggan("kernel", "status", KERNEL)
    assert result.code == 0
    assert result.out == (
        f"{KERNEL}: running. GPU time left this week: 21h30m of 30h00m, anew 2026-11-28 00:00 UTC\n"
    )
    assert server.bodies("GetKernelSessionStatus") == [
        {"userName": "someone", "kernelSlug": "doggan-dcgan"}
    ]


@pytest.mark.parametrize(
    "quota", [Reply(status=403, json={}), Reply(json={}), Reply(json={"gpuQuota": {}})]
)
def test_a_status_is_a_status_without_a_quota_too(server, here, doggan, quota):
    server.on("GetKernelSessionStatus", RUNNING)
    server.on("GetAcceleratorQuotaStatistics", quota)
    result = doggan("kernel", "status", KERNEL)
    assert result.code == 0
    assert "Kaggle does not say how much GPU time is left" in result.out


def test_wait_follows_the_run_to_its_end(server, here, doggan, slept):
    queued = Reply(json={"status": "QUEUED"})
    server.on("GetKernelSessionStatus", queued, queued, *[RUNNING] * 22, COMPLETE)
    result = doggan("kernel", "status", KERNEL, "--wait")
    assert result.code == 0
    words = [line.split(".")[0] for line in result.out.splitlines()]
    # Every change, and every ten minutes of the same.
    assert words == [
        f"{KERNEL}: {word}" for word in ("queued", "running", "running", "complete")
    ] + [f"next: doggan kernel output {KERNEL}"]
    assert slept == [30] * 24


def test_wait_outlasts_an_outage(server, here, doggan, slept):
    server.on("GetKernelSessionStatus", RUNNING, *[Reply(status=502, json={})] * 4, COMPLETE)
    assert doggan("kernel", "status", KERNEL, "--wait").code == 0
    assert slept == [30, 1, 2, 4, 8]


def test_a_failed_run_is_exit_code_1(server, here, doggan):
    failed = {"status": "ERROR", "failureMessage": "out of memory"}
    server.on("GetKernelSessionStatus", Reply(json=failed))
    result = doggan("kernel", "status", KERNEL)
    assert result.code == 1
    assert "error (out of memory)" in result.out
    assert "next: doggan kernel logs" in result.out
    report = json.loads(doggan("kernel", "status", KERNEL, "--json").out)
    assert (report["status"], report["message"]) == ("error", "out of memory")
    assert report["gpu_quota"]["allowed_seconds"] == 108_000


def test_the_kernel_is_the_one_that_was_pushed(server, here, doggan):
    result = doggan("kernel", "status")
    assert result.code == 2
    assert "which kernel?" in error_of(result)
    server.on("SaveKernel", PUSHED)
    server.on("GetKernelSessionStatus", COMPLETE)
    doggan("kernel", "push")
    assert f"{KERNEL}/3: complete" in doggan("kernel", "status").out
    assert server.bodies("GetKernelSessionStatus")[-1]["versionLabel"] == "v3"
    # Another kernel's version is another one.
    doggan("kernel", "status", "someone/other-dogs")
    assert "versionLabel" not in server.bodies("GetKernelSessionStatus")[-1]
    doggan("kernel", "status", f"{KERNEL}/2", "--wait")
    assert server.bodies("GetKernelSessionStatus")[-1]["versionLabel"] == "v2"


@pytest.mark.parametrize("noted", ["", "[]", "{}", '{"kernel": "someone/doggan-dcgan"}'])
def test_a_note_of_the_push_that_cannot_be_read_is_none(server, here, doggan, noted):
    server.on("SaveKernel", PUSHED)
    server.on("GetKernelSessionStatus", COMPLETE)
    doggan("kernel", "push")
    (here / "kernel" / "pushed.json").write_text(noted)
    assert f"{KERNEL}: complete" in doggan("kernel", "status").out


@pytest.mark.parametrize("slug", ["doggan", "someone/dogs", "some one/doggan-dcgan", "a/b/c"])
def test_a_wrong_name_of_a_kernel(server, here, doggan, slug):
    for command in (("kernel", "status"), ("kernel", "output"), ("submit",)):
        result = doggan(*command, slug)
        assert result.code == 2
        error_of(result)
    assert server.calls == []


# logs


def events(*lines):
    return [{"stream_name": "stdout", "time": 1.0, "data": f"{line}\n"} for line in lines]


def stream(*lines, end=True, missing=0):
    # The client reads in pieces, and loses the last one with a cut: hence the long comments.
    comment = ":" * 1000
    data = "".join(f"data: {json.dumps(event)}\n{comment}\n\n" for event in events(*lines))
    return Reply(
        body=(data + ("data: END_OF_LOG\n\n" if end else "")).encode(),
        type="text/event-stream",
        missing=missing,
    )


def test_logs(server, here, doggan):
    log = json.dumps(events("epoch 1", "\x1b[2Jepoch 2", "a\nb"))
    server.on("ListKernelSessionOutput", Reply(json={"log": log}))
    assert doggan("kernel", "logs", KERNEL).out == "epoch 1\n[2Jepoch 2\na\nb\n"
    report = json.loads(doggan("kernel", "logs", KERNEL, "--json").out)
    assert report["lines"] == ["epoch 1", "[2Jepoch 2", "a", "b"]


@pytest.mark.parametrize(
    ("log", "lines"), [("", ""), ("plain\ntext", "plain\ntext\n"), ("[1, null, {}]", ""), ("7", "")]
)
def test_logs_in_any_form(server, here, doggan, log, lines):
    server.on("ListKernelSessionOutput", Reply(json={"log": log}))
    result = doggan("kernel", "logs", KERNEL)
    assert (result.code, result.out) == (0, lines)


def test_logs_are_followed_to_the_end(server, here, doggan, slept):
    server.on("doggan-dcgan", stream("one", "two", "three"))
    assert doggan("kernel", "logs", "-f", KERNEL).out == "one\ntwo\nthree\n"
    assert server.calls == ["doggan-dcgan"]
    assert slept == []


def test_a_stream_that_is_cut_is_taken_up_where_it_stopped(server, here, doggan, slept):
    server.on("GetKernelSessionStatus", RUNNING, COMPLETE)
    server.on(
        "doggan-dcgan",
        stream("one", "two", end=False, missing=9),
        Reply(status=503, json={}),
        Reply(json=events("one", "two", "three")),  # of a run that is over
    )
    result = doggan("kernel", "logs", "-f", KERNEL)
    assert (result.code, result.out, result.err) == (0, "one\ntwo\nthree\n", "")
    assert slept == [5, 5]


def test_a_stream_that_falls_silent_is_taken_up_too(server, here, doggan, slept, monkeypatch):
    silent = threading.Event()
    calls = []

    def logs(_, kernel):
        calls.append(kernel)
        yield {"data": "one\n"}
        if len(calls) == 1:
            silent.wait(20)
        yield {"data": "two\n"}

    monkeypatch.setattr(remote_log, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(sys.modules["kaggle"].KaggleApi, "kernels_logs_stream", logs)
    server.on("GetKernelSessionStatus", RUNNING)
    assert doggan("kernel", "logs", "-f", KERNEL).out == "one\ntwo\n"
    silent.set()
    assert calls == [KERNEL] * 2


def test_a_log_that_cannot_be_had_whole_is_given_up(server, here, doggan, slept):
    server.on("GetKernelSessionStatus", COMPLETE)
    server.on("doggan-dcgan", stream("one", end=False, missing=9))
    result = doggan("kernel", "logs", "-f", KERNEL)
    assert (result.code, result.out) == (1, "one\n")
    assert "is cut at every attempt" in error_of(result)
    assert slept == [5]


# output


def zip_of_dogs(count=20, side=64):
    from doggan.submission import encode_png

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index in range(count):
            image = np.full((side, side, 3), index, np.uint8)
            archive.writestr(f"dog_{index}.png", encode_png(image))
    return buffer.getvalue()


@pytest.fixture
def run_left(server, monkeypatch):
    """Puts files into the run's output, two to a page; a submission is of twenty images here."""
    from doggan import submission

    check = functools.partial(submission.check_submission, count=20)
    monkeypatch.setattr(submission, "check_submission", check)

    def left(**files):
        items = []
        for number, (name, data) in enumerate(files.items()):
            server.on(f"file{number}", data if isinstance(data, Reply) else Reply(body=data))
            items.append({"fileName": name, "url": f"{server.url}/file{number}?signature=abc"})
        pages = [items[start : start + 2] for start in range(0, len(items), 2)] or [[]]
        replies = [{"files": page, "nextPageToken": "more"} for page in pages]
        replies[-1].pop("nextPageToken")
        server.on("ListKernelSessionOutput", *(Reply(json=reply) for reply in replies))

    return left


def test_output_fetches_the_zip_alone_and_checks_it(server, here, doggan, run_left):
    dogs = zip_of_dogs()
    run_left(**{"a.txt": b"a", "b.txt": b"b", "images.zip": dogs, "c.txt": b"c"})
    result = doggan("kernel", "output", KERNEL, "--out", "collected")
    assert result.code == 0
    assert (here / "collected" / "images.zip").read_bytes() == dogs
    assert [item.name for item in (here / "collected").iterdir()] == ["images.zip"]
    assert "collected/images.zip: valid, 20 PNG images of 64x64 RGB" in result.out
    assert f"next: doggan submit {KERNEL}" in result.out
    assert server.calls == ["ListKernelSessionOutput"] * 2 + ["file2"]
    assert server.bodies("ListKernelSessionOutput")[1]["pageToken"] == "more"
    assert "Authorization" not in server.arrived[-1].headers  # the address alone opens it


def test_output_fetches_what_is_asked(server, here, doggan, run_left):
    run_left(**{"images.zip": zip_of_dogs(), "scorecard.json": b"{}", "grids/1.png": b"png"})
    result = doggan(
        "kernel", "output", KERNEL, "--file", "scorecard.json", "--file", "grids/1.png", "--json"
    )
    assert result.code == 0
    assert (here / "scorecard.json").read_bytes() == b"{}"
    assert (here / "grids" / "1.png").read_bytes() == b"png"
    assert not (here / "images.zip").exists()
    report = json.loads(result.out)
    assert [file["name"] for file in report["files"]] == ["scorecard.json", "grids/1.png"]
    assert report["checks"] == []


def test_output_that_breaks_the_rules_is_kept_and_exit_code_1(here, doggan, run_left):
    run_left(**{"images.zip": zip_of_dogs(side=32)})
    result = doggan("kernel", "output", KERNEL)
    assert result.code == 1
    assert "images.zip: not valid" in result.out
    assert (here / "images.zip").exists()


@pytest.mark.parametrize("name", ["../evil.zip", "/etc/evil", "a/../../evil", "a\\evil", "", "."])
def test_no_name_leaves_the_folder(server, here, doggan, run_left, name):
    run_left(**{name: b"evil"})
    result = doggan("kernel", "output", KERNEL, "--file", name, "--out", "collected")
    assert result.code == 2
    assert "points out of its folder" in error_of(result)
    assert server.calls == []


def test_output_that_is_not_there(here, doggan, run_left):
    run_left(**{"a.txt": b"a", "b.txt": b"b"})
    result = doggan("kernel", "output", KERNEL)
    assert result.code == 2
    assert "left no images.zip; there are a.txt, b.txt" in error_of(result)
    run_left()
    assert "there is no output" in error_of(doggan("kernel", "output", KERNEL))


def test_a_list_without_an_end(server, here, doggan):
    server.on("ListKernelSessionOutput", Reply(json={"files": [], "nextPageToken": "more"}))
    assert "does not end" in error_of(doggan("kernel", "output", KERNEL))


def test_a_download_that_is_cut_or_refused_for_a_while(here, doggan, run_left, server, slept):
    run_left(**{"a.txt": b"woof"})
    server.on(
        "file0", Reply(body=b"wo", missing=2), Reply(status=503, body=b""), Reply(body=b"woof")
    )
    assert doggan("kernel", "output", KERNEL, "--file", "a.txt").code == 0
    assert (here / "a.txt").read_bytes() == b"woof"
    assert slept == [1, 2]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(body=b"wo", missing=2), "connection to Kaggle failed"),
        (Reply(body=b"", status=403), "refuses the request (403)"),
        (Reply(body=b"", missing=10**10), "'a.txt' is over 2.0 GB"),
        (Reply(body=b"x" * 1001, measured=False), "'a.txt' is over 1.0 kB"),
    ],
)
def test_a_download_that_fails_leaves_the_previous_file(
    here, doggan, run_left, slept, monkeypatch, reply, message
):
    if not reply.measured:
        monkeypatch.setattr(remote_output, "MAX_FILE_BYTES", 1000)
    (here / "a.txt").write_bytes(b"before")
    before = sorted(here.iterdir())
    run_left(**{"a.txt": reply})
    result = doggan("kernel", "output", KERNEL, "--file", "a.txt")
    assert result.code == 1
    assert message in error_of(result)
    assert "signature" not in result.err
    assert (here / "a.txt").read_bytes() == b"before"
    assert sorted(here.iterdir()) == before


def test_where_nothing_can_be_written(here, doggan, run_left):
    run_left(**{"images.zip": zip_of_dogs()})
    (here / "file").touch()
    result = doggan("kernel", "output", KERNEL, "--out", "file")
    assert result.code == 2
    assert "cannot write file/images.zip: file is not a folder" in error_of(result)


# submit


def entry(**fields):
    return Reply(json={"ref": 77, **fields})


def test_submit_posts_the_version_and_waits_for_the_score(server, here, doggan, slept):
    server.on("CreateCodeSubmission", Reply(json={"message": "Successfully submitted", "ref": 77}))
    pending = entry(status="PENDING")
    server.on("GetSubmission", pending, pending, entry(status="COMPLETE", publicScore="61.25"))
    result = doggan("submit", KERNEL, "--version", "3", "--message", "a note", "--wait")
    assert result.code == 0
    assert server.bodies("CreateCodeSubmission") == [
        {
            "competitionName": "generative-dog-images",
            "kernelOwner": "someone",
            "kernelSlug": "doggan-dcgan",
            "kernelVersion": 3,
            "fileName": "images.zip",
            "submissionDescription": "a note",
        }
    ]
    assert server.bodies("GetSubmission") == [{"ref": 77}] * 3
    assert "submission 77: pending, no score yet; waiting\n" in result.out
    assert result.out.endswith("submission 77: public score 61.25\n")
    assert slept == [30, 30]


def test_submit_takes_the_latest_version_and_does_not_wait(server, here, doggan, slept):
    server.on("GetKernel", Reply(json={"metadata": {"currentVersionNumber": 5}}))
    server.on("CreateCodeSubmission", Reply(json={"ref": 77}))
    server.on("GetSubmission", entry(status="COMPLETE", publicScore="61.2", privateScore="118.5"))
    result = doggan("submit", KERNEL)
    assert server.calls == ["GetKernel", "CreateCodeSubmission", "GetSubmission"]
    assert server.bodies("CreateCodeSubmission")[0]["kernelVersion"] == 5
    assert "submission 77: public score 61.2, private score 118.5" in result.out
    server.on("GetSubmission", entry(status="PENDING"))
    report = json.loads(doggan("submit", KERNEL, "--json").out)
    assert (report["status"], report["public_score"], report["version"]) == ("pending", "", 5)
    assert slept == []


def test_a_submission_that_fails_is_exit_code_1(server, here, doggan):
    server.on("CreateCodeSubmission", Reply(json={"ref": 77}))
    server.on("GetSubmission", entry(status="ERROR", errorDescription="9,999 images"))
    result = doggan("submit", KERNEL, "--version", "1")
    assert result.code == 1
    assert "submission 77: failed: 9,999 images" in result.out


def test_a_submission_that_is_not_taken(server, here, doggan):
    server.on("CreateCodeSubmission", Reply(json={"message": "Too many today"}))
    result = doggan("submit", KERNEL, "--version", "1")
    assert "Kaggle took no submission: Too many today" in error_of(result)
    server.on("GetKernel", Reply(json={}))
    assert "say --version N" in error_of(doggan("submit", KERNEL))


# build, and the small parts


def test_build_writes_the_script_and_names_its_hash(here, doggan):
    result = doggan("kernel", "build", "--json")
    assert result.code == 0
    report = json.loads(result.out)
    script = here / "kernel" / "doggan_kernel.py"
    assert report["path"] == "kernel/doggan_kernel.py"
    assert report["size_bytes"] == script.stat().st_size > 10_000
    assert report["script_sha256"] in doggan("kernel", "build").out
    assert doggan("kernel", "push", "--user", USER, "--dry-run").code == 0


def test_what_kaggle_writes_is_made_fit_to_show():
    assert readable("a\n\tb\x1b[31m") == "a b [31m"
    assert (
        readable("see https://x.y/z?token=1 or http://a?b c") == "see https://x.y/z or http://a c"
    )
    assert len(readable("x" * 1000)) < 320


@pytest.mark.parametrize("name", ["kaggle.json", "credentials.json"])
def test_the_user_is_known_from_the_file_of_credentials(monkeypatch, tmp_path, name):
    nobody(monkeypatch, tmp_path)
    assert known_user() is None
    (tmp_path / name).write_text("[")
    assert known_user() is None
    (tmp_path / name).write_text(json.dumps({"username": "filed", "key": KEY}))
    assert known_user() == "filed"
    monkeypatch.setenv("KAGGLE_USERNAME", "said")
    assert known_user() == "said"


def test_a_client_knows_its_user(server):
    assert Client().user == USER


@pytest.mark.parametrize("limit", ["13h", "soon"])
def test_a_time_limit_is_within_what_kaggle_gives(here, limit, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["kernel", "push", "--session-limit", limit])
    assert stop.value.code == 2
    assert "--session-limit" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["kernel build", "kernel push", "kernel status", "kernel logs",
                                     "kernel output", "submit"])  # fmt: skip
def test_every_command_explains_itself_with_an_example(command, capsys):
    assert callable(import_module(f"doggan.cli.{command.replace(' ', '.')}").run)
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"example:\n  doggan {command} " in text
    assert "--json" in text
