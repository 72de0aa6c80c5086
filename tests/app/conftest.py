import pathlib

import numpy as np
import pytest
from page_in_browser import served

from aib_keras import data, zoo
from aib_keras.utils.files import write_json


@pytest.fixture(scope="session")
def digits():
    return data.load("cluttered_digits", "test[:16]").images


@pytest.fixture(scope="session")
def make_run(settled, digits):
    """`make_run(folder, model, **result)`: a work directory with an untrained, narrow model and
    the `result.json` of a training."""

    def make(folder, model, dataset="cluttered_digits", **result):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True)
        settled(zoo.get(model)(width=0.0625), digits).save(folder / "model.keras")
        shared = {"model": model, "dataset": dataset, "seed": 0, "last_epoch": {}}
        names = [f"class {index}" for index in range(10)]
        config = {"crop_pct": 1.0, "crop_to_box": False}
        shared |= {"class_names": names, "config": config}
        write_json(folder / "result.json", {**shared, **result})
        return folder

    return make


@pytest.fixture(scope="session")
def runs(tmp_path_factory, make_run):
    """A folder of work directories: vgg, vgg_aib_qt, which sees the middle of an image, vgg_dvib
    and vgg_gap."""
    folder = tmp_path_factory.mktemp("runs")
    for model in ("vgg", "vgg_dvib", "vgg_gap"):
        make_run(folder / model, model)
    quantized = {"kl_nats": 1.0, "anchors_in_use": 0.5}
    config = {"crop_pct": 0.8, "crop_to_box": False}
    make_run(folder / "vgg_aib_qt", "vgg_aib_qt", last_epoch=quantized, config=config)
    return folder


# Until the tests of this folder, a package for that, are done: an idle server takes its share of a
# core, too.
@pytest.fixture(scope="package")
def server(runs):
    """A running app with `runs` and the published weights: see `served`."""
    pytest.importorskip("gradio", reason="the page needs Gradio: pip install aib-keras[app]")
    with served(f"--runs={runs}") as server:
        yield server


@pytest.fixture(scope="session")
def image_file(tmp_path_factory):
    """An image of noise, larger than what the models see, and not square."""
    from PIL import Image

    path = tmp_path_factory.mktemp("images") / "noise.png"
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(noise).resize((210, 150)).save(path)
    return path
