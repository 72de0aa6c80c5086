r"""How far the maps of trained models can be trusted: faithfulness and localisation.

The paper has no such table. The recipe measures several maps of each model on the same images: its
own map, also quantised if the model quantises it; Grad-CAM at the same features; the gradient; and
two that every map must beat, a uniform one and a Gaussian in the middle. The scores are insertion
and deletion AUC of the predicted class's probability (Petsiuk et al., 2018) and, for data with
boxes, the pointing game (Zhang et al., 2016) and the energy in the box (Wang et al., 2020). All
maps have the resolution of the model's own, because blocks of another size change an image in
another way.

    python recipes/faithfulness.py --runs=runs/table1

It takes about 6 minutes per model on two CPU cores, at an eighth of the width (200,000 forward
passes of an image). The same command again measures only what is new. The recipe leaves
faithfulness.json in each work directory, and faithfulness.md and .json in the first of --runs.
"""

import pathlib
import sys

import keras
from absl import app, flags, logging

from aib_keras.experiments import load_evaluation, markdown, measured
from aib_keras.explain import gaussian_map, grad_cam, gradient_map, uniform_map
from aib_keras.metrics import deletion, energy_pointing_game, insertion, pointing_game

RUNS = flags.DEFINE_list("runs", ["runs"], "Folders of work directories.")
MODELS = flags.DEFINE_list("models", None, "Names of the zoo; default: all that have a map.")
EXAMPLES = flags.DEFINE_integer("examples", 1000, "Number of test images to measure on.", 1)
STEPS = flags.DEFINE_integer("steps", 16, "Points of the curves of insertion and deletion.", 1)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the order of cells with equal values.")
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
    results = measured.chosen_trainings(RUNS.value, MODELS.value)
    found = [scores for result in results if (scores := measure(result)) is not None]
    if not found:
        raise app.UsageError("None of these models has a map.")
    text = "\n".join(
        section(dataset, [each for each in found if each["dataset"] == dataset])
        for dataset in sorted({each["dataset"] for each in found})
    )
    markdown.write(RUNS.value[0], "faithfulness", text, found)


def measure(result):
    """Returns the scores of one trained model, from its work directory if they are there.

    It returns None for a model without a map.
    """
    workdir = pathlib.Path(result["workdir"])
    settings = {"examples": EXAMPLES.value, "steps": STEPS.value, "seed": SEED.value}
    if (found := measured.kept(workdir / FILE, settings)) is not None:
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
        "maps": scores,
    }
    measured.keep(workdir / FILE, settings, found)
    return found


def maps_of(model, images):
    """Returns the maps to measure by name, `(N, h, w, 1)`, at the resolution of the model's own."""
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
    """Returns scores of a model's maps, each in [0, 1], and the curves that they come from."""
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
    if data.boxes is not None and data.has_visible_box.any():
        visible = data.has_visible_box
        place = data.boxes[visible], data.input_shape[:2]
        scores["pointing"] = round(pointing_game(maps[visible], *place), 6)
        scores["energy"] = round(energy_pointing_game(maps[visible], *place), 6)
    return scores


def section(dataset, found):
    """Returns a Markdown table of the models measured on one data set, a row per map."""
    scored = [(each, name, scores) for each in found for name, scores in each["maps"].items()]
    columns = [name for name in COLUMNS if any(name in scores for _, _, scores in scored)]
    counts = sorted({each["evaluated_examples"] for each in found})
    rows = [
        [
            f"`{each['model']}`",
            str(each["seed"]),
            name,
            *(markdown.number(scores.get(column), 3) for column in columns),
        ]
        for each, name, scores in scored
    ]
    lines = [
        f"## {dataset}",
        "",
        f"{' or '.join(f'{count:,}' for count in counts)} images. ↑: more is better, ↓: less is.",
        "",
        *markdown.table(["model", "seed", "map", *(COLUMNS[name] for name in columns)], rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app.run(main)
