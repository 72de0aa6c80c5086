"""`training.fit` with models of all kinds: what it leaves, and that a kill leaves no trace."""

import dataclasses
import errno
import functools
import shutil

import keras
import numpy as np
import pytest

from aib_keras import data, layers, models, training, zoo
from aib_keras.training import (
    FitConfig,
    TrainingDivergedError,
    callbacks,
    checkpoint,
    compiling,
    fit,
    fitting,
)
from aib_keras.training.fit_data import as_batches, check_labels, check_same_classes
from aib_keras.utils.files import read_json_lines

EPOCHS = 3
CONFIG = FitConfig(epochs=EPOCHS, batch_size=16, seed=3, beta_warmup=(0.0, 0.5))


class KilledError(Exception):
    pass


class KillAfter(keras.callbacks.Callback):
    """Ends a training in the middle of an epoch, as a kill would."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 1 and self.current == self.epoch:
            raise KilledError

    def on_epoch_begin(self, epoch, logs=None):
        self.current = epoch


def plain_keras_model():
    """None of our layers, noise of Keras's own, and probabilities at the end."""
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, strides=4, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, "softmax"),
        ]
    )


def bare_layers_model():
    """Our layers in a model of the user's own."""
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3, strides=4, activation="relu")(x)
    x = layers.IBAttention(quantizer=layers.AnchorQuantizer(4))(x)
    z = layers.VariationalEncoder(4)(keras.layers.GlobalAveragePooling2D()(x))
    return models.TrackedModel(inputs, keras.layers.Dense(10)(z))


def attached_model():
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, activation="relu", name="features")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    backbone = keras.Model(inputs, x, name="backbone")
    return models.attach(
        backbone,
        "features",
        10,
        latent_dim=4,
        num_anchors=4,
        preprocessing=keras.layers.Rescaling(1 / 255),
    )


def zoo_model():
    return zoo.vgg_aib_qt(width=0.03, latent_dim=4)


MAKERS = {
    "no layer of ours": plain_keras_model,
    "bare layers": bare_layers_model,
    "attached": attached_model,
    "zoo": zoo_model,
}


def each(*slow):
    """A test for each maker; the graphs of some of them take their time."""
    return pytest.mark.parametrize(
        "make",
        [
            pytest.param(make, id=name, marks=pytest.mark.slow if name in slow else ())
            for name, make in MAKERS.items()
        ],
    )


@pytest.fixture(scope="module")
def examples():
    return tuple(data.load("cluttered_digits", split) for split in ("train[:48]", "test[:16]"))


def new(make):
    keras.utils.set_random_seed(CONFIG.seed)
    return make()


def arrays(model):
    return [keras.ops.convert_to_numpy(variable) for variable in model.weights]


def assert_same_weights(found, expected):
    for value, wanted in zip(arrays(found), arrays(expected), strict=True):
        np.testing.assert_array_equal(value, wanted)


@pytest.fixture(scope="module")
def whole(examples, tmp_path_factory):
    """`whole(make)`: model, lines and folder of a training that nothing interrupts, made once."""

    @functools.cache
    def whole(make):
        model, folder = new(make), tmp_path_factory.mktemp("whole") / "run"
        lines = fit(model, *examples, CONFIG, folder, augment=data.CropFlip(), verbose=0)
        return model, lines, folder

    return whole


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_training_in_low_precision_resumes_to_the_same_weights(dtype, examples, tmp_path):
    keras.config.set_dtype_policy(f"mixed_{dtype}")
    whole, settings = new(zoo_model), {"augment": data.CropFlip(), "verbose": 0}
    fit(whole, *examples, CONFIG, tmp_path / "whole", **settings)
    kill = {**settings, "callbacks": [KillAfter(epoch=1)]}
    with pytest.raises(KilledError):
        fit(new(zoo_model), *examples, CONFIG, tmp_path / "killed", **kill)
    resumed = new(zoo_model)
    assert resumed.compute_dtype == dtype
    fit(resumed, *examples, CONFIG, tmp_path / "killed", **settings)
    assert_same_weights(resumed, whole)
    if dtype == "float16":
        scales = [float(each.optimizer.dynamic_scale) for each in (resumed, whole)]
        assert scales[0] == scales[1]


