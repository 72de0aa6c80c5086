"""Trains what comes after frozen features, which are computed once instead of in every epoch."""

import math

import keras
import numpy as np

from aib_keras.data import batches_of
from aib_keras.experiments.full_batches import FullBatches
from aib_keras.models import AIBClassifier, MapClassifier, PlainClassifier
from aib_keras.training.fitting import fit_part, is_finished, reading

# Features in memory. More than this is computed in every epoch instead.
_MOST_BYTES = 4 * 2**30
_BATCH_SIZE = 128


def can_compute_once(model, config, trained, evaluated, input_shape):
    """Returns whether a training can do with features that are computed before it.

    Args:
        model: `ImageClassifier` with frozen features.
        config: `TrainingConfig`.
        trained, evaluated: Integers, the examples for training and for evaluation.
        input_shape: Of the images that the model sees, (H, W, C).
    """
    if config.freeze == "nothing" or (config.augment != "none" and not config.feature_views):
        return False
    if not isinstance(model, (AIBClassifier, PlainClassifier)) or isinstance(model, MapClassifier):
        return False
    if config.strategy != "one":
        return False
    features, _ = _split(model, input_shape)
    # Dropout draws anew in every step, also where nothing is trained.
    if any(hasattr(layer, "seed_generator") for layer in features._flatten_layers()):
        return False
    held = (config.feature_views or 1) * trained + evaluated
    return 4 * held * math.prod(features.output_shape[1:]) <= _MOST_BYTES


def fit_head(
    model,
    train_data,
    validation_data,
    config,
    workdir,
    augment=None,
    callbacks=(),
    verbose="auto",
    bar=False,
):
    """Trains the layers after the frozen features of a model, as `training.fit` trains all.

    Without augmentation the weights after it are those of `training.fit`, to rounding. It leaves
    the same files, apart from the maps of every epoch.

    Args:
        model: Built `AIBClassifier` or `PlainClassifier` with frozen features.
        train_data, validation_data: `ImageData`.
        config: `TrainingConfig`.
        augment: None, or what makes the `config.feature_views` views of each training image.
        workdir, callbacks, verbose: As in `training.fit`.
        bar: Boolean, whether to show progress bars while the features are computed.

    Returns:
        As `training.fit`.
    """
    features, head = _split(model, validation_data.input_shape)
    if is_finished(workdir):
        # `fit_part` loads the weights, and reads no features.
        augment = None
        train_features, evaluation = (
            np.broadcast_to(np.float32(0), (len(data), *features.output_shape[1:]))
            for data in (train_data, validation_data)
        )
    else:
        print(
            "The features are frozen: computing them once, for training and evaluation.", flush=True
        )
        train_features = _training_features(features, train_data, config, augment, bar)
        batches = batches_of(
            validation_data,
            min(_BATCH_SIZE, len(train_data)),
            num_workers=config.num_workers,
            shuffle=False,
        )
        evaluation = _features(features, batches, len(validation_data), bar)
    return fit_part(
        model,
        head,
        (train_features, train_data.labels),
        (evaluation, validation_data.labels),
        config,
        workdir,
        augment=None if augment is None else _choose_view,
        callbacks=callbacks,
        verbose=verbose,
    )


def _split(model, input_shape):
    """Returns the frozen part, from images to features, and a model of the rest that shares it."""
    images = keras.Input(input_shape)
    if isinstance(model, AIBClassifier):
        features = model.feature_extractor(model.preprocess(images))
        head = AIBClassifier(
            keras.layers.Identity(),
            model.attention,
            model.encoder,
            model.decoder,
            stochastic=model.stochastic,
        )
        head.build(features.shape)
    else:
        backbone, tap = model.backbone, model.features_layer.output
        extractor = keras.Model(backbone.inputs, tap)
        features = extractor(model.preprocess(images))
        head = keras.Model(tap, backbone.output)
    return keras.Model(images, features), head


def _training_features(features, data, config, augment, bar):
    """Returns the features of all images, or `(N, views, ...)` of their augmented views."""
    batch_size = min(_BATCH_SIZE, len(data))
    if augment is None:
        batches = batches_of(data, batch_size, num_workers=config.num_workers, shuffle=False)
        return _features(features, batches, len(data), bar)
    views = (_view(data, batch_size, augment, config, view) for view in range(config.feature_views))
    found = np.empty((len(data), config.feature_views, *features.output_shape[1:]), np.float32)
    for number, view in enumerate(views):
        found[:, number] = _features(features, view, len(data), bar)
    return found


def _features(model, batches, count, bar):
    with reading(batches):
        return model.predict(FullBatches(batches), verbose=int(bar))[:count]


def _view(data, batch_size, augment, config, number):
    """Returns batches of all images, augmented as in epoch `number`, in the order of the data."""
    batches = batches_of(
        data,
        batch_size,
        augment=augment,
        shuffle=False,
        seed=config.seed,
        num_workers=config.num_workers,
    )
    batches.epoch = number
    return batches


def _choose_view(views, rng):
    """Returns one of the views `(B, views, ...)` of each example."""
    return views[np.arange(len(views)), rng.integers(views.shape[1], size=len(views))]
