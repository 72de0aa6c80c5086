"""The folder that belongs to one training."""

import dataclasses
import json
import pathlib

from aib_keras.utils.files import read_json, write_json

CONFIG_FILE = "config.json"


def claim_workdir(workdir, config):
    """Makes `workdir` the folder of the training with this configuration, or checks that it is.

    Fields that do not decide what a training computes, such as where its data are, may differ.

    Args:
        workdir: Path.
        config: `FitConfig`, or a subclass of it.

    Returns:
        `workdir` as a `pathlib.Path`.

    Raises:
        ValueError: if the folder belongs to a training with another configuration, or holds
            something else.
    """
    workdir = pathlib.Path(workdir)
    path = workdir / CONFIG_FILE
    # As it will be read.
    wanted = json.loads(json.dumps(config.to_json()))
    if path.exists():
        _check_same(workdir, read_json(path), wanted, config)
    elif workdir.is_dir() and any(workdir.iterdir()):
        raise ValueError(
            f"{workdir} is not empty and has no {CONFIG_FILE}, so it is not the folder of a "
            "training. Choose another `workdir`."
        )
    else:
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(path, wanted)
    return workdir


def _check_same(workdir, found, wanted, config):
    free = {field.name for field in dataclasses.fields(config) if not field.metadata["decides"]}
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
