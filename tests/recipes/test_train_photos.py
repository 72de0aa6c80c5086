"""recipes/train_photos.py, from a folder of photos of birds to a report and its exports."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from PIL import Image

from aib_keras import data

REPOSITORY = pathlib.Path(__file__).parents[2]
SHARED = REPOSITORY.parent / "shared"
WEIGHTS = SHARED / "weights" / "efficientnet_lite0_imagenet.npz"

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow("It exports the model.")]


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """A folder with two folders of 24 photos."""
    if not (WEIGHTS.is_file() and (SHARED / "tfds" / "cub50").is_dir()):
        pytest.skip(f"the photos and weights are not beside this checkout, in {SHARED}")
    folder = tmp_path_factory.mktemp("photos")
    found = data.load("cub50", "train", data_dir=str(SHARED / "tfds"), image_size=64)
    for label in (0, 1):
        name = found.class_names[label].replace("/", " ")
        (folder / name).mkdir()
        for index, image in enumerate(found.images[found.labels == label][:24]):
            Image.fromarray(image).save(folder / name / f"{index}.jpg")
    return folder


def train(birds, workdir):
    return subprocess.run(
        [
            sys.executable,
            str(REPOSITORY / "recipes" / "train_photos.py"),
            str(birds),
            "--image_size=64",
            "--epochs=2",
            "--batch_size=16",
            f"--set=backbone_weights={str(WEIGHTS)!r}",
            f"--workdir={workdir}",
        ],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_from_a_folder_to_a_report_and_exports(birds, tmp_path):
    workdir = tmp_path / "run"
    first = train(birds, workdir)
    assert first.returncode == 0, first.stderr[-3000:]
    result = json.loads((workdir / "result.json").read_text())
    numbers = json.loads((workdir / "report.json").read_text())
    assert numbers["error"] == pytest.approx(result["test_error_last_epoch"], abs=1e-6)
    assert 0 < numbers["passes"] < 1
    assert set(numbers["scores"]) == {
        "this model's map",
        "Grad-CAM",
        "a bump in the middle",
        "a random order",
    }
    page = (workdir / "report.html").read_text()
    for name in result["class_names"]:
        assert name in page
    assert (workdir / "saved_model" / "saved_model.pb").is_file()
    assert (workdir / "model.tflite").is_file()
    written = (workdir / "report.html").stat().st_mtime_ns
    again = train(birds, workdir)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "holds a finished training" in again.stdout
    assert (workdir / "report.html").stat().st_mtime_ns == written
