r"""Where does the bottleneck pay? Little data, wrong labels, corrupted images, attacks.

The paper claims a lower error for the bottleneck at 200 epochs of networks that fit their training
set perfectly. With less data, short runs fit it, too. `--train` makes what is missing: four
models with three seeds each, on 2,500 to 50,000 images, and on 5,000 images of which 0, 20 or 40 %
have wrong labels, all with the same number of steps. They differ from one another in nothing else.
The test set is read once, after the last of the 10,000 steps. At this size that wants a GPU.

    python recipes/regimes.py --runs=runs/regimes --train

What comes after `--` goes to every training. The same command again resumes. Models that are
trained already are measured on corrupted and attacked images: work directories, or folders of
them. recipes/unpack.py makes them of published weights. At a quarter of the width, 1,000 images
take about a quarter of an hour of a CPU core per model, and longer through samples:

    python recipes/unpack.py --weights='*/cifar10*' --runs=runs/zoo
    python recipes/regimes.py --runs=runs/regimes --workdirs=runs/zoo --examples=1000

The recipe writes regimes.md, regimes.json and regimes.png to --runs, and keeps what it measured of
a model beside it, so that the same command measures only what is new. Several seeds have mean and
standard deviation, one model has a 95 % Wilson interval, which is about the images and not about
another training.

Attacks: an image counts as wrong at some epsilon if it is wrong without a change, or after the
attack with this epsilon or a smaller one. Through the mean: the gradient of the deterministic
prediction, which is also evaluated. Through samples: the mean gradient of the predictions that
`predict_mc` averages, whose result is evaluated.
"""

import pathlib

from absl import app, flags, logging

from aib_keras import plots
from aib_keras.experiments import (
    cards,
    command_line,
    markdown,
    measured,
    robustness,
    robustness_tables,
    sweep,
)
from aib_keras.experiments.results import deciding_settings, read_result
from aib_keras.utils import program
from aib_keras.utils.files import atomic_path

RUNS = flags.DEFINE_string("runs", "runs/regimes", "Folder of work directories, and of the table.")
TRAIN = flags.DEFINE_bool("train", False, "Train what is missing.")
MODELS = flags.DEFINE_list("models", ["vgg", "vgg_dvib", "vgg_aib", "vgg_aib_qt"], "Models.")
SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds to train with.")
SIZES = flags.DEFINE_list("sizes", ["2500", "5000", "10000", "50000"], "Numbers of examples.")
WRONG = flags.DEFINE_list("wrong_labels", ["0", "0.2", "0.4"], "Shares of wrong labels.")
WRONG_SIZE = flags.DEFINE_integer("wrong_labels_examples", 5000, "Examples with wrong labels.", 1)
STEPS = flags.DEFINE_integer("steps", 10000, "Steps of every training.", 1)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 100, "Examples per step.", 2)
JOBS = flags.DEFINE_integer("jobs", 1, "Runs at the same time.", 1)
DATASET = flags.DEFINE_string("dataset", "cifar10", "Data set of all models.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data.")
WORKDIRS = flags.DEFINE_list("workdirs", [], "Runs to corrupt and attack, or folders of runs.")
EXAMPLES = flags.DEFINE_integer("examples", None, "Test images to measure on; default: all.", 1)
EPSILONS = flags.DEFINE_list("epsilons", ["1", "2", "4", "8"], "Changes of pixels, times 1/255.")
PGD_STEPS = flags.DEFINE_integer("pgd_steps", 10, "Steps of PGD.", 1)
SAMPLES = flags.DEFINE_integer("samples", 4, "Samples, as `predict_mc` has them; 0: none.", 0)

# Adam, because SGD at the rate of the published `vgg` made `vgg_aib` diverge (docs/defaults.md). No
# label smoothing, which is a remedy for wrong labels itself.
DEFAULTS = ("--width=0.25", "--optimizer=adam", "--schedule=cosine", "--learning_rate=0.002")
# What may differ between two runs of one table.
VARIED = ("model", "train_examples", "wrong_labels", "epochs")
# States are saved so many times in a training.
SAVED_STATES = 20


