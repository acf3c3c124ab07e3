"""Training on several processes: who takes part, what they agree on, and how they are started.

PyTorch's own launcher starts the processes, here or by `torchrun -m doggan train ...`, and
DistributedDataParallel averages their gradients: NCCL between GPUs, gloo between CPUs.
"""

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from doggan.recipe import TrainRecipe
from doggan.support.errors import (
    DogganError,
    InputError,
    NonFiniteAtEndError,
    NonFiniteLossError,
)

# Why a training stops, in the words of its history; "" while it does not.
REASONS = ("", "images", "time limit", "SIGINT", "SIGTERM")
# What each process must get of a batch for a second one to gain: with less, averaging gradients
# costs what it saves, and batch norms see too little.
LEAST_SHARE = 64
START_METHOD = "spawn"  # of multiprocessing; a fork server would die with its group, and leave them
STALLED = timedelta(minutes=5)  # after so long without an answer another process counts as lost
# The signals that PyTorch's launcher takes for itself, and does not give back.
_LAUNCHERS_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


class LostProcessError(DogganError):
    """A process could not be started, died, or no longer answers."""


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes of one training; this one is number `rank` of `count`."""

    rank: int = 0
    count: int = 1
    agreement: distributed.ProcessGroup | None = None  # between hosts; it waits for no GPU

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and shows."""
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """Which part of each batch is this process's: (rank, processes)."""
        return self.rank, self.count

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network, its gradients averaged over all processes by backward()."""
        return network if self.count == 1 else averaged(network)

    def agree(self, reason: str, done: float, save: bool = False) -> tuple[str, float, bool]:
        """What all processes go by: the last of REASONS that one of them has; and what the first
        process says of how much of the run is over (0 to 1), and of a save now."""
        if self.count == 1:
            return reason, done, save
        mine = [REASONS.index(reason), done * self.first, save and self.first]
        agreed = torch.tensor(mine, dtype=torch.float64)
        distributed.all_reduce(agreed, distributed.ReduceOp.MAX, group=self.agreement)
        reason, done, save = agreed.tolist()
        return REASONS[int(reason)], done, bool(save)

    def any(self, flag: bool) -> bool:
        """Whether it is so in one of the processes."""
        return bool(self.mean(torch.tensor(float(flag))))

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """`values` averaged over all processes."""
        if self.count == 1:
            return values
        total = values.cpu()
        distributed.all_reduce(total, group=self.agreement)
        return total / self.count

    def wait(self) -> None:
        """Waits until all processes are here."""
        if self.count > 1:
            distributed.barrier(group=self.agreement)


def averaged(network: nn.Module, **options: object) -> DistributedDataParallel:
    """The network, its gradients averaged over the processes of the default group.

    `options` are DistributedDataParallel's; buffers stay apart: broadcasting them at each forward
    would change, under autograd, what an earlier forward of the same step has used.
    """
    with warnings.catch_warnings():
        # The option's new name, which PyTorch 2.14 warns to take, is unknown to older ones.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        return DistributedDataParallel(network, broadcast_buffers=False, **options)


@contextmanager
def join_processes(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """This process's place among those that torchrun started, and its own device; else it alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(), device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=STALLED)
    try:
        agreement = distributed.new_group(backend="gloo", timeout=STALLED)
        yield Processes(rank=distributed.get_rank(), count=count, agreement=agreement), device
    finally:
        distributed.destroy_process_group()


def started_by_torchrun() -> bool:
    """Whether this process is one of several already."""
    return "WORLD_SIZE" in os.environ


def launch(count: int, function: Callable[..., None], *arguments: object) -> str:
    """Runs `function(*arguments)` in `count` new processes and waits for them.

    Returns the name of the signal that ended them, "" where none did: SIGINT and SIGTERM are passed
    on to the processes, which are given 30 s to end cleanly. A process that fails ends all of them:
    DogganError has its words where it raised one, LostProcessError those on how it ended.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id="doggan",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method=START_METHOD,
        monitor_interval=0.2,
        local_addr="127.0.0.1",  # it would look its own name up, which a kernel cannot
    )
    try:
        with _handlers_kept():
            elastic_launch(config, _in_own_session)(function, *arguments)
        return ""
    except SignalException as stopped:
        return signal.Signals(stopped.sigval).name
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        words = failure.message
        words = words["message"] if isinstance(words, dict) else words
        if words.startswith(_OWN):
            name, _, said = words.removeprefix(_OWN).partition(": ")
            raise _OWN_ERRORS[name](said) from error
        raise LostProcessError(
            f"training process {rank} of {count} ended ({words.splitlines()[0]})"
        ) from error
    except Exception as error:  # whatever PyTorch meets on a host's network
        raise LostProcessError(f"{count} training processes cannot be started ({error})") from error


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Puts the handlers of the launcher's signals back; only the main thread can have others."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in _LAUNCHERS_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _in_own_session(function: Callable[..., None], *arguments: object) -> None:
    # A terminal's Ctrl-C then comes once, from the launcher, and not from the terminal as well.
    os.setsid()
    try:
        function(*arguments)
    except DogganError as error:
        name = next(cls.__name__ for cls in type(error).mro() if cls.__name__ in _OWN_ERRORS)
        raise _OwnError(f"{name}: {error}") from error


class _OwnError(Exception):
    """What a launcher's message names it by: the training's own failure, in its words."""


_OWN = f"{_OwnError.__name__}: "
_OWN_ERRORS = {
    cls.__name__: cls for cls in (DogganError, InputError, NonFiniteLossError, NonFiniteAtEndError)
}


def choose_processes(options: TrainRecipe, gpus: int) -> tuple[int, str]:
    """How many processes train on so many GPUs, and a line that says why; "" where one does anyway.

    As many as `train.processes` says; where that is 0, one a GPU if each gets LEAST_SHARE images of
    the smallest batch, and as many as the others, else one.
    """
    share = options.batch_size // max(gpus, 1)
    if options.processes or gpus < 2:
        count = options.processes or 1
        return count, f"{count} processes train, as train.processes says" if count > 1 else ""
    if options.batch_size % gpus:
        return 1, f"one of {gpus} GPUs trains: they cannot share {options.batch_size} images evenly"
    if share >= LEAST_SHARE:
        return gpus, f"{gpus} GPUs train, each on {share} images of a batch"
    return 1, (
        f"one of {gpus} GPUs trains: each would see {share} images of a batch, and averaging pays "
        f"from {LEAST_SHARE} on (train.processes = {gpus} takes them all)"
    )


def check_batch(batch_size: int, processes: int) -> None:
    """Raises InputError where a batch cannot be shared out evenly, two images or more each."""
    if batch_size % processes or batch_size < 2 * processes:
        raise InputError(
            f"train.batch_size is {batch_size}; {processes} processes need a multiple of "
            f"{processes}, 2 images or more each"
        )
