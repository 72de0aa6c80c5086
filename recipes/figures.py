r"""The paper's Fig. 3 and Fig. 5, and two figures of a training: its anchors, its maps as a film.

The recipe reads work directories that recipes/table1.py or a train_*.py recipe left. Each figure
takes seconds on two CPU cores.

    python recipes/figures.py --runs=runs/table1 --data_dir=... --out=runs/figures

Writes to --out:

    fig3-NAME.png        originals and perturbed images under the maps of every model with a map
    fig5.png             images that vgg_aib gets wrong and vgg_aib_qt right: continuous and
                         quantised maps (needs both models on one data set)
    RUN-anchors.png      the anchors after each epoch
    RUN-film.gif         the maps of eight test images after each epoch
"""

import pathlib

import keras
import numpy as np
from absl import app, flags, logging

from aib_keras import data, explain, plots
from aib_keras.experiments import load_evaluation, tables
from aib_keras.experiments.examples import evaluated_images
from aib_keras.training import read_map_history
from aib_keras.utils import program

RUNS = flags.DEFINE_string("runs", "runs/table1", "Folder of work directories.")
DATASET = flags.DEFINE_string("dataset", "cifar10", "Only runs on this data set.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data.")
OUT = flags.DEFINE_string("out", "runs/figures", "Folder for the figures.")
EXAMPLES = flags.DEFINE_integer("examples", 3, "Images in Fig. 3; Fig. 5 has twice as many.", 1)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the perturbations.")

PERTURBATIONS = {
    "color-window": lambda side: explain.ColorWindow(side // 4, seed=SEED.value),
    "high-frequency": lambda side: explain.HighPass(4),
    "low-frequency": lambda side: explain.LowPass(12),
}


def main(argv):
    program.check_no_arguments(argv)
    logging.set_verbosity(logging.WARNING)
    out = pathlib.Path(OUT.value)
    results = [r for r in tables.read_trainings([RUNS.value]) if r["dataset"] == DATASET.value]
    if not results:
        raise app.UsageError(
            f"--runs={RUNS.value} has no finished training on --dataset={DATASET.value}."
        )
    first, *others = results
    for other in others:
        if evaluated_images(other) != evaluated_images(first):
            raise app.UsageError(
                f"{first['workdir']} and {other['workdir']} were evaluated on different images. "
                "The figures show the same images under all maps: move one of them elsewhere."
            )
    out.mkdir(parents=True, exist_ok=True)
    evaluation = load_evaluation(results[0], DATA_DIR.value)
    models = {}
    for result in results:
        model = keras.saving.load_model(pathlib.Path(result["workdir"]) / "model.keras")
        if model.map_names:
            if models.setdefault(result["model"], model) is not model:
                print(
                    f"{result['workdir']} is not in the figures, which show one {result['model']}."
                )
            of_a_training(result, evaluation, out)
    perturbations(models, evaluation, out)
    quantization(models, evaluation, out)


def of_a_training(result, evaluation, out):
    """Draws the anchors and the film of one work directory."""
    workdir = pathlib.Path(result["workdir"])
    history = read_map_history(workdir / "maps")
    if not history:
        return
    if "anchors" in history[0]:
        save(plots.anchors_figure(history), out / f"{workdir.name}-anchors.png")
    path = out / f"{workdir.name}-film.gif"
    plots.save_film(path, evaluation.images[: len(history[0]["attention"])], history)
    print(path)


def perturbations(models, evaluation, out):
    """Draws Fig. 3 once for each perturbation."""
    images = evaluation.images[: EXAMPLES.value]
    before = {name: model.explain(images) for name, model in models.items()}
    for name, make in PERTURBATIONS.items():
        modified = make(images.shape[1])(images)
        pairs = {model: (before[model], models[model].explain(modified)) for model in models}
        save(plots.perturbation_figure(images, modified, pairs), out / f"fig3-{name}.png")


def quantization(models, evaluation, out):
    """Draws Fig. 5, if there are images for it."""
    if not {"vgg_aib", "vgg_aib_qt"} <= models.keys():
        print("No fig5.png: it needs vgg_aib and vgg_aib_qt.")
        return
    right = {
        name: predict(models[name], evaluation) == evaluation.labels
        for name in ("vgg_aib", "vgg_aib_qt")
    }
    chosen = np.flatnonzero(~right["vgg_aib"] & right["vgg_aib_qt"])[: 2 * EXAMPLES.value]
    if not len(chosen):
        print("No fig5.png: vgg_aib_qt is right on no image that vgg_aib gets wrong.")
        return
    images = evaluation.images[chosen]
    explanations = [models[name].explain(images) for name in ("vgg_aib", "vgg_aib_qt")]
    labels, names = evaluation.labels[chosen], evaluation.class_names
    figure = plots.quantization_figure(images, labels, names, *explanations)
    save(figure, out / "fig5.png")


def predict(model, evaluation):
    """Returns the predicted class of each image."""
    return model.predict(data.inputs_of(evaluation), verbose=0).argmax(-1)


def save(figure, path):
    figure.savefig(path, dpi=120)
    print(path)


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