def main(argv):
    # TensorFlow warns about each new model that it has to trace.
    logging.set_verbosity(logging.ERROR)
    for name in MODELS.value:
        command_line.check_model(name)
    by_data, by_labels = plans()
    planned = {**by_data, **by_labels}
    trainings = {
        (*plan, seed): training(*plan, seed, argv[1:])
        for plan in planned
        for seed in program.numbers(SEEDS, int)
    }
    models = subjects()
    if TRAIN.value:
        sweep.train(list(trainings.values()), JOBS.value)
    results = finished(trainings)
    if not results and not models:
        raise app.UsageError(
            f"--runs={RUNS.value} has no training of this recipe. Train with --train, or name "
            "--workdirs to measure."
        )
    content = {
        "data": rows_of_trainings(results, by_data),
        "wrong_labels": rows_of_trainings(results, by_labels),
        **measure(models),
    }
    runs = pathlib.Path(RUNS.value)
    markdown.write(runs, "regimes", page(content), content)
    with atomic_path(runs / "regimes.png") as temporary:
        plots.error_curves_figure(panels(content)).savefig(temporary, dpi=120)


def plans():
    """Returns what to train: (model, examples, share of wrong labels) -> epochs, for each table."""
    sizes = program.numbers(SIZES, int)
    shares = program.numbers(WRONG)
    for share in shares:
        if not 0 <= share < 1:
            raise app.UsageError(
                f"--wrong_labels={share:g}: expected shares from 0 to below 1, such as 0.2."
            )
    by_data = {(model, n, 0.0): epochs_of(n) for model in MODELS.value for n in sizes}
    examples = WRONG_SIZE.value
    by_labels = {
        (model, examples, share): epochs_of(examples) for model in MODELS.value for share in shares
    }
    return by_data, by_labels


def epochs_of(examples):
    """Returns the epochs with which so many examples make --steps steps."""
    per_epoch = examples // BATCH_SIZE.value
    if per_epoch == 0 or STEPS.value % per_epoch:
        raise app.UsageError(
            f"--steps={STEPS.value} is not a multiple of the {per_epoch} steps per epoch that "
            f"{examples} examples make with --batch_size={BATCH_SIZE.value}, so that runs "
            "could not have equal numbers of steps."
        )
    return STEPS.value // per_epoch


def training(model, examples, share, seed, extra_flags):
    """Returns the `sweep.Training` of one model."""
    epochs = epochs_of(examples)
    name = f"{pathlib.Path(DATASET.value).name}-{model}-{examples}-wrong{share:g}-seed{seed}"
    return sweep.training(
        pathlib.Path(__file__).parent,
        pathlib.Path(RUNS.value) / name,
        DATASET.value,
        model,
        seed,
        DATA_DIR.value,
        # Of two flags with one name, the last counts.
        flags=(
            *DEFAULTS,
            *extra_flags,
            f"--train_examples={examples}",
            f"--wrong_labels={share:g}",
            f"--epochs={epochs}",
            f"--batch_size={BATCH_SIZE.value}",
            f"--checkpoint_epochs={max(1, epochs // SAVED_STATES)}",
            # The tables have no other epoch than the last.
            f"--validation_freq={epochs}",
        ),
    )


def finished(trainings):
    """Returns the results of runs that are finished, checked to be comparable."""
    results, first = {}, None
    for plan, each in trainings.items():
        if not each.finished:
            continue
        results[plan] = read_result(each.workdir)
        decisive = common_settings(results[plan])
        first = first or (each.workdir, decisive)
        check_same(*first, each.workdir, decisive)
    return results


def common_settings(result):
    """Returns what has to be the same in all runs of the tables, the steps among it."""
    found = deciding_settings(result)
    found = {name: value for name, value in found.items() if name not in VARIED}
    return {**found, "steps": steps_of(result["config"])}


