"""Where the time of a training step goes on TensorFlow, by operation.

    TF_NUM_INTEROP_THREADS=1 python benchmarks/profile_step.py --models=vgg_aib_qt --width=0.5

The steps are those of `benchmarks/against_pytorch.py`, whose flags hold here. With one inter-op
thread no two operations run at the same time, so that their times add up to that of the steps.
"""

import collections
import glob
import tempfile
import time

from absl import app
from against_pytorch import MODELS, prepare_ours


def seconds_by_operation(train):
    """Returns the seconds of each type of operation while a function runs, as a Counter."""
    import tensorflow as tf
    from jax.profiler import ProfileData  # Reads what TensorFlow writes.

    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            train()
        (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        planes = ProfileData.from_file(path).planes
    lines = (line for plane in planes for line in plane.lines)
    seconds = collections.Counter()
    for line in lines:
        # Events of these threads are operations, named "layer/path:Type", and what runs them.
        if line.name.startswith("tf_Compute"):
            for event in line.events:
                _, colon, operation = event.name.rpartition(":")
                if colon and operation != "Process":
                    seconds[operation] += event.duration_ns / 1e9
    return seconds


def main(argv):
    del argv
    for name in MODELS.value:
        train = prepare_ours(name, "float32")
        train()  # Traces the step.
        start = time.perf_counter()
        seconds = seconds_by_operation(train)
        total = time.perf_counter() - start
        print(f"\n{name}: {total:.2f} s\n\n| operation | s | % |\n|---|---|---|")
        for operation, time_ in seconds.most_common(12):
            print(f"| {operation} | {time_:.2f} | {100 * time_ / total:.0f} |")


if __name__ == "__main__":
    app.run(main)
