"""What `test_devices.py` runs: on one device itself, on two in a process of its own.

    python device_programs.py mirrored|data_parallel|model_parallel OUT.npz

With two logical CPU devices, which are fixed at start-up: trains a small AIBClassifier and a small
AttentionBranchClassifier for a few steps without noise and saves weights and history; trains with
evaluation and explains images, both in batches of odd sizes; then draws noise for a batch of equal
images.
"""

import os
import sys
import tempfile

if __name__ == "__main__" and sys.argv[1] in ("data_parallel", "model_parallel"):
    os.environ["XLA_FLAGS"] += " --xla_force_host_platform_device_count=2"

import keras  # noqa: E402
import numpy as np  # noqa: E402

from aib_keras import data, layers, models  # noqa: E402
from aib_keras.training import FitConfig, compile_classifier, devices, fit  # noqa: E402

# Keras's JAX trainer does not compile at all otherwise on one CPU.
JIT = True if keras.backend.backend() == "jax" else None
STEPS = 4
BATCH = 32


def two_logical_devices():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def aib_classifier():
    """A shallow model: in a deep one rounding grows within a few steps beyond any tolerance."""
    return models.AIBClassifier(
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


def aib_classifier_without_batch_norm():
    """Its losses are added before the devices first wait for each other."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    features = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="low")
    pooled = keras.layers.GlobalAveragePooling2D()(features(inputs))
    return models.attach(
        keras.Model(inputs, pooled),
        "low",
        10,
        latent_dim=8,
        num_anchors=4,
        modulation="noise",
        map_beta=1.0,
        stochastic=False,
        preprocessing=keras.layers.Rescaling(1 / 128, offset=-1),
    )


def branch_classifier():
    inputs = keras.Input((32, 32, 3))
    features = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(inputs)
    maps = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(features)
    pooling = keras.layers.GlobalAveragePooling2D()
    outputs = {
        "logits": keras.layers.Dense(10)(pooling(keras.layers.Multiply()([features, maps]))),
        "branch_logits": pooling(keras.layers.Conv2D(10, 1)(features)),
        "attention": maps,
    }
    return models.AttentionBranchClassifier(
        keras.Model(inputs, outputs), keras.layers.Rescaling(1 / 128, offset=-1)
    )


def train_without_noise(name, make_model):
    config = FitConfig(optimizer="sgd", learning_rate=0.01, schedule="constant", jit=JIT)
    examples = data.load("cluttered_digits", "train", size=STEPS * BATCH)
    batches = data.AugmentedBatches(examples, BATCH, augment=data.CropFlip(), drop_remainder=True)
    keras.utils.set_random_seed(0)
    model = make_model()
    model.build((None, 32, 32, 3))
    compile_classifier(model, config, len(batches))
    history = model.fit(batches, epochs=1, shuffle=False, verbose=0).history
    weights = {
        f"weights/{name}/{index}": keras.ops.convert_to_numpy(variable)
        for index, variable in enumerate(model.weights)
    }
    return {**weights, **{f"history/{name}/{key}": value for key, value in history.items()}}


def fit_and_explain():
    """Trains on 13 examples, evaluates 9 in batches of 8 and 1, explains 7 in batches of 4 and 3.

    The last device has no image of the batch of 1.
    """
    config = FitConfig(
        epochs=1,
        batch_size=8,
        optimizer="sgd",
        learning_rate=0.01,
        schedule="constant",
        jit=JIT,
    )
    examples = data.load("cluttered_digits", "train", size=13)
    keras.utils.set_random_seed(0)
    model = aib_classifier()
    with tempfile.TemporaryDirectory() as folder:
        lines = fit(model, examples, examples.take(9), config, folder, verbose=0)
        weights = sorted(os.listdir(folder))
    found = {f"fit/{name}": [line[name] for line in lines] for name in lines[0]}
    for name, value in model.explain(examples.images[:7], batch_size=4).items():
        found[f"explain/{name}"] = value
    batches = data.AugmentedBatches(examples.take(7), 4, shuffle=False)
    for name, value in model.predict_mc(batches, samples=2).items():
        found[f"predict_mc/{name}"] = value
    images, labels = examples.images[:7], examples.labels[:7]
    found["predict/logits"] = model.predict(images, batch_size=4, verbose=0)
    found["fit_batches/val_nll"] = batches_of_another_kind(examples)
    found["evaluate/loss"] = model.evaluate(images, labels, batch_size=4, verbose=0)[0]
    split = [
        not variable.value.sharding.is_fully_replicated
        for variable in (*model.variables, *model.optimizer.variables)
        if keras.backend.backend() == "jax"
    ]
    return {**found, "files": weights, "split_variables": sum(split)}


def batches_of_another_kind(examples):
    """The evaluation of 9 examples in batches of 4, 4 and 1, which can only be iterated."""
    import tensorflow as tf

    config = FitConfig(epochs=1, batch_size=4, optimizer="sgd", learning_rate=0.01, jit=JIT)
    keras.utils.set_random_seed(0)
    evaluation = tf.data.Dataset.from_tensor_slices((examples.images[:9], examples.labels[:9]))
    with tempfile.TemporaryDirectory() as folder:
        train = examples.take(12)
        (line,) = fit(aib_classifier(), train, evaluation.batch(4), config, folder, verbose=0)
    return line["val_nll"]


def draw_noise():
    """Samples of N(0, 1) for two equal halves of a batch, which fall to two devices."""
    inputs = keras.Input((3,))
    sampler = layers.GaussianSampler(seed=1)
    outputs = sampler(inputs * 0.0, inputs * 0.0 + 1.0, sample=True)
    model = keras.Model(inputs, outputs)
    model.compile()
    return {"noise": model.predict(np.zeros((2, 3), "float32"), batch_size=2, verbose=0)}


def noise_statistics(rows, batch_size):
    """The statistics of an attention with noise after steps on rows that differ much."""
    inputs = keras.Input((2, 2, 3))
    attention = layers.IBAttention(modulation="noise")
    pooled = keras.layers.GlobalAveragePooling2D()(attention(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(pooled))
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=JIT)
    images = np.arange(12 * rows, dtype="float32").reshape(rows, 2, 2, 3)
    model.fit(images, np.zeros((rows, 2)), batch_size=batch_size, verbose=0, shuffle=False)
    found = (attention.noise_mean, attention.noise_variance)
    found = np.stack([keras.ops.convert_to_numpy(each) for each in found])
    return {f"noise_statistics/{rows}/{batch_size}": found}


def run(strategy):
    """Arrays by name."""
    with devices(strategy) as number:
        return {
            "devices": number,
            **train_without_noise("aib", aib_classifier),
            **train_without_noise("price", aib_classifier_without_batch_norm),
            **train_without_noise("abn", branch_classifier),
            **fit_and_explain(),
            **draw_noise(),
            **noise_statistics(2, 2),
            # On JAX a training batch must divide evenly. Here a device has fewer rows in the end,
            # or none.
            **(noise_statistics(7, 4) | noise_statistics(3, 2) if is_tensorflow() else {}),
        }


def is_tensorflow():
    return keras.backend.backend() == "tensorflow"


if __name__ == "__main__":
    if is_tensorflow():
        two_logical_devices()
    np.savez(sys.argv[2], **run(sys.argv[1]))
