"""The README's first command, in short: what it leaves is opened, not only its exit code."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doggan.gan.run_folder import GRID, PROGRESS, SCORECARD, ZIP
from doggan.submission import check_submission
from processes import run

QUICKSTART = Path(__file__).parents[1] / "tools" / "quickstart"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the script is for a POSIX shell")
def test_the_quickstart_goes_from_nothing_to_a_scored_zip(tmp_path):
    folder = tmp_path / "demo"
    options = ("--out", folder, "--photos", 60, "--count", 120, "--time-limit", "40s")
    ran = run([QUICKSTART, *options, "--judge", "efficientnet-lite0"])
    assert ran.returncode == 0, ran.stderr
    assert check_submission(folder / ZIP, count=120).valid
    scorecard = json.loads((folder / SCORECARD).read_text("utf-8"))
    assert (scorecard["generated_images"], scorecard["reference_images"]) == (120, 60)
    assert f"MiFID     {scorecard['mifid']:.4f}" in ran.stdout
    with Image.open(folder / GRID) as grid:
        pixels = np.asarray(grid.convert("RGB"))
    images = pixels[: 66 * (len(pixels) // 66), : 66 * (pixels.shape[1] // 66)]
    assert images.reshape(-1, 3).std(axis=0).min() > 10
    assert (images[2:66, 2:66] != images[2:66, 68:132]).any()
    with Image.open(folder / PROGRESS) as gif:
        assert gif.n_frames >= 2
