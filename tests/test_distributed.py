"""Training on several processes: the same course as on one, one end for all, nothing lost."""

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from multiprocessing import forkserver

import numpy as np
import pytest
import torch
from torch import nn

from doggan.gan import distributed as distributed_module
from doggan.gan import progress, trainer
from doggan.gan import state as state_module
from doggan.gan.distributed import Processes, check_batch, choose_processes, launch
from doggan.gan.history import read_history
from doggan.gan.networks import make_networks
from doggan.gan.trainer import train
from doggan.recipe import TrainRecipe, with_value
from doggan.support.deadline import Deadline
from doggan.support.errors import DogganError, InputError, NonFiniteLossError
from processes import PATIENCE_SECONDS, none_left, started, wait_until

CPU = torch.device("cpu")


SHIPPED_START_METHOD = distributed_module.START_METHOD


@pytest.fixture(autouse=True, scope="module")
def processes_of_one_thread():
    """Two processes of two threads on two cores would mostly wait for each other; and they come
    from a process that has loaded PyTorch, which takes each of them longer than its training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        forkserver.set_forkserver_preload(["torch._dynamo", "doggan.gan.trainer"])
        forkserver.ensure_running()
        patch.setattr(distributed_module, "START_METHOD", "forkserver")
        yield


@pytest.fixture(autouse=True)
def processes_end_with_their_test():
    with none_left():
        yield


def weights(folder):
    content = torch.load(folder / "checkpoint.pt", weights_only=True)
    return {
        f"{part}.{name}": value
        for part in ("generator", "discriminator", "emas")
        for name, value in content[part].items()
        if "running" not in name
    }


def losses(folder):
    return np.array([[row["loss_d"], row["loss_g"]] for row in read_history(folder)])


def without_batch_norm(*arguments, **options):
    """`make_networks`, each batch norm left out."""
    pair = make_networks(*arguments, **options)
    for network in pair:
        for place, layer in enumerate(network.layers):
            if isinstance(layer, nn.BatchNorm1d):
                network.layers[place] = nn.Identity()
    return pair


class WithoutBatchNorm:
    """A set's folder. The process that it is sent to trains without batch norm, too."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return _arrive, (self.folder,)


def _arrive(folder):
    state_module.make_networks = without_batch_norm
    return folder


# What runs D several times a step, twice backward, and draws numbers of its own. Left out: top-k,
# since each process picks among its own share; and relativistic losses, where the gradient of D's
# last bias is nothing but rounding, by which Adam moves it.
REGULARISED = {
    "networks.discriminator_norm": "spectral",
    "train.gradient_penalty": 0.1,
    "train.gradient_penalty_interval": 3,
    "train.consistency": 1.0,
    "train.augment": "translation+colour+cutout",
    "train.augment_rate": 0.8,
}


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({}, id="plain"),
        pytest.param(REGULARISED, id="regularised", marks=pytest.mark.slow),
        pytest.param(REGULARISED | {"train.one_pass": True}, id="one_pass", marks=pytest.mark.slow),
    ],
)
def test_two_processes_take_the_steps_of_one(tiny_set, tiny_recipe, tmp_path, monkeypatch, values):
    if not values:
        monkeypatch.setattr(distributed_module, "START_METHOD", SHIPPED_START_METHOD)
    # Without batch norm, which looks at a process's own share of a batch, only rounding differs.
    monkeypatch.setattr(state_module, "make_networks", without_batch_norm)
    recipe = with_value(tiny_recipe, "networks.architecture", "dense")
    for key, value in values.items():
        recipe = with_value(recipe, key, value)
    one = train(tiny_set, tmp_path / "one", recipe)
    sent = replace(tiny_set, folder=WithoutBatchNorm(tiny_set.folder))
    two = train(sent, tmp_path / "two", recipe, processes=2)
    assert one.images == two.images == 64
    assert np.allclose(losses(tmp_path / "one"), losses(tmp_path / "two"), rtol=1e-4)
    ones, twos = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert ones.keys() == twos.keys()
    for name, value in ones.items():
        assert torch.allclose(value, twos[name], rtol=1e-3, atol=1e-4), name
    # What two processes left, one can go on with.
    longer = with_value(recipe, "train.images", 80)
    assert train(tiny_set, tmp_path / "two", longer, resume=True).images == 80


@pytest.mark.slow
def test_with_batch_norm_the_loss_curves_agree_within_a_tenth(tiny_set, tiny_recipe, tmp_path):
    recipe = tiny_recipe
    for override in ("train.batch_size=32", "train.images=640", "train.interval_images=160"):
        key, value = override.split("=")
        recipe = with_value(recipe, key, int(value))
    train(tiny_set, tmp_path / "one", recipe)
    train(tiny_set, tmp_path / "two", recipe, processes=2)
    assert np.allclose(losses(tmp_path / "one"), losses(tmp_path / "two"), rtol=0.1)


