"""Keras's augmentation layers, in batches that are the same when a run is resumed."""

import keras
import numpy as np

from aib_keras.utils import processes


class KerasAugmentation:
    """Augmentation by layers of Keras, such as `RandomZoom` or `RandAugment`.

        layers = [keras.layers.RandomZoom((-0.3, 0)), keras.layers.RandomRotation(0.05)]
        crop = aib_keras.data.CropFlip(padding=0, size=224)
        augment = aib_keras.data.KerasAugmentation(layers, then=crop)
        aib_keras.training.fit(model, train_data, validation_data, config, workdir, augment=augment)

    Such a layer draws from a state of its own, which changes with every call, so that a training
    that is resumed would see other images. Here a layer is made anew for each batch, with a seed
    that the batch's own generator draws.

    Call it with uint8 images `(B, H, W, C)` and a `np.random.Generator`. It returns uint8 images,
    of the same size unless `then` has another. It raises a TypeError for other images.

    Args:
        layers: List of Keras layers that have a `seed`. They get float32 images in [0, 255]: pass
            `value_range=(0, 255)` to those that have this argument.
        then: Optional function of (images, `np.random.Generator`) that is applied last, such as a
            `CropFlip`.

    Raises:
        ValueError: if there is no layer, or one that has no `seed` or mixes images, such as
            `MixUp`, or draws from elsewhere, as `AugMix` does.
    """

    def __init__(self, layers, then=None):
        layers = list(layers)
        if not layers:
            raise ValueError("`layers` is empty: give at least one augmentation layer of Keras.")
        for layer in layers:
            if not isinstance(layer, keras.layers.Layer) or "seed" not in layer.get_config():
                raise ValueError(
                    "`layers` must be augmentation layers of Keras with a `seed`, such as "
                    f"keras.layers.RandomZoom, got {layer!r}."
                )
            if isinstance(layer, (keras.layers.MixUp, keras.layers.CutMix)):
                raise ValueError(
                    f"{type(layer).__name__} mixes the labels of images, too, and an augmentation "
                    "changes images only. Leave it out."
                )
            if isinstance(layer, keras.layers.AugMix):
                raise ValueError(
                    "AugMix draws from Python's own generator, so that a training that is resumed "
                    "would see other images. Leave it out."
                )
            try:
                type(layer).from_config(layer.get_config())
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"Keras cannot make another {type(layer).__name__} of its configuration "
                    f"({error}). Leave it out."
                ) from error
        self.layers = layers
        self.then = then

    def __call__(self, images, rng):
        images = np.asarray(images)
        if images.dtype != "uint8":
            raise TypeError(
                "KerasAugmentation needs uint8 images with values in [0, 255], got "
                f"{images.dtype}. Convert them, and let the model scale them."
            )
        augmented = images.astype("float32")
        # The layers belong to this process, which may be one of several.
        with processes.undistributed():
            for layer in self.layers:
                # bfloat16 has too few bits for a pixel between two others.
                own = {"seed": int(rng.integers(2**31)), "dtype": "float32"}
                config = {**layer.get_config(), **own}
                if "data_format" in config:
                    # As the images have it, whatever Keras's own setting is.
                    config["data_format"] = "channels_last"
                made = type(layer).from_config(config)
                augmented = made(augmented, training=True)
            augmented = keras.ops.convert_to_numpy(augmented)
        images = np.rint(augmented).clip(0, 255).astype("uint8")
        return images if self.then is None else self.then(images, rng)
