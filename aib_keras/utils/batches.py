"""Batches: those of data sets of any kind, and batches that are made from others."""

import keras


def is_dataset(images):
    """Whether `images` is a data set of batches: it can be iterated, and is no array or list."""
    is_array = hasattr(images, "shape") or hasattr(images, "__array__")
    return hasattr(images, "__iter__") and not is_array and not isinstance(images, (list, tuple))


def images_of_batches(dataset):
    """Yields the images of each batch of a data set, without labels, as arrays `(B, H, W, C)`.

    Args:
        dataset: `keras.utils.PyDataset`, `tf.data.Dataset`, PyTorch `DataLoader` or another
            iterable, of images or of tuples that begin with images.
    """
    for batch in dataset:
        # PyTorch's loaders yield lists.
        batch = tuple(batch) if isinstance(batch, list) else batch
        images, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        yield keras.ops.convert_to_numpy(images)


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
