"""The training benchmark, in a short form: every contender trains, every ratio is there."""

import json
import multiprocessing
from types import SimpleNamespace

import pytest
import torch

import bench_train
import stock_loop
from stock_loop import CHANGES, GPU_CHANGES, changes_of, time_loop

SMALL = """[networks]
latent = 100
generator_width = 8
discriminator_width = 8
[train]
batch_size = 8
"""


@pytest.fixture(autouse=True)
def small_networks(tmp_path, monkeypatch):
    """Networks and batches in which a step takes little, in place of the tutorial's."""
    (tmp_path / "small.toml").write_text(SMALL)
    for module in (bench_train, stock_loop):
        monkeypatch.setattr(module, "SAME_NETWORKS", str(tmp_path / "small.toml"))
    monkeypatch.setattr(bench_train, "SIZES", bench_train.SIZES | {"photos": (None, 16)})


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Each contender in a process of its own would spend most of the time on starting."""
    monkeypatch.setattr(bench_train, "in_own_process", lambda run, *arguments: run(*arguments))


def results(capsys, *arguments):
    assert bench_train.main(["--quick", "--device", "cpu", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.slow
def test_engine_and_stock_loop_are_compared(capsys):
    found = results(capsys, "--only", "engine")
    stock = found["stock_images_per_second"]
    for name in ("same_networks", "one_pass", "default"):
        ratio = found[f"{name}_images_per_second"] / stock
        assert found[f"{name}_ratio"] == pytest.approx(ratio)
    for name in ("stock", "same_networks", "one_pass", "default"):
        assert found[f"{name}_first_step_seconds"] > 0.05
        assert found[f"{name}_memory_gigabytes"] > 0


@pytest.mark.slow
def test_convolutions_and_scaling_are_measured(capsys, monkeypatch):
    few = {"photos": 4, "warm_up": 1, "steps": 1, "sets": (20, 40), "long_images": 64, "repeats": 1}
    monkeypatch.setattr(bench_train, "SIZES", {name: (None, size) for name, size in few.items()})
    found = results(capsys, "--only", "convolutions", "scaling")
    share = found["convolution_seconds"] / found["step_seconds"]
    assert found["convolution_share"] == pytest.approx(share)
    assert found["many_over_few_images_ratio"] > 0
    assert found["long_run_images"] >= 64


@pytest.mark.slow
def test_the_default_recipe_is_measured_on_a_busy_machine(capsys, monkeypatch):
    beside = "beside_a_training_of_another_terminal"
    chosen = {name: bench_train.COMPANIONS[name] for name in ("alone", beside)}
    monkeypatch.setattr(bench_train, "COMPANIONS", chosen)
    found = results(capsys, "--only", "busy")
    speeds = [found[f"{name}_images_per_second"] for name in chosen]
    assert found[f"{beside}_over_alone_ratio"] == pytest.approx(speeds[1] / speeds[0])
    assert not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.parametrize("change", [*CHANGES[1:], "autotuned"])  # the stock loop is timed above
def test_every_change_of_the_ablation_trains(photos, tiny_set, change):
    sizes = SimpleNamespace(warm_up=0, steps=1)
    found = time_loop(changes_of(change), photos, tiny_set, torch.device("cpu"), sizes)
    assert found["images_per_second"] > 0


def test_changes_add_up():
    changes = [changes_of(name) for name in CHANGES]
    assert [len(each) for each in changes] == list(range(len(CHANGES)))
    assert all(changes[-1] < changes_of(name) for name in GPU_CHANGES)


@pytest.mark.parametrize("failure", ["", "no C compiler"])
def test_a_gpus_ablation_has_what_can_be_compiled_there(monkeypatch, capsys, failure):
    compared = []

    def compare(args, *names):
        compared.extend(names)
        return {name: {"images_per_second": 1.0} for name in names}

    monkeypatch.setattr(bench_train, "_compare", compare)
    monkeypatch.setattr(bench_train, "compiling_fails", lambda device: failure)
    found = bench_train.measure_ablation(SimpleNamespace(device=torch.device("cuda")))
    assert len(found) == len(compared)
    assert {"stock", "CUDA graph", "same networks"} < set(compared)
    assert ("compiled CUDA graph" in compared) == (not failure)
    assert failure in capsys.readouterr().err


def test_why_nothing_can_be_compiled_is_said_in_a_line(monkeypatch):
    def fail(function):
        raise RuntimeError("no C compiler\nsecond line")

    monkeypatch.setattr(torch, "compile", fail)
    assert stock_loop.compiling_fails(torch.device("cpu")) == "no C compiler"
    monkeypatch.setattr(torch, "compile", lambda function: function)
    assert stock_loop.compiling_fails(torch.device("cpu")) == ""
