"""The benchmark of the scoring works, and under --json it prints one JSON object alone."""

import json
import math

import pytest
import torch

import bench_score
from conftest import import_or_skip

RATIOS = {
    "inception": {"inception_fp32_ratio", "inception_bf16_ratio"},
    "precision": {"bf16_mifid_difference"},
    "efficientnet": {"efficientnet_ratio", "efficientnet_images_per_second"},
    "mathematics": {"mathematics_ratio", "mathematics_memory_ratio"},
    "manifolds": {"manifolds_ratio"},
    "cache": {"second_score_ratio"},
}
# What a ratio is of: (what is divided, by what).
PARTS_OF = {
    "inception_fp32_ratio": (
        "inception_fp32_images_per_second",
        "inception_fidelity_images_per_second",
    ),
    "inception_bf16_ratio": (
        "inception_bf16_images_per_second",
        "inception_fidelity_images_per_second",
    ),
    "efficientnet_ratio": (
        "efficientnet_images_per_second",
        "efficientnet_stock_images_per_second",
    ),
    "mathematics_ratio": ("mathematics_published_seconds", "mathematics_seconds"),
    "mathematics_memory_ratio": ("mathematics_published_gigabytes", "mathematics_gigabytes"),
    "manifolds_ratio": ("manifolds_fidelity_seconds", "manifolds_seconds"),
    "second_score_ratio": ("first_score_seconds", "second_score_seconds"),
}


@pytest.fixture
def bench(capsys, monkeypatch):
    """The tool with one thread: exit code, lines of stdout, and stderr."""
    threads = torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # the tool sets them; they are put back at the end

    def bench(*arguments):
        code = bench_score.main(["--quick", "--threads", "1", *arguments])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    yield bench
    torch.set_num_threads(threads)


def check(bench, parts):
    code, lines, err = bench("--json", "--only", *parts)
    assert code == 0, err
    (line,) = lines  # and what people read is on stderr
    results = json.loads(line)
    assert all(name in err for part in parts for name in RATIOS[part])
    for part in parts:
        assert results.keys() >= RATIOS[part]
        for name in RATIOS[part]:
            assert math.isfinite(results[name]), name
            # Two precisions may round alike; nothing takes no time or no memory.
            assert results[name] > 0 or name == "bf16_mifid_difference", name
            if name in PARTS_OF:
                over, under = (results[part] for part in PARTS_OF[name])
                assert results[name] == pytest.approx(over / under), name
    assert results["quick"]
    assert (results["threads"], results["repeats"]) == (1, 1)
    return results


@pytest.mark.slow
def test_every_part_is_timed(bench):
    import_or_skip("torch_fidelity", "peers")
    results = check(bench, list(RATIOS))
    assert results["inception_weights"] == "random"
    assert results["inception_fp32_feature_error"] < 1e-5
    assert results["second_score_ratio"] > 1


def test_a_file_that_is_no_weights_is_one_sentence(bench, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"torn")
    code, lines, err = bench("--only", "inception", "--weights", str(path))
    assert (code, lines) == (2, [])
    assert err.splitlines()[-1].startswith(f"bench_score: {path}: not a PyTorch weights")
