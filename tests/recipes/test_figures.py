"""recipes/figures.py on two small trainings."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from small import small_config

from aib_keras import experiments


@pytest.fixture(scope="module")
def runs(small_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(small_run, folder / "cluttered_digits-vgg_aib_qt-seed0")
    config = small_config(model="vgg_aib", epochs=2)
    experiments.train(config, folder / "cluttered_digits-vgg_aib-seed0", verbose=0)
    return folder


def test_all_figures_are_made_and_show_something(runs, tmp_path, recipe_path):
    done = subprocess.run(
        [
            sys.executable,
            recipe_path("figures"),
            f"--runs={runs}",
            "--dataset=cluttered_digits",
            f"--out={tmp_path}",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    made = {path.name for path in tmp_path.iterdir()}
    expected = {
        "fig3-color-window.png",
        "fig3-high-frequency.png",
        "fig3-low-frequency.png",
        "cluttered_digits-vgg_aib_qt-seed0-anchors.png",
        "cluttered_digits-vgg_aib_qt-seed0-film.gif",
        "cluttered_digits-vgg_aib-seed0-film.gif",
    }
    # Whether there is an image for Fig. 5 depends on what the two models get wrong.
    assert made - {"fig5.png"} == expected
    assert ("fig5.png" in made) != ("No fig5.png" in done.stdout)
    for name in made:
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 100
            assert np.asarray(image.convert("L")).std() > 5
    with Image.open(tmp_path / "cluttered_digits-vgg_aib-seed0-film.gif") as film:
        assert film.n_frames == 2
