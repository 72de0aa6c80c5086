"""SIGKILL at random moments of a training, and the same command again."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import aib_keras  # noqa: F401 -- registers the classes that load_model meets

ROOT = pathlib.Path(__file__).resolve().parents[2]
KILLS = 10
# Enough for ten kills, each some epochs after the last, also where an epoch takes 0.1 s.
EPOCHS = 120


def start(workdir):
    command = [
        sys.executable,
        str(ROOT / "recipes" / "train_cifar10.py"),
        "--dataset=cluttered_digits",
        "--train_split=train[:192]",
        "--test_split=test[:16]",
        f"--epochs={EPOCHS}",
        "--batch_size=16",
        "--width=0.03",
        "--set=latent_dim=4",
        f"--workdir={workdir}",
    ]
    # One setting of threads: with several, the order of sums changes the last bit.
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    environment = {**os.environ, **threads, "TF_DETERMINISTIC_OPS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def epochs_logged(workdir):
    path = workdir / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def kill_at_a_random_moment(process, workdir, generator):
    """Kills during start-up, an epoch, or the writing of a state; tells the epochs done."""
    target = epochs_logged(workdir) + generator.randrange(1, 4)
    while process.poll() is None and epochs_logged(workdir) < target:
        time.sleep(0.002)
    # An epoch takes some tenths of a second: up to two of them, writing included.
    time.sleep(generator.uniform(0, 0.6))
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    return epochs_logged(workdir)


def finish(process):
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors[-3000:]


def weights_of(workdir):
    model = keras.saving.load_model(workdir / "model.keras")
    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}


@pytest.mark.slow
def test_ten_kills_leave_no_trace_in_the_weights(tmp_path):
    seed = time.time_ns()
    print("seed of the moments:", seed)
    generator = random.Random(seed)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start(whole))
    moments = []
    while len(moments) < KILLS:
        process = start(killed)
        moments.append(kill_at_a_random_moment(process, killed, generator))
        if process.returncode != -signal.SIGKILL:
            raise AssertionError(f"The training ended before kill {len(moments)}: {moments}")
    print("epochs done at each kill:", moments)
    finish(start(killed))
    expected = weights_of(whole)
    for name, value in weights_of(killed).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    # Every epoch is in the log once.
    assert epochs_logged(killed) == EPOCHS