@pytest.mark.slow
def test_where_a_process_is_killed_one_goes_on_alone_from_the_last_checkpoint(
    tiny_set, tiny_recipe, tmp_path
):
    recipe = with_value(tiny_recipe, "train.images", 10**9)
    folder, said, over, killed_at = tmp_path / "run", [], threading.Event(), []

    def wait_for(ready):
        while not (ready() or over.wait(0.1)):
            pass

    def kill_one_and_later_all():
        wait_for(lambda: len(read_history(folder)) > 1)  # a row is there before its checkpoint
        if over.is_set():
            return
        multiprocessing.active_children()[-1].kill()
        killed_at.append(read_history(folder)[-1]["images"])
        wait_for(lambda: said and read_history(folder)[-1]["images"] > killed_at[0])
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    killer = threading.Thread(target=kill_one_and_later_all)
    killer.start()
    try:
        result = train(tiny_set, folder, recipe, processes=2, say=said.append)
    finally:
        over.set()
        killer.join()
    (line,) = said
    # The first to end is the killed one, or the one that it left alone, by gloo's error.
    assert re.search(r"process \d of 2 ended \(.*(SIGKILL|gloo).*\); one goes on alone", line)
    assert result.stopped_by == "SIGTERM"
    assert result.images > killed_at[0]
    rows = [row["images"] for row in read_history(folder)]
    assert rows == sorted(set(rows))  # what was beyond the checkpoint is forgotten


def die_at_the_start(*arguments):
    if os.environ["RANK"] == "1":
        os._exit(3)
    time.sleep(600)


