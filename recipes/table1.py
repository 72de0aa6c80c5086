r"""Table 1 of the paper, from the work directories of runs. `--train` trains what is missing.

The whole table as the authors trained it needs a GPU for days. To make a table of what is there:

    python recipes/table1.py --runs=runs/table1

Scaled down for two CPU cores (eight models, 1 to 2 hours):

    python recipes/table1.py --runs=runs/table1 --train --datasets=cifar10 --jobs=2 \
        --models=vgg,vgg_gap,vgg_pan,vgg_dvib,vgg_att2,vgg_att3,vgg_aib,vgg_aib_qt \
        -- --width=0.125 --train_examples=20000 --epochs=6

Or as the published weights of a name were trained, each model with the settings of its card:

    python recipes/table1.py --runs=runs/published --train --like=cifar10 --seeds=0,1,2

On birds, VGG-16 starts from the ImageNet weights of keras.applications, and Wide-ResNet-50-2 from
those of `--wide_resnet_weights=FILE`. What comes after `--` goes to every training. The same
command again resumes. Other --models, --datasets and --seeds add to the table. The recipe writes
table1.md and table1.json to --runs: the test error of the last epoch, deterministic and with
`predict_mc`, and that of the best epoch, which is what the paper reports (with samples, as far as
its authors' code shows); mean and standard deviation over the seeds.
"""

import pathlib

from absl import app, flags

from aib_keras.experiments import cards, command_line, markdown, sweep, tables
from aib_keras.experiments.config import TrainingConfig
from aib_keras.experiments.sweep import RECIPES
from aib_keras.utils import program
from aib_keras.zoo import pretrained

# The last two are CIFAR-10's models on STL-10, which recipes/eval_stl10.py evaluates.
COLUMNS = (*RECIPES, "stl10_train", "stl10_test")
# Top-1 error in percent: Table 1 of the paper.
PAPER = {
    "vgg": (7.77, 30.62, 34.64, 4.27, 54.66, 55.09),
    "vgg_gap": (9.87, 31.77, 29.50, 5.84, 56.76, 57.24),
    "vgg_pan": (6.29, 24.35, 31.46, 8.02, 52.50, 52.79),
    "vgg_dvib": (4.64, 22.88, 23.94, 3.28, 51.40, 51.60),
    "wrn": (4.00, 19.25, 26.50, None, None, None),
    "vgg_att2": (5.23, 23.19, 26.80, 3.74, 51.24, 51.71),
    "vgg_att3": (6.34, 22.97, 26.95, 3.52, 51.58, 51.68),
    "wrn_abn": (3.92, 18.12, None, 2.88, 50.90, 51.24),
    "vgg_aib": (4.28, 21.56, 23.73, 3.24, 50.64, 51.24),
    "vgg_aib_qt": (4.10, 20.87, 21.83, 3.07, 50.44, 51.16),
    "wrn_aib": (3.60, 17.82, 17.26, 2.76, 50.08, 50.84),
    "wrn_aib_qt": (3.43, 17.64, 15.50, 2.69, 50.34, 50.49),
}
# On CUB the paper's WRN and IB attention have ImageNet backbones at 224 pixels. The other rows are
# the 32-pixel family at 80 pixels, as in Jetley et al.
CUB_MODELS = {
    "wrn": "wrn50_2",
    "vgg_aib": "vgg16_aib",
    "vgg_aib_qt": "vgg16_aib_qt",
    "wrn_aib": "wrn50_2_aib",
    "wrn_aib_qt": "wrn50_2_aib_qt",
}
CUB_FLAGS = ("--image_size=80",)
# Flags with which the ImageNet models start from other weights than the paper's.
_OTHER_START = ("--width", "--set=width", "--set=backbone_weights", "--initial_weights", "--config")

RUNS = flags.DEFINE_string("runs", "runs/table1", "Folder of work directories, and of the table.")
TRAIN = flags.DEFINE_bool("train", False, "Train what --models, --datasets and --seeds name.")
MODELS = flags.DEFINE_list("models", None, "Models; default: the paper's rows for each data set.")
DATASETS = flags.DEFINE_list("datasets", list(RECIPES), "Data sets to train on.")
LIKE = flags.DEFINE_string(
    "like", None, "Train as the published weights of this name; --datasets is not used."
)
SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds to train with.")
WIDE_RESNET_WEIGHTS = flags.DEFINE_string(
    "wide_resnet_weights",
    None,
    "ImageNet weights for Wide-ResNet-50-2 on birds: a file of torchvision or timm.",
)
JOBS = flags.DEFINE_integer("jobs", 1, "Runs at the same time.", 1)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data.")


