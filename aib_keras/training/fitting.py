"""Trains any Keras classifier, with everything that a long training needs."""

import contextlib
import math
import sys

import keras

from aib_keras.data import AugmentedBatches, ImageData, StreamedBatches
from aib_keras.layers.information_weights import charge_in_full, information_weights
from aib_keras.models import ImageClassifier
from aib_keras.training import device_strategies as devices
from aib_keras.training.beta_warmup import BetaWarmup
from aib_keras.training.callbacks import (
    AttentionImages,
    EndWhenStalled,
    MapHistory,
    MetricsLog,
    SetEpoch,
    has_stalled,
)
from aib_keras.training.checkpoint import Checkpoint, StopOnNaN
from aib_keras.training.compiling import built, compile_classifier
from aib_keras.training.config import FitConfig
from aib_keras.training.data_on_device import train_on_device, use_data_on_device
from aib_keras.training.fit_data import (
    as_batches,
    check_arrays,
    check_labels,
    check_same_classes,
    weights_of_classes,
)
from aib_keras.training.sharing import share_training, shared_evaluation
from aib_keras.training.workdir import check_workdir, claim_training, claim_workdir
from aib_keras.utils import processes
from aib_keras.utils.files import atomic_path

MODEL_FILE = "model.keras"
# Of a model that Keras cannot save as a whole.
WEIGHTS_FILE = "model.weights.h5"
# Images whose maps are saved after each epoch.
_MAPPED_IMAGES = 8


def fit(
    model,
    train_data,
    validation_data,
    config=None,
    workdir="runs/fit",
    *,
    augment=None,
    callbacks=(),
    verbose="auto",
):
    """Trains a classifier, evaluates it during training, and saves everything in a folder.

    It works for any Keras model from inputs to logits or probabilities with integer labels: a model
    of the zoo, one made by `aib_keras.models.attach`, or one of your own, with or without the
    layers of this library. If the model has a `VariationalEncoder`, its beta is warmed up, as is
    the price of an attention map.

    If the process is killed, make the same call again with a newly built model. Training resumes
    from the last saved state (one is saved after each epoch) and ends with the same weights as an
    uninterrupted run. If training has finished, the call loads the weights.

    Inside `training.devices("data_parallel")`, several devices and several processes on as many
    hosts train together. All processes make the same call, and `workdir` is a folder that all of
    them see. Process 0 writes it; the others write and print nothing.

    It leaves in `workdir`: `config.json`; `training.json`, which identifies the model and the
    examples; `metrics.jsonl`, one line per epoch; `checkpoint/`, the last state; `model.keras`, or
    `model.weights.h5` of a model that Keras cannot save as a whole; TensorBoard logs if TensorFlow
    and TensorBoard are installed; and for a classifier of this library with a spatial map `maps/`,
    the maps of eight validation images after each epoch.

        model = aib_keras.zoo.vgg_aib_qt(width=0.25)
        train, test = (aib_keras.data.load("cifar10", split) for split in ("train", "test"))
        aib_keras.training.fit(model, train, test, FitConfig(epochs=20), "runs/mine")

    Args:
        model: `keras.Model`. `fit` builds it on the first batch if need be, and compiles it.
        train_data: `aib_keras.data.ImageData`, in memory or streamed; a tuple of arrays (inputs,
            labels); or batches: a `keras.utils.PyDataset`, `tf.data.Dataset` or torch `DataLoader`
            of known length. Of these, a training resumes to the same weights only if their order
            and augmentation depend on the epoch alone, as those of `AugmentedBatches` do.
        validation_data: The same, or None for no evaluation.
        config: `FitConfig`. Defaults to `FitConfig()`.
        workdir: Path of a folder, new or of this very training.
        augment: Optional function of (images, `np.random.Generator`) for the images of an
            `ImageData` or arrays, such as `aib_keras.data.CropFlip()`.
        callbacks: Further `keras.callbacks.Callback`s. One that ends the training, such as
            `EarlyStopping`, ends it for good. When a training is resumed, they start anew.
        verbose: As in `keras.Model.fit`. "auto" shows a progress bar on a terminal, and one line
            per epoch elsewhere.

    Returns:
        A list with one dict per epoch, the lines of `metrics.jsonl`: `epoch`, `loss`, `accuracy`,
        `nll` (nats), the metrics of the layers, the same of the validation data as `val_...` in
        the epochs that are evaluated, and `seconds`.

    Raises:
        TypeError: for data of another type.
        ValueError: for data that do not fill a batch, a `workdir` of another training, or settings
            that do not work on these devices.
        TrainingDivergedError: if the loss becomes NaN or infinite. The last good state is kept.
        OSError: if the disk has no room for the state of training.
    """
    return fit_part(
        model, model, train_data, validation_data, config, workdir, augment, callbacks, verbose
    )


