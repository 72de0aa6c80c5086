r"""Fig. 4 of the paper: beta, latent_dim and num_anchors, each varied alone.

The paper (VGG with quantised attention on CIFAR-10): beta is best at 0.01, latent_dim (K) at 256,
num_anchors (Q) between 20 and 50. With 200 epochs for each of 13 runs, as in the paper, this
needs a GPU for days. Scaled down, it takes 3 to 5 hours on two CPU cores:

    python recipes/ablate.py --runs=runs/ablation --jobs=2 --beta=0,0.001,0.01,0.1,1 \
        --latent_dim=64,128,256,512,1024 --num_anchors=5,10,20,50,100 \
        -- --width=0.125 --train_examples=20000 --epochs=6

What comes after `--` goes to every training. The same command again resumes. To add values or
seeds, name them beside those that are there: the figure has what the flags name. An empty
--num_anchors= leaves a setting out, which models without a quantiser need. Choosing settings on the
test set would mean training on it, so errors are those of the last --validation_examples training
examples, which no training sees. With 0 of them it takes the test set, to repeat the paper's
figure. The recipe writes ablation.md, ablation.json and ablation.png to --runs: the error of the
last epoch against each setting and, for beta, against the rate (mean bits in z).
"""

import pathlib

from absl import app, flags

from aib_keras import metrics, plots
from aib_keras.experiments import cards, command_line, markdown, results, sweep
from aib_keras.utils import program
from aib_keras.utils.files import atomic_path

# The paper's settings for VGG on CIFAR-10, around which each is varied alone, and its best values.
CENTRE = {"beta": 0.01, "latent_dim": 256, "num_anchors": 20}
BEST = {"beta": (0.01, 0.01), "latent_dim": (256, 256), "num_anchors": (20, 50)}

RUNS = flags.DEFINE_string("runs", "runs/ablation", "Folder of work directories, and the figure.")
MODEL = flags.DEFINE_string("model", "vgg_aib_qt", "A model with these settings.")
DATASET = flags.DEFINE_string("dataset", "cifar10", "Data set, as the training recipes take it.")
SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds to train with.")
VALIDATION_EXAMPLES = flags.DEFINE_integer(
    "validation_examples", 5000, "Training examples to evaluate on; 0: test.", 0
)
JOBS = flags.DEFINE_integer("jobs", 1, "Runs at the same time.", 1)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data.")
TRAIN = flags.DEFINE_bool("train", True, "Train what is missing; else show what there is.")
AROUND = flags.DEFINE_list("around", [], "name=value of a setting while the others are varied.")
VALUES = {
    "beta": flags.DEFINE_list("beta", ["0", "0.001", "0.01", "0.1", "1"], "Weights of the KL."),
    "latent_dim": flags.DEFINE_list(
        "latent_dim", ["64", "128", "256", "512", "1024"], "Dimensions of z."
    ),
    "num_anchors": flags.DEFINE_list("num_anchors", ["5", "10", "20", "50", "100"], "Anchors."),
}


def main(argv):
    command_line.check_model(MODEL.value)
    seeds = program.numbers(SEEDS, int)
    points = [
        (setting, value, training(settings, seed, argv[1:]))
        for setting, value, settings in settings_to_try()
        for seed in seeds
    ]
    if TRAIN.value:
        # Once each, because the point in the middle belongs to every panel.
        sweep.train(list(dict.fromkeys(one for _, _, one in points)), JOBS.value)
    found = [
        (setting, value, results.read_result(one.workdir))
        for setting, value, one in points
        if one.finished
    ]
    if not found:
        raise app.UsageError(f"There is no finished training in {RUNS.value}. Leave out --notrain.")
    check_alike([result for _, _, result in found])
    write([row(*each) for each in found], found[0][2])


def settings_to_try():
    """Returns (setting, value, all settings) of every point of the figure."""
    values = {
        name: [value_of(name, text) for text in flag.value if text] for name, flag in VALUES.items()
    }
    varied = {name: sorted(set(found)) for name, found in values.items() if found}
    if not varied:
        raise app.UsageError(f"Nothing to vary: give values to some of --{', --'.join(VALUES)}.")
    centre = {name: CENTRE[name] for name in varied}
    for assignment in AROUND.value:
        name, equals, text = assignment.partition("=")
        if not equals or name not in VALUES:
            raise app.UsageError(
                f"--around={assignment}: expected name=value of {', '.join(VALUES)}. Other "
                "settings go to every training as --set=name=value after --."
            )
        centre[name] = value_of(name, text)
    return [
        (name, value, {**centre, name: value}) for name, found in varied.items() for value in found
    ]


