"""The convolutions of a network, each timed by itself, for the benchmarks."""

import time

import torch
from torch import nn

from doggan.support.device import autocast

_WARM_UP = 2  # passes that are not measured


def convolutions_of(network: nn.Module, inputs: torch.Tensor) -> list[tuple[nn.Module, torch.Size]]:
    """The network's convolutions and transposed ones, with the shape that each is given when the
    network is given `inputs`, in that order."""
    found = []

    def note(layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        found.append((layer, given[0].shape))

    layers = [
        layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    with torch.no_grad():
        network(inputs)
    for hook in hooks:
        hook.remove()
    return found


def seconds_of_layer(
    layer: nn.Module,
    shape: torch.Size,
    device: torch.device,
    precision: str,
    repeats: int,
    layout: torch.memory_format = torch.channels_last,
) -> float:
    """What a layer takes forward and back, its weights' gradient and its input's, on average."""
    layer.to(device, memory_format=layout)
    images = torch.randn(shape, device=device).to(memory_format=layout).requires_grad_()
    for repeat in range(_WARM_UP + repeats):
        if repeat == _WARM_UP:
            wait(device)
            started = time.perf_counter()
        with autocast(device, precision):
            made = layer(images)
        made.backward(made.detach())
    wait(device)
    return (time.perf_counter() - started) / repeats


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
