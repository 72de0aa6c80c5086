"""What all tests share: repeatable noise, and gradients on any backend.

Tests run on the backend that KERAS_BACKEND names, TensorFlow by default. One that needs TensorFlow
is marked `tensorflow("why")` and skipped on another backend.
"""

import contextlib
import gc
import os

import keras
import numpy as np
import pytest
from backends import QUICK_TO_COMPILE
from small import small_config

from aib_keras import experiments

_RAN_IN = "ran_in"

# Tracing makes many objects that stay. By default Python goes through all of them again and again.
gc.set_threshold(50_000, 20, 50)

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # Two cores: both for one process, or one each for the two of `make test`. Must be set before
    # TensorFlow's first operation.
    threads = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
elif keras.backend.backend() == "jax":
    # Read before JAX's first operation.
    os.environ.setdefault("XLA_FLAGS", QUICK_TO_COMPILE)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    marker = item.get_closest_marker("tensorflow")
    if marker is not None and keras.backend.backend() != "tensorflow":
        pytest.skip(f"needs the TensorFlow backend: {marker.args[0]}")


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef):
    # Such a fixture is set up before those of the test, and by any test: without this its weights
    # would depend on the order in which two processes run the tests.
    if fixturedef.scope != "function":
        keras.utils.set_random_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _training_steps_are_traced_once():
    """TensorFlow traces a training step again if its first call has made the optimiser's variables.

    That takes as long as the first time. A training that is resumed has them before, too.
    """
    with pytest.MonkeyPatch.context() as patch:
        if keras.backend.backend() == "tensorflow":
            make = keras.Model.make_train_function

            def build_optimizer_first(self, *arguments, **settings):
                if self.built and not self.optimizer.built:
                    self.optimizer.build(self.trainable_variables)
                return make(self, *arguments, **settings)

            patch.setattr(keras.Model, "make_train_function", build_optimizer_first)
        yield


@pytest.fixture
def ran_in(record_property):
    """`ran_in(name)`: says in the summary of the run where an exported model was run."""
    return lambda name: record_property(_RAN_IN, name)


def pytest_terminal_summary(terminalreporter):
    properties = [
        item
        for report in terminalreporter.stats.get("passed", ())
        for item in report.user_properties
    ]
    if names := sorted({value for name, value in properties if name == _RAN_IN}):
        terminalreporter.write_line(
            f"SavedModels were run in: {', '.join(names)}. Not in TensorFlow Serving's own server."
        )


@pytest.fixture(autouse=True)
def _fresh_keras_state():
    keras.utils.set_random_seed(0)
    policy, data_format = keras.config.dtype_policy(), keras.config.image_data_format()
    yield
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(data_format)


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16"])
def mixed_precision(request):
    """Sets a mixed precision policy that the backend can train with here; its compute dtype."""
    if request.param == "mixed_float16" and keras.backend.backend() == "torch":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("torch has no float16 gradient of a one-channel convolution on a CPU")
    if request.param == "mixed_bfloat16" and keras.backend.backend() == "torch":
        import torch

        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            pytest.skip("torch has no bfloat16 gradient of a convolution on this CPU")
    keras.config.set_dtype_policy(request.param)
    return request.param.removeprefix("mixed_")


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """The work directory of a training of `small_config`, for tests that copy it.

    Of the processes of a test run the first that asks for it trains.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "small_run"
    if not shared.exists():
        workdir = tmp_path_factory.mktemp("small") / "run"
        experiments.train(small_config(epochs=2), workdir, verbose=0)
        # Unless the other process was faster.
        with contextlib.suppress(OSError):
            workdir.rename(shared)
    return shared


@pytest.fixture(scope="session")
def settled():
    """`settled(model, images)`: the model with the batch-norm statistics of these images.

    Those of a new model are far from its activations, so that its maps are 0 or 1 everywhere.
    """
    return _settled


def _settled(model, images):
    norms = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    for norm in norms:
        norm.momentum = 0.0
    model(images, training=True)
    for norm in norms:
        norm.momentum = 0.9
    return model


@pytest.fixture(scope="session")
def observed():
    """`observed(metric)`: the value of a layer's metric after direct calls of the layer."""
    return _observed


def _observed(metric):
    # Under JAX the values of direct calls wait for a training step to collect them.
    metric.collect()
    return float(metric.result())


@pytest.fixture(scope="session")
def gradients():
    """`gradients(function, inputs, variables)`: those of a scalar `function(*inputs)`.

    A list of numpy arrays, of the inputs (arrays) first and the Keras variables then; None for
    one that the function does not depend on (zeros under JAX, which does not tell).
    """
    return {"tensorflow": _tf, "jax": _jax, "torch": _torch}[keras.backend.backend()]


def _tf(function, inputs=(), variables=()):
    inputs = [tf.convert_to_tensor(value) for value in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
    found = tape.gradient(value, [*inputs, *variables])
    return [None if g is None else tf.convert_to_tensor(g).numpy() for g in found]


def _jax(function, inputs=(), variables=()):
    import jax

    def stateless(inputs, values):
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True):
            return function(*inputs)

    inputs = [keras.ops.convert_to_tensor(value) for value in inputs]
    values = [variable.value for variable in variables]
    of_inputs, of_variables = jax.grad(stateless, argnums=(0, 1))(inputs, values)
    return [np.asarray(g) for g in [*of_inputs, *of_variables]]


def _torch(function, inputs=(), variables=()):
    import torch

    inputs = [torch.tensor(value, requires_grad=True) for value in inputs]
    sources = [*inputs, *(variable.value for variable in variables)]
    found = torch.autograd.grad(function(*inputs), sources, allow_unused=True)
    return [None if g is None else g.detach().numpy() for g in found]
