r"""Evaluates a CIFAR-10 model on STL-10 resized to 32x32, without any training.

Paper (Table 1, top-1 error on the training and the test images): vgg 54.66 % and 55.09 %,
vgg_aib_qt 50.44 % and 51.16 %, wrn_aib_qt 50.34 % and 50.49 %. A minute on two CPU cores after the
download of STL-10 (2.6 GB).

    python recipes/eval_stl10.py --workdir=runs/cifar10-vgg_aib_qt-seed0

Eight class names are the same in both sets, and STL-10's car is CIFAR-10's automobile. STL-10 has
`monkey`, which no CIFAR-10 model can predict, and no `frog`. The recipe prints both readings of the
error: over all images, where every monkey is an error, and over the images of the nine shared
classes. In both, a prediction of frog is an error. The paper does not say which it means. The
recipe writes transfer.json to the work directory, where recipes/table1.py finds it.
"""

import pathlib

import keras
import numpy as np
from absl import app, flags, logging

from aib_keras import data
from aib_keras.experiments.results import read_result
from aib_keras.utils import program
from aib_keras.utils.files import write_json

WORKDIR = flags.DEFINE_string("workdir", None, "Work directory of a finished CIFAR-10 training.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data.")
flags.mark_flag_as_required("workdir")

# In the order of their labels in TFDS.
CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
SAME = {"car": "automobile"}


def main(argv):
    program.check_no_arguments(argv)
    logging.set_verbosity(logging.WARNING)
    workdir = pathlib.Path(WORKDIR.value)
    result = trained_result(workdir)
    model = keras.saving.load_model(workdir / "model.keras")
    samples = result["config"]["prediction_samples"]
    found = {}
    for split in ("train", "test"):
        images = data.load("stl10", split, data_dir=DATA_DIR.value, image_size=32)
        found[f"stl10_{split}"] = scores(model, images, samples)
    write_json(workdir / "transfer.json", found)
    for name, values in found.items():
        print(
            f"{name}: error {100 * values['test_error_last_epoch']:.2f} % over all "
            f"{values['evaluated_examples']:,} images, "
            f"{100 * values['test_error_shared_classes']:.2f} % over the nine shared classes"
        )
    print(f"Written to {workdir}/transfer.json.")


def trained_result(workdir):
    """Reads the `result.json` of a CIFAR-10 training."""
    if not (workdir / "result.json").exists():
        raise app.UsageError(f"--workdir={workdir}: there is no result.json. Train a model first.")
    result = read_result(workdir)
    if result["dataset"] != "cifar10" or result["input_shape"] != [32, 32, 3]:
        raise app.UsageError(
            f"--workdir={workdir} is a training on {result['dataset']} {result['input_shape']}: "
            "expected one on cifar10 at 32x32."
        )
    return result


def scores(model, images, samples):
    """Returns errors of a CIFAR-10 model on an `ImageData` of STL-10, shares in [0, 1]."""
    labels = cifar_labels(images)
    wrong = model.predict(images.images, verbose=0).argmax(axis=-1) != labels
    found = {
        "test_error_last_epoch": round(float(wrong.mean()), 6),
        "test_error_shared_classes": round(float(wrong[labels >= 0].mean()), 6),
        "evaluated_examples": len(labels),
        "shared_examples": int((labels >= 0).sum()),
    }
    if samples and model.encoder is not None:
        sampled = model.predict_mc(images.images, samples)["logits"].argmax(axis=-1) != labels
        found["test_error_last_epoch_sampled"] = round(float(sampled.mean()), 6)
    return found


def cifar_labels(images):
    """Returns CIFAR-10's label of each image, or -1 if it has none."""
    names = [SAME.get(name, name) for name in images.class_names]
    if len(set(names) & set(CIFAR10)) != 9:
        raise ValueError(f"Expected STL-10's classes, got {', '.join(images.class_names)}.")
    table = np.array([CIFAR10.index(name) if name in CIFAR10 else -1 for name in names])
    return table[images.labels]


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
