"""From finished runs to the zoo, and from the zoo to folders like those of runs."""

import hashlib
import pathlib
import re
import shutil
import tempfile

import keras
import numpy as np

from aib_keras import zoo
from aib_keras.experiments import cards, markdown
from aib_keras.experiments.config import TrainingConfig
from aib_keras.experiments.results import read_result
from aib_keras.plots.error_curves import error_curves_figure
from aib_keras.training.fitting import MODEL_FILE, trained_file
from aib_keras.utils.files import atomic_path, read_json, read_json_lines, write_json
from aib_keras.zoo.pretrained import Pretrained
from aib_keras.zoo.weights_file import is_path

_INDEX = "index.json"

_README = """# Trained models

Weights that `aib_keras.zoo.MODEL(weights="NAME")` loads, one card per file: figures, limits, and
how to repeat the training. `recipes/publish.py` writes this page, the cards and `index.json`.
Errors are top-1 errors of the deterministic prediction on the test images, after the last epoch
and, where the card says so, after recalibration. Names that end in `-mask` are of earlier
trainings, whose maps are nearly the same for every image; `-mc` is for `predict_mc`. Where a card
says aib_keras 0.1.0, it was a development version after that release.

{table}
"""


def publish(workdir, name, folder, note="", bundled=False, license="Apache-2.0"):
    """Publishes the weights of a finished training in float16, under a name.

    Args:
        workdir: Path of a folder that `train` or `evaluate` completed.
        name: What users pass as `weights`, such as "cifar10".
        folder: Path of the zoo, with an `index.json`.
        note: Sentences for the card, such as on which machine the model was trained.
        bundled: Boolean, whether the wheel is to contain the file.
        license: SPDX identifier of the weights' licence.

    Returns:
        The `Pretrained` entry.

    Raises:
        ValueError: for weights that float16 cannot hold, a training that used held-out examples,
            whose error is not that on test images, a name that is none, or a folder that is no zoo.
    """
    workdir, folder = pathlib.Path(workdir), pathlib.Path(folder)
    check_target(name, folder)
    result = read_result(workdir)
    config = TrainingConfig.from_json(result["config"])
    if config.validation_examples:
        raise ValueError(f"{workdir} was evaluated on held-out examples. Train on all of them.")
    settings = {
        "num_classes": result["num_classes"],
        "input_shape": result["input_shape"],
        **config.settings,
    }
    # Where the training started; the weights are those of its end.
    settings.pop("backbone_weights", None)
    stem = f"{config.model}-{name}"
    path = folder / f"{stem}.weights.h5"
    _save_half(config.model, settings, workdir, path)
    fields = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "settings": settings,
        "class_names": result["class_names"],
        "error": result["test_error_last_epoch"],
        "evaluated_on": f"{result['dataset']} {result['evaluated_on']}",
        "bytes": path.stat().st_size,
        "bundled": bundled,
        "license": license,
        "command": cards.command(config),
        # The folder of the data is of this machine.
        "training": {**result, "config": {**result["config"], "data_dir": None}},
    }
    entry = Pretrained.from_index(config.model, name, fields)

    index = read_json(folder / _INDEX)
    index.setdefault(config.model, {})[name] = fields
    write_json(folder / _INDEX, {key: index[key] for key in sorted(index)})
    (folder / "cards").mkdir(exist_ok=True)
    card = cards.model_card({**result, "published": f"{config.model}/{name}"})
    if note:
        card += f"\n{note}\n"
    if (workdir / "attention.png").is_file():
        shutil.copy(workdir / "attention.png", folder / "cards" / f"{stem}.png")
        card += f"\n![Maps of test images]({stem}.png)\n"
    lines = read_json_lines(workdir / "metrics.jsonl")
    if len(lines) > 1:
        with atomic_path(folder / "cards" / f"{stem}-curve.png") as temporary:
            _error_curves(lines).savefig(temporary, dpi=100)
        when = ", before recalibration" if config.recalibrate else ""
        card += f"\nErrors after each epoch{when}:\n\n![Their curves]({stem}-curve.png)\n"
    (folder / "cards" / f"{stem}.md").write_text(card)
    write_readme(folder)
    return entry


