r"""Size, speed and accuracy of a trained model as a LiteRT file, in four variants.

The paper has nothing on this. The recipe exports a training as float32, float16, dynamic and int8
(see `aib_keras.export.to_litert`) and measures each on test images: size, time per batch against
float32's, error, share of images with float32's class, and cosine of the maps with float32's. The
ranges of int8 are measured on training images. Expect of int8 at most 0.5 points more error, maps
with a cosine of at least 0.99, and at least twice the speed.

    python recipes/litert_report.py --workdir=runs/cifar10-vgg_aib_qt-seed0

This takes a minute on two CPU cores at an eighth of the width. The recipe leaves the files,
report.md and report.json in WORKDIR/litert. The variants are timed in turns in one process, because
on a busy machine only their ratio means anything. Reported is the median over the turns.
"""

import dataclasses
import pathlib
import time

import keras
import numpy as np
from absl import app, flags, logging

from aib_keras import experiments, export, metrics
from aib_keras.experiments import markdown
from aib_keras.experiments.results import read_result
from aib_keras.export import litert
from aib_keras.utils import program

WORKDIR = flags.DEFINE_string("workdir", None, "Work directory of a finished training.")
EXAMPLES = flags.DEFINE_integer("examples", 1000, "Number of test images to measure on.", 1)
REPRESENTATIVE = flags.DEFINE_integer("representative", 200, "Training images for int8.", 1)
THREADS = flags.DEFINE_integer("threads", 1, "Threads of the interpreter.", 1)
TURNS = flags.DEFINE_integer("turns", 20, "Timings of each variant.", 1)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data, if it has moved.")

# The name of a variant -> `quantize` of to_litert. The first is what the others are compared with.
VARIANTS = {"float32": None, "float16": "float16", "dynamic": "dynamic", "int8": "int8"}
# Images in a timed batch.
BATCH_SIZES = (1, 64)
# Each timing repeats the run for about this long.
SECONDS_A_TIMING = 0.02


def main(argv):
    program.check_no_arguments(argv)
    logging.set_verbosity(logging.ERROR)
    if WORKDIR.value is None or not (pathlib.Path(WORKDIR.value) / "result.json").exists():
        raise app.UsageError(
            f"--workdir={WORKDIR.value}: no finished training there. Train a model first, for "
            "example with recipes/train_cifar10.py."
        )
    workdir = pathlib.Path(WORKDIR.value)
    folder = workdir / "litert"
    result = read_result(workdir)
    evaluation = experiments.load_evaluation(result, DATA_DIR.value)
    evaluation = evaluation.take(min(EXAMPLES.value, len(evaluation)))
    reports = export_all(workdir, folder, result, evaluation)
    times = {size: timed(reports, evaluation.images, size) for size in BATCH_SIZES}
    report = {
        "model": result["model"],
        "dataset": result["dataset"],
        "seed": result["seed"],
        "settings": result["config"]["settings"],
        "evaluated_on": result["evaluated_on"],
        "evaluated_examples": len(evaluation),
        "representative_images": REPRESENTATIVE.value,
        "threads": THREADS.value,
        "variants": measured(reports, evaluation, times),
    }
    markdown.write(folder, "report", table(report), report)


def export_all(workdir, folder, result, evaluation):
    """Exports every variant. Returns a dict from its name to its `ExportReport`."""
    model = keras.saving.load_model(workdir / "model.keras", compile=False)
    images = representative_images(result, evaluation.input_shape)
    reports = {}
    for name, quantize in VARIANTS.items():
        print(f"{workdir}: {name}", flush=True)
        reports[name] = export.to_litert(
            model,
            folder / f"{name}.tflite",
            quantize=quantize,
            representative_images=images,
            class_names=evaluation.class_names,
            overwrite=True,
        )
    return reports


