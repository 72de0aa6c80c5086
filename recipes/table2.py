r"""Table 2 of the paper, from the work directories of runs: does the map stay where it was?

Paper (CIFAR-10, 8x8 window of a random colour, share of maps that stay consistent): vgg_att3
79.61 %, wrn_abn 65.01 %, vgg_aib_qt 99.79 %. The paper names no threshold of the cosine similarity;
its authors' scripts list 0.85, 0.9 and 0.95.

After recipes/table1.py, it takes 2 to 4 minutes per model on two CPU cores, for 10,000 images of
CIFAR-10 and models of an eighth of the width. The first run also downloads SVHN (1.5 GB).

    python recipes/table2.py --runs=runs/table1

The recipe scores every model with a map, on the images that its training was evaluated on. It names
and leaves out other runs. There are ten perturbations: a window of 4, 8, 12 and 16 of 32
pixels (more in larger images), filled with a random colour or with an image of --patches; only the
high frequencies; only the low ones. After each perturbation it writes consistency.json to the work
directory, and the same command again goes on from there. It writes table2.md, at --threshold, and
table2.json, at thresholds from 0.5 to 1, to the first of --runs.

Read the column "other image" before the scores: the share of maps that are as similar to the map of
some other test image. Where it is near 100 %, a map hardly depends on its image, and its
consistency says nothing.
"""

import functools
import math
import pathlib
import sys

import keras
import numpy as np
from absl import app, flags, logging

from aib_keras import data, explain, metrics
from aib_keras.experiments import load_evaluation, markdown, measured
from aib_keras.experiments.cards import reductions
from aib_keras.experiments.results import titles
from aib_keras.metrics.consistency import THRESHOLDS
from aib_keras.utils import program

# Interpretability score in percent: Table 2 of the paper. In the order of `perturbations`: windows
# of a random colour, windows of SVHN, high and low frequencies.
PAPER = {
    "cifar10": {
        "vgg_att3": (91.46, 79.61, 37.71, 7.12, 90.97, 75.70, 36.74, 6.51, 83.06, 49.61),
        "vgg_aib": (99.22, 99.69, 93.78, 20.59, 98.59, 97.52, 97.35, 72.86, 99.91, 53.26),
        "vgg_aib_qt": (99.26, 99.79, 91.10, 18.36, 98.65, 98.04, 97.85, 78.82, 99.96, 73.52),
        "wrn_abn": (90.76, 65.01, 33.89, 13.24, 90.40, 68.41, 38.46, 16.55, 38.14, 36.33),
        "wrn_aib": (99.95, 93.94, 45.17, 6.69, 99.94, 97.34, 81.98, 47.65, 78.96, 84.58),
        "wrn_aib_qt": (99.84, 84.18, 28.94, 4.64, 99.91, 96.05, 70.75, 28.35, 72.05, 76.53),
    },
    "cifar100": {
        "vgg_att3": (52.92, 39.93, 25.40, 14.56, 82.08, 63.16, 39.07, 21.03, 3.69, 50.90),
        "vgg_aib": (98.88, 98.56, 95.92, 22.70, 98.73, 96.70, 96.69, 93.02, 99.78, 79.13),
        "vgg_aib_qt": (99.18, 99.30, 94.59, 20.54, 99.12, 97.64, 97.21, 94.79, 99.60, 79.70),
        "wrn_abn": (89.74, 61.38, 30.56, 9.67, 92.77, 63.67, 30.57, 9.47, 14.04, 25.43),
        "wrn_aib": (99.86, 95.35, 64.27, 17.15, 99.90, 97.77, 89.37, 62.64, 90.44, 94.18),
        "wrn_aib_qt": (99.97, 97.07, 69.51, 25.80, 99.95, 98.52, 89.00, 63.10, 94.13, 93.17),
    },
}
WINDOWS = (4, 8, 12, 16)
WINDOWS_OF = 32

