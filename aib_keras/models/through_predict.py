"""A model that runs something of a classifier through Keras's `predict`."""

import keras
import numpy as np

from aib_keras.utils import processes
from aib_keras.utils.batches import BatchesOf


def predict_undistributed(model, inputs, batch_size):
    """Returns what `predict` does, with batches that need not divide evenly between JAX devices."""
    with processes.undistributed():
        return model.predict(inputs, batch_size=batch_size, verbose=0)


class ThroughPredict(keras.Model):
    """Base class of models that run a method of a classifier through `predict`.

    `predict` works in batches, compiled, and on every backend. A subclass implements
    `call(images)`.

    Args:
        classifier: Built `ImageClassifier`.
        name: String, as in `keras.Model`.
    """

    def __init__(self, classifier, name):
        # The classifier casts its images itself.
        super().__init__(autocast=False, name=name)
        self.classifier = classifier
        self._stateless = None

    def build(self, input_shape):
        pass

    def run(self, images, batch_size):
        """Returns the outputs for all images: arrays, in the structure that `call` returns.

        Args:
            images: Array, or `CheckedBatches`.
            batch_size: Integer, for an array.
        """
        if keras.backend.backend() == "jax" and (
            keras.distribution.distribution() is not None or processes.count() > 1
        ):
            return self._run_distributed(images, batch_size)
        return self.predict(images, batch_size=batch_size, verbose=0)

    def _run_distributed(self, images, batch_size):
        """Does what `predict` does, for batches of any size and for each process by itself.

        `predict` fails where a batch does not divide evenly between the devices, and on several
        processes. Here the devices of a process share the batches that divide evenly, and each
        computes the others as a whole. Each of several processes computes on one device, so that
        one of them alone can call it.
        """
        import jax

        if not self.built:
            self.build((None, None, None, None))
        if self._stateless is None:
            # Kept, because JAX compiles anew for each function object.
            self._stateless = jax.jit(self.stateless_call)
        alone = processes.count() > 1
        trainable, others = (
            [_on_this_process(variable.value) if alone else variable.value for variable in kept]
            for kept in (self.trainable_variables, self.non_trainable_variables)
        )
        outputs = []
        for batch in _batches(images, batch_size):
            if not alone:
                batch = _shared(batch, keras.distribution.distribution())
            output, others = self._stateless(trainable, others, batch)
            outputs.append(jax.tree.map(np.asarray, output))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *outputs)


class CheckedBatches(BatchesOf):
    """The images of batches, without labels, each checked when it is read, the first one at once.

    Args:
        batches: `keras.utils.PyDataset` of images, or of tuples that begin with images.
        check: Function from the images of a batch to the array that a model takes.
    """

    def __init__(self, batches, check):
        super().__init__(batches)
        self.check = check
        self[0]

    def __getitem__(self, index):
        images, _, _ = keras.utils.unpack_x_y_sample_weight(self.batches[index])
        return self.check(images)


def _batches(images, batch_size):
    if isinstance(images, CheckedBatches):
        return (images[index] for index in range(len(images)))
    return (images[start : start + batch_size] for start in range(0, len(images), batch_size))


def _on_this_process(value):
    """Returns the copy that this process has of a replicated array, on its first device."""
    return value.addressable_data(0)


def _shared(batch, distribution):
    """Returns a batch that is spread over the devices if it divides evenly."""
    if len(batch) % processes.replicas():
        return batch
    layout = distribution.get_data_layout(batch.shape)
    return keras.distribution.distribute_tensor(keras.ops.convert_to_tensor(batch), layout)
