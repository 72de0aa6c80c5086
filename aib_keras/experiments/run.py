"""Trains a zoo model from a configuration alone. The same call again resumes it."""

import keras

from aib_keras import data, training, zoo
from aib_keras.experiments import cards, results
from aib_keras.experiments.examples import load_data
from aib_keras.plots.attention import save_attention_figure
from aib_keras.training.workdir import claim_workdir
from aib_keras.utils.files import atomic_path, read_json, write_json


def train(config, workdir, verbose="auto"):
    """Trains, evaluates after each epoch, and leaves everything in `workdir`.

    Beside what `aib_keras.training.fit` leaves there, it writes `result.json`, `card.md`, and for a
    model with a map `attention.png`. After a kill the same call goes on after the last complete
    epoch, and ends with the same weights as without the kill.

    Args:
        config: `TrainingConfig`.
        workdir: Path of a folder, new or of this very configuration.
        verbose: As in `fit`.

    Returns:
        The content of `result.json`, a dict.

    Raises:
        ValueError: for a configuration that makes no sense here, or not that of `workdir`.
        TrainingDivergedError: if the loss becomes NaN or infinite. The last good state is kept.
    """
    config = config.resolved()
    # Before any data are read.
    workdir = claim_workdir(workdir, config)
    result_path = workdir / "result.json"
    if result_path.exists():
        print(f"{workdir} holds a finished training (result.json). Nothing to do.")
        return read_json(result_path)

    previous_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        with training.devices(config.strategy):
            result = _train(config, workdir, verbose)
    finally:
        keras.config.set_dtype_policy(previous_policy)
    with atomic_path(workdir / "card.md") as temporary:
        temporary.write_text(cards.model_card(result))
    write_json(result_path, result)
    # As the next call will read it: JSON has no tuples.
    return read_json(result_path)


def _train(config, workdir, verbose):
    train_data, evaluation, evaluated_on = load_data(config)
    keras.utils.set_random_seed(config.seed)
    model = zoo.create(
        config.model,
        num_classes=train_data.num_classes,
        input_shape=evaluation.input_shape,
        **config.settings,
    )
    lines = training.fit(
        model,
        train_data,
        evaluation,
        config,
        workdir,
        augment=_augmentation(config, evaluation.input_shape),
        verbose=verbose,
    )
    if model.map_names:
        save_attention_figure(workdir / "attention.png", model, evaluation)
    return results.result(config, model, len(train_data), evaluation, evaluated_on, lines)


def _augmentation(config, input_shape):
    if config.augment == "none":
        return None
    flip = config.augment == "crop_flip"
    if config.crop_pct < 1:
        return data.CropFlip(padding=0, flip=flip, size=input_shape[:2])
    return data.CropFlip(padding=4, flip=flip)
