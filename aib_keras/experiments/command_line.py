"""The command line of the training recipes: flags, training, export, the printed result."""

import importlib.util
import pathlib
import re
import sys

import keras
from absl import app, flags, logging

from aib_keras import export, zoo
from aib_keras.data.folders import class_roots
from aib_keras.data.loading import is_own
from aib_keras.experiments import cards, field_flags
from aib_keras.experiments.examples import load_evaluation
from aib_keras.experiments.results import read_result
from aib_keras.experiments.run import train
from aib_keras.training import TrainingDivergedError
from aib_keras.utils import processes, program
from aib_keras.utils.checks import check_path
from aib_keras.utils.files import write_json
from aib_serve.saved_model_path import check_no_pattern

# Name of a format -> the function of `aib_keras.export` that writes it, where in the workdir, and
# the files there by which it is known to be complete.
EXPORTS = {
    "saved_model": ("to_saved_model", "saved_model", "saved_model/saved_model.pb"),
    # serving/models.config has it under this name. The folder of a version is a number.
    "serving": ("to_serving", "serving/aib", "serving/aib/[0-9]*/saved_model.pb"),
    "litert": ("to_litert", "model.tflite", "model.tflite"),
    "onnx": ("to_onnx", "model.onnx", "model.onnx"),
}
# The packages that a format needs. They come with the extra of its name.
_OF_EXPORTS = {
    "serving": ("tensorflow_serving",),
    "litert": ("ai_edge_litert",),
    "onnx": ("tf2onnx", "onnxruntime"),
}
# Of the data set in the name of a work directory: it can be a list of files.
_MOST_LETTERS = 100
_OF_REPORT = ("matplotlib", "scipy", "sklearn")
# Those that take image files, and have to prepare them as the training's evaluation does.
_TAKE_FILES = ("saved_model", "serving")


def main(
    defaults, model_settings=None, export_formats=(), report=None, text=None, needs_dataset=False
):
    """Runs a recipe: parses the flags, trains, exports, prints the result.

    Args:
        defaults: `TrainingConfig` with the recipe's defaults.
        model_settings: Optional dict from a model's name to the settings that this recipe has for
            it. `--set` and `--width` count more.
        export_formats: Default of `--export`, some of `EXPORTS`.
        report: Optional function that writes report.html, as `report.write_report` does.
        text: What `--help` says above the flags. Defaults to the docstring of the script.
        needs_dataset: Whether the data set must be there: as the one argument, by `--dataset`, or
            in the file of `--config`.
    """
    define_flags(defaults, export_formats)
    program.run(
        lambda argv: _run(argv, defaults, model_settings, report, needs_dataset),
        (field_flags.__name__, __name__),
        text or sys.modules["__main__"].__doc__,
    )


def export_main(text=None):
    """Runs the export of a trained model: parses the flags, exports what is not there yet.

    Args:
        text: As in `main`.
    """
    define_export_flags()
    program.run(export_trained, (__name__,), text or sys.modules["__main__"].__doc__)


def define_export_flags():
    """Defines the flags of an export."""
    flags.DEFINE_string("workdir", None, "Folder of a finished training.", required=True)
    flags.DEFINE_list("export", ["saved_model"], f"Some of {', '.join(EXPORTS)}.")


def export_trained(argv):
    """Exports the model that the parsed flags name.

    Args:
        argv: List of strings, the name of the program and nothing else.

    Raises:
        absl.app.UsageError: for a bad flag, a folder without a finished training, or another
            backend than TensorFlow; and if an export fails, after the others.
    """
    program.check_no_arguments(argv)
    check_exports(flags.FLAGS.export)
    if not _exports():
        raise app.UsageError(
            f"Export needs the TensorFlow backend, and this is {keras.backend.backend()}. Set "
            "KERAS_BACKEND=tensorflow."
        )
    _check_exports_installed()
    workdir = pathlib.Path(flags.FLAGS.workdir)
    if not (workdir / "result.json").exists():
        raise app.UsageError(f"--workdir={workdir} holds no finished training (no result.json).")
    if failures := export_model(workdir, flags.FLAGS.export):
        raise app.UsageError("\n".join(failures))


def define_flags(defaults, export_formats=()):
    """Defines the flags of a recipe."""
    field_flags.define(defaults)
    flags.FLAGS["model"].help += f" One of {', '.join(zoo.list_models())}."
    flags.DEFINE_string(
        "workdir", None, "Folder for all that the training leaves [runs/DATASET-MODEL-SEED]."
    )
    flags.DEFINE_list(
        "export", list(export_formats), f"What to write at the end: {', '.join(EXPORTS)}."
    )


def _run(argv, defaults, model_settings, report, needs_dataset):
    if needs_dataset:
        argv = _take_dataset(argv)
    program.check_no_arguments(argv)
    # TFDS logs every file that it opens.
    logging.set_verbosity(logging.WARNING)
    config = field_flags.read(defaults, model_settings)
    check_exports(flags.FLAGS.export)
    # Now, and not at the end of the training.
    if report is not None:
        _check_installed(_OF_REPORT, "The report", "train")
    _check_exports_installed()
    try:
        workdir = check_path("workdir", flags.FLAGS.workdir or _default_workdir(config))
        _check_outside(workdir, config)
        if _exports() and set(_TAKE_FILES) & set(flags.FLAGS.export):
            check_no_pattern(workdir.expanduser().absolute())
        result = train(config, workdir)
    except ModuleNotFoundError:
        raise
    except (ValueError, TrainingDivergedError, OSError, ImportError) as error:
        # Without a traceback, as absl reports a flag that it refuses itself.
        raise app.UsageError(field_flags.as_flags(str(error), defaults)) from error
    if failures := processes.on_first(_after_training, workdir, result, report):
        raise app.UsageError("\n".join(failures))


