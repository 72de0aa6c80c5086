r"""Modulation and price of the map: what each costs in error, and where its map lies.

Nothing in the paper's objective charges for the map, so nothing makes it select. This recipe trains
models with several modulations and prices (`map_beta`), and the same network without attention,
and scores their maps on held-out training examples, beside Grad-CAM. Choose by these, because
choosing on the test set would mean training on it. About an hour on two CPU cores:

    python recipes/modulations.py --runs=runs/modulations-digits --dataset=cluttered_digits \
        --models=vgg_aib_qt --plain=vgg -- --width=0.125 --augment=none --optimizer=adam \
        --batch_size=32 --epochs=6

Photos, with ImageNet features that stay as they are and are computed once:

    python recipes/modulations.py --runs=runs/modulations-birds --dataset=FOLDER \
        --validation_examples=300 --models=efficientnet_lite0_aib_qt --plain=efficientnet_lite0 -- \
        --set=backbone_weights=imagenet --image_size=160 --crop_pct=0.875 --freeze=backbone \
        --augment=none --optimizer=adam --learning_rate=0.003 --batch_size=32 --epochs=8

What comes after `--` goes to every training. The same command again resumes. To add --models,
--points or --seeds, name them beside those that are there: the table has what the flags name. The
recipe writes modulations.md and .json to --runs. With --validation_examples=0 it evaluates settings
that are already chosen on the test data.
"""

import itertools
import pathlib

from absl import app, flags, logging

from aib_keras.experiments import cards, command_line, map_scores, markdown, sweep
from aib_keras.experiments.results import read_result
from aib_keras.layers.attention import MODULATIONS
from aib_keras.metrics.intervals import wilson_interval
from aib_keras.utils import program

RUNS = flags.DEFINE_string("runs", "runs/modulations", "Folder of work directories, and the table.")
DATASET = flags.DEFINE_string(
    "dataset", "cluttered_digits", "Data set, as the training recipes take it."
)
MODELS = flags.DEFINE_list("models", ["vgg_aib_qt"], "Models with IB attention.")
PLAIN = flags.DEFINE_string("plain", None, "Optional model without attention, to compare with.")
POINTS = flags.DEFINE_list(
    "points",
    ["residual:0", "mask:0", "mask:0.1", "mask:0.3", "mask:1", "noise:0.001", "noise:0.01"],
    "What to train, each MODULATION:MAP_BETA.",
)
SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds to train with.")
VALIDATION_EXAMPLES = flags.DEFINE_integer(
    "validation_examples", 1000, "Training examples to evaluate on; 0: test.", 0
)
EXAMPLES = flags.DEFINE_integer("examples", 1000, "Evaluation images for the scores of boxes.", 1)
CURVE_EXAMPLES = flags.DEFINE_integer(
    "curve_examples", 100, "Of them, those for insertion and deletion.", 1
)
MAPS = flags.DEFINE_list(
    "maps",
    ["own", "Grad-CAM", "Gaussian", "uniform"],
    f"Maps to score, of {', '.join(map_scores.MAPS)}. The last is optimised image by image.",
)
STEPS = flags.DEFINE_integer("steps", 8, "Points of the curves of insertion and deletion.", 1)
JOBS = flags.DEFINE_integer("jobs", 1, "Runs at the same time.", 1)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data.")

# Scores in the order of the columns. Arrows show which way is better.
SCORES = {"pointing": "↑", "energy": "↑", "insertion": "↑", "deletion": "↓"}


def main(argv):
    logging.set_verbosity(logging.WARNING)
    for name in filter(None, (*MODELS.value, PLAIN.value)):
        command_line.check_model(name)
    points = list(map(point, POINTS.value))
    program.check_choices(MAPS, map_scores.MAPS)
    trainings = {}
    for seed in program.numbers(SEEDS, int):
        if PLAIN.value is not None:
            trainings[PLAIN.value, "none", 0.0, seed] = training(PLAIN.value, seed, argv[1:])
        for model, (modulation, price) in itertools.product(MODELS.value, points):
            settings = f"--set=modulation={modulation!r}", f"--set=map_beta={price!r}"
            name = f"{model}-{modulation}-{price:g}"
            one = training(model, seed, (*argv[1:], *settings), name)
            trainings[model, modulation, price, seed] = one
    sweep.train(list(trainings.values()), JOBS.value)
    rows = [row(*key, each.workdir) for key, each in trainings.items()]
    markdown.write(RUNS.value, "modulations", table(rows), rows)