def steps_of(config):
    return config["epochs"] * (config["train_examples"] // config["batch_size"])


def check_same(one, settings, other, other_settings):
    """Raises an error if two work directories differ in these settings."""
    differing = [name for name in settings if settings[name] != other_settings[name]]
    if differing:
        raise app.UsageError(
            f"{one} and {other} do not compare, because they differ in {', '.join(differing)}. "
            "Leave one of them out, or move it to another folder."
        )


def rows_of_trainings(results, plan):
    """Returns a dict per model and regime: errors of the seeds, deterministic and sampled."""
    rows = []
    for model, examples, share in plan:
        found = [r for key, r in results.items() if key[:3] == (model, examples, share)]
        if not found:
            continue
        split = cards.evaluated_split(found[0])
        row = {
            "model": model,
            "train_examples": examples,
            "wrong_labels": share,
            "epochs": found[0]["epochs"],
            "seeds": [result["seed"] for result in found],
            "evaluated_on": f"{found[0]['evaluated_examples']:,} images of "
            f"{found[0]['evaluated_on']}",
            "steps": steps_of(found[0]["config"]),
            "errors": [result[f"{split}_error_last_epoch"] for result in found],
            "nats": [result["last_epoch"].get("kl_nats") for result in found],
        }
        sampled = f"{split}_error_last_epoch_sampled"
        if all(sampled in result for result in found):
            row["errors_sampled"] = [result[sampled] for result in found]
        rows.append(row)
    return rows


def subjects():
    """Returns the results of the runs to corrupt and attack."""
    trained = measured.chosen_trainings(WORKDIRS.value, flag="workdirs") if WORKDIRS.value else []
    firsts, seeds = {}, {}
    for result in trained:
        if result["dataset"] != DATASET.value:
            raise app.UsageError(
                f"{result['workdir']} was trained on {result['dataset']}, not on "
                f"--dataset={DATASET.value}. Leave it out of --workdirs."
            )
        label = robustness.label(result)
        if (first := seeds.setdefault((label, result["seed"]), result)) is not result:
            raise app.UsageError(
                f"{first['workdir']} and {result['workdir']} are both {label} with seed "
                f"{result['seed']}. Leave one of them out of --workdirs."
            )
        same = firsts.setdefault(label, result)
        check_same(
            same["workdir"], deciding_settings(same), result["workdir"], deciding_settings(result)
        )
    return trained


def measure(trained):
    """Returns what was measured of `subjects`, for regimes.json."""
    epsilons = tuple(sorted(program.numbers(EPSILONS)))
    settings = robustness.Settings(EXAMPLES.value, epsilons, PGD_STEPS.value, SAMPLES.value)
    content = {"corruptions": [], "attacks": []}
    for number, result in enumerate(trained, start=1):
        corrupted, attacked = robustness.measure(result, settings, DATA_DIR.value)
        content["corruptions"].append(corrupted)
        content["attacks"] += attacked
        print(f"{number} of {len(trained)}: {robustness.label(result)}", flush=True)
    return content


def page(content):
    parts = ["# Regimes", ""]
    for name, title, column in (
        ("data", "Error against data", "train_examples"),
        ("wrong_labels", "Error against wrong labels", "wrong_labels"),
    ):
        if content[name]:
            parts += [f"## {title}", "", *training_table(content[name], column), ""]
    if content["corruptions"]:
        corrupted, attacked = content["corruptions"], content["attacks"]
        parts += ["## Corrupted images", "", *robustness_tables.corruptions(corrupted), ""]
        parts += ["## Attacks", "", *robustness_tables.attacks(attacked), ""]
    return "\n".join(parts)


def training_table(rows, column):
    values = sorted({row[column] for row in rows})
    titles = [regime(value) for value in values]
    lines = []
    for model in dict.fromkeys(row["model"] for row in rows):
        cells = {row[column]: row for row in rows if row["model"] == model}
        for key, what in (("errors", ""), ("errors_sampled", "`predict_mc`")):
            if any(key in row for row in cells.values()):
                errors = [cells.get(value, {}).get(key, []) for value in values]
                lines.append([f"`{model}`", what, *map(markdown.mean_percent, errors)])
    trained = "" if column == "train_examples" else f" on {rows[0]['train_examples']:,} examples"
    counts = sorted({len(row["seeds"]) for row in rows})
    seeds = f"mean and standard deviation over the seeds ({' or '.join(map(str, counts))})"
    return [
        f"Error in % on {rows[0]['evaluated_on']} after {rows[0]['steps']:,} steps{trained}: "
        f"{'one seed' if counts == [1] else seeds}.",
        "",
        *markdown.table(["model", "", *titles], lines),
    ]


def regime(value):
    """Returns a number of examples, or a share of wrong labels, as text."""
    return f"{value:,}" if isinstance(value, int) else f"{100 * value:g} % wrong"


def panels(content):
    """Returns the panels of the figure, for `plots.error_curves_figure`."""
    found = []
    for name, x, title in (
        ("data", "train_examples", "training examples"),
        ("wrong_labels", "wrong_labels", "training labels"),
    ):
        rows = sorted(content[name], key=lambda row: row[x])
        lines = {}
        for row in rows:
            lines.setdefault(row["model"], {})[regime(row[x])] = row["errors"]
        if lines:
            places = list(dict.fromkeys(regime(row[x]) for row in rows))
            found.append({"xlabel": title, "lines": lines, "places": places})
    return found + robustness_tables.panels(content["corruptions"], content["attacks"])


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
