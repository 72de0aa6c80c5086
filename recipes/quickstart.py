"""Watch IB attention learn to look, on two CPU cores, in minutes, without a download.

The paper has no such data. The recipe trains a narrow `vgg_aib_qt` and, with the same budget, `vgg`
on cluttered digits: images of one whole digit among pieces of others. Expect 2 to 4 % test error,
and the maximum of the map in the box of the digit for more than 95 % of the test images. The recipe
exports the trained model as a SavedModel and for LiteRT, and checks both against the model.

    pip install -e ".[tensorflow,train,litert]"
    python recipes/quickstart.py

The same command again resumes an interrupted run, or prints the results of a finished one.
"""

import dataclasses
import pathlib

import keras
from absl import app, flags, logging

from aib_keras import export
from aib_keras.experiments import TrainingConfig, train
from aib_keras.utils import program
from aib_keras.utils.optional import require

WORKDIR = flags.DEFINE_string("workdir", "runs/quickstart", "Folder for all results.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of weights, order, augmentation and noise.")

CONFIG = TrainingConfig(
    model="vgg_aib_qt",
    dataset="cluttered_digits",
    train_split="train[:5000]",
    epochs=6,
    batch_size=32,
    augment="none",
    # The map of these settings lies on the digit most often: docs/defaults.md.
    settings={"width": 0.125, "modulation": "noise", "map_beta": 0.3},
)
BASELINE = dataclasses.replace(CONFIG, model="vgg", settings={"width": 0.125})


def main(argv):
    program.check_no_arguments(argv)
    # Before the trainings.
    if keras.backend.backend() != "tensorflow":
        raise app.UsageError(
            "The quickstart exports its model, which needs TensorFlow, and this is "
            f"{keras.backend.backend()}. Set KERAS_BACKEND=tensorflow."
        )
    try:
        require("ai_edge_litert.interpreter", "The export for LiteRT", "litert")
    except ImportError as error:
        raise app.UsageError(str(error)) from error
    # TensorFlow's export logs every file that it writes.
    logging.set_verbosity(logging.ERROR)
    workdir = pathlib.Path(WORKDIR.value)
    results = {}
    for config in (CONFIG, BASELINE):
        config = dataclasses.replace(config, seed=SEED.value)
        print(f"\n{config.model}: {config.epochs} epochs on cluttered digits")
        results[config.model] = train(config, workdir / config.model)

    report(results)
    model = keras.saving.load_model(workdir / "vgg_aib_qt" / "model.keras")

    folder = workdir / "export"
    names = {"class_names": results["vgg_aib_qt"]["class_names"], "overwrite": True}
    export.to_saved_model(model, folder / "saved_model", **names)
    export.to_litert(model, folder / "model.tflite", **names)
    print(
        f"Exported and checked: {folder}/saved_model (TF Serving), {folder}/model.tflite (LiteRT)"
    )
    print(f"Where it looks: {workdir}/vgg_aib_qt/attention.png")


def report(results):
    """Prints the figures that the README quotes."""
    ours, baseline = results["vgg_aib_qt"], results["vgg"]
    print("\nOn the test images, after the last epoch:")
    print(f"  error of vgg_aib_qt           {100 * ours['test_error_last_epoch']:6.2f} %")
    print(f"  error of vgg (no attention)   {100 * baseline['test_error_last_epoch']:6.2f} %")
    print(f"  map's maximum in digit's box  {100 * ours['pointing']:6.2f} %")
    print(f"  a uniform map would get       {100 * ours['pointing_uniform_map']:6.2f} %")
    print(f"  information in z              {ours['last_epoch']['kl_nats']:6.2f} nats per image")


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
