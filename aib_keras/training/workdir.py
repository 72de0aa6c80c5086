"""The folder that belongs to one training."""

import dataclasses
import hashlib
import json
import math
import pathlib

import numpy as np

from aib_keras.utils import processes
from aib_keras.utils.checks import check_path
from aib_keras.utils.files import read_json, write_json

CONFIG_FILE = "config.json"
# What a configuration does not say: the model and the data.
_TRAINING_FILE = "training.json"
_OUR_LAYERS = "aib_keras.layers"


def check_workdir(workdir, config):
    """Checks that `workdir` is free for the training with this configuration, or is its folder.

    It writes nothing: what fails before a training starts leaves no folder behind.

    The arguments, returns and errors are those of `claim_workdir`.
    """
    workdir = check_path("workdir", workdir)
    wanted, free = _content(config)
    processes.check_same(
        "settings", {name: value for name, value in wanted.items() if name not in free}
    )
    processes.on_first(_check, workdir, type(config), wanted, free)
    return workdir


def claim_workdir(workdir, config):
    """Makes `workdir` the folder of the training with this configuration, or checks that it is.

    Fields that do not decide what a training computes, such as where its data are, may differ. Of
    several processes, the first one does it.

    Args:
        workdir: Path, the same in all processes.
        config: `FitConfig`, or a subclass of it.

    Returns:
        `workdir` as a `pathlib.Path`.

    Raises:
        ValueError: if the folder belongs to a training with another configuration, or holds
            something else.
    """
    workdir = check_workdir(workdir, config)
    wanted, _ = _content(config)
    processes.on_first(_claim, workdir, wanted)
    processes.together(_check_visible, workdir)
    return workdir


def claim_training(workdir, model, batches):
    """Notes which model is trained on which examples in a folder, or checks that they are the same.

    A model is known by the shapes of its weights and the settings of the layers of this library,
    examples by their number and labels. What else changes a model or an image goes unnoticed.

    Args:
        workdir: Path of the folder.
        model: Built model.
        batches: Training batches.

    Raises:
        ValueError: if the folder has another training.
    """
    # As it is read from a file.
    wanted = json.loads(json.dumps(_training(model, batches)))
    processes.on_first(_claim_training, pathlib.Path(workdir), wanted)


def _training(model, batches):
    layers = [
        {"layer": type(layer).__name__, **_settings(layer.get_config())}
        for layer in model._flatten_layers()
        if type(layer).__module__.startswith(_OUR_LAYERS)
    ]
    found = {
        "weights": [list(variable.shape) for variable in model.weights],
        "layers": layers,
        "batches": len(batches),
    }
    labels = getattr(getattr(batches, "data", None), "labels", None)
    if labels is not None:
        found["examples"] = len(labels)
        found["labels"] = hashlib.sha256(np.asarray(labels, "int64").tobytes()).hexdigest()
    return found


def _settings(config):
    """Returns the numbers, strings and booleans of a layer's configuration, without its name.

    Parts of it, such as a trunk, have names that differ between two models that are alike.
    """
    return {
        key: value
        for key, value in config.items()
        if key != "name" and isinstance(value, (str, int, float, bool, type(None)))
    }


def _claim_training(workdir, wanted):
    path = workdir / _TRAINING_FILE
    if not path.exists():
        write_json(path, wanted)
        return
    found = read_json(path)
    if found == wanted:
        return
    raise ValueError(
        f"{workdir} belongs to another training ({_difference(found, wanted)}). Choose another "
        "`workdir`, or the same model and data to resume that training."
    )


def _difference(found, wanted):
    """Returns the first difference between two runs, in words."""
    for there, now in zip(found["layers"], wanted["layers"], strict=False):
        for name in there:
            if there["layer"] == now["layer"] and there[name] != now.get(name):
                return f"{there['layer']}: {name} {there[name]!r} there, {now.get(name)!r} now"
    if found["weights"] != wanted["weights"] or found["layers"] != wanted["layers"]:
        counts = (sum(map(math.prod, each["weights"])) for each in (found, wanted))
        there, now = (f"a model of {count:,} weights" for count in counts)
        return f"{there} there, {now} now"
    for name in ("examples", "batches"):
        if found.get(name) != wanted.get(name):
            return f"{found.get(name)} {name} there, {wanted.get(name)} now"
    return "other labels there"


def deciding_fields(config):
    """Returns the names of the fields of a configuration that decide what a training computes."""
    names = [field.name for field in dataclasses.fields(config) if field.metadata["decides"]]
    # Patience counts evaluations.
    return names if config.patience is None else [*names, "validation_freq"]


def _content(config):
    """Returns a configuration as it is read from its file, and the fields that may differ."""
    wanted = json.loads(json.dumps(config.to_json()))
    return wanted, wanted.keys() - deciding_fields(config)


def _check_visible(workdir):
    if not (workdir / CONFIG_FILE).exists():
        raise FileNotFoundError(
            f"Process {processes.index()} does not see what process 0 wrote to {workdir.absolute()}"
            ". Choose a `workdir` in a folder that all hosts share."
        )


def _check(workdir, config_type, wanted, free):
    path = workdir / CONFIG_FILE
    if path.exists():
        _check_same(workdir, config_type.up_to_date(read_json(path)), wanted, free)
    elif workdir.is_dir() and any(workdir.iterdir()):
        raise ValueError(
            f"{workdir} is not empty and has no {CONFIG_FILE}, so it is not the folder of a "
            "training. Choose another `workdir`."
        )


def _claim(workdir, wanted):
    path = workdir / CONFIG_FILE
    if not path.exists():
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(path, wanted)


def _check_same(workdir, found, wanted, free):
    differences = [
        f"{name}: {found.get(name)!r} there, {wanted.get(name)!r} now"
        for name in sorted({*found, *wanted} - free)
        if found.get(name) != wanted.get(name)
    ]
    if differences:
        raise ValueError(
            f"{workdir} belongs to a training with another configuration "
            f"({'; '.join(differences)}). Choose another `workdir`, or the same settings to resume "
            "that training."
        )