RUNS = flags.DEFINE_list("runs", ["runs/table1"], "Folders of work directories.")
MODELS = flags.DEFINE_list("models", None, "Names of models; default: all that have a map.")
PATCHES = flags.DEFINE_string("patches", "svhn_cropped", "Data set of the images in the windows.")
PATCHES_SPLIT = flags.DEFINE_string("patches_split", "train[:1000]", "Which of its images.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data [as in the training].")
MAP = flags.DEFINE_enum("map", "attention", ["attention", "attention_quantized"], "Which map.")
THRESHOLD = flags.DEFINE_float(
    "threshold", 0.9, "Cosine similarity in table2.md, in steps of 0.01."
)
EXAMPLES = flags.DEFINE_integer("examples", None, "Number of images to score; default: all.", 1)
SEED = flags.DEFINE_integer("seed", 0, "Seed of places and colours.", 0)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "Images in a forward pass.", 1)


def main(argv):
    program.check_no_arguments(argv)
    logging.set_verbosity(logging.WARNING)
    if THRESHOLD.value not in THRESHOLDS:
        raise app.UsageError(f"--threshold={THRESHOLD.value}: expected 0.5, 0.51, ... or 1.")
    results = trainings()
    rows = [
        row
        for title, result in zip(titles(results), results, strict=True)
        if (row := scored(title, result)) is not None
    ]
    if not rows:
        raise app.UsageError("None of these models has this map. Train vgg_aib, for instance.")
    parts = {}
    for row in rows:
        # The size of the windows depends on that of the images.
        names = tuple(change["name"] for change in row["perturbations"])
        parts.setdefault((row["dataset"], names), []).append(row)
    text = "\n".join(section(*key, part) for key, part in parts.items())
    markdown.write(RUNS.value[0], "table2", text, rows)


def trainings():
    """Returns the results of the runs that are asked for, in the paper's order."""
    order = {name: place for place, name in enumerate(PAPER["cifar10"])}
    return sorted(
        measured.chosen_trainings(RUNS.value, MODELS.value),
        key=lambda r: (r["dataset"], order.get(r["model"], len(order)), r["model"], r["seed"]),
    )


def scored(title, result):
    """Scores a model, or what is missing of it.

    Args:
        title: What it is called in the table.
        result: The content of its `result.json`.

    Returns:
        Its row of the table, or None if it does not have the map.
    """
    path = pathlib.Path(result["workdir"]) / "consistency.json"
    settings = {
        "map": MAP.value,
        "patches": PATCHES.value,
        "patches_split": PATCHES_SPLIT.value,
        "examples": EXAMPLES.value,
        "seed": SEED.value,
        "thresholds": list(THRESHOLDS),
    }
    row = measured.kept(path, settings) or {"perturbations": []}
    changes = perturbations(result["input_shape"])
    if len(row["perturbations"]) < len(changes):
        name = pathlib.Path(result["workdir"]).name
        model = keras.saving.load_model(path.with_name("model.keras"))
        if not model.map_names:
            print(f"{name} is left out: {result['model']} has no map.")
            return None
        # Before the first of them is scored: the patches may not be there.
        patches()
        images = load_evaluation(result, DATA_DIR.value).images[: EXAMPLES.value]
        print(f"{name}: the original images", flush=True)
        original = model.explain(images, batch_size=BATCH_SIZE.value)
        if MAP.value not in original:
            print(f"{name} is left out: {result['model']} has no map {MAP.value!r}.")
            return None
        row["other_image"] = other_image(original[MAP.value])
        for change in changes[len(row["perturbations"]) :]:
            perturbation = change()
            print(f"{name}: {perturbation.name}", flush=True)
            found = metrics.consistency(
                model,
                images,
                perturbation,
                original={key: original[key] for key in ("logits", MAP.value)},
                map_name=MAP.value,
                batch_size=BATCH_SIZE.value,
                # A bar that rewrites its line fills a log file with control characters.
                verbose=int(sys.stdout.isatty()),
            )
            row["perturbations"].append({"name": perturbation.name, **summary(found)})
            measured.keep(path, settings, row)
    return {
        "title": title,
        "workdir": result["workdir"],
        "model": result["model"],
        "dataset": result["dataset"],
        "seed": result["seed"],
        "evaluated_on": result["evaluated_on"],
        "paper": PAPER.get(result["dataset"], {}).get(result["model"]),
        "reductions": reductions(result),
        "settings": settings,
        **row,
    }