def value_of(name, text):
    """Returns a value of a setting as a number."""
    return program.number(name, text, float if name == "beta" else int)


def training(settings, seed, extra_flags):
    """Returns the `sweep.Training` with these settings."""
    name = "-".join(f"{name}{value:g}" for name, value in settings.items())
    dataset = DATASET.value.replace("/", "_").strip("_.")
    return sweep.training(
        pathlib.Path(__file__).parent,
        pathlib.Path(RUNS.value) / f"{dataset}-{MODEL.value}-{name}-seed{seed}",
        DATASET.value,
        MODEL.value,
        seed,
        DATA_DIR.value,
        # At the end, because the last of two flags counts.
        flags=(
            *extra_flags,
            f"--validation_examples={VALIDATION_EXAMPLES.value}",
            *(f"--set={name}={value!r}" for name, value in settings.items()),
        ),
    )


def check_alike(found):
    """Raises a UsageError if runs differ in more than what is varied here."""
    first = None
    for result in found:
        config = results.deciding_settings(result)
        settings = config["settings"].items()
        config["settings"] = {name: value for name, value in settings if name not in VALUES}
        first = first or config
        different = [name for name in config if config[name] != first[name]]
        if different:
            raise app.UsageError(
                f"Runs in {RUNS.value} differ in {', '.join(different)}, so that their errors "
                "do not compare. Give another --runs, or the flags after -- that it was made with."
            )


def row(setting, value, result):
    """Returns what a training measured, a line of ablation.json."""
    split = cards.evaluated_split(result)
    last = result["last_epoch"]
    return {
        "setting": setting,
        "value": value,
        "seed": result["seed"],
        "error": result[f"{split}_error_last_epoch"],
        "error_sampled": result.get(f"{split}_error_last_epoch_sampled"),
        "error_best_epoch": result.get(f"{split}_error_best_epoch"),
        "nll": last["nll"],
        "kl_nats": last["kl_nats"],
        "anchors_in_use": last.get("anchors_in_use"),
        "parameters": result["parameters"],
        "seconds": result["seconds"],
    }


def write(rows, result):
    """Writes table, JSON and figure. `result` is that of one of the runs."""
    runs = pathlib.Path(RUNS.value)
    what = f"{result['model']} on {result['dataset']}"
    images = f"{result['evaluated_examples']:,} images of {result['evaluated_on']}"
    scale = markdown.scale(cards.reductions(result)).capitalize()
    figure = plots.ablation_figure(rows, f"{what}, error on {images}", BEST)
    with atomic_path(runs / "ablation.png") as temporary:
        figure.savefig(temporary, dpi=120)
    markdown.write(runs, "ablation", table(rows, f"{what}: {images}. {scale}."), rows)


def table(rows, head):
    """Returns a table with a line per point of the figure. The paper's best values are bold."""
    columns = ["setting", "value", "seed", "error %", "sampled %", "best epoch %"]
    columns += ["NLL nats", "rate bits", "anchors in use %", "parameters", "minutes"]
    lines = ["# Ablations", "", head, "The paper's best values are bold.", ""]
    lines += markdown.table(columns, [cells(each) for each in rows])
    return "\n".join(lines) + "\n"


def cells(row):
    """Returns the cells of one line."""
    low, high = BEST[row["setting"]]
    value = f"{row['value']:g}"
    return [
        row["setting"],
        f"**{value}**" if low <= row["value"] <= high else value,
        str(row["seed"]),
        *(markdown.percent(row[name]) for name in ("error", "error_sampled", "error_best_epoch")),
        markdown.number(row["nll"], 3),
        markdown.number(float(metrics.nats_to_bits(row["kl_nats"])), 2),
        markdown.percent(row["anchors_in_use"], 0),
        f"{row['parameters']:,}",
        markdown.number(row["seconds"] / 60, 0),
    ]


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
