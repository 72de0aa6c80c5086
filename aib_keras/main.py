"""Attention that pays for what it lets through: train, explain, ship.

aib-keras train --model=vgg_aib_qt       train a model of the zoo (CIFAR-10 by default)
aib-keras photos --dataset=FOLDER        classify your own photos, from ImageNet weights
aib-keras explain FOLDER --model=SAVED_MODEL --out=maps.parquet
                                         a row per image file: class, map, attended box
aib-keras zoo                            list the models and their published weights
aib-keras app                            show in the browser where trained models look

aib-keras COMMAND --help lists the settings of a command, with their defaults.
"""

import sys

from absl import app, flags

_FORMAT = "{:28}{:20}{:>8}{:>10}  {}"


def run():
    """Runs the command line `aib-keras`."""
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help", "help"):
        print(__doc__.rstrip())
        return
    if command not in _COMMANDS:
        sys.exit(f"aib-keras has no command {command!r}.\n\n{__doc__.rstrip()}")
    # The flags of a command are parsed as those of a script of that name.
    sys.argv = [f"aib-keras {command}", *arguments]
    _COMMANDS[command]()


def _train():
    from aib_keras.experiments import TrainingConfig, command_line

    command_line.main(TrainingConfig())


def _photos():
    from aib_keras.experiments import command_line, photos, report

    command_line.main(photos.DEFAULTS, export_formats=photos.EXPORTS, report=report.write_report)


def _explain():
    flags.DEFINE_string("model", None, "Path of a SavedModel.", required=True)
    flags.DEFINE_string("out", None, "Folder of the Parquet files.", required=True)
    flags.DEFINE_integer("part_size", 2_000, "Images per Parquet file.", 1)
    flags.DEFINE_integer("workers", 0, "Processes of Ray. 0: this process, without Ray.", 0)
    app.run(_explain_files)


def _explain_files(argv):
    from aib_serve import bulk

    if len(argv) != 2:
        raise app.UsageError("Expected one folder, or one text file with a path per line.")
    settings = flags.FLAGS
    try:
        found = bulk.explain_files(
            argv[1], settings.model, settings.out, settings.part_size, settings.workers
        )
    except ImportError as error:
        raise app.UsageError(
            f'{error}. Install what is missing: pip install "aib-keras[scale]"'
        ) from error
    except (ValueError, OSError) as error:
        raise app.UsageError(str(error)) from error
    print(f"{found.images} images in {settings.out}, {found.errors} of them flagged.")


def _zoo():
    flags.DEFINE_string("pattern", "*", "Names to list, such as vgg*.")
    app.run(_list_models)


def _list_models(argv):
    from aib_keras import zoo

    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {' '.join(argv[1:])}.")
    print(_FORMAT.format("model", "weights", "error", "size", "settings"))
    for name in zoo.list_models(flags.FLAGS.pattern):
        entries = zoo.weights(name)
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


def _app():
    from aib_keras.app.__main__ import main

    app.run(main)


_COMMANDS = {
    "train": _train,
    "photos": _photos,
    "explain": _explain,
    "zoo": _zoo,
    "app": _app,
}