def main(argv):
    # The first training may be a day; a misspelt name should not wait for it.
    if any(flag.startswith("--validation_examples") for flag in argv[1:]):
        raise app.UsageError(
            "--validation_examples: Table 1 is of the test images. Leave it out; to choose "
            "settings on held-out images, use recipes/ablate.py or recipes/modulations.py."
        )
    seeds = program.numbers(SEEDS, int)
    program.check_choices(DATASETS, RECIPES)
    if LIKE.value is None:
        asked = [
            (dataset, model, cub_flags(model, argv[1:]) if "birds" in dataset else (), None)
            for dataset in DATASETS.value
            for model in MODELS.value or rows(dataset)
        ]
    else:
        asked = list(published(LIKE.value, MODELS.value))
    jobs = [
        training(dataset, model, seed, [*settings, *argv[1:]], recipe)
        for dataset, model, settings, recipe in asked
        for seed in seeds
    ]
    if TRAIN.value:
        sweep.train(jobs, JOBS.value)
    results = tables.read_results(RUNS.value)
    parts = [column(results, dataset) for dataset in columns(results)]
    if not parts:
        raise app.UsageError(f"There is no finished training in {RUNS.value}. Train with --train.")
    text = "\n".join(tables.section(cells) for cells in parts)
    summaries = [cell.summary() for cells in parts for cell in cells]
    markdown.write(RUNS.value, "table1", text, summaries)


def cub_flags(model, given):
    """Returns the flags of a training on birds, beyond those of its recipe.

    Args:
        model: Name of the model.
        given: The flags that every training gets.
    """
    if model in PAPER:
        return CUB_FLAGS
    if any(flag.startswith(_OTHER_START) for flag in given):
        return ()
    weights = WIDE_RESNET_WEIGHTS.value if model.startswith("wrn50_2") else "imagenet"
    if weights is None and TRAIN.value:
        raise app.UsageError(
            f"{model} starts from ImageNet weights: pass --wide_resnet_weights=FILE, a file of "
            "torchvision or timm. For random weights: -- --set=backbone_weights=None."
        )
    return (f"--set=backbone_weights={weights}",)


def published(name, models=None):
    """Yields data set, model, flags and recipe of the trainings of published weights.

    Args:
        name: Name of the weights.
        models: Names of models; None for all that have such weights.
    """
    try:
        entries = pretrained.matching([f"{model}/{name}" for model in models or ["*"]])
    except ValueError as error:
        raise app.UsageError(f"--like={name}: {error}") from None
    for entry in entries:
        config = TrainingConfig.from_json(entry.training["config"])
        _, *given = cards.arguments(config)
        # The seeds are those of the table, and the precision is this machine's.
        given = [flag for flag in given if not flag.startswith(("--seed=", "--precision="))]
        # Other recipes have defaults of their own, which the command has not.
        yield config.dataset, entry.model, given, sweep.ANY


def rows(dataset):
    """Returns the models of the paper's rows that have a figure for a data set."""
    index = COLUMNS.index(dataset)
    models = [row for row, figures in PAPER.items() if figures[index] is not None]
    return [CUB_MODELS.get(row, row) if "birds" in dataset else row for row in models]


def columns(results):
    """Returns the data sets of the results: the paper's first, in its order."""
    found = {result["dataset"] for result in results}
    return [name for name in COLUMNS if name in found] + sorted(found - set(COLUMNS))


def column(results, dataset):
    """Returns the cells of a data set: the paper's rows, then what else was trained on it."""
    found = []
    for row, figures in PAPER.items():
        paper = figures[COLUMNS.index(dataset)] if dataset in COLUMNS else None
        model = CUB_MODELS.get(row, row) if "birds" in dataset else row
        found += tables.cells(results, model, dataset, paper)
    listed = {cell.model for cell in found}
    for model in sorted({r["model"] for r in results if r["dataset"] == dataset} - listed):
        found += tables.cells(results, model, dataset)
    return [cell for cell in found if cell.results or cell.paper is not None]


def training(dataset, model, seed, extra_flags, recipe=None):
    """Returns the `sweep.Training` of one model."""
    command_line.check_model(model)
    return sweep.training(
        pathlib.Path(__file__).parent,
        pathlib.Path(RUNS.value) / f"{dataset}-{model}-seed{seed}",
        dataset,
        model,
        seed,
        DATA_DIR.value,
        flags=extra_flags,
        recipe=recipe,
    )


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
