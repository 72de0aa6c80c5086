"""Several runs, each a recipe in its own process, some of them at the same time."""

import concurrent.futures
import dataclasses
import os
import pathlib
import subprocess
import sys
import threading

from absl import app

from aib_keras.data import tfds_source
from aib_keras.experiments.config import TrainingConfig
from aib_keras.utils.files import read_json, write_json

# Data set -> the recipe that trains on it.
RECIPES = {
    "cifar10": "train_cifar10.py",
    "cifar100": "train_cifar100.py",
    "caltech_birds2011": "train_cub.py",
    "svhn_cropped": "train_svhn.py",
}
# Flags that change nothing in what a training computes.
_WITHOUT_EFFECT = {
    "workdir",
    "export",
    *(each.name for each in dataclasses.fields(TrainingConfig) if not each.metadata["decides"]),
}
# This recipe trains on any data set, and its defaults are those of `TrainingConfig`.
ANY = "train_cifar10.py"


class TrainingFailedError(RuntimeError):
    """A training failed. The message has its last lines and the path of its output."""


@dataclasses.dataclass(frozen=True)
class Training:
    """One training: its command line and its work directory."""

    command: tuple
    workdir: pathlib.Path

    @property
    def finished(self):
        return (self.workdir / "result.json").exists()


def training(recipes, workdir, dataset, model, seed, data_dir=None, flags=(), recipe=None):
    """Returns the `Training` of a model with the recipe of a data set.

    Args:
        recipes: Folder of the recipes.
        workdir: Folder for what the training leaves.
        dataset: What `data.load` takes. On data sets that `RECIPES` lacks,
            recipes/train_cifar10.py trains with `--dataset`.
        model, seed: As the recipes take them.
        data_dir: Where TFDS keeps its data, or None for its default.
        flags: Further flags of the recipe. Of two flags with one name, the last counts.
        recipe: File name of another recipe than that of the data set.
    """
    usual = RECIPES.get(tfds_source.without_version(dataset), ANY)
    command = (
        sys.executable,
        str(pathlib.Path(recipes) / (recipe or usual)),
        *(() if recipe is None and dataset in RECIPES else (f"--dataset={dataset}",)),
        f"--model={model}",
        f"--seed={seed}",
        f"--workdir={workdir}",
        *((f"--data_dir={data_dir}",) if data_dir else ()),
        *flags,
    )
    return Training(command, pathlib.Path(workdir))


def train(trainings, jobs=1):
    """Executes the runs that are not finished, `jobs` at a time, and prints each one at its end.

    Their output goes to `logs/` beside their folders. They share the cores evenly.

    Raises:
        absl.app.UsageError: if one of them was trained with other flags before.
        TrainingFailedError: if one fails. Those that already run are finished, no other starts.
            Ctrl-C ends them, too; the same call resumes them.
    """
    for each in trainings:
        _check_flags(each)
    missing = [each for each in trainings if not each.finished]
    environment = dict(os.environ)
    if jobs > 1:
        threads = str(max(1, os.cpu_count() // jobs))
        environment |= {"OMP_NUM_THREADS": threads, "TF_NUM_INTRAOP_THREADS": threads}
    stopped = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(_run, each, environment, stopped) for each in missing]
        number = 0
        try:
            for ended in concurrent.futures.as_completed(running):
                if folder := ended.result():
                    number += 1
                    print(f"{number} of {len(missing)}: {folder}", flush=True)
        except BaseException:
            stopped.set()
            raise


def _check_flags(one):
    """Raises a UsageError if a training was begun with other flags.

    Trainings of earlier versions, and of a recipe alone, have no record and are not checked.
    """
    path = _flags_file(one)
    if not path.exists() or not one.workdir.exists():
        return
    then, now = set(read_json(path)), set(_flags(one))
    if then != now:
        raise app.UsageError(
            f"{one.workdir} was trained with other flags: {' '.join(sorted(then - now)) or 'none'} "
            f"in place of {' '.join(sorted(now - then)) or 'none'}. Use another folder for these, "
            "or delete that one."
        )


def _flags(one):
    """Returns the flags that decide what a training computes; of two with one name, the last."""
    found = {}
    for flag in _joined(one.command[2:]):
        name = flag.partition("=")[0].removeprefix("--")
        if name.removeprefix("no") not in _WITHOUT_EFFECT and name not in _WITHOUT_EFFECT:
            # Settings of the model are told apart by their own names.
            found[flag.split("=")[1] if name == "set" else name.removeprefix("no")] = flag
    return sorted(found.values())


def _joined(arguments):
    """Yields flags as `--name=value`, also those that were given as `--name value`."""
    arguments = list(arguments)
    for place, flag in enumerate(arguments):
        following = arguments[place + 1 : place + 2]
        if not flag.startswith("-"):
            continue
        if "=" not in flag and following and not following[0].startswith("-"):
            flag = f"{flag}={following[0]}"
        yield flag


def _flags_file(one):
    return one.workdir.parent / "logs" / f"{one.workdir.name}.json"


def _run(one, environment, stopped):
    """Runs one training and returns its folder; None if `stopped` is set, as a failure sets it."""
    # A thread takes the next training before another one can look at why the last has ended.
    if stopped.is_set():
        return None
    try:
        _run_process(one, environment)
    except BaseException:
        stopped.set()
        raise
    return one.workdir


def _run_process(one, environment):
    path = one.workdir.parent / "logs" / f"{one.workdir.name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not one.workdir.exists():
        write_json(_flags_file(one), _flags(one))
    with open(path, "a") as log:
        done = subprocess.run(one.command, stdout=log, stderr=log, env=environment)
    if done.returncode:
        # The reason of a refused setting stands above a hint at the help.
        last_lines = "\n".join(path.read_text().rstrip().splitlines()[-5:])
        raise TrainingFailedError(
            f"{one.workdir.name} failed. Its output is in {path} and ends with:\n{last_lines}"
        )