def fit_part(
    whole, model, train_data, validation_data, config, workdir, augment, callbacks, verbose
):
    """Trains a model as `fit` does, and saves another one that has its layers in it.

    Args:
        whole: Built model, of which `model` is a part. `model.keras` is its file.
        model, train_data, validation_data, config, workdir, augment, callbacks, verbose: As in
            `fit`.

    Returns, raises:
        As `fit`.
    """
    config = (FitConfig() if config is None else config).resolved()
    devices.check_scope()
    devices.check_batch_size(config.batch_size, devices.count())
    # Before the work that follows, and claimed after what may fail.
    workdir = check_workdir(workdir, config)
    batches = as_batches(train_data, config, augment, training=True)
    check_same_classes(train_data, validation_data)
    evaluation = as_batches(validation_data, config)
    if evaluation is None and config.patience is not None:
        raise ValueError("`patience` needs `validation_data`: it waits for a better evaluation.")
    class_weight = weights_of_classes(batches, config)
    processes.check_same("numbers of batches", (len(batches), evaluation and len(evaluation)))
    on_device = use_data_on_device(batches, config)
    with_outputs = built(model, batches, config)
    check_labels(model, batches, evaluation)
    if whole is model and isinstance(model, ImageClassifier):
        check_arrays(model, batches, evaluation)
    claim_workdir(workdir, config)
    steps, config = share_training(batches), with_outputs
    claim_training(workdir, model, batches)
    with devices.left_as_it_was(model):
        compile_classifier(
            model, config, len(batches), steps_per_execution=1 if on_device else None
        )
        # TensorFlow traces a step twice if it makes the optimiser's variables in the first one.
        model.optimizer.build(model.trainable_variables)
        if on_device:
            steps = train_on_device(model, batches, config.steps_per_execution)

        checkpoint = Checkpoint(
            workdir / "checkpoint", config.checkpoint_epochs, config.checkpoint_steps
        )
        log = MetricsLog(workdir / "metrics.jsonl")
        done, first = checkpoint.restore(model)
        is_saved = is_finished(workdir)
        if is_saved:
            # Callbacks can end a training early, and change the weights at its end.
            whole.load_weights(processes.together(_seen_file, workdir))
        log.resume(math.inf if is_saved else done)
        is_done = is_saved or checkpoint.ended or done == config.epochs
        is_done = is_done or has_stalled(log.lines, config.patience)
        if not processes.is_first():
            verbose = 0
        elif is_done:
            print(f"{workdir} holds a finished training: loaded its weights.")
        elif done or first:
            middle = f" and {first} steps" if first else ""
            print(f"Resuming after epoch {done}{middle} of {config.epochs}.")
        if not is_done:
            watchers = [
                *([SetEpoch(batches)] if isinstance(batches, AugmentedBatches) else []),
                *_warmup(model, config),
                StopOnNaN(checkpoint),
                *(_watchers(workdir, model, validation_data) if processes.is_first() else []),
                *callbacks,
                log,
                *([] if config.patience is None else [EndWhenStalled(log, config.patience)]),
                # After what may end the training, because it saves the last epoch in any case.
                checkpoint,
            ]
            evaluated = [*range(config.validation_freq, config.epochs, config.validation_freq)]
            evaluated += [config.epochs]
            with (
                _charging_in_full(model),
                reading(batches, evaluation),
                shared_evaluation(model, evaluation) as shared,
            ):
                for start, stop in _spans(model, batches, done, first, config.epochs):
                    model.fit(
                        steps,
                        epochs=stop,
                        initial_epoch=start,
                        validation_data=shared,
                        validation_freq=evaluated,
                        class_weight=class_weight,
                        shuffle=False,
                        verbose=_verbosity(verbose),
                        callbacks=watchers,
                    )
        elif not is_saved:
            # A kill came between the last state, which has the price of its epoch, and the model.
            charge_in_full(model)
    if not is_saved:
        processes.on_first(_save, whole, workdir)
    return log.lines


