"""The command line that recipes share: absl flags over a recipe's defaults."""

import ast
import dataclasses
import pathlib

import keras
from absl import app, flags, logging

from aib_keras import export, zoo
from aib_keras.experiments.config import (
    AUGMENTATIONS,
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULE_CHOICES,
    TrainingConfig,
)
from aib_keras.experiments.run import train
from aib_keras.training.devices import STRATEGIES
from aib_keras.utils.files import read_json

# Name of a format -> what of `aib_keras.export` writes it, and where in the workdir.
EXPORTS = {
    "saved_model": ("to_saved_model", "saved_model"),
    # The name by which serving/models.config has it.
    "serving": ("to_serving", "serving/aib"),
    "litert": ("to_litert", "model.tflite"),
    "onnx": ("to_onnx", "model.onnx"),
}
# Those that take files, which they have to treat as the training's evaluation does.
_TAKE_FILES = ("saved_model", "serving")

# Flags whose name and meaning are those of a field of TrainingConfig.
_FIELDS = tuple(
    field.name
    for field in dataclasses.fields(TrainingConfig)
    if field.name not in ("settings", "beta_warmup")
)


def main(defaults, model_settings=None, export_formats=()):
    """Runs a recipe: parses the flags, trains, exports, prints the result.

    Args:
        defaults: `TrainingConfig` with the recipe's defaults.
        model_settings: Optional dict from a model's name to the settings that this recipe has for
            it, below what `--set` and `--width` say.
        export_formats: Default of `--export`, some of `EXPORTS`.
    """
    define_flags(defaults, export_formats)
    app.run(lambda argv: _run(argv, defaults, model_settings or {}))


def define_flags(defaults, export_formats=()):
    """Defines the flags of a recipe."""
    text, integer, number = flags.DEFINE_string, flags.DEFINE_integer, flags.DEFINE_float
    text("model", defaults.model, f"One of {', '.join(zoo.list_models())}.")
    text("dataset", defaults.dataset, "TFDS name, image folder, .npz, or cluttered_digits.")
    text("data_dir", defaults.data_dir, "Where TFDS keeps its data.")
    text("workdir", None, "Folder for all that the training leaves [runs/DATASET-MODEL-SEED].")
    integer("epochs", defaults.epochs, "Passes over the training examples.")
    integer("batch_size", defaults.batch_size, "Images in a step; 128 for SGD, 64 for Adam.")
    integer("seed", defaults.seed, "Of weights, order, augmentation and noise.")
    text("train_split", defaults.train_split, "Split to train on, e.g. train[:20000].")
    text("test_split", defaults.test_split, "Split to evaluate on.")
    integer("train_examples", defaults.train_examples, "Train on the first so many only.")
    integer("held_out", defaults.held_out, "Evaluate on the last so many training examples.")
    integer("image_size", defaults.image_size, "Side in pixels of what the model sees.")
    number("resize_ratio", defaults.resize_ratio, "Resize to this times image_size, then crop.")
    flags.DEFINE_bool("crop_to_box", defaults.crop_to_box, "Crop images to the object's box first.")
    flags.DEFINE_enum("augment", defaults.augment, AUGMENTATIONS, "Augmentation per image.")
    flags.DEFINE_enum("optimizer", defaults.optimizer, OPTIMIZERS, "auto: sgd from 50 epochs on.")
    number("learning_rate", defaults.learning_rate, "Highest; 0.1 for SGD, 0.002 for Adam.")
    flags.DEFINE_enum("schedule", defaults.schedule, SCHEDULE_CHOICES, "auto: by the optimiser.")
    number("momentum", defaults.momentum, "Of SGD.")
    number("weight_decay", defaults.weight_decay, "Coupled, as PyTorch's.")
    number("anchors_learning_rate", defaults.anchors_learning_rate, "Factor for the anchors.")
    flags.DEFINE_list(
        "beta_warmup",
        [str(share) for share in defaults.beta_warmup],
        "Start and end of the rise of beta, as shares of the training: 0,0 for none.",
    )
    integer("prediction_samples", defaults.prediction_samples, "Of predict_mc at the end.")
    number("width", None, "Multiplies every channel count; 1 is the paper's.")
    flags.DEFINE_multi_string("set", [], "name=value of a setting of the model; repeatable.")
    flags.DEFINE_enum("precision", defaults.precision, PRECISIONS, "Keras precision policy.")
    flags.DEFINE_enum("strategy", defaults.strategy, STRATEGIES, "Devices.")
    flags.DEFINE_enum("jit", "auto", ("auto", "true", "false"), "XLA; auto: not on a CPU.")
    flags.DEFINE_list(
        "export", list(export_formats), f"What to write at the end: {', '.join(EXPORTS)}."
    )
    integer("steps_per_execution", 1, "Steps in one call of the compiled function.", lower_bound=1)


