"""Examples held on the device: the same batches and the same training as from the host."""

import dataclasses

import keras
import numpy as np
import pytest

from aib_keras import data, layers, models
from aib_keras.training import FitConfig, fit
from aib_keras.training.data_on_device import EpochPlan, planned_batch

CONFIG = FitConfig(epochs=2, batch_size=16, seed=3, optimizer="sgd", learning_rate=0.01, jit=True)
on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="Needs the JAX backend.")


@pytest.fixture(scope="module")
def examples():
    return tuple(data.load("cluttered_digits", split) for split in ("train[:70]", "test[:16]"))


def new_model():
    """A small model with noise in its map, its latent and a layer of Keras's own."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3, strides=4)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = layers.IBAttention(quantizer=layers.AnchorQuantizer(4))(x)
    x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(x))
    return models.TrackedModel(inputs, keras.layers.Dense(10)(layers.VariationalEncoder(4)(x)))


@pytest.mark.parametrize("augment", [None, data.CropFlip(), data.CropFlip(size=(24, 28))])
def test_a_plan_describes_the_batches_of_the_host(examples, augment):
    train = examples[0]
    batches = data.AugmentedBatches(train, 16, augment=augment, seed=5, drop_remainder=True)
    plan = EpochPlan(batches, steps_per_call=3)
    assert len(plan) == 2
    for epoch in (0, 4):
        batches.epoch = epoch
        steps = [
            {name: array[step] for name, array in plan[call].items()}
            for call, count in ((0, 3), (1, 1))
            for step in range(count)
        ]
        assert len(plan[1]["examples"]) == 1
        for index, step in enumerate(steps):
            images, labels = planned_batch(train.images, train.labels, step)
            np.testing.assert_array_equal(images, batches[index][0])
            np.testing.assert_array_equal(labels, batches[index][1])


@on_jax
@pytest.mark.parametrize("steps_per_execution", [None, 3])
def test_it_trains_as_from_the_host(examples, tmp_path, steps_per_execution):
    results = {}
    for on_device in (False, True):
        config = dataclasses.replace(
            CONFIG,
            data_on_device=on_device,
            steps_per_execution=steps_per_execution if on_device else None,
        )
        model = new_model()
        lines = fit(
            model, *examples, config, tmp_path / str(on_device), augment=data.CropFlip(), verbose=0
        )
        results[on_device] = model.get_weights(), lines
    for found, expected in zip(results[True][0], results[False][0], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for found, expected in zip(results[True][1], results[False][1], strict=True):
        for name in expected.keys() - {"seconds"}:
            assert found[name] == pytest.approx(expected[name], rel=1e-3), name


@on_jax
def test_a_training_resumes_on_the_device_to_the_same_bits(examples, tmp_path):
    class StopError(Exception):
        pass

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise StopError

    config = dataclasses.replace(CONFIG, data_on_device=True, epochs=4, checkpoint_epochs=2)
    whole = new_model()
    fit(whole, *examples, config, tmp_path / "whole", augment=data.CropFlip(), verbose=0)
    with pytest.raises(StopError):
        fit(
            new_model(),
            *examples,
            config,
            tmp_path / "killed",
            augment=data.CropFlip(),
            callbacks=[Stop()],
            verbose=0,
        )
    states = list((tmp_path / "killed" / "checkpoint").iterdir())
    assert [state.name for state in states] == ["epoch-00002.weights.h5"]
    resumed = new_model()
    lines = fit(resumed, *examples, config, tmp_path / "killed", augment=data.CropFlip(), verbose=0)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    for found, expected in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


class Darker(data.CropFlip):
    def __call__(self, images, rng):
        return super().__call__(images, rng) // 2


@pytest.mark.parametrize("augment", [lambda images, rng: images, Darker()])
def test_what_does_not_work_on_the_device_is_refused(examples, tmp_path, augment):
    config = dataclasses.replace(CONFIG, data_on_device=True)
    on_jax = keras.backend.backend() == "jax"
    wrong = "only CropFlip" if on_jax else "needs Keras's jax backend"
    with pytest.raises(ValueError, match=f"data_on_device.*{wrong}"):
        fit(new_model(), *examples, config, tmp_path / "run", augment=augment)


class Brighter(data.AugmentedBatches):
    def __getitem__(self, index):
        images, labels = super().__getitem__(index)
        return images // 2 + 127, labels


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="of JAX alone")
@pytest.mark.parametrize(
    ("make_batches", "message"),
    [
        (lambda examples: Brighter(examples, 16), "an ImageData or arrays, not batches"),
        (lambda examples: data.AugmentedBatches(examples.take(20), 16), "`drop_remainder`"),
    ],
)
def test_batches_that_would_change_there_are_refused(examples, tmp_path, make_batches, message):
    config = dataclasses.replace(CONFIG, data_on_device=True)
    batches = make_batches(examples[0])
    with pytest.raises(ValueError, match=message):
        fit(new_model(), batches, examples[1], config, tmp_path / "run")
