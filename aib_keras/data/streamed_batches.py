"""Batches of streamed images, read ahead by Grain in threads or in worker processes."""

import copy
import os

from absl import flags

from aib_keras.data.batches import AugmentedBatches
from aib_keras.data.streamed import StreamedImageData
from aib_keras.utils.checks import check_integer
from aib_keras.utils.optional import require

# Keras looks at two batches before it trains, and then begins with the first of them again.
_REMEMBERED = 2
_MAX_THREADS = 16
_NO_END = 2**40
_GRAIN_FLAG = "grain_enable_multiprocess_worker_profiling"


class StreamedBatches(AugmentedBatches):
    """The batches of `AugmentedBatches`, read ahead of their use.

    Each is the same to the bit as that of `AugmentedBatches` with the same seed. Go through them in
    order, as `fit` does, and on into the next epoch. Any other order works, but wherever it jumps,
    the reading starts anew. Besides the batches in use, memory holds one or two for each thread or
    worker process. `close` ends the reading.

    Args:
        data: A `StreamedImageData` or an `ImageData`.
        batch_size: Integer, the examples per batch. The last batch of an epoch may be smaller.
        num_workers: Integer, the number of processes that read, decode and augment, each a whole
            batch at a time. Each imports this library when it starts. 0: one thread per processor
            in this process, which is enough if decoding releases Python's global interpreter lock
            (GIL), as it does for JPEG and PNG files.
        **kwargs: `augment`, `shuffle`, `seed` and `drop_remainder`, as in `AugmentedBatches`.

    Raises:
        ImportError: If Grain is not installed.
        ValueError: As in `AugmentedBatches`, or if `num_workers` is not as described.
    """

    def __init__(self, data, batch_size, *, num_workers=0, **kwargs):
        self._grain = require("grain", "Streaming images", "stream")
        super().__init__(data, batch_size, **kwargs)
        self.num_workers = check_integer("num_workers", num_workers, minimum=0)
        self._reader = self._next = None  # Grain's iterator, and the place of what it returns next.
        self._remembered = {}
        self._rows = slice(None)  # Of each batch, what is read.

    def __getstate__(self):
        # What a worker process gets.
        own = ("_grain", "_reader", "_next", "_remembered")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def part(self, index, rows):
        self._check_index(index)
        if rows != self._rows:
            self.close()
            self._rows, self._remembered = rows, {}
        place = self._place(index)
        if place not in self._remembered:
            if place != self._next:
                self._read_from(place)
            batch = next(self._reader)
            for old in list(self._remembered)[: 1 - _REMEMBERED]:
                del self._remembered[old]
            self._remembered[place] = batch
            self._next = place + 1
            if self._alike:
                self._next %= self._per_epoch
        return self._remembered[place]

    @property
    def _alike(self):
        """Whether all epochs have the same batches, as evaluation has."""
        return not self.shuffle and self.augment is None

    def _place(self, index):
        """Returns the position of a batch among those of all epochs."""
        epoch = 0 if self._alike else self.epoch
        return epoch * self._per_epoch + self.first + index

    def _read_from(self, place):
        self.close()
        # The default of Grain reads 500 batches ahead, for elements of some KiB.
        threads = 0 if self.num_workers else min(os.cpu_count() or 1, _MAX_THREADS)
        # A copy, without the reader.
        source = self._grain.MapDataset.source(_AllEpochs(copy.copy(self)))
        batches = source[place:].to_iter_dataset(
            self._grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, 1))
        )
        if self.num_workers:
            _allow_unread_flags()
            batches = batches.mp_prefetch(
                self._grain.MultiprocessingOptions(self.num_workers, per_worker_buffer_size=1),
                worker_init_fn=_worker_start(),
            )
        self._reader = iter(batches)

    def close(self):
        """Ends the reading ahead, and with it the worker processes."""
        if self._reader is not None:
            self._reader.close()
        self._reader = self._next = None


class _AllEpochs:
    """What Grain reads: the batches of one epoch after the other."""

    def __init__(self, batches):
        self._batches = batches

    def __len__(self):
        return _NO_END

    def __getitem__(self, place):
        batches = self._batches
        return batches._make(*batches._draw(*divmod(place, batches._per_epoch)), batches._rows)


def batches_of(data, batch_size, *, num_workers=0, **kwargs):
    """Returns batches of images in memory or of streamed ones, which are the same to the bit.

    Args:
        data: An `ImageData`, or what `AugmentedBatches` takes.
        batch_size: Integer.
        num_workers: Integer, as in `StreamedBatches`. Images in memory do not use it.
        **kwargs: As in `AugmentedBatches`.

    Returns:
        `StreamedBatches` of a `StreamedImageData`; `AugmentedBatches` of other data.
    """
    if isinstance(data, StreamedImageData):
        return StreamedBatches(data, batch_size, num_workers=num_workers, **kwargs)
    return AugmentedBatches(data, batch_size, **kwargs)


def inputs_of(data, batch_size=128):
    """Returns the images of an `ImageData` in a form that `predict` of a Keras model takes.

    Args:
        data: An `ImageData`.
        batch_size: Integer, the images per batch of a `StreamedImageData`.

    Returns:
        The images if they are in memory, `StreamedBatches` otherwise.
    """
    if isinstance(data, StreamedImageData):
        return StreamedBatches(data, batch_size, shuffle=False)
    return data.images


def _allow_unread_flags():
    """Lets Grain start workers in programs that do not read flags with absl (google/grain#1355)."""
    if _GRAIN_FLAG in flags.FLAGS and not flags.FLAGS.is_parsed():
        # As Grain does with its other flags. It then has its default value.
        flags.FLAGS[_GRAIN_FLAG].present = True


def _worker_start():
    """Returns what a worker process runs first, before it imports this library."""

    def start(worker, workers):
        import multiprocessing
        import os
        import threading

        # The accelerator belongs to the training: a second process would take its memory.
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        os.environ["JAX_PLATFORMS"] = "cpu"

        def end_with_parent():
            # Grain's workers outlive a process that is killed, and wait for it forever.
            multiprocessing.parent_process().join()
            os._exit(1)

        threading.Thread(target=end_with_parent, daemon=True).start()

    return start
