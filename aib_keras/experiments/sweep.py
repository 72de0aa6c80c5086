"""Several trainings, each a recipe in a process of its own, some at the same time."""

import concurrent.futures
import dataclasses
import os
import pathlib
import subprocess
import sys

# Data set -> the recipe that trains on it.
RECIPES = {
    "cifar10": "train_cifar10.py",
    "cifar100": "train_cifar100.py",
    "caltech_birds2011": "train_cub.py",
    "svhn_cropped": "train_svhn.py",
}
# Trains on any data set that it is told.
_ANY = "train_cifar10.py"


class TrainingFailedError(RuntimeError):
    """A training ended with an error; the message has its last line and where its output is."""


@dataclasses.dataclass(frozen=True)
class Training:
    """One training: the command line that runs it and the folder that it leaves."""

    command: tuple
    workdir: pathlib.Path

    @property
    def finished(self):
        return (self.workdir / "result.json").exists()


def training(recipes, workdir, dataset, model, seed, data_dir=None, flags=()):
    """The `Training` of a model with the recipe of a data set.

    Args:
        recipes: Folder of the recipes.
        workdir: Folder for what the training leaves.
        dataset: What `data.load` takes; of one that `RECIPES` lacks, recipes/train_cifar10.py
            trains with its `--dataset`.
        model, seed: As the recipes take them.
        data_dir: Where TFDS keeps its data, or None for its default.
        flags: Further flags of the recipe. The last of two with one name counts.
    """
    command = (
        sys.executable,
        str(pathlib.Path(recipes) / RECIPES.get(dataset, _ANY)),
        *(() if dataset in RECIPES else (f"--dataset={dataset}",)),
        f"--model={model}",
        f"--seed={seed}",
        f"--workdir={workdir}",
        *((f"--data_dir={data_dir}",) if data_dir else ()),
        *flags,
    )
    return Training(command, pathlib.Path(workdir))


def train(trainings, jobs=1):
    """Runs the trainings that are not finished, `jobs` at a time, and prints each that ends.

    Their output goes to `logs/` beside their folders. The cores are shared out among them.

    Raises:
        TrainingFailedError: if one fails. Those that run then are waited for, no other starts.
    """
    missing = [each for each in trainings if not each.finished]
    environment = dict(os.environ)
    if jobs > 1:
        threads = str(max(1, os.cpu_count() // jobs))
        environment |= {"OMP_NUM_THREADS": threads, "TF_NUM_INTRAOP_THREADS": threads}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        ended = pool.map(lambda each: _run(each, environment), missing)
        for number, workdir in enumerate(ended, start=1):
            print(f"{number} of {len(missing)}: {workdir}", flush=True)


def _run(one, environment):
    """Runs one training; returns its folder."""
    path = one.workdir.parent / "logs" / f"{one.workdir.name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as log:
        done = subprocess.run(one.command, stdout=log, stderr=log, env=environment)
    if done.returncode:
        last_line = path.read_text().rstrip().splitlines()[-1:]
        raise TrainingFailedError(
            f"{one.workdir.name} failed: {''.join(last_line)} More of it is in {path}."
        )
    return one.workdir
