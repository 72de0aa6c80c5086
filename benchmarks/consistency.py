"""Cost of the interpretability score per perturbation, in forward passes over the images.

    python benchmarks/consistency.py
    python benchmarks/consistency.py --model=vgg_att3 --width=1 --num_images=1000

The score needs two forward passes, one over the images and one over the perturbed images. A plain
`model.predict` and the scoring take turns in one run, and the time of each scoring is divided by
that of the pass right before it, because other load on the machine slows both. The images are
random and have the size of CIFAR's.
"""

import statistics
import time

import numpy as np
from absl import app, flags

from aib_keras import explain, metrics, zoo

_MODEL = flags.DEFINE_string("model", "vgg_aib_qt", "A model of the zoo that has a map")
_WIDTH = flags.DEFINE_float("width", 0.125, "Multiplies every channel count")
_NUM_IMAGES = flags.DEFINE_integer("num_images", 10_000, "Images to score", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "Images per batch", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Measurements of each score", lower_bound=1)
_TARGET = flags.DEFINE_float("target", 2.5, "Forward passes that a score may cost")


def main(_):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(_NUM_IMAGES.value, 32, 32, 3), dtype=np.uint8)
    model = zoo.create(_MODEL.value, width=_WIDTH.value)
    perturbations = (
        explain.ColorWindow(8),
        explain.ImageWindow(8, images[:1000]),
        explain.HighPass(),
        explain.LowPass(),
    )
    # Compiles what is compiled, so that no measurement includes it.
    forward(model, images)
    score(model, images, perturbations[0])
    passes, scores = [], {perturbation.name: [] for perturbation in perturbations}
    for _ in range(_ROUNDS.value):
        for perturbation in perturbations:
            passes.append(seconds(forward, model, images))
            taken = seconds(score, model, images, perturbation)
            scores[perturbation.name].append(taken / passes[-1])
    ratios = {name: statistics.median(found) for name, found in scores.items()}
    print(
        f"{_MODEL.value}, width {_WIDTH.value:g}, {len(images):,} images, batches of "
        f"{_BATCH_SIZE.value}, median of {_ROUNDS.value} rounds"
    )
    print(f"a forward pass            {statistics.median(passes):7.2f} s")
    for name, ratio in ratios.items():
        print(f"{name:25} {ratio:7.2f} passes")
    met = max(ratios.values()) <= _TARGET.value
    print(f"at most {_TARGET.value:g} passes: {'yes' if met else 'NO'}")


def forward(model, images):
    model.predict(images, batch_size=_BATCH_SIZE.value, verbose=0)


def score(model, images, perturbation):
    metrics.consistency(model, images, perturbation, batch_size=_BATCH_SIZE.value, verbose=0)


def seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


if __name__ == "__main__":
    app.run(main)