def point(text):
    """Returns modulation and price of one of `--points`."""
    modulation, _, price = text.partition(":")
    if modulation not in MODULATIONS:
        raise app.UsageError(
            f"--points={text}: expected MODULATION:MAP_BETA with a modulation of "
            f"{', '.join(MODULATIONS)}."
        )
    price = program.number("points", price)
    if price < 0:
        raise app.UsageError(f"--points={text}: a price (MAP_BETA) is 0 or more.")
    return modulation, price


def training(model, seed, extra_flags, name=None):
    """Returns the `sweep.Training` of a model, evaluated on the held-out examples."""
    dataset = pathlib.Path(DATASET.value).name
    return sweep.training(
        pathlib.Path(__file__).parent,
        pathlib.Path(RUNS.value) / f"{dataset}-{name or model}-seed{seed}",
        DATASET.value,
        model,
        seed,
        DATA_DIR.value,
        # At the end, because the last of two flags counts.
        flags=(*extra_flags, f"--validation_examples={VALIDATION_EXAMPLES.value}"),
    )


def row(model, modulation, price, seed, workdir):
    """Returns what a training measured, and the scores of its map and of its Grad-CAM."""
    result = {**read_result(workdir), "workdir": str(workdir)}
    split = cards.evaluated_split(result)
    settings = map_scores.Settings(
        EXAMPLES.value,
        CURVE_EXAMPLES.value,
        tuple(MAPS.value),
        STEPS.value,
    )
    found = map_scores.measure(result, settings, DATA_DIR.value, without_map=True)
    last = result["last_epoch"]
    error, examples = result[f"{split}_error_last_epoch"], result["evaluated_examples"]
    interval = wilson_interval(round(error * examples), examples, "A table of errors")
    return {
        "model": model,
        "modulation": modulation,
        "map_beta": price,
        "seed": seed,
        "error": error,
        "error_interval": list(interval),
        "kl_nats": last.get("kl_nats"),
        "evaluated_on": f"{examples:,} images of {result['evaluated_on']}",
        "scored_images": found["evaluated_examples"],
        "maps": {
            name: {score: scores[score] for score in SCORES if score in scores}
            for name, scores in found["maps"].items()
        },
        "seconds": result["seconds"],
    }


def table(rows):
    """Returns a table with a line per training and map."""
    there = [score for score in SCORES if any(score in m for r in rows for m in r["maps"].values())]
    columns = ["model", "modulation", "map_beta", "seed", "error %", "95 %", "nats", "map"]
    lines = []
    for each in rows:
        for name, scores in each["maps"].items():
            low, high = each["error_interval"]
            start = [
                f"`{each['model']}`",
                each["modulation"],
                f"{each['map_beta']:g}",
                str(each["seed"]),
                markdown.percent(each["error"], 1),
                f"{100 * low:.1f} to {100 * high:.1f}",
                markdown.number(each["kl_nats"], 1),
            ]
            lines.append(
                [*start, name, *(markdown.number(scores.get(score), 3) for score in there)]
            )
    head = (
        f"{DATASET.value}. Errors: {rows[0]['evaluated_on']}. Maps: the first "
        f"{rows[0]['scored_images']:,} of them, for insertion and deletion "
        f"{min(CURVE_EXAMPLES.value, rows[0]['scored_images']):,}. ↑: more is better, ↓: less is."
    )
    titles = [f"{score} {SCORES[score]}" for score in there]
    text = ["# Modulations", "", head, "", *markdown.table([*columns, *titles], lines)]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
