"""Training on several hosts: two processes on loopback, on JAX, and what is refused before work."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest
from backends import environment

from aib_keras.training import FitConfig, device_strategies, hosts
from aib_keras.training.workdir import claim_workdir
from aib_keras.utils import processes
from aib_keras.utils.files import read_json, read_json_lines

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(__file__).with_name("hosts_program.py")
LIMIT_S = 900
KERAS_VARIABLES = {
    "KERAS_DISTRIBUTION_JOB_ADDRESSES": "127.0.0.1:12345",
    "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
    "KERAS_DISTRIBUTION_PROCESS_ID": "0",
}


# What the environment says.


@pytest.fixture
def alone(monkeypatch):
    """An environment that names no other processes."""
    for name in list(os.environ):
        if name.startswith(("KERAS_DISTRIBUTION_", "JAX_", "SLURM_", "OMPI_", "KUBERNETES_")):
            monkeypatch.delenv(name)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"KERAS_DISTRIBUTION_PROCESS_ID": ""}, "lacks KERAS_DISTRIBUTION_PROCESS_ID"),
        ({"KERAS_DISTRIBUTION_JOB_ADDRESSES": ""}, "lacks KERAS_DISTRIBUTION_JOB_ADDRESSES"),
        ({"KERAS_DISTRIBUTION_PROCESS_ID": "2"}, "index from 0 to that number minus 1"),
        ({"KERAS_DISTRIBUTION_NUM_PROCESSES": "two"}, "number of processes"),
        ({"KERAS_DISTRIBUTION_JOB_ADDRESSES": "10.0.0.1"}, "HOST:PORT"),
        ({"KERAS_DISTRIBUTION_JOB_ADDRESSES": "a:1,b:1,c:1"}, "3 addresses for 2 processes"),
    ],
)
def test_incomplete_or_contradicting_variables_are_refused(alone, changes, message):
    for name, value in {**KERAS_VARIABLES, **changes}.items():
        alone.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        hosts.join("data_parallel")


@pytest.mark.parametrize(
    "variables",
    [
        KERAS_VARIABLES,
        {
            "JAX_COORDINATOR_ADDRESS": "train-0:1234",
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": "1",
        },
    ],
)
def test_several_processes_need_jax_and_data_parallel(alone, variables):
    for name, value in variables.items():
        alone.setenv(name, value)
    with pytest.raises(ValueError, match="names 2 processes.*KERAS_BACKEND=jax"):
        hosts.join("one")


def test_one_process_joins_none(alone):
    hosts.join("data_parallel")
    alone.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "1")
    hosts.join("one")
    assert processes.count() == 1


@pytest.mark.parametrize(
    ("variables", "together"),
    [
        ({"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_NTASKS": "2"}, True),
        ({"SLURM_STEP_NODELIST": "node1", "SLURM_NTASKS": "1"}, False),
        # A batch script outside `srun`.
        ({"SLURM_NTASKS": "2"}, False),
        ({"OMPI_MCA_orte_hnp_uri": "1;tcp://a:1", "OMPI_COMM_WORLD_SIZE": "2"}, True),
        # A pod of a notebook.
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False),
        ({}, False),
    ],
)
def test_launchers_of_several_processes_are_recognised(alone, variables, together):
    for name, value in variables.items():
        alone.setenv(name, value)
    assert hosts._launched_together() is together


def test_an_indexed_kubernetes_job_needs_the_package_of_kubernetes(alone):
    alone.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    alone.setenv("JOB_COMPLETION_INDEX", "0")
    alone.setattr(hosts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install kubernetes"):
        hosts._launched_together()


def test_multi_worker_mirrored_is_refused_with_the_reason():
    for name in ("multi_worker_mirrored", "MultiWorkerMirroredStrategy"):
        with (
            pytest.raises(ValueError, match=r"issues/20585.*data_parallel"),
            device_strategies.devices(name),
        ):
            pass


@pytest.mark.tensorflow("TF_CONFIG is TensorFlow's")
def test_tf_config_of_several_workers_is_refused(alone):
    alone.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"index": 0}}')
    with pytest.raises(ValueError, match="TF_CONFIG names 2 workers"):
        hosts.join("mirrored")
    alone.setenv("TF_CONFIG", '{"cluster": {"chief": ["a:1"]}, "task": {"index": 0}}')
    hosts.join("mirrored")


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="a strategy of JAX")
@pytest.mark.parametrize("strategy", ["data_parallel", "model_parallel"])
def test_one_device_says_so(alone, strategy):
    with (
        pytest.warns(UserWarning, match=f'"{strategy}" found one device'),
        device_strategies.devices(strategy) as number,
    ):
        assert number == 1
    assert keras.distribution.distribution() is None


# What the processes do together, seen by one of several that do not exist.


@pytest.fixture
def second_of_two(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "index", lambda: 1)
    return monkeypatch


def test_the_second_process_stops_where_the_first_fails(second_of_two):
    called = []
    second_of_two.setattr(processes, "gather", lambda value: [0, value])
    processes.on_first(called.append, 1)
    second_of_two.setattr(processes, "gather", lambda value: [1, value])
    with pytest.raises(RuntimeError, match="Process 1 stops because process 0 failed"):
        processes.on_first(called.append, 1)
    assert called == []


def test_a_process_that_fails_raises_its_own_error(second_of_two):
    second_of_two.setattr(processes, "gather", lambda value: [0, value])
    with pytest.raises(ZeroDivisionError):
        processes.together(lambda: 1 / 0)
    assert processes.together(lambda: 5) == 5


def test_what_differs_between_processes_is_named(second_of_two):
    second_of_two.setattr(processes, "gather", lambda value: [value, value])
    processes.check_same("settings", {"seed": 0})
    second_of_two.setattr(processes, "gather", lambda value: [value + 1, value])
    with pytest.raises(ValueError, match=r"same settings.*'seed': 0.*in the processes \[0\]"):
        processes.check_same("settings", {"seed": 0})


def test_a_workdir_that_the_second_process_does_not_see_is_refused(second_of_two, tmp_path):
    second_of_two.setattr(processes, "gather", lambda value: [value, value])
    with pytest.raises(FileNotFoundError, match="all hosts share"):
        claim_workdir(tmp_path / "run", FitConfig())
    assert not (tmp_path / "run").exists()


def test_several_processes_without_a_distribution_are_refused(second_of_two):
    with pytest.raises(ValueError, match="one of 2 processes"):
        device_strategies.check_scope()


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="a distribution of JAX")
def test_a_model_split_over_processes_is_refused(second_of_two):
    mesh = keras.distribution.DeviceMesh((1, 1), ["batch", "model"])
    with (
        device_strategies.SplitModel(mesh).scope(),
        pytest.raises(ValueError, match="does not split a model over 2 processes"),
    ):
        device_strategies.check_scope()


# Two processes on loopback.


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def two_processes(*arguments):
    """Starts a Python program in two processes, and kills what is left of them at the end."""
    address = f"127.0.0.1:{free_port()}"
    started = []
    try:
        for index in range(2):
            variables = {
                **environment("jax"),
                "PYTHONPATH": str(ROOT),
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
                "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
                "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
            }
            started.append(start(arguments, variables))
        yield started
    finally:
        kill(started)


def kill(started):
    for process in started:
        # A process that waits for another one ignores SIGTERM.
        process.kill()
        process.wait()
        process.stdout.close()


def start(arguments, variables):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*started):
    """Waits for processes, and returns what they printed."""
    end = time.monotonic() + LIMIT_S
    outputs = [each.communicate(timeout=max(1, end - time.monotonic()))[0] for each in started]
    for process, output in zip(started, outputs, strict=True):
        assert process.returncode == 0, output[-3000:]
    return outputs


def training(workdir, *flags):
    """A command for 3 epochs of 2 steps of a narrow `vgg_aib_qt` without noise.

    It evaluates 41 examples in batches of 32 and 9.
    """
    return [
        ROOT / "recipes" / "train_cifar10.py",
        "--dataset=cluttered_digits",
        "--train_split=train[:64]",
        "--test_split=test[:41]",
        "--epochs=3",
        "--batch_size=32",
        "--width=0.03",
        "--set=latent_dim=4",
        "--set=stochastic=False",
        "--optimizer=sgd",
        "--learning_rate=0.001",
        f"--workdir={workdir}",
        *flags,
    ]


def saved_state(workdir):
    """Returns the arrays in the last state of a training."""
    (path,) = (workdir / "checkpoint").iterdir()
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("one") / "run"
    variables = {**environment("jax"), "PYTHONPATH": str(ROOT)}
    finish(start(training(workdir, "--jit", "--nodata_on_device"), variables))
    return workdir


def check_equal(workdir, expected):
    state, expected_state = saved_state(workdir), saved_state(expected)
    weights = [name for name in expected_state if not name.startswith("optimizer")]
    assert len(weights) > 50
    assert state.keys() == expected_state.keys()
    for name in weights:
        np.testing.assert_allclose(state[name], expected_state[name], atol=1e-4, err_msg=name)
    lines = read_json_lines(workdir / "metrics.jsonl")
    expected_lines = read_json_lines(expected / "metrics.jsonl")
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    for line, expected_line in zip(lines, expected_lines, strict=True):
        assert line.keys() == expected_line.keys()
        for name in line.keys() - {"seconds"}:
            assert line[name] == pytest.approx(expected_line[name], abs=1e-4), name
    result, expected_result = (read_json(each / "result.json") for each in (workdir, expected))
    for name in ("test_error_last_epoch", "test_error_last_epoch_sampled", "nll_sampled"):
        assert result[name] == pytest.approx(expected_result[name], abs=1e-4), name


@pytest.mark.slow
def test_two_processes_train_what_one_does(one_process, tmp_path):
    workdir = tmp_path / "run"
    with two_processes(*training(workdir, "--strategy=data_parallel")) as started:
        first, second = finish(*started)
    check_equal(workdir, one_process)
    assert sorted(path.name for path in workdir.iterdir()) == sorted(
        path.name for path in one_process.iterdir()
    )
    assert "Epoch 3/3" in first
    assert "Everything is in" in first
    assert "Epoch" not in second
    assert "Everything" not in second


@pytest.mark.slow
def test_a_training_whose_second_process_was_killed_resumes(one_process, tmp_path):
    workdir = tmp_path / "run"
    command = training(workdir, "--strategy=data_parallel")
    with two_processes(*command) as (first, second):
        end = time.monotonic() + LIMIT_S
        while not list((workdir / "checkpoint").glob("epoch-*")):
            assert time.monotonic() < end
            assert first.poll() is None, first.communicate()[0][-3000:]
            time.sleep(0.01)
        # In epoch 2.
        second.send_signal(signal.SIGKILL)
        second.wait()
    assert len(read_json_lines(workdir / "metrics.jsonl")) < 3
    with two_processes(*command) as started:
        output, _ = finish(*started)
    assert "Resuming after epoch" in output
    check_equal(workdir, one_process)


@pytest.mark.slow
def test_images_of_two_processes_have_different_noise(tmp_path):
    out = tmp_path / "out.npz"
    with two_processes(PROGRAM, out) as started:
        finish(*started)
    with np.load(out) as found:
        assert found["devices"] == 2
        logits = found["logits"]
        # Equal images, the first two of process 0, the last two of process 1.
        assert logits.shape == (4, 10)
        for row in range(4):
            for other in range(row):
                assert np.abs(logits[row] - logits[other]).max() > 1e-3
        assert found["attention"].shape == (3, 6, 6, 1)
        np.testing.assert_allclose(found["probabilities"].sum(axis=-1), 1, atol=1e-5)


@pytest.mark.slow
def test_settings_that_differ_between_processes_are_refused(tmp_path):
    """Process 1 has another seed; both say so and end by themselves."""
    variables = {**environment("jax"), "PYTHONPATH": str(ROOT)}
    address = f"127.0.0.1:{free_port()}"
    started = []
    try:
        for index in range(2):
            joined = {
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
                "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
                "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
            }
            flags = ("--strategy=data_parallel", f"--seed={index}")
            started.append(start(training(tmp_path / "run", *flags), {**variables, **joined}))
        for process in started:
            output, _ = process.communicate(timeout=LIMIT_S)
            assert process.returncode != 0
            assert "All processes need the same settings" in output
    finally:
        kill(started)
    assert not (tmp_path / "run").exists()