def _default_workdir(config):
    # TensorFlow would take some of these for a pattern.
    name = re.sub(r"[/\\\[\]]", "_", str(config.dataset)).strip("_.")[:_MOST_LETTERS]
    # Of "." and "..".
    name = name or pathlib.Path(config.dataset).resolve().name
    return f"runs/{name}-{config.model}-seed{config.seed}"


def _check_outside(workdir, config):
    """Raises an error if a work directory is in the folder of the images, as if it were a class."""
    if not is_own(config.dataset, config.data_dir):
        return
    folder = pathlib.Path(config.dataset).expanduser().resolve()
    if not folder.is_dir():
        return
    for place in class_roots(folder):
        if place in workdir.expanduser().resolve().parents:
            raise app.UsageError(
                f"--workdir={workdir} is in {place}, whose folders are the classes. Pass a "
                "--workdir elsewhere, or call the command from another folder."
            )


def _take_dataset(argv):
    """Returns the arguments without the data set, which becomes the value of its flag."""
    flag, rest = flags.FLAGS["dataset"], argv[1:]
    if len(rest) == 1 and not flag.present:
        flag.parse(rest[0])
        flag.present += 1
        return argv[:1]
    if not rest and not flag.present and flags.FLAGS.config is None:
        raise app.UsageError("Pass a folder with one folder of photos per class.")
    return argv


def _after_training(workdir, result, report):
    """Writes report and exports, and returns what failed, a list of sentences."""
    failures = []
    if report is not None:
        try:
            _write_report(report, workdir, result)
        except (ValueError, OSError) as error:
            failures.append(f"report.html was not written: {error}")
    failures += export_model(workdir, flags.FLAGS.export)
    for line in _error_lines(result):
        print(line)
    print(f"Everything{' else' if failures else ''} is in {workdir}.")
    return failures


def _error_lines(result):
    """Returns the lines about the errors of a training, and of which epoch its model is."""
    best = None
    for key, value in result.items():
        if key.endswith("_error_best_epoch"):
            best = f"{100 * value:.2f} %"
        elif "_error_" in key:
            yield f"{key.replace('_', ' ')}: {100 * value:.2f} %"
    line = "The saved model and its exports are those of the last epoch."
    if best is not None:
        line += f" The best epoch had {best}: too good a figure, as it was chosen on these images."
    yield line


def _check_installed(packages, feature, extra):
    """Raises a UsageError that says how to install what a feature needs."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise app.UsageError(
            f'{feature} needs {" and ".join(missing)}: pip install "aib-keras[{extra}]".'
        )


def _exports():
    """Returns whether this backend exports."""
    return keras.backend.backend() == "tensorflow"


def _check_exports_installed():
    """Checks the packages of --export before any work; other backends do not export."""
    if _exports():
        for format in flags.FLAGS.export:
            _check_installed(_OF_EXPORTS.get(format, ()), f"--export={format}", format)


def _write_report(report, workdir, result):
    """Writes the report of a trained model on its evaluation examples, unless it is there."""
    path = workdir / "report.html"
    # The second is written last.
    if not (path.exists() and (workdir / "report.json").exists()):
        print(f"Writing {path}: the maps and their scores can take minutes.", flush=True)
        model = keras.saving.load_model(workdir / "model.keras")
        examples = load_evaluation(result, flags.FLAGS.data_dir)
        numbers = report(path, model, examples, cards.title(result))
        write_json(workdir / "report.json", numbers)
    print(f"Open {path} in a browser.")


def export_model(workdir, formats):
    """Exports the trained model of a folder in those of `formats` that are not there yet.

    Returns:
        A list with a sentence for each format that failed. The others are exported.
    """
    missing = []
    for name in formats:
        _, file, complete = EXPORTS[name]
        if any(workdir.glob(complete)):
            print(f"{workdir / file} is there already.")
        else:
            missing.append(name)
    if not missing:
        return []
    if not _exports():
        print(
            f"Not exported: export needs the TensorFlow backend, and this is "
            f"{keras.backend.backend()}. The same command with KERAS_BACKEND=tensorflow exports."
        )
        return []
    # TensorFlow's export logs every file that it writes.
    logging.set_verbosity(logging.ERROR)
    print(f"Exporting: {', '.join(missing)}.", flush=True)
    model = keras.saving.load_model(workdir / "model.keras")
    result, failures = read_result(workdir), []
    for name in missing:
        function, file, _ = EXPORTS[name]
        arguments = {"class_names": result["class_names"]}
        if name in _TAKE_FILES:
            arguments["crop_pct"] = result["config"]["crop_pct"]
        try:
            report = getattr(export, function)(model, workdir / file, **arguments)
        except (ValueError, OSError, export.ExportError) as error:
            failures.append(f"{name} was not exported: {error}")
        else:
            print(f"Exported and checked: {report.path}, {report.bytes / 2**20:.1f} MiB")
    return failures


def check_model(name):
    """Raises a UsageError, as absl does for a bad flag, for a name that is not in the zoo."""
    try:
        zoo.get(name)
    except ValueError as error:
        raise app.UsageError(str(error)) from None


def check_exports(formats):
    """Raises a UsageError, as absl does for a bad flag, for a format that is not in `EXPORTS`."""
    for name in formats:
        if name not in EXPORTS:
            raise app.UsageError(
                f"--export={name}: expected some of {', '.join(EXPORTS)}, separated by commas."
            )
