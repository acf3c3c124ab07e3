"""Inception's weights from the organisers' own graph, `classify_image_graph_def.pb`.

A frozen TensorFlow graph holds its weights as constants. The messages that it is made of come with
TensorBoard, so it is read without TensorFlow, and nothing in it is run. Which constant is which of
torchvision's layers is what torch-fidelity's `convert_inception_weights.py` found by their shapes.
"""

import re
from pathlib import Path

import numpy as np
import torch

from doggan.support.errors import DogganError, InputError

_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
# The tower of each branch of a kind of block; the block itself is the first one's.
_A = {"branch1x1": "", "branch5x5": "tower", "branch3x3dbl": "tower_1", "branch_pool": "tower_2"}
_B = {"branch3x3": "", "branch3x3dbl": "tower"}
_C = {"branch1x1": "", "branch7x7": "tower", "branch7x7dbl": "tower_1", "branch_pool": "tower_2"}
_D = {"branch3x3": "tower", "branch7x7x3": "tower_1"}
_E = {"branch1x1": "", "branch3x3": "tower", "branch3x3dbl": "tower_1", "branch_pool": "tower_2"}
_BLOCKS = {  # in the graph's order
    **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d"), _A),
    "Mixed_6a": _B,
    **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), _C),
    "Mixed_7a": _D,
    **dict.fromkeys(("Mixed_7b", "Mixed_7c"), _E),
}
# What a layer's constants are called, and torchvision's names for them.
_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_FLOAT = 1  # TensorFlow's DT_FLOAT


def is_graph(path: Path) -> bool:
    """Whether the file begins as a graph does, and no file of PyTorch's: with its first node."""
    with path.open("rb") as file:
        return file.read(1) == b"\n"


def read_graph_weights(path: Path, layers: list[str]) -> dict[str, torch.Tensor]:
    """The state dict of those `layers` of torchvision's Inception, and of its `fc`.

    Raises InputError where the file is no graph, lacks a constant or has one of another shape or
    kind, or has convolutions beyond those layers; DogganError where TensorBoard is missing.
    """
    constants, state = _read_constants(path), {}

    def take(name: str, dimensions: int) -> torch.Tensor:
        try:
            value = constants.pop(name)
        except KeyError:
            raise InputError(f"this graph is not Inception's of 2015: {name} is missing") from None
        if value.ndim != dimensions:
            raise InputError(
                f"this graph is not Inception's of 2015: {name} has {value.ndim} dimensions, "
                f"expected {dimensions}"
            )
        return torch.from_numpy(value)

    for layer in layers:
        name = graph_name(layer)
        weight = take(f"{name}/conv2d_params", 4)  # [height, width, in, out]
        state[f"{layer}.conv.weight"] = weight.permute(3, 2, 0, 1).contiguous()
        for constant, own in _NORM.items():
            state[f"{layer}.bn.{own}"] = take(f"{name}/batchnorm/{constant}", 1)
    state["fc.weight"] = take("softmax/weights", 2).t().contiguous()
    state["fc.bias"] = take("softmax/biases", 1)
    if left := [name for name in constants if re.search("/(conv2d_params|batchnorm)", name)]:
        raise InputError(f"this graph is not Inception's of 2015: it has {left[0]}, too")
    return state


def graph_name(layer: str) -> str:
    """Where the constants of one of torchvision's layers are: `Mixed_5b.branch5x5_2` ->
    `mixed/tower/conv_1`."""
    if layer in _STEM:
        return _numbered("conv", _STEM.index(layer))
    block, _, branch = layer.partition(".")
    # `_2` is a branch's second layer; `_2a` and `_2b` are two side by side.
    kind, place, side = re.fullmatch(r"(branch(?:_pool|[^_]+))(?:_(\d)([ab]?))?", branch).groups()
    if side:
        convolution = "mixed/" + _numbered("conv", "ab".index(side))
    else:
        convolution = _numbered("conv", int(place or 1) - 1)
    name = _numbered("mixed", list(_BLOCKS).index(block))
    return "/".join(filter(None, [name, _BLOCKS[block][kind], convolution]))


def _numbered(name: str, number: int) -> str:
    """TensorFlow's name for another of a kind, counted from 0."""
    return f"{name}_{number}" if number else name


def _read_constants(path: Path) -> dict[str, np.ndarray]:
    """The graph's float constants by name, copies."""
    try:
        from google.protobuf.message import DecodeError
        from tensorboard.compat.proto.graph_pb2 import GraphDef
    except ImportError as error:
        raise DogganError(
            f"{path} is a TensorFlow graph; to read one TensorBoard is needed ({error}): "
            "pip install tensorboard"
        ) from error
    graph = GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise InputError("not a TensorFlow graph, or cut short") from error
    tensors = {node.name: node.attr["value"].tensor for node in graph.node if node.op == "Const"}
    return {name: _array(name, value) for name, value in tensors.items() if value.dtype == _FLOAT}


def _array(name: str, tensor: object) -> np.ndarray:
    """A constant as float32; its values are bytes, or few enough to be numbers of a list."""
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if len(tensor.tensor_content) % 4:
        raise InputError(f"the graph's {name} is cut short")
    values = np.frombuffer(tensor.tensor_content, "<f4")
    values = np.array(values if len(values) else tensor.float_val, np.float32)
    if min(shape, default=1) < 1 or values.size != np.prod(shape, dtype=np.float64):
        raise InputError(f"the graph's {name} has {values.size} numbers for the shape {shape}")
    if not np.isfinite(values).all():
        raise InputError(f"the graph's {name} holds NaN or infinity")
    return values.reshape(shape)
