"""Latency and throughput of a model in every form that it is served in, measured in one run.

    python benchmarks/inference.py
    python benchmarks/inference.py --model=vgg_aib_qt --width=1 --seconds=20

The forms are the plain call `model(images)`, `model.predict`, the SavedModel, LiteRT in float32 and
int8, and ONNX Runtime, each with all cores. They take turns, so that other load on the machine
slows all of them. For each, the benchmark prints the median time per request in ms, and how many
times as fast as the plain call of the same turn it is. It then prints the images per second of each
form when several clients send requests of one image at the same time. Weights and images are
random, because neither changes the time.
"""

import concurrent.futures
import os
import pathlib
import statistics
import tempfile
import threading
import time

import numpy as np
from absl import app, flags, logging

from aib_keras import export, zoo

_MODEL = flags.DEFINE_string("model", "vgg_aib_qt", "A model of the zoo")
_WIDTH = flags.DEFINE_float("width", 0.125, "Multiplies every channel count")
_BATCHES = flags.DEFINE_list("batch_sizes", ["1", "64"], "Images per request")
_SECONDS = flags.DEFINE_float("seconds", 10.0, "Mean time per form and batch size")
_CLIENTS = flags.DEFINE_integer("clients", 4, "Clients at the same time", lower_bound=1)
_REFERENCE = "model(images)"


def main(_):
    # The converters log every step.
    logging.set_verbosity(logging.ERROR)
    model = zoo.create(_MODEL.value, width=_WIDTH.value)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (128, *model.get_build_config()["input_shape"][1:]), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        forms = all_forms(model, images, pathlib.Path(folder))
    cores = os.cpu_count()
    print(f"{_MODEL.value}, width {_WIDTH.value:g}, {images.shape[1:]}, {cores} cores")
    for size in map(int, _BATCHES.value):
        times = latencies(forms, images[np.arange(size) % len(images)])
        print(f"\nBatch {size:<18} median ms   times as fast (middle half of the turns)")
        for name, found in times.items():
            ratios = times[_REFERENCE] / np.array(found)
            low, middle, high = np.percentile(ratios, (25, 50, 75))
            median = 1000 * statistics.median(found)
            print(f"{name:<24} {median:9.2f}   {middle:6.2f} ({low:.2f} to {high:.2f})")
    print(f"\n{_CLIENTS.value} clients, batch 1    images/s   times as many")
    rates = {name: throughput(make, images[:1]) for name, make in forms.items()}
    for name, rate in rates.items():
        print(f"{name:<24} {rate:9.1f}   {rate / rates[_REFERENCE]:6.2f}")


def all_forms(model, images, folder):
    """Returns a dict from a name to a function that makes one client's function of images."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    export.to_saved_model(model, folder / "saved_model")
    export.to_onnx(model, folder / "model.onnx")
    contents = {}
    for quantize in (None, "int8"):
        path = folder / f"{quantize}.tflite"
        export.to_litert(model, path, quantize=quantize, representative_images=images)
        contents[quantize] = path.read_bytes()
    loaded = tf.saved_model.load(str(folder / "saved_model"))
    session = onnx_session(folder / "model.onnx")

    def litert(quantize):
        # An interpreter holds the tensors of one request, so each client needs its own.
        runner = Interpreter(
            model_content=contents[quantize], num_threads=os.cpu_count()
        ).get_signature_runner("serving_default")
        return lambda images: runner(images=images)

    def saved_model(images):
        outputs = loaded.signatures["serving_default"](images=tf.constant(images))
        return {name: value.numpy() for name, value in outputs.items()}

    return {
        _REFERENCE: lambda: lambda images: np.asarray(model(images, training=False)),
        "model.predict": lambda: lambda images: model.predict(images, verbose=0),
        "SavedModel": lambda: saved_model,
        "LiteRT float32": lambda: litert(None),
        "LiteRT int8": lambda: litert("int8"),
        "ONNX Runtime": lambda: lambda images: session.run(None, {"images": images}),
    }


def onnx_session(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def latencies(forms, images):
    """Returns a dict from a name to the seconds of each request. The forms take turns."""
    functions = {name: make() for name, make in forms.items()}
    for function in functions.values():
        for _ in range(3):
            function(images)
    times = {name: [] for name in functions}
    end = time.perf_counter() + _SECONDS.value * len(functions)
    while time.perf_counter() < end:
        for name, function in functions.items():
            start = time.perf_counter()
            function(images)
            times[name].append(time.perf_counter() - start)
    return times


def throughput(make, images):
    """Returns the images per second of all clients together."""
    ready = threading.Barrier(_CLIENTS.value + 1)

    def client():
        function = make()
        for _ in range(3):
            function(images)
        ready.wait()
        end, requests = time.perf_counter() + _SECONDS.value, 0
        while time.perf_counter() < end:
            function(images)
            requests += 1
        return requests

    with concurrent.futures.ThreadPoolExecutor(_CLIENTS.value) as pool:
        clients = [pool.submit(client) for _ in range(_CLIENTS.value)]
        ready.wait()
        start = time.perf_counter()
        requests = sum(done.result() for done in clients)
    return requests * len(images) / (time.perf_counter() - start)


if __name__ == "__main__":
    app.run(main)
