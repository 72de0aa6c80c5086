"""Trains what comes after frozen features, which are computed once instead of in every epoch."""

import math

import keras

from aib_keras import training
from aib_keras.data import inputs_of
from aib_keras.models import AIBClassifier, MapClassifier, PlainClassifier
from aib_keras.training.fitting import MODEL_FILE
from aib_keras.utils.files import atomic_path

# Features in memory. More than this is computed in every epoch instead.
_MOST_BYTES = 4 * 2**30
_BATCH_SIZE = 128


def can_compute_once(model, config, examples):
    """Returns whether the features of these examples never change during a training.

    Args:
        model: `ImageClassifier` with frozen features.
        config: `TrainingConfig`.
        examples: The training examples, an `ImageData`.
    """
    if config.freeze == "nothing" or config.augment != "none":
        return False
    if not isinstance(model, (AIBClassifier, PlainClassifier)) or isinstance(model, MapClassifier):
        return False
    if config.strategy != "one":
        return False
    features, _ = _split(model, examples.input_shape)
    # Dropout draws anew in every step, also where nothing is trained.
    if any(hasattr(layer, "seed_generator") for layer in features._flatten_layers()):
        return False
    return 4 * len(examples) * math.prod(features.output_shape[1:]) <= _MOST_BYTES


def fit_head(model, train_data, validation_data, config, workdir, verbose="auto"):
    """Trains the layers after the frozen features of a model, as `training.fit` trains all.

    The weights after it are those of `training.fit`, to rounding. It leaves the same files, apart
    from the maps of every epoch.

    Args:
        model: Built `AIBClassifier` or `PlainClassifier` with frozen features.
        train_data, validation_data: `ImageData`.
        config, workdir, verbose: As in `training.fit`.

    Returns:
        As `training.fit`.
    """
    features, head = _split(model, train_data.input_shape)
    print("The features are frozen and nothing augments the images: computing them once, for")
    print("training and evaluation.", flush=True)
    found = [
        (_features(features, inputs_of(data, _BATCH_SIZE), verbose), data.labels)
        for data in (train_data, validation_data)
    ]
    lines = training.fit(head, *found, config, workdir, verbose=verbose)
    # What `fit` has saved there is the head without the features.
    with atomic_path(workdir / MODEL_FILE) as temporary:
        model.save(temporary)
    return lines


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


def _features(model, images, verbose):
    return model.predict(images, batch_size=_BATCH_SIZE, verbose=0 if verbose == 0 else 2)
