"""Trainings and models that take seconds, for tests of what comes after one."""

import pathlib

import keras

from aib_keras import models, zoo
from aib_keras.experiments import TrainingConfig, load_evaluation, run
from aib_keras.utils.files import write_json, write_json_lines


def small_config(**changes):
    """A `TrainingConfig` of a narrow `vgg_aib_qt` on a few cluttered digits, with changes."""
    defaults = {
        "model": "vgg_aib_qt",
        "dataset": "cluttered_digits",
        "train_split": "train[:64]",
        "test_split": "test[:32]",
        "epochs": 1,
        "batch_size": 32,
        "augment": "none",
        "prediction_samples": 0,
        "settings": {"width": 0.03, "latent_dim": 4},
    }
    return TrainingConfig(**{**defaults, **changes})


def untrained_run(workdir, **changes):
    """Leaves in `workdir` what a training with `small_config(**changes)` leaves of a new model.

    Model and result belong together as after `train`; only the seconds for making the graph of a
    training step are saved. There are no maps and no TensorBoard logs.

    Returns:
        The content of `result.json`, a dict.
    """
    config = small_config(**changes).resolved()
    images = load_evaluation({"config": config.to_json()})
    keras.utils.set_random_seed(config.seed)
    model = zoo.create(
        config.model,
        num_classes=images.num_classes,
        input_shape=images.input_shape,
        **config.settings,
    )
    workdir = pathlib.Path(workdir)
    workdir.mkdir(parents=True)
    write_json(workdir / "config.json", config.to_json())
    epochs = range(1, config.epochs + 1)
    write_json_lines(workdir / "metrics.jsonl", [{"epoch": n, "seconds": 1.0} for n in epochs])
    model.save(workdir / "model.keras")
    return run.evaluate(workdir)


def small_classifier(**settings):
    """A classifier with IB attention and few layers, for tests of what does not depend on them.

    Its graphs are made in a fraction of the time of a zoo model's.

    Args:
        **settings: As in `models.attach`.
    """
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, 2, "same", activation="relu", name="features")(inputs)
    x = keras.layers.Conv2D(8, 3, 2, "same", activation="relu")(x)
    backbone = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="small")
    defaults = {"preprocessing": keras.layers.Rescaling(1 / 128, -1), "latent_dim": 4}
    return models.attach(backbone, "features", 10, **{**defaults, **settings})
