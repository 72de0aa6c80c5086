"""What `test_devices.py` runs in processes of their own, because devices are fixed at start-up.

    python device_programs.py one|mirrored|data_parallel OUT.npz

With two logical CPU devices (`one` uses one of them): trains a small AIBClassifier for a few
steps without noise and saves weights and history; then draws noise for a batch of equal images.
"""

import os
import sys

STRATEGY, OUT = sys.argv[1:]
if STRATEGY == "data_parallel":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import keras  # noqa: E402
import numpy as np  # noqa: E402

from aib_keras import data, layers, models  # noqa: E402
from aib_keras.training import TrainingConfig, devices, engine  # noqa: E402

STEPS = 4
BATCH = 32


def two_logical_devices():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def train_without_noise():
    """A shallow model: in a deep one rounding grows within a few steps beyond any tolerance."""
    config = TrainingConfig(
        strategy=STRATEGY, batch_size=BATCH, learning_rate=0.01, schedule="constant"
    )
    examples = data.load("cluttered_digits", "train", size=STEPS * BATCH)
    batches = data.AugmentedBatches(examples, BATCH, augment=data.CropFlip(), drop_remainder=True)
    keras.utils.set_random_seed(0)
    model = models.AIBClassifier(
        feature_extractor=keras.Sequential(
            [
                keras.Input((32, 32, 3)),
                keras.layers.Conv2D(8, 3, strides=2, padding="same"),
                keras.layers.BatchNormalization(momentum=0.9),
                keras.layers.ReLU(),
            ]
        ),
        attention=layers.IBAttention(quantizer=layers.AnchorQuantizer(4)),
        encoder=layers.VariationalEncoder(8, trunk=keras.layers.GlobalAveragePooling2D()),
        decoder=keras.layers.Dense(10),
        preprocessing=keras.layers.Rescaling(1 / 128, offset=-1),
        stochastic=False,
    )
    model.build((None, 32, 32, 3))
    engine.compile_model(model, config, len(batches))
    history = model.fit(batches, epochs=1, shuffle=False, verbose=0).history
    weights = {
        f"weights/{variable.path}": keras.ops.convert_to_numpy(variable)
        for variable in model.weights
    }
    return {**weights, **{f"history/{name}": value for name, value in history.items()}}


def draw_noise():
    """Samples of N(0, 1) for two equal halves of a batch, which fall to two devices."""
    inputs = keras.Input((3,))
    sampler = layers.GaussianSampler(seed=1)
    outputs = sampler(inputs * 0.0, inputs * 0.0 + 1.0, sample=True)
    model = keras.Model(inputs, outputs)
    model.compile()
    return {"noise": model.predict(np.zeros((2, 3), "float32"), batch_size=2, verbose=0)}


if keras.backend.backend() == "tensorflow":
    two_logical_devices()
with devices.devices(STRATEGY) as number:
    np.savez(OUT, devices=number, **train_without_noise(), **draw_noise())
