"""What the scoring is held against, for exactness by the tests and for speed by the benchmark.

The organisers' formulas, transcribed literally: dense, in float64, and slow. torch-fidelity's
Inception and the stock EfficientNet-Lite0, as their packages build them. And random weights for
Inception, under the official file's names, where the official file is not at hand.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import linalg
from torch import nn
from torchvision.models.inception import Inception3

from doggan.scoring.judges import efficientnet
from doggan.scoring.judges.inception_network import SIDE, resize_like_tensorflow1


def published_distance(generated, reference):
    """The memorisation distance: dense, minimum over the reference; [N, D], [M, D] float64."""
    generated = generated[np.sum(generated, axis=1) != 0]
    reference = reference[np.sum(reference, axis=1) != 0]
    generated = np.nan_to_num(generated / np.linalg.norm(generated, axis=1, keepdims=True))
    reference = np.nan_to_num(reference / np.linalg.norm(reference, axis=1, keepdims=True))
    return np.mean(np.min(1.0 - np.abs(np.matmul(generated, reference.T)), axis=1))


def published_fid(generated, reference):
    """FID: `np.cov` and the matrix square root of the product; [N, D], [M, D] float64."""
    mean1, cov1 = np.mean(generated, axis=0), np.cov(generated, rowvar=False)
    mean2, cov2 = np.mean(reference, axis=0), np.cov(reference, rowvar=False)
    root = linalg.sqrtm(cov1.dot(cov2))
    if not np.isfinite(root).all():
        offset = np.eye(len(cov1)) * 1e-6
        root = linalg.sqrtm((cov1 + offset).dot(cov2 + offset))
    if np.iscomplexobj(root):
        assert np.allclose(np.diagonal(root).imag, 0, atol=1e-3)
        root = root.real
    shift = mean1 - mean2
    return shift.dot(shift) + np.trace(cov1) + np.trace(cov2) - 2 * np.trace(root)


def published_mifid(generated, reference, eps):
    """MiFID: a distance of `eps` or more counts as 1."""
    distance = published_distance(generated, reference)
    return published_fid(generated, reference) / ((distance if distance < eps else 1) + 1e-15)


def draw_images(count, height, width, seed=0):
    """Smooth colour gradients under noise, [count, height, width, 3] uint8."""
    random = np.random.default_rng(seed)
    coarse = torch.from_numpy(random.random((count, 3, 4, 4), np.float32) * 255)
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear").permute(0, 2, 3, 1)
    noise = random.normal(0, 20, (count, height, width, 3))
    return (smooth.numpy() + noise).clip(0, 255).astype(np.uint8)


def random_inception_weights():
    """Inception's weights under their official names; activations keep their size throughout."""
    with torch.device("meta"):
        network = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    random = torch.Generator().manual_seed(0)
    state = {}
    for name, value in network.state_dict().items():
        shape = value.shape
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
        elif name.endswith(("bn.weight", "running_var")):
            state[name] = 1 + 0.2 * torch.rand(shape, generator=random)
        else:
            scale = (2 / shape[1:].numel()) ** 0.5 if len(shape) > 1 else 0.1
            state[name] = scale * torch.randn(shape, generator=random)
    return state


def settle_inception_weights(state, images):
    """The weights with norms in the last block that fit `images` [N, H, W, 3] uint8.

    Random layers squeeze all images onto nearly one direction. Norms that take out what images have
    in common leave features that differ as much as trained ones'. Further up they would magnify
    rounding from layer to layer, as no trained network does.
    """
    with torch.device("meta"):
        network = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    network.load_state_dict(state, assign=True)
    network.eval()
    network.Mixed_7c.train()
    for module in network.Mixed_7c.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # what this batch has
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float().contiguous()
    with torch.inference_mode():
        network((resize_like_tensorflow1(x, SIDE) - 128) / 128)
    return {name: value.clone() for name, value in network.state_dict().items()}


def fidelity_inception(weights: Path):
    """torch-fidelity's extractor: [N, 3, H, W] uint8 -> a tuple of [N, 2048] float32."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights)
    )


class StockEfficientNet(nn.Module):
    """The package's own network: [N, H, W, 3] uint8 -> [N, 1280], unfused."""

    def __init__(self):
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name("efficientnet-lite0")
        self.network.load_state_dict(efficientnet.read_weights(efficientnet.find_weights()))
        self.eval()

    def forward(self, images):
        x = images.permute(0, 3, 1, 2).float()
        x = F.interpolate(x, size=224, mode="bilinear", align_corners=False)
        x = ((x - 127) / 128).to(next(self.parameters()).dtype)
        return self.network.extract_features(x).float().mean((2, 3))
