"""Time and peak memory of a training step, by model and backend, as ratios to `vgg`.

    python benchmarks/train_step.py --backends=tensorflow,jax --width=0.125

The models of one backend take turns in one process, so that other load on the machine slows all of
them. Times are medians over the rounds. Memory is the peak of a separate process for each model.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time

from absl import app, flags

BACKENDS = flags.DEFINE_list("backends", ["tensorflow"], "tensorflow, jax, torch.")
MODELS = flags.DEFINE_list("models", ["vgg", "vgg_aib", "vgg_aib_qt"], "Names of the zoo.")
WIDTH = flags.DEFINE_float("width", 0.125, "Multiplies every channel count.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images per step.")
ROUNDS = flags.DEFINE_integer("rounds", 15, "Timed steps per model.", lower_bound=3)
CHILD = flags.DEFINE_bool("child", False, "Measure in this process and print JSON.")


def measure():
    """Returns the median seconds per step of each model, and the peak memory of this process."""
    import keras
    import numpy as np

    from aib_keras import zoo
    from aib_keras.training import CoupledSGD

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH_SIZE.value, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, BATCH_SIZE.value)
    models = {}
    for name in MODELS.value:
        model = zoo.create(name, width=WIDTH.value)
        model.compile(
            CoupledSGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        for _ in range(2):
            model.train_on_batch(images, labels)
        models[name] = model
    seconds = {name: [] for name in models}
    for _ in range(ROUNDS.value):
        for name, model in models.items():
            start = time.perf_counter()
            model.train_on_batch(images, labels)
            seconds[name].append(time.perf_counter() - start)
    return {
        "seconds": {name: statistics.median(times) for name, times in seconds.items()},
        "mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def in_child(backend, models):
    command = [sys.executable, __file__, "--child", f"--models={','.join(models)}"]
    command += [f"--{flag.name}={flag.value}" for flag in (WIDTH, BATCH_SIZE, ROUNDS)]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(argv):
    del argv
    if CHILD.value:
        print(json.dumps(measure()))
        return
    print("| backend | model | ms per step | of the first | peak MiB | of the first |")
    print("|---|---|---|---|---|---|")
    for backend in BACKENDS.value:
        seconds = in_child(backend, MODELS.value)["seconds"]
        memory = {name: in_child(backend, [name])["mebibytes"] for name in MODELS.value}
        first = MODELS.value[0]
        for name in MODELS.value:
            time_ratio, memory_ratio = seconds[name] / seconds[first], memory[name] / memory[first]
            print(
                f"| {backend} | {name} | {1000 * seconds[name]:.0f} | {time_ratio:.2f} | "
                f"{memory[name]:.0f} | {memory_ratio:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    app.run(main)
