"""Batches that are made from others."""

import keras


class BatchesOf(keras.utils.PyDataset):
    """Base class of batches of which each is made from one of other batches.

    A subclass implements `__getitem__`. Workers, length and the ends of epochs are those of the
    other batches.

    Args:
        batches: `keras.utils.PyDataset`.
    """

    def __init__(self, batches):
        super().__init__(
            workers=batches.workers,
            use_multiprocessing=batches.use_multiprocessing,
            max_queue_size=batches.max_queue_size,
        )
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def on_epoch_begin(self):
        self.batches.on_epoch_begin()

    def on_epoch_end(self):
        self.batches.on_epoch_end()
