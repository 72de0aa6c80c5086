"""Batches that several devices and processes share, on JAX."""

import contextlib

import keras
import numpy as np

from aib_keras.data import AugmentedBatches
from aib_keras.training import device_strategies as devices
from aib_keras.utils import processes
from aib_keras.utils.batches import BatchesOf


class InOrder(keras.utils.PyDataset):
    """Batches of what can only be iterated, such as a `tf.data.Dataset`, as arrays.

    Args:
        batches: Iterable of known length. Its batches must be asked for one after the other.
    """

    def __init__(self, batches):
        super().__init__()
        self.batches = batches
        self._rest = None

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        if index == 0:
            self._rest = iter(self.batches)
        batch = next(self._rest)
        # PyTorch's loaders yield lists.
        return keras.tree.map_structure(np.asarray, tuple(batch))


class SharedBatches(BatchesOf):
    """This process's share of batches that all processes read in the same order.

    Process 0 has the first rows of each batch. All processes together see what one process would.

    Args:
        batches: `keras.utils.PyDataset` of tuples of arrays, the same in all processes.
        replicas: Integer, the devices that share a batch, of all processes together.
        process: Integer, the index of this process.
        count: Integer, the number of processes.
        pad: Boolean, whether to pad batches to a multiple of `replicas`, for `shared_evaluation`.
            It repeats rows of the batch, and adds the number of rows that count, int32 `(B,)`,
            once per row.

    Raises:
        ValueError: without `pad`, for a batch that does not divide evenly.
    """

    def __init__(self, batches, replicas, process=0, count=1, pad=False):
        super().__init__(batches)
        self.replicas = replicas
        self.process = process
        self.count = count
        self.pad = pad

    def __getitem__(self, index):
        if not self.pad and _always_full(self.batches):
            # Only this share need be read.
            return self.batches.part(index, self._share(self.batches.batch_size))
        batch = self.batches[index]
        size = len(keras.tree.flatten(batch)[0])
        if not self.pad:
            if size % self.replicas:
                raise ValueError(
                    f"Training batch {index} has {size} examples, which do not divide evenly "
                    f"between {self.replicas} devices. Make batches of a multiple of "
                    f"{self.replicas}, and leave out the last one if it is smaller."
                )
            return keras.tree.map_structure(lambda rows: rows[self._share(size)], batch)
        padded = -(-size // self.replicas) * self.replicas
        # `resize` repeats the rows as often as it takes.
        rows = np.resize(np.arange(size), padded)[self._share(padded)]
        inputs, labels, *weights = keras.tree.map_structure(
            lambda part: np.asarray(part)[rows], tuple(batch)
        )
        return inputs, labels, (np.full(len(rows), size, "int32"), *weights)

    def _share(self, size):
        share = size // self.count
        return slice(self.process * share, (self.process + 1) * share)


def _always_full(batches):
    return isinstance(batches, AugmentedBatches) and batches.drop_remainder


def share_training(batches):
    """Returns training batches as `fit` takes them on these devices and processes.

    Raises:
        TypeError: for batches that cannot be shared between processes.
        ValueError: for batches that do not divide evenly.
    """
    count = processes.count()
    _check_type(batches, count)
    if not devices.is_distributed():
        return batches
    if not isinstance(batches, keras.utils.PyDataset):
        return SharedBatches(InOrder(batches), devices.count())
    shared = SharedBatches(batches, devices.count(), processes.index(), count)
    # Rather now than at the end of an epoch.
    if _always_full(batches):
        devices.check_batch_size(batches.batch_size, devices.count())
    else:
        for index in {0, len(batches) - 1}:
            shared[index]
    return batches if count == 1 else shared


@contextlib.contextmanager
def shared_evaluation(model, batches):
    """Makes a model evaluate batches of any size on these devices and processes.

    Batches that do not divide evenly are padded, and inside the context `model` computes without
    the padding.

    Args:
        model: Compiled `keras.Model`.
        batches: Batches, or None.

    Yields:
        The batches as `fit` takes them.

    Raises:
        TypeError: for batches that cannot be shared between processes.
    """
    count = processes.count()
    _check_type(batches, count)
    if batches is None or not devices.is_distributed():
        yield batches
        return
    if not isinstance(batches, keras.utils.PyDataset):
        batches = InOrder(batches)
    model.test_function = _evaluate_rows(model)
    try:
        yield SharedBatches(batches, devices.count(), processes.index(), count, pad=True)
    finally:
        # Keras makes its own again.
        model.test_function = None


def _check_type(batches, count):
    if count > 1 and batches is not None and not isinstance(batches, keras.utils.PyDataset):
        raise TypeError(
            f"{count} processes can share an ImageData, arrays or a keras.utils.PyDataset, got "
            f"{type(batches).__name__}."
        )


def _evaluate_rows(model):
    """Returns a `test_function` for padded batches, which computes without the padding.

    A model adds losses and metrics of a batch as a whole, such as the share of anchors in use. No
    weights of rows can take the padding out of them, so the rows themselves are taken out.
    """
    import jax

    replicated = keras.distribution.TensorLayout(
        [], keras.distribution.distribution().device_mesh
    ).backend_layout

    def step(state, data, count):
        def without_padding(rows):
            if len(rows) == count:
                return rows
            # Few rows, so that every device can have them all.
            return jax.lax.with_sharding_constraint(rows, replicated)[:count]

        return model.test_step(state, jax.tree.map(without_padding, data))

    compiled = None

    def test_function(state, iterator):
        nonlocal compiled
        if compiled is None:
            # The state stays where it is, as Keras's own function keeps it.
            shardings = jax.tree.map(lambda value: value.sharding, state)
            compiled = jax.jit(step, static_argnums=2, out_shardings=(None, shardings))
        for index in range(model.steps_per_execution):
            try:
                inputs, labels, (counts, *weights) = next(iterator)
            except StopIteration:
                if index == 0:
                    raise
                break
            count = int(counts.addressable_data(0)[0])
            logs, state = compiled(state, (inputs, labels, *weights), count)
        return logs, state

    return test_function