def _error_curves(lines):
    """Returns a figure of the errors after each epoch of a training."""
    names = {"training": "accuracy", "test": "val_accuracy"}
    curves = {
        name: {str(line["epoch"]): [1 - line[key]] for line in lines if key in line}
        for name, key in names.items()
    }
    lines = {name: curve for name, curve in curves.items() if curve}
    return error_curves_figure([{"xlabel": "epoch", "lines": lines}])


def check_target(name, folder):
    """Raises a ValueError for a name that weights cannot have, or a folder that is no zoo.

    The arguments are those of `publish`.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or is_path(name):
        raise ValueError(
            f"`name` {name!r}: expected a name such as 'cifar10-flagship', of letters, digits, "
            f"'.', '_' and '-', that does not end like a file of weights."
        )
    if not (pathlib.Path(folder) / _INDEX).is_file():
        raise ValueError(
            f"{folder} is no zoo: it has no {_INDEX}. For a new zoo, write {{}} to that file."
        )


def unpack(entry, folder):
    """Makes a work directory of published weights, which recipes read as that of a training.

    It has `model.keras`, `config.json`, `result.json` and `card.md`. The states and the log of the
    training are not published. A folder that has these weights already stays as it is.

    Args:
        entry: `Pretrained`.
        folder: Path of the folder of work directories. The new one is MODEL-NAME in it.

    Returns:
        The path of the work directory.

    Raises:
        ValueError: for weights that cannot be had, or a folder of something else.
    """
    folder = pathlib.Path(folder)
    workdir = folder / f"{entry.model}-{entry.name}"
    result = {
        **entry.training,
        "published": f"{entry.model}/{entry.name}",
        "sha256": entry.sha256,
    }
    if workdir.exists():
        if _sha256_of(workdir) != entry.sha256:
            raise ValueError(
                f"{workdir} holds something else, or an earlier version of these weights. Choose "
                "another folder, or delete it."
            )
        return workdir
    model = zoo.create(entry.model, weights=entry.name)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        unpacked = pathlib.Path(temporary) / workdir.name
        unpacked.mkdir()
        model.save(unpacked / MODEL_FILE)
        (unpacked / "card.md").write_text(cards.model_card(result))
        write_json(unpacked / "config.json", result["config"])
        write_json(unpacked / "result.json", result)
        # As a whole, so that a kill leaves no half of it.
        unpacked.rename(workdir)
    return workdir


def _sha256_of(workdir):
    """Returns the digest of the published weights in a work directory, or None."""
    path = workdir / "result.json"
    return read_json(path).get("sha256") if path.exists() else None


def write_readme(folder):
    """Writes the zoo's README, a table of what its index lists."""
    index = read_json(folder / _INDEX)
    rows = []
    for model, entries in index.items():
        for name, content in entries.items():
            entry = Pretrained.from_index(model, name, content)
            shown = {k: v for k, v in entry.settings.items() if k != "input_shape"}
            rows.append(
                [
                    f"[`{model}`](cards/{model}-{name}.md)",
                    f"`{name}`",
                    f"{markdown.percent(entry.error)} %",
                    f"{entry.bytes / 2**20:.1f} MiB",
                    ", ".join(f"{key}={value}" for key, value in shown.items()),
                ]
            )
    table = markdown.table(["model", "name", "error", "size", "settings"], rows)
    (folder / "README.md").write_text(_README.format(table="\n".join(table)))


def _save_half(model_name, settings, workdir, path):
    """Saves the weights of a training in float16: half the size, outputs within 1e-3."""
    file = trained_file(workdir)
    if file is None:
        raise ValueError(
            f"{workdir} has neither model.keras nor model.weights.h5: copy the one that its "
            "training has left."
        )
    trained = zoo.create(model_name, weights=file, **settings)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float16")
    try:
        half = zoo.create(model_name, **settings)
    finally:
        keras.config.set_dtype_policy(policy)
    for target, source in zip(half.weights, trained.weights, strict=True):
        value = keras.ops.convert_to_numpy(source)
        if not np.isfinite(value.astype(target.dtype)).all():
            raise ValueError(f"float16 cannot hold the weights of {source.path}.")
        target.assign(value)
    with atomic_path(path) as temporary:
        half.save_weights(temporary)