def representative_images(result, shape):
    """Returns training images at even distances, because folders are sorted by class."""
    config = experiments.TrainingConfig.from_json(result["config"])
    if DATA_DIR.value is not None:
        config = dataclasses.replace(config, data_dir=DATA_DIR.value)
    train_data, _, _ = experiments.load_data(config)
    if train_data.input_shape != shape:
        train_data = train_data.center_crop(shape[:2])
    count = min(REPRESENTATIVE.value, len(train_data))
    return train_data.images[np.linspace(0, len(train_data) - 1, count).round().astype(int)]


def timed(reports, images, batch_size):
    """Returns a dict from the name of a variant to its milliseconds per batch, one per turn."""
    from ai_edge_litert.interpreter import Interpreter

    batch = np.resize(images, (batch_size, *images.shape[1:]))
    interpreters = {}
    for name, report in reports.items():
        interpreter = Interpreter(report.path, num_threads=THREADS.value)
        (details,) = interpreter.get_input_details()
        interpreter.resize_tensor_input(details["index"], batch.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(details["index"], batch)
        # The first run prepares the weights.
        seconds = min(seconds_of(interpreter) for _ in range(3))
        interpreters[name] = interpreter, max(1, round(SECONDS_A_TIMING / seconds))
    turns = [
        {name: seconds_of(*prepared) for name, prepared in interpreters.items()}
        for _ in range(TURNS.value)
    ]
    return {name: [1000 * turn[name] for turn in turns] for name in reports}


def seconds_of(interpreter, runs=1):
    """Returns the mean seconds per run of an interpreter."""
    start = time.perf_counter()
    for _ in range(runs):
        interpreter.invoke()
    return (time.perf_counter() - start) / runs


def measured(reports, evaluation, times):
    """Returns a dict from the name of a variant to its figures."""
    figures, base = {}, None
    for name, report in reports.items():
        found = litert.run(report.path, evaluation.images, num_threads=THREADS.value)
        base = base or found
        predicted = found["logits"].argmax(axis=-1)
        figures[name] = {
            "bytes": report.bytes,
            "error": round(float(np.mean(predicted != evaluation.labels)), 6),
            "same_class": round(float(np.mean(predicted == base["logits"].argmax(axis=-1))), 6),
            "cosine": {
                output: round(mean_cosine(found[output], base[output]), 6)
                for output in sorted(found)
                if output.startswith("attention")
            },
            "milliseconds": {
                str(size): round(float(np.median(of_size[name])), 4)
                for size, of_size in times.items()
            },
            "speedup": {
                str(size): round(float(np.median(np.divide(of_size["float32"], of_size[name]))), 3)
                for size, of_size in times.items()
            },
        }
    return figures


def mean_cosine(maps, others):
    """Returns the mean cosine similarity of two batches of maps `(N, h, w, 1)`."""
    return float(np.mean(metrics.map_similarity(maps, others)))


def table(report):
    """Returns the table of one model, a row per variant."""
    variants = report["variants"]
    sizes = list(variants["float32"]["speedup"])
    maps = list(variants["float32"]["cosine"])
    columns = [
        "variant",
        "MB",
        *(f"times as fast, batch {size}" for size in sizes),
        "error %",
        "same class %",
        *(f"cosine of `{name}`" for name in maps),
    ]
    rows = [
        [
            name,
            f"{figures['bytes'] / 1e6:.2f}",
            *(f"{figures['speedup'][size]:.2f}" for size in sizes),
            markdown.percent(figures["error"]),
            markdown.percent(figures["same_class"], 1),
            *(f"{figures['cosine'][name]:.4f}" for name in maps),
        ]
        for name, figures in variants.items()
    ]
    times = " and ".join(
        f"{milliseconds:.3g} ms (batch {size})"
        for size, milliseconds in variants["float32"]["milliseconds"].items()
    )
    lines = [
        f"## `{report['model']}` on {report['dataset']}",
        "",
        f"{report['evaluated_examples']:,} images of {report['evaluated_on']}, "
        f"{report['threads']} thread{'s' * (report['threads'] > 1)}; float32 takes {times}.",
        "",
        *markdown.table(columns, rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
