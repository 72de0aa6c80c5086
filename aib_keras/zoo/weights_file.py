"""Weights in files, and whether they fit a model."""

import collections
import io
import json
import os
import pathlib
import zipfile

import h5py
import keras
import numpy as np

SUFFIXES = (".weights.h5", ".keras")
# Parts of a model, their settings, and the arguments that these come from.
_NOT_IN_SHAPES = (
    ("preprocessing", "scale", "`std`"),
    ("preprocessing", "offset", "`mean`"),
    ("attention", "modulation", "`modulation`"),
)
# Arrays in a weights file that are not the model's: the optimiser's, the state of the noise, and
# what the saved states of a training have besides.
_IGNORED = ("optimizer/", "seed_generator_state", "aib_keras_")


def load_weights(model, model_name, path, num_classes):
    """Loads the weights in a file into a built model.

    Args:
        model: Built zoo model.
        model_name: Its name in the zoo.
        path: Path of the file.
        num_classes: The setting of the model, for errors.

    Raises:
        ValueError: for a file that is not there, cannot be read, or does not fit the model.
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"There is no weights file {str(path)!r}.")
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"{str(path)!r} is not a weights file: expected {SUFFIXES}.")
    _check_fit(model, model_name, path, num_classes)
    if path.suffix == ".keras":
        _check_settings(model, path)
    model.load_weights(path)


def is_path(weights):
    """Returns whether `weights` is the path of a file rather than a name in the index."""
    return isinstance(weights, os.PathLike) or str(weights).endswith(SUFFIXES)


def _check_fit(model, model_name, path, num_classes):
    """Raises a ValueError unless a file has arrays of the model's shapes, and no others.

    Keras loads what it finds a place for, and does not report the rest.
    """
    try:
        found = collections.Counter(_shapes(path))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{str(path)!r} is not a readable weights file: {error}") from error
    own = collections.Counter(tuple(variable.shape) for variable in model.weights)
    missing, superfluous = own - found, found - own
    if missing or superfluous:
        problems = [f"{count} of shape {shape} are missing" for shape, count in missing.items()]
        problems += [f"{count} of shape {shape} too many" for shape, count in superfluous.items()]
        raise ValueError(
            f"{str(path)!r} does not fit zoo.{model_name} with num_classes={num_classes} and these "
            "settings. Build the model with the settings that the file was made with (they are in "
            f"the config.json of its training). Of the model's arrays, "
            f"{'; '.join(sorted(problems)[:5])}{'; ...' if len(problems) > 5 else ''}."
        )


def _check_settings(model, path):
    """Raises a ValueError if the model in a `.keras` file computes something else with its weights.

    The shapes do not tell how images are normalised, or how a map modulates features.
    """
    with zipfile.ZipFile(path) as archive:
        saved = json.loads(archive.read("config.json"))["config"]
    own = keras.saving.serialize_keras_object(model)["config"]
    for part, setting, argument in _NOT_IN_SHAPES:
        found, expected = (
            ((config.get(part) or {}).get("config") or {}).get(setting) for config in (saved, own)
        )
        if None not in (found, expected) and not np.array_equal(found, expected):
            raise ValueError(
                f"{str(path)!r} was made with another {argument}: its {part} has {setting} "
                f"{found}, and that of this model {expected}. Pass {argument} as in the training, "
                "or load the file with keras.saving.load_model."
            )


def _shapes(path):
    """Returns the shapes of the model's arrays in a weights file."""
    shapes = []

    def visit(name, item):
        is_own = not name.startswith(_IGNORED) and not name.endswith(_IGNORED)
        if isinstance(item, h5py.Dataset) and is_own:
            shapes.append(item.shape)

    if str(path).endswith(".keras"):
        with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as file:
            content = io.BytesIO(file.read())
    else:
        content = path
    with h5py.File(content) as weights:
        weights.visititems(visit)
    return shapes
