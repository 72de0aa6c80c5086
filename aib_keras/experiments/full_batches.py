"""Batches of one size."""

import numpy as np

from aib_keras.utils.batches import BatchesOf


class FullBatches(BatchesOf):
    """The images of batches, in batches of one size.

    Keras traces and compiles a model anew for each size. The last batch is filled up with its first
    image: keep only as many of the outputs as there are images.

    Args:
        batches: Batches of images and labels, such as `aib_keras.data.batches_of` returns.
    """

    def __init__(self, batches):
        super().__init__(batches)
        self.batch_size = batches.batch_size

    def __getitem__(self, index):
        images, _ = self.batches[index]
        missing = self.batch_size - len(images)
        return np.concatenate([images, np.repeat(images[:1], missing, axis=0)])
