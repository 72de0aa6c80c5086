"""What a training measured: the content of `result.json`."""

import pathlib
import platform

import keras
import numpy as np

import aib_keras
from aib_keras import data
from aib_keras.experiments import selectivity
from aib_keras.experiments.config import TrainingConfig
from aib_keras.metrics.calibration import expected_calibration_error
from aib_keras.metrics.localization import pointing_game
from aib_keras.training.workdir import deciding_fields
from aib_keras.utils.files import read_json

FILE = "result.json"


def result(config, model, train_examples, evaluation, evaluated_on, lines, files=None):
    """Returns the content of `result.json`, a dict.

    Errors are shares in [0, 1]. Those of held-out examples are never called test errors.

    Args:
        config: The resolved `TrainingConfig`.
        model: The trained model.
        train_examples: Integer, the number of examples that it was trained on.
        evaluation: `ImageData` that it is evaluated on.
        evaluated_on: String that says what these are.
        lines: The lines of `metrics.jsonl`, of which at least the last has an evaluation.
        files: The `files_digest` of the images when they were loaded, or None.
    """
    split = "validation" if config.validation_examples else "test"
    errors = [1.0 - line["val_accuracy"] for line in lines if "val_accuracy" in line]
    best = {}
    # Those of the other epochs are of models that were not recalibrated.
    if len(errors) == len(lines) and not config.recalibrate:
        best[f"{split}_error_best_epoch"] = round(min(errors), 6)
    last = {
        name.removeprefix("val_"): value
        for name, value in lines[-1].items()
        if name.startswith("val_") and name != "val_accuracy"
    }
    # As for the figure of the maps, which has compiled it.
    explained = model.explain(data.inputs_of(evaluation))
    return {
        "model": config.model,
        "dataset": config.dataset,
        "num_classes": evaluation.num_classes,
        "class_names": list(evaluation.class_names),
        "input_shape": list(evaluation.input_shape),
        "train_examples": train_examples,
        "evaluated_on": evaluated_on,
        "evaluated_examples": len(evaluation),
        "seed": config.seed,
        "epochs": lines[-1]["epoch"],
        f"{split}_error_last_epoch": round(errors[-1], 6),
        **best,
        "last_epoch": last,
        "expected_calibration_error": _calibration_error(explained["logits"], evaluation),
        **_sampled(model, evaluation, config, split),
        **_selectivity(model, explained),
        **_pointing(model, explained, evaluation),
        "parameters": model.count_params(),
        **({} if files is None else {"files": files}),
        "seconds": round(sum(line["seconds"] for line in lines), 1),
        "config": config.to_json(),
        "versions": {
            "aib_keras": aib_keras.__version__,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def read_result(workdir):
    """Reads what a finished training measured.

    Args:
        workdir: Path of its folder.

    Returns:
        The content of `result.json` as this version would have written it.
    """
    path = pathlib.Path(workdir) / FILE
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not of a training of this library.")
    # Their names in 0.1.0.
    content = {k.replace("held_out_error", "validation_error"): v for k, v in content.items()}
    if "config" in content:
        content["config"] = TrainingConfig.up_to_date(content["config"])
    return content


def name_of(result):
    """Returns what a training is called: MODEL, or MODEL/NAME for published weights.

    Args:
        result: The content of its `result.json`.
    """
    return result.get("published", result["model"])


def titles(results):
    """Returns what each training is called in a table of all of them.

    That is its name, and that of its folder where another one has the same name and seed.

    Args:
        results: List of the contents of `result.json`, with `workdir`.
    """
    names = [(name_of(result), result["seed"]) for result in results]
    return [
        name
        if names.count((name, seed)) == 1
        else f"{name} ({pathlib.Path(result['workdir']).name})"
        for (name, seed), result in zip(names, results, strict=True)
    ]


def deciding_settings(result):
    """Returns the settings of a training that decide what it computes, apart from the seed.

    Runs that have the same differ in their seeds alone.

    Args:
        result: What `read_result` returned.
    """
    config = result["config"]
    names = deciding_fields(TrainingConfig.from_json(config))
    found = {name: config[name] for name in names if name != "seed"}
    # The names are the same for all runs.
    return {"validation_freq": None, **found}


def _calibration_error(logits, evaluation):
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits, axis=-1))
    return round(expected_calibration_error(probabilities, evaluation.labels), 6)


def _sampled(model, evaluation, config, split):
    """Returns error and NLL (nats) of the last epoch's model with the authors' way to predict."""
    if not config.prediction_samples or model.encoder is None:
        return {}
    samples = config.prediction_samples
    predicted = model.predict_mc(data.inputs_of(evaluation), samples, seed=config.seed)
    logits = keras.ops.convert_to_tensor(predicted["logits"])
    nll = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(evaluation.labels, logits)
    wrong = predicted["logits"].argmax(axis=-1) != evaluation.labels
    return {
        "prediction_samples": samples,
        f"{split}_error_last_epoch_sampled": round(float(np.mean(wrong)), 6),
        "nll_sampled": round(float(nll), 6),
    }


def _selectivity(model, explained):
    """Returns how much the map lets through, and how much the maps of two images are alike."""
    if not model.map_names:
        return {}
    found = {
        "map_passes": selectivity.share_that_passes(model, explained),
        "map_similarity": selectivity.similarity_of_images(explained),
    }
    return {name: round(value, 6) for name, value in found.items() if value is not None}


def _pointing(model, explained, evaluation):
    """Returns the share of images whose map has its maximum in the box, and chance.

    Images whose box lies outside the crop do not count.
    """
    if not model.map_names or evaluation.boxes is None or not evaluation.has_visible_box.any():
        return {}
    visible = evaluation.has_visible_box
    maps = explained["attention"][visible]
    place = evaluation.boxes[visible], evaluation.input_shape[:2]
    return {
        "pointing": round(pointing_game(maps, *place), 6),
        "pointing_uniform_map": round(pointing_game(0 * maps, *place), 6),
    }
