"""The organisers' TensorFlow graph is read as the weights it holds, or refused in a sentence."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

from doggan.cli.main import main
from doggan.scoring.judges import inception
from doggan.scoring.judges.inception_graph import graph_name, is_graph
from doggan.scoring.judges.inception_network import InceptionPool3, layer_names
from doggan.scoring.judges.judge import load_judge
from doggan.support.errors import InputError
from inception_graphs import constants_of, write_graph
from peers import draw_images, random_inception_weights


@pytest.fixture(scope="module")
def state():
    return random_inception_weights()


# Of every kind of block and branch one, by torch-fidelity's convert_inception_weights.py.
@pytest.mark.parametrize(
    ("layer", "name"),
    [
        ("Conv2d_1a_3x3", "conv"),
        ("Conv2d_2b_3x3", "conv_2"),
        ("Conv2d_4a_3x3", "conv_4"),
        ("Mixed_5b.branch1x1", "mixed/conv"),
        ("Mixed_5b.branch5x5_2", "mixed/tower/conv_1"),
        ("Mixed_5c.branch3x3dbl_3", "mixed_1/tower_1/conv_2"),
        ("Mixed_5d.branch_pool", "mixed_2/tower_2/conv"),
        ("Mixed_6a.branch3x3", "mixed_3/conv"),
        ("Mixed_6a.branch3x3dbl_2", "mixed_3/tower/conv_1"),
        ("Mixed_6b.branch7x7_1", "mixed_4/tower/conv"),
        ("Mixed_6c.branch7x7_3", "mixed_5/tower/conv_2"),
        ("Mixed_6d.branch7x7dbl_5", "mixed_6/tower_1/conv_4"),
        ("Mixed_6e.branch_pool", "mixed_7/tower_2/conv"),
        ("Mixed_7a.branch3x3_2", "mixed_8/tower/conv_1"),
        ("Mixed_7a.branch7x7x3_4", "mixed_8/tower_1/conv_3"),
        ("Mixed_7b.branch3x3_1", "mixed_9/tower/conv"),
        ("Mixed_7b.branch3x3_2b", "mixed_9/tower/mixed/conv_1"),
        ("Mixed_7c.branch3x3dbl_2", "mixed_10/tower_1/conv_1"),
        ("Mixed_7c.branch3x3dbl_3a", "mixed_10/tower_1/mixed/conv"),
        ("Mixed_7c.branch_pool", "mixed_10/tower_2/conv"),
    ],
)
def test_each_layer_has_its_name_in_the_graph(layer, name):
    assert layer in layer_names()
    assert graph_name(layer) == name


def test_no_two_layers_share_a_name():
    assert len(layer_names()) == len(set(map(graph_name, layer_names()))) == 94


def test_the_graph_holds_the_very_weights(state, tmp_path):
    path = write_graph(tmp_path / "graph.pb", constants_of(state))
    assert is_graph(path)
    found = inception.read_weights(path)
    expected = {name: value for name, value in state.items() if "num_batches" not in name}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.slow
def test_both_files_of_the_same_weights_give_the_same_features(state, tmp_path):
    torch.save(state, tmp_path / "weights.pth")
    assert not is_graph(tmp_path / "weights.pth")
    write_graph(tmp_path / "graph.pb", constants_of(state))
    images = torch.from_numpy(draw_images(4, 64, 64, seed=1))
    one, other = (
        InceptionPool3(inception.read_weights(tmp_path / name))(images)
        for name in ("weights.pth", "graph.pb")
    )
    assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda all: all.pop("mixed_3/conv/conv2d_params"), "mixed_3/conv/conv2d_params is miss"),
        (lambda all: all.update({"softmax/biases": np.zeros((2, 2))}), "has 2 dimensions"),
        (lambda all: all.update({"mixed_11/conv/conv2d_params": np.zeros(3)}), "it has mixed_11"),
        (lambda all: all.update({"conv/batchnorm/beta": np.full(32, np.nan)}), "holds NaN"),
        (lambda all: all.update({"conv/batchnorm/beta": np.zeros(31)}), "do not fit"),
    ],
)
def test_another_graph_is_refused(state, tmp_path, change, message):
    constants = constants_of(state)
    change(constants)
    path = write_graph(tmp_path / "graph.pb", constants)
    with pytest.raises(InputError, match=message):
        load_judge("inception", device="cpu", weights=path)


@pytest.mark.parametrize("data", [b"\n", b"\n\xff\xff\xff\xff\x0f", b"\nhello"])
def test_what_only_begins_as_a_graph_is_refused(tmp_path, data):
    path = tmp_path / "graph.pb"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"graph\.pb: (not a TensorFlow|this graph is not)"):
        load_judge("inception", device="cpu", weights=path)


def test_a_constant_whose_size_lies_is_refused(tmp_path):
    path = write_graph(tmp_path / "graph.pb", {"softmax/biases": np.zeros(4)})
    data = path.read_bytes()
    assert data.count(b"\x08\x04") == 1  # the shape's one side, 4
    path.write_bytes(data.replace(b"\x08\x04", b"\x08\x05"))
    with pytest.raises(InputError, match=r"softmax/biases has 4 numbers for the shape \[5\]"):
        load_judge("inception", device="cpu", weights=path)


def test_a_constant_that_is_cut_short_is_refused(tmp_path):
    graph_pb2 = pytest.importorskip("tensorboard.compat.proto.graph_pb2")
    graph = graph_pb2.GraphDef()
    tensor = graph.node.add(name="softmax/biases", op="Const").attr["value"].tensor
    tensor.dtype, tensor.tensor_content = 1, b"12345"
    (tmp_path / "graph.pb").write_bytes(graph.SerializeToString())
    with pytest.raises(InputError, match="softmax/biases is cut short"):
        load_judge("inception", device="cpu", weights=tmp_path / "graph.pb")


@pytest.mark.slow
def test_the_published_graph_compares_with_kaggles_and_scores(state, tmp_path, monkeypatch, capsys):
    path = write_graph(tmp_path / "graph.pb", constants_of(state))
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(inception, "OFFICIAL_GRAPH", (path.stat().st_size, digest))
    assert load_judge("inception", device="cpu", weights=path).comparable_with_kaggle
    for seed, name in enumerate(("images", "reference")):
        (tmp_path / name).mkdir()
        for number, image in enumerate(draw_images(5, 64, 64, seed=seed)):
            Image.fromarray(image).save(tmp_path / name / f"{number}.png")
    where = ("--reference", str(tmp_path / "reference"), "--weights", str(path))
    assert main(["score", str(tmp_path / "images"), *where, "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["judge"], card["generated_images"]) == ("inception", 5)
    assert "COMPARES WITH NOTHING" not in card["notice"]
    assert {"manifold_precision", "manifold_recall"} < card.keys()


def test_a_graph_that_is_not_the_published_one_compares_with_nothing(state, tmp_path):
    path = write_graph(tmp_path / "graph.pb", constants_of(state))
    judge = load_judge("inception", device="cpu", weights=path)
    assert not judge.comparable_with_kaggle
    assert "COMPARES WITH NOTHING" in judge.notice
