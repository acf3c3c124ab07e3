"""No step makes the host wait for the device: no number is read from it but for the log.

A GPU itself is asked in `test_gpu.py`; here what would wait there is told by the operations.
"""

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from conftest import (
    A_HUNDRED_STEPS,
    TINY,
    in_each_kind_of_step,
    watched_between_lines_of_the_log,
)
from doggan.gan.steps import Steps
from doggan.gan.trainer import train
from doggan.recipe import load_recipe

# What a GPU's host reads before it goes on: a number, a flag, or how many elements there are.
READING = {"_local_scalar_dense", "equal", "is_nonzero", "masked_select", "nonzero", "_unique2"}


class Reading(TorchDispatchMode):
    """Notes the operations of READING while it is `on`."""

    def __init__(self):
        super().__init__()
        self.on, self.found = False, []

    def watch(self, on):
        self.on = on

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        name = operation.overloadpacket.__name__
        if self.on and name in READING:
            self.found.append(name)
        return operation(*arguments, **(options or {}))


def read_in_a_hundred_steps(imageset, folder, values=()):
    recipe = load_recipe("dogs", [*TINY, *A_HUNDRED_STEPS, *values])
    reading = Reading()
    with watched_between_lines_of_the_log(reading.watch) as watched, reading:
        train(imageset, folder, recipe, device="cpu")
    assert len(watched) > 100
    return reading.found


@pytest.mark.slow
@in_each_kind_of_step
def test_a_hundred_steps_read_numbers_at_lines_of_the_log_alone(tiny_set, tmp_path, values):
    assert read_in_a_hundred_steps(tiny_set, tmp_path / "run", values) == []


def test_a_step_that_reads_a_number_is_found(tiny_set, tmp_path, monkeypatch):
    def step(self, real, fake, labels):
        results = genuine(self, real, fake, labels)
        assert results[0].loss.item() > 0
        return results

    genuine = Steps.train
    monkeypatch.setattr(Steps, "train", step)
    assert set(read_in_a_hundred_steps(tiny_set, tmp_path / "run")) == {"_local_scalar_dense"}
