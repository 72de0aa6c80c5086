"""What recipes measure of trained models: which runs, and results that are kept."""

import json
import pathlib

from absl import app

from aib_keras.experiments.tables import read_trainings
from aib_keras.utils.files import read_json, write_json


def chosen_trainings(runs, models=None, flag="runs"):
    """Reads the finished runs that a recipe is asked to measure.

    Args:
        runs: List of folders of work directories.
        models: Optional list of names of models, the value of `--models`.
        flag: Name of the flag that `runs` is the value of.

    Returns:
        A list of the contents of their `result.json`, each with its `workdir`.

    Raises:
        absl.app.UsageError: if there is none, or none of a model that is asked for.
    """
    found = read_trainings(runs)
    absent = set(models or ()) - {result["model"] for result in found}
    if absent or not found:
        there = ", ".join(sorted({result["model"] for result in found})) or "none"
        raise app.UsageError(
            f"--{flag}={','.join(map(str, runs))} has no finished training of "
            f"{', '.join(sorted(absent)) or 'any model'}. Finished there: {there}. Train with "
            "recipes/table1.py --train or recipes/train_cifar10.py."
        )
    return [result for result in found if not models or result["model"] in models]


def kept(path, settings):
    """Returns what was measured before with the same settings, or None.

    A file of another layout, or one that is older than the model, counts as no measurement.

    Args:
        path: Path of the JSON file that `keep` wrote.
        settings: Dict of all that the measurement depends on.
    """
    path = pathlib.Path(path)
    model = path.with_name("model.keras")
    if not path.exists() or (model.exists() and path.stat().st_mtime < model.stat().st_mtime):
        return None
    content = read_json(path)
    # As they are in the file: JSON has no tuples.
    settings = json.loads(json.dumps(settings))
    if not isinstance(content, dict) or content.get("settings") != settings:
        return None
    return content.get("found")


def keep(path, settings, found):
    """Writes what was measured, for `kept`."""
    write_json(path, {"settings": settings, "found": found})
