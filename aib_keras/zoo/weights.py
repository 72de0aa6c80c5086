"""Trained weights: found by name in an index, or read from a path."""

import collections
import hashlib
import io
import json
import os
import pathlib
import zipfile

import h5py
import keras

_ENVIRONMENT = "AIB_KERAS_ZOO"
_SUFFIXES = (".weights.h5", ".keras")
# Arrays in a weights file that are not the model's: the optimiser's, and the state of the noise.
_IGNORED = ("optimizer/", "seed_generator_state")


def load_weights(model, model_name, weights, num_classes):
    """Loads weights into a built model.

    Args:
        model: Built zoo model.
        model_name: Its name in the zoo.
        weights: The name of an entry in the zoo's index, or a path.
        num_classes: The setting of the model, for errors.

    Raises:
        ValueError: for a name that the index does not have (the error lists those that it has), a
            file whose SHA-256 is not the index's, or weights that do not fit the model.
    """
    if isinstance(weights, os.PathLike) or str(weights).endswith(_SUFFIXES):
        path = pathlib.Path(weights)
        if not path.is_file():
            raise ValueError(f"There is no weights file {str(path)!r}.")
        if not path.name.endswith(_SUFFIXES):
            raise ValueError(f"{str(path)!r} is not a weights file: expected {_SUFFIXES}.")
    else:
        path = _from_index(model_name, weights)
    _check_fit(model, model_name, path, num_classes)
    model.load_weights(path)


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


def _from_index(model_name, dataset):
    base, index = read_index()
    trained = index.get(model_name, {})
    if dataset not in trained:
        listing = "; ".join(f"{name}: {', '.join(sorted(sets))}" for name, sets in index.items())
        raise ValueError(
            f"The zoo at {base!r} has no weights {dataset!r} for {model_name}. It has "
            f"{listing or 'none yet'}. `weights` can also be a path that ends in "
            f"{' or '.join(_SUFFIXES)}."
        )
    entry = trained[dataset]
    if _is_url(base):
        return keras.utils.get_file(
            entry["file"],
            f"{base.rstrip('/')}/{entry['file']}",
            cache_subdir=f"aib_keras/{entry['sha256'][:16]}",
            file_hash=entry["sha256"],
            hash_algorithm="sha256",
        )
    path = pathlib.Path(base) / entry["file"]
    if not path.is_file():
        raise ValueError(f"The zoo's index lists {str(path)!r}, and there is no such file.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != entry["sha256"]:
        raise ValueError(
            f"{str(path)!r} is not the file that the index describes: its SHA-256 is {digest}, "
            f"expected {entry['sha256']}. Fetch it again."
        )
    return path


def read_index():
    """Returns where the zoo is, and its index: model -> entry -> {"file", "sha256"}."""
    # The wheel has the index beside this module (setup.py); in a checkout it is in zoo/.
    folder = pathlib.Path(__file__).resolve().parent
    if not (folder / "index.json").is_file():
        folder = folder.parents[1] / "zoo"
    base = os.environ.get(_ENVIRONMENT, str(folder))
    if _is_url(base):
        # An index changes with every release: not cached under one name for ever.
        path = keras.utils.get_file(
            origin=f"{base.rstrip('/')}/index.json",
            cache_subdir="aib_keras",
            force_download=True,
        )
    else:
        path = pathlib.Path(base) / "index.json"
        if not os.path.isfile(path):
            raise ValueError(
                f"There is no zoo at {base!r} (no index.json in it). Set {_ENVIRONMENT} to the "
                "folder or URL of a zoo, or give `weights` as a path."
            )
    return base, json.loads(pathlib.Path(path).read_text())


def _is_url(base):
    return base.startswith(("http://", "https://"))
