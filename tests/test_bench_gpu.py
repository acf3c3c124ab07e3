"""The GPU's benchmark, in a short form and on a CPU: every part measures."""

import json
import math

import pytest
import torch
from torch import nn

import bench_gpu
from layers import convolutions_of

BATCH = bench_gpu.SIZES["batches"][1][0]


def results(capsys, tiny_set, part):
    arguments = ["--quick", "--device", "cpu", "--json", "--set", str(tiny_set.folder)]
    assert bench_gpu.main([*arguments, "--only", part]) == 0
    out, err = capsys.readouterr()
    return json.loads(out.splitlines()[-1]), err


def forward_flops(layer, shape):
    """Two for each weight at each place: the pixels made, or, transposed, those given."""
    laid = layer(torch.zeros(shape)).shape if isinstance(layer, nn.Conv2d) else shape
    return 2 * shape[0] * math.prod(laid[2:]) * layer.weight.numel()


@pytest.mark.slow
def test_a_steps_arithmetic_is_that_of_its_layers_and_is_held_against_a_product(capsys, tiny_set):
    found, told = results(capsys, tiny_set, "rate")
    recipe = bench_gpu.with_width(bench_gpu.load_recipe("dogs"), 8)
    networks = bench_gpu.make_networks(recipe.networks, side=64, channels=3, label_count=1, seed=0)
    inputs = torch.randn(BATCH, recipe.networks.latent), torch.randn(BATCH, 3, 64, 64)
    of_g, of_d = (
        [forward_flops(*layer) for layer in convolutions_of(network, images)]
        for network, images in zip(networks, inputs, strict=True)
    )
    # G: forward, back to its weights, and to each layer's input but z. D: the same for real and
    # generated images in its own step; in G's forward, and back to the images alone.
    expected = 3 * sum(of_g) - of_g[0] + 2 * (3 * sum(of_d) - of_d[0]) + 2 * sum(of_d)
    assert found["width_8_batch_4_step_gigaflops"] == pytest.approx(expected / 1e9)
    seconds = BATCH / found["width_8_batch_4_images_per_second"]
    share = found["width_8_batch_4_of_matrix_rate"] * found["matrix_teraflops"]
    assert share == pytest.approx(expected / 1e12 / seconds)
    assert "convolution_backward" in told


@pytest.mark.slow
def test_layers_the_judge_and_processes_are_timed(capsys, tiny_set):
    edges, _ = results(capsys, tiny_set, "edges")
    precisions = {"fp32", "bf16"}  # a CPU has no others
    expected = {
        f"{edge}_layer_{precision}_{layout}_seconds"
        for edge in ("first", "last")
        for precision in precisions
        for layout in bench_gpu.LAYOUTS
    }
    assert {name for name in edges if "_layer_" in name} == expected
    judge, _ = results(capsys, tiny_set, "judge")
    assert judge["judge_autotuned_padded_images_per_second"] > 0
    found, _ = results(capsys, tiny_set, "processes")
    assert found["processes"] == 2
    assert all(found[f"buckets_{name}_seconds"] > 0 for name in bench_gpu.BUCKETS)
    assert found["agree_seconds"] > 0
