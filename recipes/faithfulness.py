r"""How far a model's map can be trusted: faithfulness and localisation, of trained models.

The paper has no such table. Every map of a model is measured on the same images: its own, quantised
too where it is, Grad-CAM at the same features and the gradient, and as what any map must beat a
uniform one and a Gaussian in the middle. Insertion and deletion AUC of the predicted class's
probability (Petsiuk et al., 2018); where the data have boxes, the pointing game (Zhang et al.,
2016) and the energy inside the box (Wang et al., 2020). All maps have the resolution of the model's
own, for blocks of another size change an image in another way.

    python recipes/faithfulness.py --runs=runs/table1

About 6 minutes a model on two CPU cores, at an eighth of the width (200,000 forward passes of an
image). The same command again measures only what is new. It leaves faithfulness.json in each work
directory, and faithfulness.md and faithfulness.json in the first of --runs.
"""

import pathlib
import sys

import keras
from absl import app, flags, logging

from aib_keras.experiments import load_evaluation, tables
from aib_keras.explain import gaussian_map, grad_cam, gradient_map, uniform_map
from aib_keras.metrics import deletion, energy_pointing_game, insertion, pointing_game
from aib_keras.utils.files import atomic_path, read_json, write_json

RUNS = flags.DEFINE_list("runs", ["runs"], "Folders of work directories.")
MODELS = flags.DEFINE_list("models", None, "Names of the zoo; default: all that have a map.")
EXAMPLES = flags.DEFINE_integer("examples", 1000, "The first so many test images.", 1)
STEPS = flags.DEFINE_integer("steps", 16, "Points of the curves of insertion and deletion.", 1)
SEED = flags.DEFINE_integer("seed", 0, "Of the order of cells with equal values.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images in a forward pass.", 1)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data, if it has moved.")

FILE = "faithfulness.json"
# Scores in the order of the columns. Arrows show which way is better.
COLUMNS = {
    "insertion": "insertion AUC ↑",
    "deletion": "deletion AUC ↓",
    "pointing": "pointing ↑",
    "energy": "energy in box ↑",
}


def main(argv):
    del argv
    logging.set_verbosity(logging.WARNING)
    results = trained_results()
    if not results:
        raise app.UsageError(
            f"--runs={','.join(RUNS.value)}: no finished training there of a model that is asked "
            "for. Train one first, for example with recipes/train_cifar10.py."
        )
    measured = [scores for result in results if (scores := measure(result)) is not None]
    if not measured:
        raise app.UsageError("None of these models has a map.")
    text = "\n".join(
        markdown(dataset, [each for each in measured if each["dataset"] == dataset])
        for dataset in sorted({each["dataset"] for each in measured})
    )
    folder = pathlib.Path(RUNS.value[0])
    with atomic_path(folder / "faithfulness.md") as temporary:
        temporary.write_text(text)
    write_json(folder / FILE, measured)
    print(f"{text}\nWritten to {folder}/faithfulness.md and {FILE}.")


def trained_results():
    """The contents of the `result.json` files that are asked for."""
    found = tables.read_trainings(RUNS.value)
    return [r for r in found if MODELS.value is None or r["model"] in MODELS.value]


def measure(result):
    """The scores of one trained model, from its work directory if they are there; None if it has
    no map."""
    workdir = pathlib.Path(result["workdir"])
    settings = {"examples": EXAMPLES.value, "steps": STEPS.value, "seed": SEED.value}
    path = workdir / FILE
    if path.exists() and (found := read_json(path))["settings"] == settings:
        print(f"{workdir}: measured already ({FILE}).", flush=True)
        return found
    model = keras.saving.load_model(workdir / "model.keras", compile=False)
    if not model.map_names:
        print(f"{workdir}: {result['model']} has no map.", flush=True)
        return None
    data = load_evaluation(result, DATA_DIR.value)
    data = data.take(min(EXAMPLES.value, len(data)))
    scores = {}
    for name, maps in maps_of(model, data.images).items():
        print(f"{workdir}: {name}", flush=True)
        scores[name] = map_scores(model, data, maps)
    found = {
        "model": result["model"],
        "dataset": result["dataset"],
        "seed": result["seed"],
        "evaluated_on": result["evaluated_on"],
        "evaluated_examples": len(data),
        "settings": settings,
        "maps": scores,
    }
    write_json(path, found)
    return found


def maps_of(model, images):
    """The maps to measure by name, `(N, h, w, 1)` of the resolution of the model's own."""
    explained = model.explain(images, batch_size=BATCH_SIZE.value)
    own = explained["attention"]
    maps = {"own": own}
    if "attention_quantized" in explained:
        maps["own, quantised"] = explained["attention_quantized"]
    return maps | {
        "Grad-CAM": grad_cam(model, images, batch_size=BATCH_SIZE.value),
        "gradient": gradient_map(model, images, own.shape[1:3], batch_size=BATCH_SIZE.value),
        "uniform": uniform_map(own.shape),
        "Gaussian": gaussian_map(own.shape),
    }


def map_scores(model, data, maps):
    """Scores of a model's maps, each in [0, 1], and the curves they come from."""
    settings = {
        "steps": STEPS.value,
        "seed": SEED.value,
        "batch_size": BATCH_SIZE.value,
        # In a log file the bar would be thousands of lines.
        "verbose": int(sys.stdout.isatty()),
    }
    scores = {}
    for name, score in (("insertion", insertion), ("deletion", deletion)):
        found = score(model, data.images, maps, **settings)
        scores[name] = round(found["auc"], 6)
        scores[f"{name}_curve"] = found["curve"].round(6).tolist()
    if data.boxes is not None:
        place = data.boxes, data.input_shape[:2]
        scores["pointing"] = round(pointing_game(maps, *place), 6)
        scores["energy"] = round(energy_pointing_game(maps, *place), 6)
    return scores


def markdown(dataset, measured):
    """A Markdown table of the models measured on one data set, a row a map."""
    columns = [name for name in COLUMNS if any(name in row for _, _, row in rows(measured))]
    counts = sorted({each["evaluated_examples"] for each in measured})
    lines = [
        f"## {dataset}",
        "",
        f"{' or '.join(f'{count:,}' for count in counts)} images. ↑: more is better, ↓: less is.",
        "",
        f"| model | seed | map | {' | '.join(COLUMNS[name] for name in columns)} |",
        "|---" * (3 + len(columns)) + "|",
    ]
    for each, name, scores in rows(measured):
        cells = [f"{scores[column]:.3f}" if column in scores else "–" for column in columns]
        lines.append(f"| `{each['model']}` | {each['seed']} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def rows(measured):
    """Each model's scores with each of its maps: (model, name of the map, scores)."""
    return [(each, name, scores) for each in measured for name, scores in each["maps"].items()]


if __name__ == "__main__":
    app.run(main)
