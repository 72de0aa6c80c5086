"""Attention that pays for what it lets through: train, explain, ship.

aib-keras train --model=NAME          train a model of the zoo
aib-keras photos FOLDER               classify your own photos
aib-keras explain FOLDER --model=SAVED_MODEL --out=FOLDER
                                      a row per image file: class, map, box
aib-keras export --workdir=FOLDER     write a trained model for servers, phones
aib-keras zoo                         list the models and published weights
aib-keras app                         serve a page that shows where models look

aib-keras COMMAND --help shows an example and the settings of a command.
aib-keras --version shows the version.
"""

import importlib.metadata
import inspect
import sys

from absl import app, flags

from aib_cli import quiet

_FORMAT = "{:28}{:20}{:>8}{:>10}  {}"


def run():
    """Runs the command line `aib-keras`."""
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help", "help"):
        print(__doc__.rstrip())
        return
    if command == "--version":
        print(f"aib-keras {importlib.metadata.version('aib-keras')}")
        return
    if command not in _COMMANDS:
        sys.exit(f"aib-keras has no command {command!r}.\n\n{__doc__.rstrip()}")
    # The flags of a command are parsed as those of a script of that name.
    sys.argv = [f"aib-keras {command}", *arguments]
    function = _COMMANDS[command]
    try:
        with quiet.startup():
            import aib_keras  # noqa: F401
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        # It says which backend is missing, and how to install it.
        sys.exit(str(error))
    function(inspect.getdoc(function))


def _run_program(body, text, module=__name__):
    # All of `aib_keras` imports Keras, which takes seconds.
    from aib_keras.utils import program

    program.run(body, (module,), text)


# The docstring of a command is the first part of what its --help prints.


def _train(text):
    """Trains a model of the zoo. The same command again resumes after a kill.

    aib-keras train --model=vgg_aib_qt --dataset=cluttered_digits --width=0.125 \\
        --epochs=6 --augment=none
    """
    from aib_keras.experiments import TrainingConfig, command_line

    command_line.main(TrainingConfig(), text=text)


def _photos(text):
    """Trains a classifier of your own photos, from ImageNet weights.

    aib-keras photos FOLDER

    FOLDER has one folder of photos per class. The command writes the model, its
    exports, and report.html. The same command again resumes after a kill.
    """
    from aib_keras.experiments import photos

    photos.main(text)


def _explain(text):
    """Writes a row per image file, in Parquet files: class, map, attended box.

    aib-keras explain FOLDER --model=runs/.../saved_model --out=maps

    In place of FOLDER, you can name one image, or a text file with one path per
    line. The same command again goes on with what is missing, and tries files again
    that could not be read. It fails if all images are flagged. It needs the extras
    `tensorflow` and `scale`.
    """
    flags.DEFINE_string("model", None, "Folder of a SavedModel.", required=True)
    flags.DEFINE_string("out", None, "Folder of the Parquet files.", required=True)
    flags.DEFINE_integer("part_size", 2_000, "Images per Parquet file.", 1)
    flags.DEFINE_integer("workers", 0, "Processes of Ray. 0: this process, without Ray.", 0)
    _run_program(_explain_files, text)


def _explain_files(argv):
    from aib_serve import bulk

    if len(argv) != 2:
        raise app.UsageError(
            "Expected one folder, one image, or one text file with a path per line."
        )
    settings = flags.FLAGS
    try:
        found = bulk.explain_files(
            argv[1], settings.model, settings.out, settings.part_size, settings.workers
        )
    except ImportError as error:
        raise app.UsageError(
            f'{error}. Install what is missing: pip install "aib-keras[tensorflow,scale]"'
        ) from error
    except (ValueError, OSError, RuntimeError) as error:
        raise app.UsageError(str(error).replace("`model`", "--model")) from error
    print(f"{found.images} images in {settings.out}, {found.errors} of them flagged.")
    if found.errors:
        print(f"The most frequent error (column `error`): {found.most_frequent_error}")
    # A program that goes on with the rows should not go on with none.
    return int(found.errors == found.images)


def _export(text):
    """Exports the model of a training, and checks each file against the model.

    aib-keras export --workdir=runs/quickstart/vgg_aib_qt --export=serving,onnx

    It writes saved_model/, serving/aib/1, model.tflite or model.onnx into the
    folder of the training, unless it is there. It needs the extra `tensorflow`,
    and `serving`, `litert` or `onnx` for that format.
    """
    from aib_keras.experiments import command_line

    command_line.export_main(text)


def _zoo(text):
    """Lists the models of the zoo, and the published weights of each.

    aib-keras zoo "--pattern=vgg*"
    """
    flags.DEFINE_string("pattern", "*", "Names to list, such as vgg*.")
    _run_program(_list_models, text)


def _list_models(argv):
    from aib_keras import zoo
    from aib_keras.utils import program

    program.check_no_arguments(argv)
    pattern = flags.FLAGS.pattern
    names = zoo.list_models(pattern)
    if not names:
        known = ", ".join(zoo.list_models())
        raise app.UsageError(f"No model matches {pattern!r}. The zoo has: {known}.")
    try:
        found = {name: zoo.weights(name) for name in names}
    except (ValueError, OSError, ImportError) as error:
        # Of the index that AIB_KERAS_ZOO names.
        raise app.UsageError(str(error)) from error
    print(_FORMAT.format("model", "weights", "error", "size", "settings"))
    for name, entries in found.items():
        if not entries:
            print(name)
        for entry in entries:
            settings = {k: v for k, v in entry.settings.items() if k != "input_shape"}
            print(
                _FORMAT.format(
                    name,
                    entry.name,
                    f"{100 * entry.error:.2f} %",
                    f"{entry.bytes / 2**20:.1f} MiB",
                    ", ".join(f"{key}={value}" for key, value in settings.items()),
                )
            )


def _app(text):
    """Serves a page, at the address that it prints, that shows where models look.

    aib-keras app --runs=runs/table1
    """
    from aib_keras.app import __main__ as page

    _run_program(page.main, text, page.__name__)


_COMMANDS = {
    "train": _train,
    "photos": _photos,
    "explain": _explain,
    "export": _export,
    "zoo": _zoo,
    "app": _app,
}
