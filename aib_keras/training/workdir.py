"""The folder that belongs to one training."""

import dataclasses
import json
import pathlib

from aib_keras.utils import processes
from aib_keras.utils.files import read_json, write_json

CONFIG_FILE = "config.json"


def check_workdir(workdir, config):
    """Checks that `workdir` is free for the training with this configuration, or is its folder.

    It writes nothing: what fails before a training starts leaves no folder behind.

    The arguments, returns and errors are those of `claim_workdir`.
    """
    workdir = pathlib.Path(workdir)
    wanted, free = _content(config)
    processes.check_same(
        "settings", {name: value for name, value in wanted.items() if name not in free}
    )
    defaults, _ = _content(type(config)())
    processes.on_first(_check, workdir, wanted, defaults, free)
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


def _content(config):
    """Returns a configuration as it is read from its file, and the fields that may differ."""
    wanted = json.loads(json.dumps(config.to_json()))
    return wanted, {
        field.name for field in dataclasses.fields(config) if not field.metadata["decides"]
    }


def _check_visible(workdir):
    if not (workdir / CONFIG_FILE).exists():
        raise FileNotFoundError(
            f"Process {processes.index()} does not see what process 0 wrote to {workdir.absolute()}"
            ". Choose a `workdir` in a folder that all hosts share."
        )


def _check(workdir, wanted, defaults, free):
    path = workdir / CONFIG_FILE
    if path.exists():
        # A setting that an older version did not know: it trained as the default does.
        _check_same(workdir, {**defaults, **read_json(path)}, wanted, free)
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
