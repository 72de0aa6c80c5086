"""What happens beside the steps of a training: checkpoints, logs, the stop on NaN."""

import errno
import math
import pathlib
import shutil
import time

import keras
import numpy as np

from aib_keras.utils.files import atomic_path, read_json_lines, write_json_lines

_MEBIBYTE = 2**20


class TrainingDivergedError(FloatingPointError):
    """A loss became NaN or infinite; the last good state is kept."""


class SetEpoch(keras.callbacks.Callback):
    """Tells the training batches which epoch it is: their order and augmentation follow from it."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.epoch = epoch


class MetricsLog(keras.callbacks.Callback):
    """Writes `metrics.jsonl`: a line an epoch, with the seconds it took.

    Lines of epochs after the one that a training resumes from are dropped, so that every epoch is
    there once. Has to come before `Checkpoint` in the list of callbacks: a kill between the two
    then leaves a line too many, which resuming drops, and never one too few.
    """

    def __init__(self, path):
        super().__init__()
        self.path = pathlib.Path(path)
        self.lines = []

    def resume(self, epoch):
        """Keeps the lines of the first `epoch` epochs."""
        self.lines = [line for line in read_json_lines(self.path) if line["epoch"] <= epoch]

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.time()

    def on_epoch_end(self, epoch, logs=None):
        values = {name: float(value) for name, value in (logs or {}).items()}
        seconds = round(time.time() - self._started, 3)
        self.lines.append({"epoch": epoch + 1, **values, "seconds": seconds})
        write_json_lines(self.path, self.lines)


class Checkpoint(keras.callbacks.Callback):
    """Keeps the whole state of the training after each epoch, and restores it.

    The state (weights, optimiser, noise) is in one file whose name has the number of epochs. It
    appears under that name when it is complete, and only then the one before is removed, so that a
    kill at any moment leaves one good state. (`keras.callbacks.BackupAndRestore` writes the weights
    and the epoch one after the other, in place.)

    Args:
        folder: Where the file is kept.
    """

    _SUFFIX = ".weights.h5"

    def __init__(self, folder):
        super().__init__()
        self.folder = pathlib.Path(folder)

    def latest(self):
        """Path of the latest state and its number of epochs; (None, 0) if there is none."""
        states = sorted(self.folder.glob(f"epoch-*{self._SUFFIX}"))
        if not states:
            return None, 0
        return states[-1], int(states[-1].name.removeprefix("epoch-").removesuffix(self._SUFFIX))

    def restore(self, model):
        """Loads the latest state into a built and compiled model; returns its epoch, or 0."""
        path, epoch = self.latest()
        if path is not None:
            model.optimizer.build(model.trainable_variables)
            model.load_weights(path)
        return epoch

    def on_epoch_end(self, epoch, logs=None):
        _check_finite(logs, f"at the end of epoch {epoch + 1}", self)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"epoch-{epoch + 1:05d}{self._SUFFIX}"
        previous, previous_epoch = self.latest()
        # Asked beforehand, because HDF5 can take the process down when a write to it fails.
        variables = [*self.model.variables, *self.model.optimizer.variables]
        needed = _MEBIBYTE + sum(
            math.prod(variable.shape) * _bytes_of(variable.dtype) for variable in variables
        )
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            kept = f"the state after epoch {previous_epoch} is kept" if previous else "none is kept"
            raise OSError(
                errno.ENOSPC,
                f"No room for the state of the training in {self.folder}: it needs "
                f"{needed / _MEBIBYTE:.0f} MiB and {free / _MEBIBYTE:.0f} are free; {kept}. Make "
                "room and give the same command again: it resumes",
            )
        with atomic_path(path) as temporary:
            self.model.save_weights(temporary)
        if previous is not None and previous != path:
            previous.unlink()


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


def _bytes_of(dtype):
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def _check_finite(logs, when, checkpoint):
    for name, value in (logs or {}).items():
        if "loss" in name and not math.isfinite(float(value)):
            path, epoch = checkpoint.latest()
            kept = f"The state after epoch {epoch} is kept in {path}" if path else "No epoch ended"
            raise TrainingDivergedError(
                f"{name} became {float(value)} {when}. {kept}. Try a lower --learning_rate, a "
                "longer --beta_warmup, or --precision=float32, in a new --workdir."
            )


class MapHistory(keras.callbacks.Callback):
    """Keeps the maps of a few images after each epoch, for films and figures of a training.

    A file an epoch, `epoch-00001.npz`: what `explain` returns under names that begin with
    `attention` and, of a quantised model, `anchors`, `(Q,)`, all float32.

    Args:
        folder: Where the files are kept.
        images: uint8 array `(N, H, W, 3)`.
    """

    def __init__(self, folder, images):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.images = images

    def on_epoch_end(self, epoch, logs=None):
        explanation = self.model.explain(self.images)
        kept = {key: value for key, value in explanation.items() if key.startswith("attention")}
        quantizer = getattr(getattr(self.model, "attention", None), "quantizer", None)
        if quantizer is not None:
            kept["anchors"] = keras.ops.convert_to_numpy(quantizer.anchors)
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.folder / f"epoch-{epoch + 1:05d}.npz") as temporary:
            np.savez(temporary, **kept)


def read_map_history(folder):
    """What `MapHistory` kept: a list of dicts of arrays, an epoch each; empty if nothing."""
    epochs = []
    for path in sorted(pathlib.Path(folder).glob("epoch-*.npz")):
        with np.load(path) as arrays:
            epochs.append(dict(arrays))
    return epochs


class AttentionImages(keras.callbacks.Callback):
    """Writes attention maps of a few images to TensorBoard after each epoch. Needs TensorFlow.

    Black is the least value of all these images' maps and white the largest: the maps of some
    models are in (0, 1), of others they sum to 1 or have no bounds.

    Args:
        log_dir: TensorBoard's folder.
        images: uint8 array `(N, H, W, 3)`.
    """

    def __init__(self, log_dir, images):
        super().__init__()
        self.log_dir = str(log_dir)
        self.images = images

    def on_train_begin(self, logs=None):
        import tensorflow as tf

        self._summary = tf.summary
        self._writer = tf.summary.create_file_writer(self.log_dir)

    def on_epoch_end(self, epoch, logs=None):
        explanation = self.model.explain(self.images)
        with self._writer.as_default(step=epoch):
            if epoch == 0:
                self._summary.image("images", self.images, max_outputs=len(self.images))
            for name in ("attention", "attention_quantized"):
                if name in explanation:
                    maps = explanation[name]
                    maps = (maps - maps.min()) / max(np.ptp(maps), 1e-12)
                    self._summary.image(name, maps, max_outputs=len(maps))

    def on_train_end(self, logs=None):
        self._writer.close()