# tests/experiments/test_run.py stops one of the zoo and goes on.
@each("bare layers", "attached", "zoo")
def test_a_killed_training_resumes_to_the_same_weights(make, whole, examples, tmp_path, capsys):
    expected, lines, _ = whole(make)
    with pytest.raises(KilledError):
        fit(
            new(make),
            *examples,
            CONFIG,
            tmp_path / "killed",
            augment=data.CropFlip(),
            callbacks=[KillAfter(epoch=1)],
            verbose=0,
        )
    resumed = new(make)
    found = fit(resumed, *examples, CONFIG, tmp_path / "killed", augment=data.CropFlip(), verbose=0)
    assert f"Resuming after epoch 1 of {EPOCHS}" in capsys.readouterr().out
    assert_same_weights(resumed, expected)
    assert [line["epoch"] for line in found] == [1, 2, 3]
    assert found == read_json_lines(tmp_path / "killed" / "metrics.jsonl")
    for one, other in zip(found, lines, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


@pytest.mark.parametrize(
    "make", [plain_keras_model, pytest.param(zoo_model, marks=pytest.mark.slow)]
)
def test_a_training_killed_in_an_epoch_goes_on_in_it(make, whole, examples, tmp_path, capsys):
    expected, lines, _ = whole(make)
    workdir = tmp_path / "killed"
    config = dataclasses.replace(CONFIG, checkpoint_steps=1)
    with pytest.raises(KilledError):
        fit(
            new(make),
            *examples,
            config,
            workdir,
            augment=data.CropFlip(),
            callbacks=[KillAfter(epoch=1)],
            verbose=0,
        )
    states = [path.name for path in (workdir / "checkpoint").iterdir()]
    assert states == ["epoch-00001-step-00000001.weights.h5"]

    began = []
    steps = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: began.append([epoch]),
        on_train_batch_begin=lambda batch, logs: began[-1].append(batch),
    )
    resumed = new(make)
    found = fit(
        resumed,
        *examples,
        config,
        workdir,
        augment=data.CropFlip(),
        callbacks=[steps],
        verbose=0,
    )
    assert f"Resuming after epoch 1 and 1 steps of {EPOCHS}" in capsys.readouterr().out
    assert began == [[1, 0, 1], [2, 0, 1, 2]]
    assert_same_weights(resumed, expected)
    # The metrics of the epoch count the steps before the kill, too.
    for one, other in zip(found, lines, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_states_within_epochs_are_for_batches_that_depend_on_the_epoch(examples, tmp_path):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return examples[0].images, examples[0].labels

    config = dataclasses.replace(CONFIG, checkpoint_steps=1)
    with pytest.raises(ValueError, match="`checkpoint_steps` is for an ImageData"):
        fit(zoo_model(), Batches(), None, config, tmp_path)


@pytest.mark.slow
def test_a_training_goes_on_from_its_last_good_state_whatever_stopped_it(
    whole, examples, tmp_path, monkeypatch
):
    def go_on(**settings):
        model = new(bare_layers_model)
        fit(model, *examples, CONFIG, workdir, augment=data.CropFlip(), verbose=0, **settings)
        return model

    workdir = tmp_path / "run"
    state = workdir / "checkpoint" / "epoch-00001.weights.h5"
    with pytest.raises(KilledError):
        go_on(callbacks=[KillAfter(epoch=1)])
    first = state.read_bytes()

    with monkeypatch.context() as patch:
        usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
        patch.setattr(checkpoint.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(OSError, match="state after epoch 1 is kept") as caught:
            go_on()
    assert caught.value.errno == errno.ENOSPC

    with monkeypatch.context() as patch:
        patch.setattr(training.BetaWarmup, "factor", lambda self, epoch: float("nan"))
        with pytest.raises(TrainingDivergedError, match="state after epoch 1 is kept"):
            go_on()

    assert list(state.parent.iterdir()) == [state]
    assert state.read_bytes() == first
    assert not (workdir / "model.keras").exists()
    assert_same_weights(go_on(), whole(bare_layers_model)[0])


@each("zoo")
def test_what_a_training_leaves(make, whole, examples):
    model, lines, workdir = whole(make)
    names = {path.name for path in workdir.iterdir()}
    has_map = isinstance(model, models.ImageClassifier)
    assert {"config.json", "metrics.jsonl", "model.keras", "checkpoint"} <= names
    assert ("maps" in names) == has_map
    for name in ("loss", "accuracy", "nll", "val_accuracy", "val_nll"):
        assert np.isfinite(lines[-1][name])
    encoders = [each for each in model._flatten_layers() if hasattr(each, "initial_beta")]
    for encoder in encoders:
        # The warm-up has ended.
        assert float(encoder.beta) == pytest.approx(0.01)
        assert lines[-1]["kl_nats"] > 0
    assert bool(encoders) == (make is not plain_keras_model)
    saved = keras.saving.load_model(workdir / "model.keras")
    images = examples[1].images
    np.testing.assert_allclose(
        saved.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_evaluations_can_be_rarer_and_the_last_epoch_has_one(whole, examples, tmp_path):
    make = plain_keras_model
    expected, expected_lines, _ = whole(make)
    config = dataclasses.replace(CONFIG, validation_freq=2)
    place = {"workdir": tmp_path / "run", "augment": data.CropFlip(), "verbose": 0}
    with pytest.raises(KilledError):
        fit(new(make), *examples, config, callbacks=[KillAfter(epoch=2)], **place)
    model = new(make)
    lines = fit(model, *examples, config, **place)
    assert_same_weights(model, expected)
    evaluations = [line.get("val_nll") for line in lines]
    assert evaluations == [None, *(line["val_nll"] for line in expected_lines[1:])]


@pytest.mark.parametrize("last", [2, CONFIG.epochs])
def test_a_training_that_a_callback_has_ended_is_finished(last, examples, tmp_path, capsys):
    class Best(keras.callbacks.Callback):
        """Ends after an epoch, and leaves other weights, as EarlyStopping does in any case."""

        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch + 1 == last < CONFIG.epochs

        def on_train_end(self, logs=None):
            self.model.weights[0].assign(self.model.weights[0] + 1)

    config = dataclasses.replace(CONFIG, checkpoint_epochs=3)
    model = new(plain_keras_model)
    workdir = tmp_path / "run"
    lines = fit(model, *examples, config, workdir, callbacks=[Best()], verbose=0)
    assert [line["epoch"] for line in lines] == [*range(1, last + 1)]
    (state,) = (workdir / "checkpoint").iterdir()
    assert state.name == f"epoch-{last:05d}.weights.h5"
    saved = (workdir / "model.keras").read_bytes()
    again = new(plain_keras_model)
    assert fit(again, *examples, config, workdir, callbacks=[Best()], verbose=0) == lines
    assert "holds a finished training" in capsys.readouterr().out
    assert_same_weights(again, model)
    assert (workdir / "model.keras").read_bytes() == saved
    # Killed before the model was saved: the last state says that it had ended.
    (workdir / "model.keras").unlink()
    assert fit(new(plain_keras_model), *examples, config, workdir, verbose=0) == lines


def test_a_training_ends_when_it_has_stalled_whether_resumed_or_not(
    examples, tmp_path, monkeypatch, capsys
):
    values = iter([2.0, 1.0, 1.5, 1.0, 0.5])

    class FakeLog(callbacks.MetricsLog):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, {**logs, "val_nll": next(values)})

    monkeypatch.setattr(fitting, "MetricsLog", FakeLog)
    config = dataclasses.replace(CONFIG, epochs=5, patience=2)
    workdir = tmp_path / "run"
    with pytest.raises(KilledError):
        fit(
            new(plain_keras_model),
            *examples,
            config,
            workdir,
            callbacks=[KillAfter(epoch=3)],
            verbose=0,
        )
    model = new(plain_keras_model)
    lines = fit(model, *examples, config, workdir, verbose=0)
    assert [line["val_nll"] for line in lines] == [2.0, 1.0, 1.5, 1.0]
    assert "Ending after epoch 4: `val_nll` has not fallen for 2" in capsys.readouterr().out
    # Killed before the model was saved: nothing more to train.
    (workdir / "model.keras").unlink()
    again = new(plain_keras_model)
    assert fit(again, *examples, config, workdir, verbose=0) == lines
    assert_same_weights(again, model)
    with pytest.raises(ValueError, match="`patience` needs `validation_data`"):
        fit(again, examples[0], None, config, tmp_path / "other", verbose=0)


def test_a_finished_training_is_loaded(examples, tmp_path, capsys):
    first = new(plain_keras_model)
    lines = fit(first, *examples, CONFIG, tmp_path / "run", verbose=0)
    keras.utils.set_random_seed(99)
    again = plain_keras_model()
    assert fit(again, *examples, CONFIG, tmp_path / "run", verbose=0) == lines
    assert "finished" in capsys.readouterr().out
    assert_same_weights(again, first)


def test_whether_a_model_returns_logits_is_found_out(examples, tmp_path):
    """The NLL that `fit` reports is that of the model's probabilities."""
    for make in (plain_keras_model, bare_layers_model):
        model = new(make)
        lines = fit(model, *examples, CONFIG, tmp_path / make.__name__, verbose=0)
        outputs = model.predict(examples[1].images, verbose=0).astype("float64")
        if make is bare_layers_model:
            exponentials = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
            outputs = exponentials / exponentials.sum(axis=-1, keepdims=True)
        expected = -np.log(outputs[np.arange(16), examples[1].labels]).mean()
        assert lines[-1]["val_nll"] == pytest.approx(expected, rel=1e-3)


def test_data_of_other_kinds(examples, tmp_path):
    train, test = examples
    arrays_of = [(part.images, part.labels) for part in examples]
    expected = new(plain_keras_model)
    fit(expected, train, test, CONFIG, tmp_path / "image_data", verbose=0)
    model = new(plain_keras_model)
    fit(model, *arrays_of, CONFIG, tmp_path / "arrays", verbose=0)
    assert_same_weights(model, expected)
    batches = data.AugmentedBatches(train, 16, seed=CONFIG.seed, drop_remainder=True)
    model = new(plain_keras_model)
    lines = fit(model, batches, None, CONFIG, tmp_path / "batches", verbose=0)
    assert "val_loss" not in lines[0]
    assert_same_weights(model, expected)


@pytest.mark.parametrize(
    ("train", "config", "error", "message"),
    [
        ((np.zeros((4, 32, 32, 3)), np.zeros(5, int)), CONFIG, ValueError, "integer labels"),
        ((np.zeros((4, 32, 32, 3)), np.zeros((4, 10))), CONFIG, ValueError, "integer labels"),
        ((np.zeros((4, 32, 32, 3)), np.zeros(4, int)), CONFIG, ValueError, "do not fill one batch"),
        (iter([]), CONFIG, TypeError, "batches of a known length"),
    ],
)
def test_bad_data_are_refused(train, config, error, message, tmp_path):
    with pytest.raises(error, match=message):
        fit(plain_keras_model(), train, None, config, tmp_path / "run", verbose=0)


def test_images_of_arrays_are_checked_as_by_the_model(examples, tmp_path):
    images, labels = examples[0].images / np.float32(255), examples[0].labels
    config = FitConfig(epochs=1, batch_size=16)
    with pytest.warns(UserWarning, match="range|\\[0, 255\\]"):
        fit(zoo_model(), (images, labels), None, config, tmp_path / "small", verbose=0)
    images[3] = np.nan
    with pytest.raises(ValueError, match="NaN|finite"):
        fit(zoo_model(), (images, labels), None, config, tmp_path / "nan", verbose=0)


def test_labels_are_those_of_the_outputs(examples, tmp_path):
    model, (train, _) = plain_keras_model(), examples
    for labels in (train.labels + 1, train.labels - 1):
        with pytest.raises(ValueError, match="has 10 outputs, for the labels 0 to 9"):
            fit(model, (train.images, labels), None, CONFIG, tmp_path / "run")


def test_a_label_is_the_same_class_in_training_and_validation(examples, tmp_path):
    train, test = examples
    names = (*train.class_names[1:], "another")
    other = data.ImageData(test.images, test.labels, names)
    with pytest.raises(ValueError, match="'0' and '1'. Load both"):
        fit(plain_keras_model(), train, other, CONFIG, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_with_a_layer_for_floats_and_its_output_in_a_dict(examples, tmp_path):
    class Centred(keras.layers.Layer):
        def call(self, images):
            return images / 255.0 - 0.5

    inputs = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(Centred()(inputs))
    outputs = {"classes": keras.layers.Dense(10)(pooled)}
    config = dataclasses.replace(CONFIG, epochs=1)
    model = keras.Model(inputs, outputs["classes"])
    assert len(fit(model, *examples, config, tmp_path / "run", verbose=0)) == 1
    check_labels(keras.Model(inputs, outputs), as_batches(examples[0], config, training=True))


def test_validation_data_may_lack_the_last_class(examples):
    train, test = examples
    fewer = data.ImageData(test.images, test.labels % 9, test.class_names[:9])
    check_same_classes(train, fewer)


def test_a_model_is_afterwards_as_it_was(examples, tmp_path):
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.BatchNormalization(synchronized=keras.backend.backend() != "jax"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ]
    )
    before = model.layers[0].synchronized
    config, (train, _) = dataclasses.replace(CONFIG, epochs=1), examples
    fit(model, train, None, config, tmp_path / "run", verbose=0)
    assert model.layers[0].synchronized == before
    # Also where it trained from examples in the memory of a device.
    model.fit(train.images, train.labels, verbose=0)


def test_a_workdir_of_another_training_is_refused(examples, tmp_path):
    fit(new(plain_keras_model), *examples, CONFIG, tmp_path / "run", verbose=0)
    other = dataclasses.replace(CONFIG, seed=4)
    with pytest.raises(ValueError, match="seed: 3 there, 4 now"):
        fit(new(plain_keras_model), *examples, other, tmp_path / "run", verbose=0)


def test_the_public_callback_warms_up_beta_in_plain_fit(examples):
    model = bare_layers_model()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    (encoder,) = (each for each in model.layers if isinstance(each, layers.VariationalEncoder))
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(float(encoder.beta))

    model.fit(
        examples[0].images,
        examples[0].labels,
        epochs=4,
        verbose=0,
        callbacks=[training.BetaWarmup(4, start=0.0, end=0.5), Watch()],
    )
    np.testing.assert_allclose(seen, [0, 0.005, 0.01, 0.01], rtol=1e-6)


def beta_of(model):
    (encoder,) = (x for x in model.layers if isinstance(x, layers.VariationalEncoder))
    return float(encoder.beta)


def test_a_training_that_ends_in_the_warm_up_leaves_the_full_beta(examples, tmp_path):
    model, config = bare_layers_model(), FitConfig(epochs=1, batch_size=8)
    fit(model, *examples, config, tmp_path, verbose=0)
    assert beta_of(model) == pytest.approx(0.01)
    # Killed before the model was saved.
    (tmp_path / "model.keras").unlink()
    again = bare_layers_model()
    fit(again, *examples, config, tmp_path, verbose=0)
    for found in (again, keras.saving.load_model(tmp_path / "model.keras")):
        assert beta_of(found) == pytest.approx(0.01)


def test_an_interrupted_training_leaves_the_full_beta(examples, tmp_path):
    model = bare_layers_model()
    with pytest.raises(KilledError):
        fit(model, *examples, CONFIG, tmp_path, callbacks=[KillAfter(epoch=0)], verbose=0)
    assert beta_of(model) == pytest.approx(0.01)


def test_a_state_leaves_other_files_alone(examples, tmp_path):
    state = training.Checkpoint(tmp_path)
    left = [".partial-12-0a1b2c3d-epoch-00001.weights.h5", "epoch-00001.weights.h5"]
    own = ["best.weights.h5", ".partial-12-0a1b2c3d-best.weights.h5"]
    for name in (*left, *own):
        (tmp_path / name).write_bytes(b"weights")
    model = plain_keras_model()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(examples[0].images, examples[0].labels, epochs=2, callbacks=[state], verbose=0)
    assert {path.name for path in tmp_path.iterdir()} == {*own, "epoch-00002.weights.h5"}


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_states_within_epochs_of_unknown_length(examples, tmp_path):
    def batches():
        for first in range(0, 48, 16):
            yield examples[0].images[first : first + 16], examples[0].labels[first : first + 16]

    model = plain_keras_model()
    model.compile("adam", "sparse_categorical_crossentropy")
    state = training.Checkpoint(tmp_path, steps=1)
    model.fit(batches(), callbacks=[state], shuffle=False, verbose=0)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-00001.weights.h5"]


def test_a_layer_of_ones_own_can_be_called_attention(examples, tmp_path):
    @keras.saving.register_keras_serializable("test")
    class Own(models.ImageClassifier):
        map_names = ("attention",)

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.attention = keras.layers.Conv2D(1, 3, strides=8, activation="sigmoid")
            self.classifier = keras.layers.Dense(10)

        def all_outputs(self, images, training=None, sample=None):
            attention = self.attention(self.preprocess(images))
            flat = keras.ops.reshape(attention, (-1, 16))
            return {"logits": self.classifier(flat), "attention": attention}

    fit(Own(), *examples, FitConfig(epochs=1, batch_size=16), tmp_path, verbose=0)
    assert any((tmp_path / "maps").iterdir())


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("activation", ["softmax", None])
def test_probabilities_are_told_from_logits(policy, activation):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(10, activation=activation, dtype=policy)]
    )
    inputs = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    config = compiling.built(model, [(inputs, np.zeros(8))], FitConfig())
    assert config.from_logits is (activation is None)


