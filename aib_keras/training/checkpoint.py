"""The state of a training on the disk, and the stop when it is no longer finite."""

import errno
import math
import pathlib
import re
import shutil

import h5py
import keras
import numpy as np

from aib_keras.utils import processes
from aib_keras.utils.files import atomic_path, without_prefix

_MEBIBYTE = 2**20
_SEEDS = "aib_keras_seeds"
_METRICS = "aib_keras_metrics"
_TORCH = "aib_keras_torch_generators"
_ENDED = "aib_keras_ended"


class TrainingDivergedError(FloatingPointError):
    """A loss became NaN or infinite. The last good state is kept."""


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole state of the training after each epoch, and restores it.

    The state (weights, optimiser, noise) is in one file, named after the number of epochs done and,
    within an epoch, the number of steps. It gets that name only once it is complete, and the
    previous one is removed after that, so a kill at any moment leaves one valid state.
    (`keras.callbacks.BackupAndRestore` writes the weights and the epoch one after the other,
    in place, and does not save the state of the noise.) Of several processes, the first one saves,
    and all restore from its file.

    Args:
        folder: Folder of the file. Other files in it stay.
        epochs: Integer, the number of epochs between saved states. The last epoch is always saved.
        steps: Integer, the number of steps between saved states within an epoch. None: states
            after epochs only.
    """

    _NAME = re.compile(r"epoch-(\d+)(?:-step-(\d+))?\.weights\.h5")

    def __init__(self, folder, epochs=1, steps=None):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.epochs = epochs
        self.steps = steps
        self._epoch = self._saved = 0
        # Whether a callback ended the training after the state that was restored.
        self.ended = False
        # Steps of the epoch that an earlier call has done.
        self.steps_before = 0
        self._metrics = self._torch = None

    def latest(self):
        """Returns the path of the latest state, and how many epochs and further steps it has seen.

        They are None, 0 and 0 if there is no state.
        """
        found = []
        for path in self.folder.glob("epoch-*"):
            if match := self._NAME.fullmatch(path.name):
                found.append((int(match[1]), int(match[2] or 0), path))
        epochs, steps, path = max(found, default=(0, 0, None))
        return path, epochs, steps

    def restore(self, model):
        """Loads the latest state into a built and compiled model.

        Returns:
            A tuple of integers, the epochs that the state has seen and the steps of the epoch after
            them; (0, 0) if there is no state.

        Raises:
            ValueError: if the processes do not all see the same state.
        """
        path, epochs, steps = self.latest()
        processes.check_same(
            "state to resume from, in a folder that all hosts share",
            f"epoch {epochs}, step {steps}",
        )
        if path is not None:
            # A LossScaleOptimizer would make its variables twice.
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            model.load_weights(path)
            with h5py.File(path) as file:
                self.ended = bool(file.attrs.get(_ENDED, False))
                _assign(_seed_states(model), file[_SEEDS])
                if steps:
                    self._metrics = {name: array[()] for name, array in file[_METRICS].items()}
                if keras.backend.backend() == "torch" and _TORCH in file:
                    self._torch = {name: array[()] for name, array in file[_TORCH].items()}
        self.steps_before = steps
        return epochs, steps

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._saved = self.steps_before
        if self._metrics is not None:
            # Keras has just reset them. The epoch began before the training was resumed.
            _assign(self.model.metrics_variables, self._metrics)
            self._metrics = None
        if not self.steps_before:
            self._restore_torch()

    def on_train_batch_begin(self, batch, logs=None):
        # In the middle of an epoch this comes after Keras has drawn a number to begin it again.
        self._restore_torch()

    def _restore_torch(self):
        if self._torch is not None:
            _set_torch_states(self._torch)
            self._torch = None

    def on_train_batch_end(self, batch, logs=None):
        # After the last step comes the end of the epoch, which has a state of its own.
        done, left = self.steps_before + batch + 1, self.params["steps"]
        # Keras does not know the steps of a data set of unknown length.
        is_last = left is not None and batch + 1 >= left
        if self.steps is None or done - self._saved < self.steps or is_last:
            return
        _check_finite(logs, f"in epoch {self._epoch + 1}, batch {done}", self)
        processes.on_first(self._save, self._epoch, done)
        self._saved = done

    def on_epoch_end(self, epoch, logs=None):
        self.steps_before = 0
        _check_finite(logs, f"at the end of epoch {epoch + 1}", self)
        is_last = epoch + 1 == self.params["epochs"] or self.model.stop_training
        if (epoch + 1) % self.epochs and not is_last:
            return
        processes.on_first(self._save, epoch + 1, 0, self.model.stop_training)

    def _save(self, epochs, steps=0, ended=False):
        self.folder.mkdir(parents=True, exist_ok=True)
        within = f"-step-{steps:08d}" if steps else ""
        path = self.folder / f"epoch-{epochs:05d}{within}.weights.h5"
        previous, *seen = self.latest()
        self._check_room(f"the state after {_progress(*seen)}" if previous else "no state")
        model = self.model
        with atomic_path(path) as temporary:
            model.save_weights(temporary)
            # Keras saves the state of no seed generator; only our own layers do it themselves.
            with h5py.File(temporary, "a") as file:
                file.attrs[_ENDED] = ended
                _store(file.create_group(_SEEDS), _seed_states(model))
                if keras.backend.backend() == "torch":
                    _store(file.create_group(_TORCH), _torch_states())
                if steps:
                    _store(file.create_group(_METRICS), model.metrics_variables)
        # Also of processes that were killed before they had removed theirs.
        for other in self.folder.iterdir():
            if other != path and self._NAME.fullmatch(without_prefix(other.name)):
                other.unlink()

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
    """Raises `TrainingDivergedError` at the first batch whose loss is not finite.

    Args:
        checkpoint: The `Checkpoint` of the training, whose last state the error names.
    """

    def __init__(self, checkpoint):
        super().__init__()
        self.checkpoint = checkpoint
        self._epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        done = self.checkpoint.steps_before + batch + 1
        _check_finite(logs, f"in epoch {self._epoch}, batch {done}", self.checkpoint)


def _seed_states(model):
    """The states of the seed generators in a model, in an order that rebuilding it repeats."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


def _torch_states():
    """The states of torch's own generators, from which Keras's Dropout draws on that backend."""
    import torch

    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def _set_torch_states(states):
    import torch

    cpu, *gpus = (torch.from_numpy(states[str(index)]) for index in range(len(states)))
    torch.set_rng_state(cpu)
    # A training may go on with another number of GPUs.
    for device, state in zip(range(torch.cuda.device_count()), gpus, strict=False):
        torch.cuda.set_rng_state(state, device)


def _store(group, variables):
    for index, variable in enumerate(variables):
        group[str(index)] = keras.ops.convert_to_numpy(variable)


def _assign(variables, group):
    for index, variable in zip(range(len(group)), variables, strict=True):
        variable.assign(np.asarray(group[str(index)]))


def _progress(epochs, steps):
    return f"epoch {epochs}" + (f" and {steps} steps" if steps else "")


def _bytes_of(dtype):
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def _check_finite(logs, when, checkpoint):
    for name, value in (logs or {}).items():
        if "loss" in name and not math.isfinite(float(value)):
            path, *seen = checkpoint.latest()
            kept = (
                f"The state after {_progress(*seen)} is kept in {path}"
                if path
                else "No epoch was completed, so there is no saved state"
            )
            raise TrainingDivergedError(
                f"{name} became {float(value)} {when}. {kept}. Try a lower `learning_rate`, a "
                "longer `beta_warmup`, or float32 precision, in a new `workdir`."
            )
