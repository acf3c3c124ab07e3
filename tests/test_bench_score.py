"""The benchmark of the scoring works, and its last line is one JSON object."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "bench_score.py"

RATIOS = {
    "inception": {"inception_fp32_ratio", "inception_bf16_ratio"},
    "precision": {"bf16_mifid_difference"},
    "efficientnet": {"efficientnet_ratio", "efficientnet_images_per_second"},
    "mathematics": {"mathematics_ratio", "mathematics_memory_ratio"},
    "cache": {"second_score_ratio"},
}


def bench(*arguments):
    command = [sys.executable, str(TOOL), "--quick", "--threads", "1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def check(parts):
    done = bench("--json", "--only", *parts)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    for part in parts:
        assert results.keys() >= RATIOS[part]
        assert all(results[name] >= 0 for name in RATIOS[part])
    assert results["quick"]
    assert (results["threads"], results["repeats"]) == (1, 1)
    return results


def test_mathematics_and_cache_are_timed():
    pytest.importorskip("torch_fidelity", reason="torch_fidelity is not installed")
    assert check(["mathematics", "cache"])["second_score_ratio"] > 1


@pytest.mark.slow
def test_every_part_is_timed():
    pytest.importorskip("torch_fidelity", reason="torch_fidelity is not installed")
    results = check(list(RATIOS))
    assert results["inception_weights"] == "random"
    assert results["inception_fp32_feature_error"] < 1e-5


def test_a_file_that_is_no_weights_is_one_sentence(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"torn")
    done = bench("--only", "inception", "--weights", str(path))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"bench_score: {path}: not a PyTorch weights")
    assert "Traceback" not in done.stderr