def perturbations(input_shape):
    """Returns functions that make the perturbations of the table, in its order."""
    side = min(input_shape[:2])
    sizes = [max(1, round(size * side / WINDOWS_OF)) for size in WINDOWS]
    return [
        *(functools.partial(explain.ColorWindow, size, SEED.value) for size in sizes),
        *(functools.partial(image_window, size) for size in sizes),
        explain.HighPass,
        explain.LowPass,
    ]


def image_window(size):
    return explain.ImageWindow(size, patches(), SEED.value)


@functools.cache
def patches():
    return data.load(PATCHES.value, PATCHES_SPLIT.value, data_dir=DATA_DIR.value).images


def other_image(maps):
    """Returns the share of maps above each threshold with the map of the image before them."""
    similarities = metrics.map_similarity(maps, np.roll(maps, 1, axis=0))
    return [float((similarities > threshold).mean()) for threshold in THRESHOLDS]


def summary(found):
    """Returns a `Consistency` for JSON, which has no NaN: shares in [0, 1], or null."""
    return {
        "images": len(found.unchanged),
        "images_of_unchanged_class": found.count,
        "scores": [json_number(score) for score in found.scores],
        "intervals": [[json_number(end) for end in interval] for interval in found.intervals],
        "mean_similarity": json_number(
            found.similarities[found.unchanged].mean() if found.count else math.nan
        ),
    }


def json_number(value):
    return None if math.isnan(value) else round(float(value), 6)


def section(dataset, names, rows):
    """Returns the table of one data set in Markdown, with what there is to know about its rows.

    Args:
        dataset: Name.
        names: Names of the perturbations.
        rows: What `scored` returned for models with these.
    """
    at = THRESHOLDS.index(THRESHOLD.value)
    lines = []
    for index, row in enumerate(rows):
        if row["paper"] and (index == 0 or rows[index - 1]["model"] != row["model"]):
            paper = [f"{figure:.2f}" for figure in row["paper"]]
            lines.append([f"`{row['model']}`", "paper", *paper, markdown.MISSING])
        changes = row["perturbations"]
        scores = [markdown.percent(change["scores"][at]) for change in changes]
        intervals = [interval(change["intervals"][at]) for change in changes]
        counts = [f"{change['images_of_unchanged_class']:,}" for change in changes]
        other = markdown.percent(row["other_image"][at])
        lines += [
            [f"`{row['title']}`", f"seed {row['seed']}", *scores, other],
            ["", "95 % interval", *intervals, ""],
            ["", "images", *counts, ""],
        ]
    text = [
        f"## {dataset}: share of maps with a cosine similarity above {THRESHOLD.value:g}, in %",
        "",
        *markdown.table(["model", "", *names, "other image"], lines),
        "",
        '"Images" are those whose predicted class the perturbation did not change. The score is a '
        'share of them. "Other image" is the share of maps as similar to the map of another image. '
        f"Windows filled with images have them from {rows[0]['settings']['patches']}. Map: "
        f"`{rows[0]['settings']['map']}`.",
        "",
        *(f"- `{row['title']}`, seed {row['seed']}: {scale(row)}." for row in rows),
    ]
    return "\n".join(text) + "\n"


def scale(row):
    """Returns how a row's model was smaller than the paper's, and how many images were scored."""
    return (
        f"{markdown.scale(row['reductions'])}; scored on {row['perturbations'][0]['images']:,} "
        f"images of {row['evaluated_on']}"
    )


def interval(ends):
    return markdown.MISSING if None in ends else "–".join(f"{100 * end:.1f}" for end in ends)


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