def test_where_the_second_process_dies_at_the_start_one_trains(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr(trainer, "train_launched", die_at_the_start)
    said = []
    result = train(tiny_set, tmp_path / "run", tiny_recipe, processes=2, say=said.append)
    assert (result.images, result.stopped_by) == (64, "images")
    assert "training process 1 of 2 ended" in said[0]
    train(tiny_set, tmp_path / "alone", tiny_recipe)
    one, other = weights(tmp_path / "run"), weights(tmp_path / "alone")
    assert all(torch.equal(value, other[name]) for name, value in one.items())


class Stalling:
    """A set's folder. Of the processes that it is sent to the second one falls silent."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return _arrive_and_stall, (self.folder,)


def _arrive_and_stall(folder):
    distributed_module.STALLED = timedelta(seconds=15)  # to meet each other in, too
    if os.environ["RANK"] == "1":

        def stall(*arguments):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            time.sleep(600)

        Processes.agree = stall
    return folder


@pytest.mark.slow
def test_where_a_process_falls_silent_one_goes_on_alone(tiny_set, tiny_recipe, tmp_path):
    assert timedelta(minutes=5) == distributed_module.STALLED
    sent, said = replace(tiny_set, folder=Stalling(tiny_set.folder)), []
    result = train(sent, tmp_path / "run", tiny_recipe, processes=2, say=said.append)
    assert (result.images, result.stopped_by) == (64, "images")
    assert "training process 0 of 2 ended" in said[0]


def meet_no_gpu(*arguments):
    raise RuntimeError("NCCL error: unhandled system error")


def test_where_the_processes_cannot_meet_one_trains(tiny_set, tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "train_launched", meet_no_gpu)
    said = []
    result = train(tiny_set, tmp_path / "run", tiny_recipe, processes=2, say=said.append)
    assert (result.images, result.stopped_by) == (64, "images")
    assert "NCCL error" in said[0]


def test_two_processes_that_had_shown_all_before_say_so(tiny_set, tiny_recipe, tmp_path):
    train(tiny_set, tmp_path / "run", tiny_recipe)
    again = train(tiny_set, tmp_path / "run", tiny_recipe, processes=2, resume=True)
    assert (again.images, again.stopped_by) == (64, "images")


def fail_as_a_training(*arguments):
    raise NonFiniteLossError("the loss became nan")


def test_the_trainings_own_failure_is_none_of_a_process(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr(trainer, "train_launched", fail_as_a_training)
    with pytest.raises(DogganError, match=r"^the loss became nan$"):
        train(tiny_set, tmp_path / "run", tiny_recipe, processes=2)


@pytest.mark.parametrize(
    ("batch_size", "asked", "gpus", "count", "why"),
    [
        (128, 0, 2, 2, "2 GPUs train, each on 64 images of a batch"),
        (64, 0, 2, 1, "one of 2 GPUs trains: each would see 32 images"),
        (129, 0, 2, 1, "one of 2 GPUs trains: they cannot share 129 images evenly"),
        (64, 2, 2, 2, "2 processes train, as train.processes says"),
        (128, 1, 2, 1, ""),
        (128, 0, 1, 1, ""),
        (8, 0, 0, 1, ""),
    ],
)
def test_a_second_gpu_trains_where_its_share_of_a_batch_pays(batch_size, asked, gpus, count, why):
    options = TrainRecipe(batch_size=batch_size, processes=asked)
    found, words = choose_processes(options, gpus)
    assert found == count
    assert words.startswith(why)
    assert bool(words) == bool(why)


def test_what_others_train_is_told_where_their_standard_error_is_not_heard(
    tmp_path, monkeypatch, capsys
):
    row = {"images": 32, "images_per_second": 8.0, "loss_d": 1.0, "loss_g": 2.0}
    row |= {"accuracy_real": 0.5, "accuracy_fake": 0.5}
    monkeypatch.setattr(progress, "read_history", lambda folder: [row])
    with progress.progress_told(tmp_path, seconds=0.01):
        time.sleep(0.5)
    assert capsys.readouterr().err.count("train:") == 1  # the same row once
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    before = threading.active_count()
    with progress.progress_told(tmp_path, seconds=0.01):
        assert threading.active_count() == before


def say_hello(folder):
    (folder / f"rank-{os.environ['RANK']}").write_text(os.environ["MASTER_ADDR"])


def test_processes_start_where_no_name_can_be_looked_up_and_give_the_signals_back(
    tmp_path, monkeypatch
):
    for name in ("getfqdn", "gethostname"):
        monkeypatch.setattr(socket, name, lambda *arguments: "no-such-host.invalid")
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = [signal.getsignal(number) for number in numbers]
    assert launch(2, say_hello, tmp_path) == ""
    assert [signal.getsignal(number) for number in numbers] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rank-0", "rank-1"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_torchrun_ends_all_processes_cleanly(tiny_set, tmp_path, number):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "doggan"]
    command += ["train", str(tiny_set.folder), "--out", str(folder), "--device", "cpu"]
    for value in ("networks.generator_width=8", "networks.discriminator_width=4"):
        command += ["--set", value]
    command += ["--set", "train.batch_size=8", "--set", "train.interval_images=32"]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        wait_until(lambda: read_history(folder), process)
        process.send_signal(number)
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode != 0
    assert read_history(folder)[-1]["stopped_by"] == number.name


@pytest.mark.parametrize(
    ("reasons", "agreed"),
    [
        (("", "", ""), ""),
        (("", "SIGTERM", ""), "SIGTERM"),
        (("", "", "images"), "images"),
        (("time limit", "SIGINT", ""), "SIGINT"),
        (("SIGTERM", "images", "images"), "SIGTERM"),
    ],
)
@pytest.mark.parametrize("save", [True, False])
def test_all_go_by_one_reason_and_by_the_first_processs_clock(monkeypatch, reasons, agreed, save):
    done, saves = (0.25, 0.5, 0.75), (save, True, False)
    asked = [(reasons[rank], done[rank], saves[rank]) for rank in range(3)]
    members = [Processes(rank=rank, count=3, agreement="between hosts") for rank in range(3)]
    given = []

    def note(mine, operation, group):
        assert (operation, group) == (torch.distributed.ReduceOp.MAX, "between hosts")
        given.append(mine.clone())

    monkeypatch.setattr(torch.distributed, "all_reduce", note)
    for member, words in zip(members, asked, strict=True):
        member.agree(*words)
    most = torch.stack(given).amax(0)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda mine, *_, **__: mine.copy_(most))
    for member, words in zip(members, asked, strict=True):
        assert member.agree(*words) == (agreed, 0.25, save)


def test_one_process_alone_goes_by_itself():
    assert Processes().agree("time limit", 0.5, True) == ("time limit", 0.5, True)


@pytest.mark.parametrize("size", [33, 2])
def test_a_batch_that_cannot_be_shared_out_is_refused_before_anything_is_started(
    tiny_set, tiny_recipe, tmp_path, monkeypatch, size
):
    monkeypatch.setattr(trainer, "launch", lambda *arguments: pytest.fail("it was launched"))
    recipe = with_value(tiny_recipe, "train.batch_size", size)
    with pytest.raises(InputError, match=f"batch_size is {size}; 2 processes need a multiple"):
        train(tiny_set, tmp_path / "run", recipe, processes=2)
    assert not (tmp_path / "run").exists()
    check_batch(4, 2)


def wait_for_ever(*arguments):
    time.sleep(600)


def test_a_signal_before_the_first_step_is_a_clean_stop(
    tiny_set, tiny_recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr(trainer, "train_launched", wait_for_ever)
    over = threading.Event()

    def stop_both():
        # The launcher has its handlers by then.
        while len(multiprocessing.active_children()) < 2 and not over.wait(0.1):
            pass
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop_both)
    thread.start()
    try:
        result = train(tiny_set, tmp_path / "run", tiny_recipe, processes=2)
    finally:
        over.set()
        thread.join()
    assert (result.images, result.stopped_by) == (0, "SIGTERM")


def test_the_deadline_ends_two_processes_together(tiny_set, tiny_recipe, tmp_path):
    recipe = with_value(tiny_recipe, "train.images", 10**9)
    deadline = Deadline(8.0)
    result = train(tiny_set, tmp_path / "run", recipe, processes=2, deadline=deadline)
    assert result.stopped_by == "time limit"
    assert result.images % 8 == 0
    # Other work may slow their start; a run that heeded no deadline would take days.
    assert deadline.remaining() > -120
