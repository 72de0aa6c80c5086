r"""How far to trust trained models; beyond the paper.

Calibration, selective prediction, images from another data set, and the information in z.

The paper has no figures for this. The recipe measures, for every finished training in --runs, the
deterministic prediction and, for a model with a bottleneck, that of `predict_mc`. It takes minutes
per model of the scaled Table 1 on two CPU cores:

    python recipes/uncertainty.py --runs=runs/table1
    python recipes/uncertainty.py --runs=runs/table1 --models=vgg,vgg_aib_qt \
        --ood=cifar100 --ood_split=test

It writes uncertainty.md, uncertainty.json, reliability.png, risk_coverage.png and, for each model
with a bottleneck, information-FOLDER.png to --runs, and uncertainty-scores.json beside each
result.json.
The same command again measures only what is new.

error: top-1. NLL: mean -ln p(label). ECE: expected calibration error, 15 bins. AURC: mean error
over all coverages when the least confident images are refused; for a model that refuses at random
it is its error. OOD: AUROC of telling --ood from the test images by 1 - the highest probability, by
the entropy of the prediction, or by the KL of p(z|x) from the prior; 0.5 is chance. Bits: the mean
of that KL over the images predicted right and wrong.
"""

import functools
import pathlib

import keras
import numpy as np
from absl import app, flags, logging
from sklearn.utils.extmath import softmax

from aib_keras import data, experiments, metrics, plots
from aib_keras.experiments import cards, markdown, measured, tables
from aib_keras.experiments.examples import how_prepared, same_data
from aib_keras.experiments.results import titles
from aib_keras.utils import program
from aib_keras.utils.files import atomic_path

