"""Graphs as the organisers' one, of weights that a test has made."""

import numpy as np
import pytest

from doggan.scoring.judges.inception_graph import graph_name
from doggan.scoring.judges.inception_network import layer_names

NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def constants_of(state):
    """Name -> array, as the graph has them."""
    constants = {
        "softmax/weights": state["fc.weight"].t().numpy(),
        "softmax/biases": state["fc.bias"].numpy(),
    }
    for layer in layer_names():
        name = graph_name(layer)
        weight = state[f"{layer}.conv.weight"].permute(2, 3, 1, 0)
        constants[f"{name}/conv2d_params"] = weight.numpy()
        for own, constant in NORM.items():
            constants[f"{name}/batchnorm/{constant}"] = state[f"{layer}.bn.{own}"].numpy()
    return constants


def write_graph(path, constants):
    """A frozen graph of these constants, and of nodes that a reader passes by."""
    graph_pb2 = pytest.importorskip("tensorboard.compat.proto.graph_pb2")
    graph = graph_pb2.GraphDef()
    graph.node.add(name="DecodeJpeg/contents", op="Placeholder")
    size = graph.node.add(name="ResizeBilinear/size", op="Const").attr["value"].tensor
    size.dtype, size.tensor_content = 3, np.array([299, 299], "<i4").tobytes()  # DT_INT32
    for name, array in constants.items():
        tensor = graph.node.add(name=name, op="Const").attr["value"].tensor
        tensor.dtype = 1  # DT_FLOAT
        for side in array.shape:
            tensor.tensor_shape.dim.add(size=side)
        tensor.tensor_content = np.ascontiguousarray(array, "<f4").tobytes()
    path.write_bytes(graph.SerializeToString())
    return path
