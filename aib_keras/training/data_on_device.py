"""Training from examples in the memory of a JAX device, with many steps per call.

A GPU trains on small images faster than a host can prepare and send them. Here the host sends only
which examples, rows and columns each step sees, once per call. They are drawn from the same seeds
as on the host, so a training sees the same batches either way.
"""

import keras
import numpy as np

from aib_keras.data import AugmentedBatches, CropFlip, StreamedBatches, StreamedImageData
from aib_keras.training import device_strategies as devices

# Of the memory of the device that images may take. The rest is for the model and its activations.
_SHARE = 0.5


def use_data_on_device(batches, config):
    """Returns whether to hold the training examples on the device.

    Args:
        batches: The training data as `fit` has them.
        config: `FitConfig`.

    Raises:
        ValueError: if `config` asks for it and it does not work here, with the reason.
    """
    if config.data_on_device is None:
        return devices.has_accelerator() and _obstacle(batches, config) is None
    if config.data_on_device and (obstacle := _obstacle(batches, config)):
        raise ValueError(f"`data_on_device` does not work here: {obstacle}. Leave it out.")
    return config.data_on_device


def _obstacle(batches, config):
    """Returns why the examples cannot be held on the device, or None."""
    if keras.backend.backend() != "jax":
        return f"it needs Keras's jax backend, but the current one is {keras.backend.backend()}"
    if keras.distribution.distribution() is not None:
        return "the training is distributed over devices"
    if isinstance(batches, StreamedBatches):
        return "the examples are streamed"
    # Not a subclass: what it does with the images and labels would be left out.
    if type(batches) is not AugmentedBatches:
        return "it needs an ImageData or arrays, not batches"
    if isinstance(batches.data, StreamedImageData):
        return "the examples are streamed"
    if len(batches.data) % batches.batch_size and not batches.drop_remainder:
        return "the last batch is smaller than the others: it needs `drop_remainder`"
    if config.checkpoint_steps is not None:
        return "`checkpoint_steps` needs a call for each step"
    if config.class_weights != "equal":
        return "the steps there have no class weights"
    if (limit := _device_memory()) is not None and batches.data.images.nbytes > _SHARE * limit:
        needed = batches.data.images.nbytes / 2**30
        return f"the images need {needed:.1f} GiB of the device's {limit / 2**30:.1f}"
    # Not a subclass: what it does beside the crop would be left out.
    if batches.augment is not None and type(batches.augment) is not CropFlip:
        return f"the device cannot apply {batches.augment!r}, only CropFlip"
    return None


def _device_memory():
    """Returns the bytes of memory of the device, or None if it does not say."""
    import jax

    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")


class EpochPlan(keras.utils.PyDataset):
    """What the steps of an epoch are made from.

    An item is for one call of the training function. It is a dict of int32 arrays whose first axis
    is that of the steps: `examples`, `(S, B)`, and with an augmentation `rows`, `(S, B, height)`,
    and `columns`, `(S, B, width)`.

    Args:
        batches: `AugmentedBatches`. Its epoch is the epoch of the plan.
        steps_per_call: Integer, the steps per item. The last item of an epoch may have fewer.
    """

    def __init__(self, batches, steps_per_call):
        super().__init__()
        self.batches = batches
        self.steps_per_call = steps_per_call

    def __len__(self):
        return -(-len(self.batches) // self.steps_per_call)

    def __getitem__(self, index):
        first = index * self.steps_per_call
        steps = range(first, min(first + self.steps_per_call, len(self.batches)))
        plans = [self._step(step) for step in steps]
        return {name: np.stack([plan[name] for plan in plans], dtype="int32") for name in plans[0]}

    def _step(self, index):
        examples, rng = self.batches.draw(index)
        if self.batches.augment is None:
            return {"examples": examples}
        shape = (len(examples), *self.batches.data.images.shape[1:])
        rows, columns = self.batches.augment.positions(shape, rng)
        return {"examples": examples, "rows": rows, "columns": columns}


def planned_batch(images, labels, plan):
    """Returns the images and labels of one step of an `EpochPlan`, gathered on the device."""
    examples = plan["examples"]
    if "rows" not in plan:
        return images[examples], labels[examples]
    pixels = images[examples[:, None, None], plan["rows"][:, :, None], plan["columns"][:, None, :]]
    return pixels, labels[examples]


def train_on_device(model, batches, steps_per_call=None):
    """Makes `fit` of a compiled model train from examples in the memory of the device.

    Keras's `fit` calls `model.train_function` for each item of its data. This function replaces it
    by one that runs the model's `train_step` for all steps of an item of an `EpochPlan`, in one
    compiled call.

    Args:
        model: Built and compiled `keras.Model` on the JAX backend.
        batches: `AugmentedBatches`, whose batches all have the same size.
        steps_per_call: Integer. None: all steps of an epoch.

    Returns:
        The `EpochPlan` to pass to `fit`.
    """
    import jax

    # What `fit` does with its first batch, which is a plan here and no batch of images.
    model._symbolic_build(data_batch=batches[0])
    images, labels = jax.device_put((batches.data.images, batches.data.labels))

    # Nothing is donated: Keras lets metrics share the buffers of their zeros.
    @jax.jit
    def run(state, images, labels, plans):
        def step(state, plan):
            logs, state = model.train_step(state, planned_batch(images, labels, plan))
            return state, logs

        state, logs = jax.lax.scan(step, state, plans)
        # Keras's logs are means since the start of the epoch, so the last ones count all steps.
        return jax.tree.map(lambda values: values[-1], logs), state

    def train_function(state, iterator):
        plans, *_ = keras.utils.unpack_x_y_sample_weight(next(iterator))
        return run(state, images, labels, plans)

    model.train_function = train_function
    return EpochPlan(batches, steps_per_call or len(batches))