@contextlib.contextmanager
def _charging_in_full(model):
    """Gives the weights of information their full values at the end of a block, however it ends."""
    try:
        yield
    finally:
        # Keras calls no callback after an interruption, and one may restore older weights.
        charge_in_full(model)


def _spans(model, batches, done, first, epochs):
    """Yields the epochs of each call of Keras's `fit`, as (start, stop).

    Keras takes all epochs to be as long as the first. So the rest of an epoch of which `first`
    steps are done has a call of its own.
    """
    if first:
        if not isinstance(batches, AugmentedBatches):
            raise ValueError(
                "This training stopped in the middle of an epoch, and goes on from there only with "
                "an ImageData or arrays. Pass it the training data that it began with."
            )
        batches.epoch, batches.first = done, first
        # Makes the metrics, whose values go on as well.
        model._symbolic_build(data_batch=batches[0])
        yield done, done + 1
        batches.first = 0
        done += 1
        if model.stop_training:
            return
    if done < epochs:
        yield done, epochs


@contextlib.contextmanager
def reading(*data):
    """Closes those of some batches that read ahead, with their processes, at the end of a block."""
    try:
        yield
    finally:
        for batches in data:
            if isinstance(batches, StreamedBatches):
                batches.close()


def _warmup(model, config):
    if not information_weights(model):
        return []
    return [BetaWarmup(config.epochs, *config.beta_warmup)]


def _watchers(workdir, model, validation_data):
    """Returns the callbacks that write maps and TensorBoard logs, as far as there are any."""
    has_map = isinstance(model, ImageClassifier) and model.map_names
    images = None
    if has_map and isinstance(validation_data, ImageData):
        images = validation_data.images[:_MAPPED_IMAGES]
    found = [] if images is None else [MapHistory(workdir / "maps", images)]
    try:
        import tensorboard  # noqa: F401
        import tensorflow  # noqa: F401
    except ImportError:
        print('No TensorBoard logs: pip install "aib-keras[tensorflow,train]" for them.')
        return found
    folder = workdir / "tensorboard"
    found.append(keras.callbacks.TensorBoard(str(folder), write_graph=False))
    if images is not None:
        found.append(AttentionImages(folder / "maps", images))
    return found


def _verbosity(verbose):
    # A bar that rewrites its line fills a log file with control characters.
    return 2 if verbose == "auto" and not sys.stdout.isatty() else verbose


def _save(model, workdir):
    try:
        with atomic_path(workdir / MODEL_FILE) as temporary:
            model.save(temporary)
    except (NotImplementedError, TypeError, ValueError) as error:
        # A subclassed model without `get_config`. A whole training must not be lost for that.
        with atomic_path(workdir / WEIGHTS_FILE) as temporary:
            model.save_weights(temporary)
        print(f"Saved {WEIGHTS_FILE} instead of {MODEL_FILE}: Keras cannot save it ({error}).")


def _seen_file(workdir):
    path = trained_file(workdir)
    if path is None:
        raise FileNotFoundError(
            f"The first process sees a trained model in {workdir}, and this one does not. All "
            "processes need the same folder."
        )
    return path


def is_finished(workdir):
    """Returns whether a training has saved its model, which is the last that it does.

    Of several processes, all return what the first one sees.
    """
    return processes.gather(trained_file(workdir) is not None)[0]


def trained_file(workdir):
    """Returns the path of the file with the weights of a finished training, or None."""
    files = (workdir / name for name in (MODEL_FILE, WEIGHTS_FILE))
    return next((path for path in files if path.is_file()), None)