def config_from_flags(defaults, model_settings):
    """The `TrainingConfig` that the parsed flags ask for."""
    values = flags.FLAGS
    settings = {**defaults.settings, **model_settings.get(values.model, {})}
    if values.width is not None:
        settings["width"] = values.width
    for assignment in values.set:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise app.UsageError(f"--set={assignment}: expected name=value.")
        settings[name] = _literal(value)
    try:
        start, end = (float(share) for share in values.beta_warmup)
    except ValueError:
        raise app.UsageError(
            f"--beta_warmup={','.join(values.beta_warmup)}: expected two numbers, such as 0.2,0.8."
        ) from None
    fields = {name: getattr(values, name) for name in _FIELDS}
    return TrainingConfig(**fields, settings=settings, beta_warmup=(start, end))


def _literal(value):
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def _run(argv, defaults, model_settings):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {' '.join(argv[1:])}. Settings are flags.")
    # TFDS tells every file it opens.
    logging.set_verbosity(logging.WARNING)
    config = config_from_flags(defaults, model_settings)
    check_exports(flags.FLAGS.export)
    try:
        config.check()
    except ValueError as error:
        # Told as absl tells of a flag that it refuses itself, without a traceback.
        raise app.UsageError(str(error)) from None
    name = str(config.dataset).replace("/", "_").strip("_.")
    workdir = flags.FLAGS.workdir or f"runs/{name}-{config.model}-seed{config.seed}"
    result = train(
        config,
        workdir,
        jit={"auto": "auto", "true": True, "false": False}[flags.FLAGS.jit],
        steps_per_execution=flags.FLAGS.steps_per_execution,
    )
    export_model(pathlib.Path(workdir), flags.FLAGS.export)
    for key, value in result.items():
        if "_error_" in key:
            print(f"{key.replace('_', ' ')}: {100 * value:.2f} %")
    print(f"All of it is in {workdir}.")


def export_model(workdir, formats):
    """Exports the trained model of a folder in the formats, some of `EXPORTS`, not there yet."""
    missing = [name for name in formats if not (workdir / EXPORTS[name][1]).exists()]
    if not missing:
        return
    if keras.backend.backend() != "tensorflow":
        print(
            f"Not exported: that needs the TensorFlow backend, and this is "
            f"{keras.backend.backend()}. The same command with KERAS_BACKEND=tensorflow exports."
        )
        return
    # TensorFlow's export tells of every file it writes.
    logging.set_verbosity(logging.ERROR)
    model = keras.saving.load_model(workdir / "model.keras")
    result = read_json(workdir / "result.json")
    for name in missing:
        function, file = EXPORTS[name]
        arguments = {"class_names": result["class_names"]}
        if name in _TAKE_FILES:
            arguments["resize_ratio"] = result["config"]["resize_ratio"]
        report = getattr(export, function)(model, workdir / file, **arguments)
        print(f"Exported and checked: {report.path}, {report.bytes / 2**20:.1f} MiB")


def check_exports(formats):
    """Refuses, as absl refuses a flag, a format that is not one of `EXPORTS`."""
    for name in formats:
        if name not in EXPORTS:
            raise app.UsageError(
                f"--export={name}: expected some of {', '.join(EXPORTS)}, separated by commas."
            )
