import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
import types
import urllib.error
import urllib.request

import numpy as np
import pytest

from aib_keras import data, zoo
from aib_keras.utils.files import write_json

ROOT = pathlib.Path(__file__).resolve().parents[2]
_SECONDS_TO_START = 300  # On a busy machine.


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
    """A folder of work directories: vgg, vgg_aib_qt, vgg_dvib and vgg_gap."""
    folder = tmp_path_factory.mktemp("runs")
    for model in ("vgg", "vgg_dvib", "vgg_gap"):
        make_run(folder / model, model)
    quantized = {"kl_nats": 1.0, "anchors_in_use": 0.5}
    make_run(folder / "vgg_aib_qt", "vgg_aib_qt", last_epoch=quantized)
    return folder


@pytest.fixture(scope="session")
def app_command():
    """`app_command(*arguments)`: the command line of the app, and the environment for it."""

    def command(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        return [sys.executable, "-m", "aib_keras.app", *arguments], environment

    return command


# Until the tests of this folder, a package for that, are done: an idle server takes its share of a
# core, too.
@pytest.fixture(scope="package")
def server(runs, app_command, tmp_path_factory):
    """A running app with `runs`: its `address`, `pid`, and `log()`, what it has printed."""
    pytest.importorskip("gradio", reason="the page needs Gradio: pip install aib-keras[app]")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command, environment = app_command(f"--runs={runs}", f"--port={port}")
    log = tmp_path_factory.mktemp("server") / "log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(process, address, log)
        yield types.SimpleNamespace(address=address, port=port, pid=process.pid, log=log.read_text)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process, address, log):
    end = time.monotonic() + _SECONDS_TO_START
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(address):
            return
        time.sleep(0.2)
    pytest.fail(f"The app did not start:\n{log.read_text()}")


@pytest.fixture(scope="session")
def image_file(tmp_path_factory):
    """An image of noise, larger than what the models see, and not square."""
    from PIL import Image

    path = tmp_path_factory.mktemp("images") / "noise.png"
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(noise).resize((210, 150)).save(path)
    return path