def test_a_model_with_named_inputs_is_trained(tmp_path):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            rng = np.random.default_rng(index)
            inputs = {"x": rng.normal(size=(8, 2)), "y": rng.normal(size=(8, 1))}
            return inputs, (inputs["y"][:, 0] > 0).astype("int32")

    inputs = {"x": keras.Input((2,), name="x"), "y": keras.Input((1,), name="y")}
    outputs = keras.layers.Dense(2)(keras.ops.concatenate([inputs["x"], inputs["y"]], axis=-1))
    config = FitConfig(epochs=2, batch_size=8)
    lines = fit(keras.Model(inputs, outputs), Batches(), None, config, tmp_path / "run", verbose=0)
    assert lines[1]["nll"] < lines[0]["nll"]


@pytest.mark.slow
def test_balanced_classes_weigh_the_same_in_all(tmp_path):
    """Nine examples of class 0 and three of class 1, which look alike: both are as likely."""
    inputs, labels = np.ones((12, 2), "float32"), np.repeat([0, 1], [9, 3])
    config = FitConfig(epochs=60, batch_size=12, learning_rate=0.05, schedule="constant")
    found = []
    for weights in ("equal", "balanced"):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        changed = dataclasses.replace(config, class_weights=weights)
        fit(model, (inputs, labels), None, changed, tmp_path / weights, verbose=0)
        logits = model.predict(inputs[:1], verbose=0)[0]
        found.append(float(1 / (1 + np.exp(logits[1] - logits[0]))))
    np.testing.assert_allclose(found, [0.75, 0.5], atol=0.03)
    batches = data.AugmentedBatches(data.load("cluttered_digits", "train[:8]"), 4)
    weighted = FitConfig(epochs=1, class_weights="balanced", from_logits=True)
    with pytest.raises(ValueError, match="labels are known"):
        fit(zoo.vgg(width=0.03), iter_dataset(batches), None, weighted, tmp_path / "batches")


def iter_dataset(batches):
    """Batches of another kind than those whose labels `fit` can read."""

    class Other(keras.utils.PyDataset):
        def __len__(self):
            return len(batches)

        def __getitem__(self, index):
            return batches[index]

    return Other()