RUNS = flags.DEFINE_string("runs", "runs/table1", "Folder of work directories, and of the table.")
MODELS = flags.DEFINE_list("models", None, "Names of models; default: all.")
OOD = flags.DEFINE_string("ood", "svhn_cropped", "Images of another kind; empty for none.")
OOD_SPLIT = flags.DEFINE_string("ood_split", "test", "Split of --ood.")
EXAMPLES = flags.DEFINE_integer(
    "examples", None, "Number of images to measure on; default: all.", 1
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data [as in the training].")

# Not the name of the table, which can be in the same folder.
FILE = "uncertainty-scores.json"
# Enough for a smooth line.
CURVE_POINTS = 200


def main(argv):
    program.check_no_arguments(argv)
    # TensorFlow warns about each new model that it has to trace.
    logging.set_verbosity(logging.ERROR)
    runs = pathlib.Path(RUNS.value)
    results = measured.chosen_trainings([runs], MODELS.value)
    found = []
    for number, (title, result) in enumerate(zip(titles(results), results, strict=True), start=1):
        found.append({"title": title, "prepared": how_prepared(result), **measure(result)})
        print(f"{number} of {len(results)}: {result['workdir']}", flush=True)
    draw(runs, found)
    parts = tables.grouped(found, "dataset", "evaluated_on", "prepared")
    text = "\n".join(section(part) for _, part in parts)
    summary = [{k: v for k, v in each.items() if k != "curves"} for each in found]
    markdown.write(runs, "uncertainty", text, summary)


def measure(result):
    """Returns all figures of one training, from its work directory if they are there."""
    workdir = pathlib.Path(result["workdir"])
    dataset = result["dataset"]
    # House numbers are not foreign to a model of house numbers.
    outside = "" if same_data(OOD.value, dataset) else OOD.value
    settings = {"examples": EXAMPLES.value, "ood": outside, "ood_split": OOD_SPLIT.value}
    if (found := measured.kept(workdir / FILE, settings)) is not None:
        return found
    config = experiments.TrainingConfig.from_json(result["config"])
    inside = first(experiments.load_evaluation(result, DATA_DIR.value))
    size = tuple(result["input_shape"][:2])
    foreign = first(outside_data(outside, size)) if outside else None
    model = keras.saving.load_model(workdir / "model.keras")
    found = {
        "folder": workdir.name,
        "model": result["model"],
        "dataset": dataset,
        "seed": result["seed"],
        "evaluated_on": result["evaluated_on"],
        "evaluated_examples": len(inside),
        "ood_examples": None if foreign is None else len(foreign),
        "reductions": cards.reductions(result),
        "asked": settings,
        **figures_of(model, inside, foreign, config.prediction_samples, config.seed),
    }
    measured.keep(workdir / FILE, settings, found)
    return found


@functools.lru_cache(maxsize=1)
def outside_data(name, image_size):
    return data.load(name, OOD_SPLIT.value, data_dir=DATA_DIR.value, image_size=image_size)


def first(images):
    """Returns the first --examples images, or all."""
    return images.take(min(EXAMPLES.value or len(images), len(images)))


def figures_of(model, inside, foreign, samples, seed):
    """Returns the figures of each kind of prediction, the bits, and the data of the diagrams."""
    predicted, known = predict(model, inside.images, samples, seed)
    found = {"predictions": {}, "curves": {"reliability": {}, "risk_coverage": {}}}
    for name, probabilities in predicted.items():
        coverage, error = metrics.risk_coverage(probabilities, inside.labels)
        diagram = metrics.reliability(probabilities, inside.labels)
        found["predictions"][name] = {
            "error": float(error[-1]),
            "nll": metrics.negative_log_likelihood(probabilities, inside.labels),
            "ece": diagram.expected_calibration_error,
            "aurc": metrics.area_under_risk_coverage(probabilities, inside.labels),
        }
        kept = np.linspace(0, len(error) - 1, min(CURVE_POINTS, len(error))).round().astype(int)
        curve = {"coverage": coverage[kept], "error": error[kept]}
        found["curves"]["risk_coverage"][name] = as_json(curve)
        found["curves"]["reliability"][name] = as_json(vars(diagram))
    if foreign is not None:
        there, known_there = predict(model, foreign.images, samples, seed)
        for name in predicted:
            # The distribution of z is known without sampling: its KL belongs to that prediction.
            kl = [
                k.get("kl_nats") if name == "deterministic" else None for k in (known, known_there)
            ]
            scores = metrics.ood_scores(predicted[name], kl[0])
            scores_there = metrics.ood_scores(there[name], kl[1])
            found["predictions"][name]["ood_auroc"] = {
                score: metrics.ood_auroc(scores[score], scores_there[score]) for score in scores
            }
    if "kl_nats" in known:
        carried = metrics.information(known, inside.labels)
        found["bits"] = as_json({"mean": carried.mean, "class_mean": carried.class_mean})
        drawn = {"edges": carried.edges, "count": carried.count, "mean": carried.mean}
        found["curves"]["information"] = {**as_json(drawn), "class_names": inside.class_names}
    return found


def predict(model, images, samples, seed):
    """Returns probabilities `(N, C)` by kind of prediction, and the model's explanation."""
    known = model.explain(images)
    predicted = {"deterministic": known["logits"]}
    if samples and model.encoder is not None:
        predicted["sampled"] = model.predict_mc(images, samples, seed=seed)["logits"]
    # In float64, which can tell a confident prediction from a certain one.
    return {name: softmax(logits.astype("float64")) for name, logits in predicted.items()}, known


def as_json(arrays):
    """Returns arrays as lists, with None for NaN, which JSON does not have."""
    return {name: np.where(np.isnan(a), None, a).tolist() for name, a in arrays.items()}


def section(found):
    """Returns the table of runs that were evaluated on the same images."""
    head = found[0]
    asked = head["asked"]
    images = f"{head['evaluated_examples']:,} images of {head['evaluated_on']}, {head['prepared']}."
    if asked["ood"]:
        images += f" OOD: {head['ood_examples']:,} of {asked['ood']}, {asked['ood_split']}."
    columns = ["model", "seed", "prediction", "error %", "NLL nats", "ECE %", "AURC %"]
    columns += ["OOD AUROC: maximum", "entropy", "KL", "bits right", "bits wrong", "scale"]
    rows = [row(each, name) for each in found for name in each["predictions"]]
    lines = [f"## {head['dataset']}", "", images, "", *markdown.table(columns, rows)]
    return "\n".join(lines) + "\n"


def row(each, name):
    """Returns the cells of one training and one kind of prediction."""
    scores = each["predictions"][name]
    ood = scores.get("ood_auroc", {})
    bits = each["bits"]["mean"] if name == "deterministic" and "bits" in each else (None, None)
    return [
        f"`{each['title']}`",
        str(each["seed"]),
        name,
        markdown.percent(scores["error"]),
        markdown.number(scores["nll"], 3),
        markdown.percent(scores["ece"]),
        markdown.percent(scores["aurc"]),
        *(markdown.number(ood.get(score), 3) for score in ("maximum", "entropy", "kl")),
        *(markdown.number(value, 2) for value in bits),
        markdown.scale(each["reductions"]),
    ]


def draw(runs, found_models):
    """Draws the figures from what `measure` returned."""
    diagrams, curves = {}, {}
    for each in found_models:
        title, found = each["folder"], each["curves"]
        diagrams[title] = {
            name: metrics.Reliability(**{k: np.array(v, float) for k, v in values.items()})
            for name, values in found["reliability"].items()
        }
        curves[title] = {
            name: (np.array(values["coverage"]), np.array(values["error"]))
            for name, values in found["risk_coverage"].items()
        }
        if "information" in found:
            figure = plots.information_figure(**found["information"], title=title)
            save(figure, runs / f"information-{title}.png")
    save(plots.reliability_figure(diagrams), runs / "reliability.png")
    save(plots.risk_coverage_figure(curves), runs / "risk_coverage.png")


def save(figure, path):
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
