"""The state of a training on the disk, and the stop when it is no longer finite."""

import errno
import math
import pathlib
import shutil

import h5py
import keras
import numpy as np

from aib_keras.utils.files import atomic_path

_MEBIBYTE = 2**20
_SEEDS = "aib_keras_seeds"


class TrainingDivergedError(FloatingPointError):
    """A loss became NaN or infinite. The last good state is kept."""


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole state of the training after each epoch, and restores it.

    The state (weights, optimiser, noise) is in one file whose name has the number of epochs. The
    file appears under that name when it is complete, and only then is the one before it removed. A
    kill at any moment leaves one good state. (`keras.callbacks.BackupAndRestore` writes the weights
    and the epoch one after the other, in place, and does not save the state of the noise.)

    Args:
        folder: Folder of the file.
        epochs: Integer, epochs from one saved state to the next. The last epoch of a training is
            always saved.
    """

    _SUFFIX = ".weights.h5"

    def __init__(self, folder, epochs=1):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.epochs = epochs

    def latest(self):
        """Returns the path of the latest state and its number of epochs, or (None, 0)."""
        states = sorted(self.folder.glob(f"epoch-*{self._SUFFIX}"))
        if not states:
            return None, 0
        return states[-1], int(states[-1].name.removeprefix("epoch-").removesuffix(self._SUFFIX))

    def restore(self, model):
        """Loads the latest state into a built and compiled model.

        Returns:
            Integer, the number of epochs that the state has seen; 0 if there is no state.
        """
        path, epoch = self.latest()
        if path is not None:
            model.optimizer.build(model.trainable_variables)
            model.load_weights(path)
            with h5py.File(path) as file:
                stored = file[_SEEDS]
                for index, state in enumerate(_seed_states(model)):
                    state.assign(np.asarray(stored[str(index)]))
        return epoch

    def on_epoch_end(self, epoch, logs=None):
        _check_finite(logs, f"at the end of epoch {epoch + 1}", self)
        if (epoch + 1) % self.epochs and epoch + 1 < self.params["epochs"]:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"epoch-{epoch + 1:05d}{self._SUFFIX}"
        previous, previous_epoch = self.latest()
        self._check_room(f"the state after epoch {previous_epoch}" if previous else "no state")
        with atomic_path(path) as temporary:
            self.model.save_weights(temporary)
            # Keras saves the state of no seed generator; only our own layers do it themselves.
            with h5py.File(temporary, "a") as file:
                seeds = file.create_group(_SEEDS)
                for index, state in enumerate(_seed_states(self.model)):
                    seeds[str(index)] = keras.ops.convert_to_numpy(state)
        if previous is not None and previous != path:
            previous.unlink()

    def _check_room(self, kept):
        """Raises an OSError unless the disk has room for a state.

        It is checked beforehand, because HDF5 can take the process down when a write fails.
        """
        variables = [*self.model.variables, *self.model.optimizer.variables]
        needed = _MEBIBYTE + sum(
            math.prod(variable.shape) * _bytes_of(variable.dtype) for variable in variables
        )
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise OSError(
                errno.ENOSPC,
                f"There is no room for the state of the training in {self.folder}: it needs "
                f"{needed / _MEBIBYTE:.0f} MiB, {free / _MEBIBYTE:.0f} MiB are free, and {kept} is "
                "kept. Make room and start the same training again: it resumes",
            )


class StopOnNaN(keras.callbacks.Callback):
    """Raises `TrainingDivergedError` at the first batch whose loss is not finite."""

    def __init__(self, checkpoint):
        super().__init__()
        self.checkpoint = checkpoint
        self._epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        _check_finite(logs, f"in epoch {self._epoch}, batch {batch + 1}", self.checkpoint)


def _seed_states(model):
    """The states of the seed generators in a model, in an order that rebuilding it repeats."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


def _bytes_of(dtype):
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def _check_finite(logs, when, checkpoint):
    for name, value in (logs or {}).items():
        if "loss" in name and not math.isfinite(float(value)):
            path, epoch = checkpoint.latest()
            kept = f"The state after epoch {epoch} is kept in {path}" if path else "No epoch ended"
            raise TrainingDivergedError(
                f"{name} became {float(value)} {when}. {kept}. Try a lower `learning_rate`, a "
                "longer `beta_warmup`, or float32 precision, in a new `workdir`."
            )
