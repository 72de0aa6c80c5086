import keras
import numpy as np
import pytest

from aib_keras.layers import AnchorQuantizer, IBAttention, VariationalEncoder
from aib_keras.models import AIBClassifier


@pytest.fixture
def make_classifier():
    """`make_classifier(**kwargs)`: an AIBClassifier of parts of one's own, with 3 classes."""
    return _classifier


def _classifier(
    quantizer=True,
    batch_norm=True,
    preprocessing=True,
    decoder=None,
    modulation="residual",
    **kwargs,
):
    extractor = keras.Sequential([keras.Input((8, 8, 3))], name="extractor")
    extractor.add(keras.layers.Conv2D(4, 3, strides=2, padding="same"))
    if batch_norm:
        extractor.add(keras.layers.BatchNormalization())
    extractor.add(keras.layers.ReLU())
    pooling = keras.layers.GlobalAveragePooling2D()
    return AIBClassifier(
        feature_extractor=extractor,
        attention=IBAttention(
            quantizer=AnchorQuantizer(5) if quantizer else None, modulation=modulation
        ),
        encoder=VariationalEncoder(6, trunk=keras.Sequential([keras.Input((4, 4, 4)), pooling])),
        decoder=decoder or keras.layers.Dense(3),
        preprocessing=keras.layers.Rescaling(1 / 127.5, -1.0) if preprocessing else None,
        **kwargs,
    )


@pytest.fixture
def images():
    """Five uint8 images."""
    return np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3)).astype("uint8")
