"""Several devices against one, on two logical CPU devices: see `device_programs.py`."""

import importlib.util
import pathlib
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
from backends import environment

from aib_keras.training import CoupledSGD
from aib_keras.training import device_strategies as devices

PROGRAM = pathlib.Path(__file__).with_name("device_programs.py")


STRATEGIES = {"tensorflow": ["mirrored"], "jax": ["data_parallel", "model_parallel"]}


def run_program(strategy, folder):
    out = folder / f"{strategy}.npz"
    done = subprocess.run(
        [sys.executable, str(PROGRAM), strategy, str(out)],
        env=environment(keras.backend.backend()),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(out) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def one():
    if keras.backend.backend() not in STRATEGIES:
        pytest.skip(f"no strategy for several devices on {keras.backend.backend()}")
    specification = importlib.util.spec_from_file_location("device_programs", PROGRAM)
    programs = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(programs)
    with warnings.catch_warnings():
        # Without noise the standard deviation of the map has no effect.
        warnings.filterwarnings("ignore", "Gradients do not exist for variables")
        return programs.run("one")


@pytest.fixture(scope="module", params=STRATEGIES.get(keras.backend.backend(), ["none"]))
def two(one, request, tmp_path_factory):
    return {**run_program(request.param, tmp_path_factory.mktemp("two")), "name": request.param}


@pytest.mark.slow
def test_two_devices_compute_what_one_does(one, two):
    assert (one["devices"], two["devices"]) == (1, 2)
    names = [name for name in one if name.startswith("weights/")]
    assert len(names) > 10
    for name in names:
        np.testing.assert_allclose(two[name], one[name], atol=1e-5, err_msg=name)
    assert one["history/price/map_nats"][0] > 0
    for name in (
        "price/nll",
        "price/map_nats",
        "aib/nll",
        "aib/kl_nats",
        "aib/quantization_mse",
        "aib/accuracy",
        "abn/nll",
    ):
        np.testing.assert_allclose(two[f"history/{name}"], one[f"history/{name}"], rtol=1e-5)


@pytest.mark.slow
def test_batches_that_do_not_divide_give_the_figures_of_one_device(one, two):
    kinds = ("fit/", "fit_batches/", "explain/", "predict/", "evaluate/")
    names = [name for name in one if name.startswith(kinds)]
    if keras.backend.backend() == "jax":
        # A MirroredStrategy has noise of its own on each device.
        names += [name for name in one if name.startswith("predict_mc/")]
    assert {"fit/val_nll", "fit/val_anchors_in_use", "explain/attention"} < set(names)
    for name in set(names) - {"fit/seconds"}:
        # Under a MirroredStrategy Keras shows another `loss`, see `compile_classifier`.
        if not (two["name"] == "mirrored" and name.endswith("loss")):
            np.testing.assert_allclose(two[name], one[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert list(two["files"]) == list(one["files"])


@pytest.mark.slow
def test_model_parallel_splits_weights_and_optimiser(one, two):
    if two["name"] != "model_parallel":
        assert two["split_variables"] == 0
        return
    # Kernel, bias and batch norm (4) of the 8 channels; kernel and bias of the encoder's head and
    # of the decoder; the 4 anchors; the trainable ones of these again in the optimiser.
    assert two["split_variables"] == 20


@pytest.mark.slow
def test_the_devices_draw_different_noise(two):
    # The two rows went to two devices, in the same step.
    assert np.abs(two["noise"][0] - two["noise"][1]).min() > 1e-3


@pytest.mark.slow
def test_the_statistics_of_the_noise_are_those_of_all_devices(one, two):
    cases = ((2, 2), (7, 4), (3, 2)) if two["name"] == "mirrored" else ((2, 2),)
    for count, batch_size in cases:
        images = np.arange(12 * count, dtype="float32").reshape(count, 4, 3)
        mean, variance = np.zeros(3), np.ones(3)
        for first in range(0, count, batch_size):
            batch = images[first : first + batch_size]
            mean = 0.9 * mean + 0.1 * batch.mean(axis=(0, 1))
            variance = 0.9 * variance + 0.1 * batch.var(axis=(0, 1))
        for found in (one, two):
            statistics = found[f"noise_statistics/{count}/{batch_size}"]
            np.testing.assert_allclose(statistics, [mean, variance], rtol=1e-4)


def test_a_strategy_of_another_backend_is_refused():
    other = "data_parallel" if keras.backend.backend() == "tensorflow" else "mirrored"
    with pytest.raises(ValueError, match="KERAS_BACKEND="), devices.devices(other):
        pass


def test_unknown_strategy_lists_the_known_ones():
    with pytest.raises(ValueError, match="'one' or 'mirrored' or 'data_parallel'"):
        devices.devices("tpu").__enter__()


@pytest.mark.parametrize(
    "arguments",
    [
        {"global_clipnorm": 1.0},
        {"gradient_accumulation_steps": 2},
        {"use_ema": True, "ema_overwrite_frequency": 5},
    ],
)
def test_what_does_not_work_mirrored_is_refused_by_name(arguments):
    with pytest.raises(ValueError, match=list(arguments)[-1]):
        devices.check_mirrored(CoupledSGD(**arguments), jit=False)
    with pytest.raises(ValueError, match="jit"):
        devices.check_mirrored(CoupledSGD(), jit=True)


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of 3"):
        devices.check_batch_size(64, 3)
