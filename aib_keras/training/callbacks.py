"""What happens beside the steps of a training: the order of the examples, logs, maps."""

import pathlib
import sys
import time

import keras
import numpy as np

from aib_keras.utils import processes
from aib_keras.utils.files import atomic_path, read_json_lines, write_json_lines
from aib_keras.utils.optional import require


class SetEpoch(keras.callbacks.Callback):
    """Sets the epoch of the training batches, on which their order and augmentation depend."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.epoch = epoch


class MetricsLog(keras.callbacks.Callback):
    """Writes `metrics.jsonl`: one line per epoch, with the seconds that it took.

    Resuming drops the lines of epochs after the state that it starts from, so that every epoch is
    there once. In the list of callbacks it must come before `Checkpoint`: a kill between the two
    then leaves a line too many, which resuming drops, and never a line too few. Of several
    processes, the first one writes.

    Args:
        path: Path of the file.
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
        processes.on_first(write_json_lines, self.path, self.lines)


def has_stalled(lines, patience):
    """Returns whether the last `patience` evaluations in `metrics.jsonl` were not the best so far.

    Args:
        lines: The lines of `metrics.jsonl`.
        patience: Integer, or None for never.
    """
    values = [line["val_nll"] for line in lines if "val_nll" in line]
    if patience is None or len(values) <= patience:
        return False
    return min(values[-patience:]) >= min(values[:-patience])


class EndWhenStalled(keras.callbacks.Callback):
    """Ends a training that has stalled, as `keras.callbacks.EarlyStopping` does.

    What it knows is in the log, so that a resumed training ends where an uninterrupted one does.

    Args:
        log: The `MetricsLog` of the training, before this callback in the list.
        patience: Integer, the evaluations without a fall of the negative log-likelihood.
    """

    def __init__(self, log, patience):
        super().__init__()
        self.log = log
        self.patience = patience

    def on_epoch_end(self, epoch, logs=None):
        if has_stalled(self.log.lines, self.patience):
            self.model.stop_training = True
            if processes.is_first():
                print(
                    f"Ending after epoch {epoch + 1}: `val_nll` has not fallen for {self.patience} "
                    "evaluations.",
                    flush=True,
                )


class ErrorLine(keras.callbacks.Callback):
    """Prints the errors after each epoch, and on a terminal a progress bar within it.

    Keras's own line has all metrics, of which a classifier of this library has about 15, and a loss
    that rises with beta. They are all in `metrics.jsonl`. Of several processes, the first prints.

    Args:
        epochs: Integer, the epochs of the whole training, which a resumed one may do in parts.
        evaluated: What the evaluation examples are called, such as "test".
    """

    def __init__(self, epochs, evaluated):
        super().__init__()
        self.epochs = epochs
        self.evaluated = evaluated

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.time()
        shows_bar = sys.stdout.isatty() and processes.is_first()
        self._bar = keras.utils.Progbar(self.params["steps"]) if shows_bar else None

    def on_train_batch_end(self, batch, logs=None):
        if self._bar is not None:
            self._bar.update(batch + 1, finalize=False)

    def on_epoch_end(self, epoch, logs=None):
        if not processes.is_first():
            return
        if self._bar is not None:
            # Over the bar, which may be longer.
            print("\r\x1b[K", end="")
        seconds = time.time() - self._started
        found = [f"training error {100 * (1 - logs['accuracy']):.1f} %"]
        if "val_accuracy" in logs:
            found.append(f"{self.evaluated} error {100 * (1 - logs['val_accuracy']):.1f} %")
        print(f"Epoch {epoch + 1}/{self.epochs}: {', '.join(found)}, {seconds:.0f} s", flush=True)


class MapHistory(keras.callbacks.Callback):
    """Saves the maps of a few images after each epoch, for films and figures of a training.

    The model is an `ImageClassifier` with a map. There is one file per epoch, such as
    `epoch-00001.npz`. It holds what `explain` returns under names that begin with `attention` and,
    for a quantised model, `anchors`, `(Q,)`, all float32.

    Args:
        folder: Folder of the files.
        images: uint8 array `(N, H, W, 3)`.
    """

    def __init__(self, folder, images):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.images = images

    def on_epoch_end(self, epoch, logs=None):
        explanation = self.model.explain(self.images)
        kept = {key: value for key, value in explanation.items() if key.startswith("attention")}
        if self.model.quantizer is not None:
            kept["anchors"] = keras.ops.convert_to_numpy(self.model.quantizer.anchors)
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.folder / f"epoch-{epoch + 1:05d}.npz") as temporary:
            np.savez(temporary, **kept)


def read_map_history(folder):
    """Reads what `MapHistory` saved.

    Args:
        folder: Path of its folder.

    Returns:
        A list with one dict of arrays per epoch, in their order; empty if there are no files.
    """
    epochs = []
    for path in sorted(pathlib.Path(folder).glob("epoch-*.npz")):
        with np.load(path) as arrays:
            epochs.append(dict(arrays))
    return epochs


class AttentionImages(keras.callbacks.Callback):
    """Writes attention maps of a few images to TensorBoard after each epoch. Needs TensorFlow.

    Black is the lowest value of all these images' maps and white the highest: the maps of some
    models are in (0, 1), those of others sum to 1 or have no bounds.

    Args:
        log_dir: TensorBoard's folder.
        images: uint8 array `(N, H, W, 3)`.
    """

    def __init__(self, log_dir, images):
        super().__init__()
        self.log_dir = str(log_dir)
        self.images = images

    def on_train_begin(self, logs=None):
        tf = require("tensorflow", "Writing maps for TensorBoard", "tensorflow")
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
