"""Training examples with wrong labels, for experiments on what they do to a model."""

import dataclasses

import numpy as np

from aib_keras.utils.checks import check_number, check_seed


def with_wrong_labels(examples, share, seed=0):
    """Gives a share of the examples a wrong label (symmetric label noise).

    Exactly `round(share * len(examples))` examples get one: a random choice without replacement. A
    wrong label is any of the other classes, all with the same probability, so no example keeps its
    label by chance. With one seed, a larger share contains the wrong labels of a smaller one. The
    result depends on nothing but the labels, the share and the seed.

    Args:
        examples: `ImageData`.
        share: Number in [0, 1].
        seed: Integer in [0, 2**32 - 1].

    Returns:
        An `ImageData` with the same images.

    Raises:
        ValueError: If an argument is not as described.
    """
    share = check_number("share", share, minimum=0, maximum=1)
    # NumPy guarantees the raw bits of a bit generator.
    draws = np.random.Philox(key=check_seed("seed", seed)).random_raw((len(examples), 2))
    chosen = np.argsort(draws[:, 0], kind="stable")[: round(share * len(examples))]
    others = examples.num_classes - 1
    labels = examples.labels.copy()
    steps = 1 + (draws[chosen, 1] % np.uint64(others)).astype(labels.dtype)
    labels[chosen] = (labels[chosen] + steps) % examples.num_classes
    return dataclasses.replace(examples, labels=labels)
