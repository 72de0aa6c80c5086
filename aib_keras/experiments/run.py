"""Trains a zoo model from a configuration alone. The same call again resumes it."""

import contextlib
import dataclasses
import functools
import pathlib
import sys
import warnings

import keras

from aib_keras import data, training, zoo
from aib_keras.experiments import cards, frozen_features, results
from aib_keras.experiments.config import TrainingConfig
from aib_keras.experiments.examples import (
    cropped,
    files_digest,
    files_have_changed,
    load_data,
    may_have_seen,
    same_data,
)
from aib_keras.experiments.selectivity import is_residual
from aib_keras.models import copy_weights
from aib_keras.plots.attention import save_attention_figure
from aib_keras.training.callbacks import ErrorLine
from aib_keras.training.device_strategies import check_batch_size, count, has_accelerator
from aib_keras.training.fitting import MODEL_FILE, trained_file
from aib_keras.training.memory import keep_freed_memory
from aib_keras.training.precision import fast_kernels
from aib_keras.training.recalibration import norms_behind_attention
from aib_keras.training.workdir import CONFIG_FILE, check_workdir
from aib_keras.utils import processes
from aib_keras.utils.files import atomic_path, read_json, read_json_lines, write_json
from aib_keras.utils.optional import require
from aib_keras.zoo import pretrained

# The digest of the images that a training began with, if they are files.
_FILES = "files.json"
_RECALIBRATION_IMAGES = 2_560
_RECALIBRATION_BATCH = 128
_RANDOM = (
    "This training starts from random weights, as neither `initial_weights` nor the setting "
    "`backbone_weights` is given. The paper's models of this size start from ImageNet weights."
)
_RESIDUAL = (
    "The map of `modulation` 'residual', the paper's, need not show what the classifier uses. For "
    "a map to look at, give the model the settings `modulation` 'noise' and `map_beta` 0.3."
)


def train(config, workdir, verbose="auto"):
    """Trains, evaluates after its epochs, and leaves everything in `workdir`.

    Beside what `aib_keras.training.fit` leaves there, it writes `result.json`, `card.md`, for a
    model with a map `attention.png`, and for a folder of images `files.json`, which identifies
    them. If the process is killed, the same call resumes from the last
    saved state, and ends with the same weights as an uninterrupted run.

    With the strategy `data_parallel` and one process per host, all processes make the same call,
    and process 0 writes and prints. docs/guides/hosts.md explains how to start them.

    Args:
        config: `TrainingConfig`.
        workdir: Path of a folder, new or of this very configuration.
        verbose: "auto" prints the training and the evaluation error after each epoch, and on a
            terminal a progress bar within it. A number is as in `keras.Model.fit`, whose lines have
            all metrics; 0 is silent. `metrics.jsonl` has them in any case.

    Returns:
        The content of `result.json`, a dict.

    Raises:
        ValueError: for settings that contradict each other or do not work on these devices, or if
            `workdir` belongs to a training with other settings.
        TrainingDivergedError: if the loss becomes NaN or infinite. The last good state is kept.
    """
    # Keras makes a seed for all processes unless there is one.
    keras.utils.set_random_seed(config.seed)
    # First of all: a process can join others only before anything computes.
    with training.devices(config.strategy):
        return _train_here(_as_begun(config, workdir).resolved(), workdir, verbose)


def _as_begun(config, workdir):
    """Returns a configuration with the precision that a training in its folder has begun with.

    `"auto"` may stand for another one on this machine.
    """
    path = pathlib.Path(workdir).expanduser() / CONFIG_FILE
    begun = config.precision
    if begun == "auto" and path.is_file():
        begun = read_json(path).get("precision", begun)
    return dataclasses.replace(config, precision=begun)


def _train_here(config, workdir, verbose):
    # Before any data are read.
    if config.patience is not None and not config.validation_examples:
        raise ValueError(
            f"`patience` {config.patience} chooses the last epoch by the evaluation, which is on "
            "the test data: their error would be too low. Hold out training examples with "
            "`validation_examples`, on which the training is then evaluated."
        )
    check_batch_size(config.batch_size, count())
    workdir = check_workdir(workdir, config)
    result_path = workdir / results.FILE
    if processes.gather(result_path.exists())[0]:
        if processes.is_first():
            print(f"{workdir} holds a finished training (result.json). Nothing to do.")
        result = results.read_result(workdir)
        # The report would otherwise be about photos that the model was trained on.
        if files_have_changed(result, config.dataset, config.data_dir):
            raise ValueError(
                f"The images of {config.dataset} have changed since the training in {workdir}. "
                "Choose another `workdir` to train with them."
            )
        return result

    if not has_accelerator():
        keep_freed_memory()
    with _precision(config.precision):
        return _train(config, workdir, verbose)


def evaluate(workdir, data_dir=None):
    """Evaluates a training that `fit` finished without evaluation data, and completes its folder.

    So a model can be trained where the evaluation data are not. It writes `result.json`, `card.md`
    and `attention.png`, as `train` does.

    Args:
        workdir: Path of a folder with `config.json`, that of a `TrainingConfig`, `metrics.jsonl`
            and `model.keras` or `model.weights.h5`.
        data_dir: Folder where TFDS keeps its data, if it has moved since the training.

    Returns:
        The content of `result.json`, a dict.

    Raises:
        ValueError: for a folder without these files.
    """
    workdir = pathlib.Path(workdir)
    lines = read_json_lines(workdir / "metrics.jsonl")
    weights = trained_file(workdir)
    if not lines or weights is None or not (workdir / "config.json").is_file():
        raise ValueError(
            f"{workdir} is not the folder of a training: it needs config.json, metrics.jsonl and "
            "model.keras or model.weights.h5."
        )
    config = TrainingConfig.from_json(read_json(workdir / "config.json"))
    if data_dir is not None:
        config = dataclasses.replace(config, data_dir=data_dir)
    files = files_digest(config.dataset, config.data_dir)
    train_data, evaluation, evaluated_on = load_data(config)
    with _precision(config.precision):
        model = _create(config, evaluation, weights=weights)
        if config.recalibrate:
            _recalibrate(config, model, train_data, workdir)
        lines[-1] |= _measured(config, model, evaluation)
        return _finish(
            config, workdir, model, lines, len(train_data), evaluation, evaluated_on, files
        )


@contextlib.contextmanager
def _precision(policy):
    """Keras's dtype policy, and what goes with it, inside a block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        with fast_kernels(policy):
            yield
    finally:
        keras.config.set_dtype_policy(before)


def _train(config, workdir, verbose):
    # Before any data are read.
    initial = None
    if config.initial_weights is not None:
        initial = _initial_model(config.initial_weights)
        _check_unseen(config)
    # Before the images are listed: those that come during the training are not among them.
    files = processes.on_first(files_digest, config.dataset, config.data_dir)
    processes.on_first(_check_files, workdir, files)
    train_data, evaluation, evaluated_on = processes.together(load_data, config)
    if config.initial_weights is not None:
        # Now that their number is known.
        _check_unseen(config, len(train_data))
    keras.utils.set_random_seed(config.seed)
    model = _create(config, evaluation)
    if model.map_names:
        # Now, and not at the end of the training.
        require("matplotlib.figure", "The figure of the maps", "train")
    copied = None if initial is None else copy_weights(initial, model)
    if config.freeze != "nothing":
        _warn_of_random_weights(config)
        model.freeze(config.freeze)
        # Otherwise what is not copied has ImageNet weights.
        if initial is not None and config.settings.get("backbone_weights") is None:
            _check_frozen(config, initial, model, copied)
    if config.freeze_batch_norm:
        model.freeze("batch_norm")
    if config.recalibrate:
        # Now, and not at the end of the training.
        norms_behind_attention(model)
        if config.strategy != "one":
            raise ValueError(
                f"`recalibrate` is for one device, and `strategy` is {config.strategy!r}. Leave "
                "it out, and call `training.recalibrate` on the trained model."
            )
    augment = _augmentation(config, evaluation.input_shape)
    fit, bar = training.fit, verbose == "auto" and sys.stdout.isatty()
    if frozen_features.can_compute_once(
        model, config, len(train_data), len(evaluation), evaluation.input_shape
    ):
        fit = functools.partial(frozen_features.fit_head, bar=bar)
    elif config.feature_views:
        raise ValueError(
            f"`feature_views` {config.feature_views} is for plain models and those with IB "
            "attention, without noise before the attention, on one device, and for features that "
            f"fit into memory: not for this training of {config.model!r}. Leave it out."
        )
    callbacks = []
    if files is not None:
        # `fit` makes the folder.
        note = functools.partial(write_json, workdir / _FILES, {"files": files})
        callbacks.append(keras.callbacks.LambdaCallback(on_train_begin=lambda logs: note()))
    if verbose == "auto":
        evaluated = "held-out" if config.validation_examples else "test"
        callbacks.append(ErrorLine(config.epochs, evaluated))
        verbose = 0
        if processes.is_first():
            print(
                f"{len(train_data):,} images to train on, {len(evaluation):,} to evaluate on "
                f"({evaluated_on}).",
                flush=True,
            )
            if is_residual(model):
                print(_RESIDUAL, flush=True)
            if cards.starts_from_random_weights(config):
                print(_RANDOM, flush=True)
    lines = fit(
        model,
        train_data,
        evaluation,
        config,
        workdir,
        augment=augment,
        callbacks=callbacks,
        verbose=verbose,
    )
    if config.recalibrate:
        _recalibrate(config, model, train_data, workdir)
        # What the last epoch has measured is of the model before.
        lines[-1] |= _measured(config, model, evaluation)
    processes.on_first(
        _finish, config, workdir, model, lines, len(train_data), evaluation, evaluated_on, files
    )
    return results.read_result(workdir)


def _measured(config, model, evaluation):
    """Returns what the log of an epoch has of the evaluation examples, for a trained model."""
    training.compile_classifier(model, config, 1)
    batches = data.batches_of(
        evaluation, config.batch_size, num_workers=config.num_workers, shuffle=False
    )
    found = model.evaluate(batches, return_dict=True, verbose=0)
    return {f"val_{name}": float(value) for name, value in found.items()}


def _recalibrate(config, model, train_data, workdir):
    """Recalibrates a trained model and saves it again. A second time changes nothing."""
    some = cropped(config, train_data.take(min(len(train_data), _RECALIBRATION_IMAGES)))
    if isinstance(some, data.StreamedImageData):
        some = some.in_memory()
    training.recalibrate(model, some.images, min(len(some), _RECALIBRATION_BATCH))
    with atomic_path(workdir / MODEL_FILE) as temporary:
        model.save(temporary)


def _check_files(workdir, files):
    """Raises a ValueError if images have changed since a training began that is to be resumed."""
    path = workdir / _FILES
    if files is not None and path.is_file() and read_json(path)["files"] != files:
        raise ValueError(
            f"The images have changed since the training in {workdir} began. Some that it was "
            "trained on may now be among those to evaluate on. Put them back to resume it, or "
            "choose another `workdir`."
        )


def _initial_model(initial_weights):
    """Returns the model that another starts from."""
    file = pathlib.Path(initial_weights) / MODEL_FILE
    if file.is_file():
        return keras.saving.load_model(file)
    source, _, name = initial_weights.partition("/")
    try:
        zoo.get(source)
    except ValueError as error:
        raise ValueError(
            f"`initial_weights` {initial_weights!r}: expected MODEL/NAME of published weights, "
            f"such as 'vgg/cifar10', or the folder of a finished training. There is no {file}. "
            f"{error}"
        ) from None
    return zoo.create(source, weights=name)


def _check_unseen(config, train_examples=None):
    """Raises a ValueError if the initial weights were trained on what is to be evaluated on.

    Args:
        config: `TrainingConfig`.
        train_examples: Integer, how many examples it trains on, or None if that is not known yet.
    """
    for result in _trainings_of(config.initial_weights):
        _check_unseen_by(result, config, train_examples)


def _trainings_of(initial_weights):
    """Yields the `result.json` of the training of some weights, and of those that it began with."""
    seen = set()
    while initial_weights is not None and initial_weights not in seen:
        seen.add(initial_weights)
        path = pathlib.Path(initial_weights)
        if (path / results.FILE).is_file():
            result = results.read_result(path)
        elif path.is_dir() or len(path.parts) != 2:
            return
        else:
            try:
                name, _, weights = initial_weights.partition("/")
                result = pretrained.find(name, weights).training
            except ValueError:
                # A folder that is gone.
                return
        yield result
        initial_weights = TrainingConfig.up_to_date(result["config"])["initial_weights"]


def _check_unseen_by(result, config, train_examples):
    before = TrainingConfig.up_to_date(result["config"])
    if not same_data(before["dataset"], config.dataset):
        return
    what = f"`initial_weights` {config.initial_weights!r} come from a training on {config.dataset}"
    if files_have_changed(result, config.dataset, config.data_dir):
        raise ValueError(
            f"{what}, whose images have changed since. Some that it was trained on may now be "
            "among those to evaluate on. Train it again with the images of now."
        )
    if may_have_seen(result, config, train_examples):
        evaluated = f"`test_split` {config.test_split!r}"
        if config.validation_examples:
            evaluated = (
                f"the last {config.validation_examples} examples of {config.train_split!r} "
                "(`validation_examples`)"
            )
        raise ValueError(
            f"{what} that may have seen some of those to evaluate on: {evaluated}. It was trained "
            f"on {before['train_split']!r}, of which {before['validation_examples']} were held "
            "out. Choose the same `train_split` and hold out as many, or train it with more of "
            "them held out."
        )


def _check_frozen(config, initial, model, copied):
    """Raises a ValueError if layers would stay as they are that the other model did not have."""
    frozen = [
        layer.name
        for layer in model._flatten_layers()
        if not layer.trainable
        and layer.weights
        and not layer._flatten_layers(include_self=False, recursive=False)
    ]
    if random := [name for name in frozen if name not in copied]:
        raise ValueError(
            f"`freeze` {config.freeze!r} keeps layers as they are that `initial_weights` "
            f"{config.initial_weights!r} have no weights of the same shapes for: "
            f"{', '.join(random[:3])}{' and others' if len(random) > 3 else ''}. Choose the "
            "settings, such as `width`, that those weights were trained with."
        )
    normalizations = [
        {**part.get_config(), "name": None, "dtype": None}
        for part in (getattr(each, "preprocessing", None) for each in (initial, model))
        if part is not None
    ]
    if len(normalizations) == 2 and normalizations[0] != normalizations[1]:
        raise ValueError(
            f"`initial_weights` {config.initial_weights!r} were trained on images that were "
            "normalised in another way, and `freeze` keeps layers of theirs. Set `mean` and `std` "
            "as there."
        )


def _warn_of_random_weights(config):
    if cards.first_weights(config) is None:
        warnings.warn(
            f"`freeze` {config.freeze!r} keeps layers whose weights are random, because neither "
            "`initial_weights` nor the setting `backbone_weights` of the model is given.",
            stacklevel=2,
        )


def _create(config, evaluation, weights=None):
    settings = dict(config.settings)
    if weights is not None:
        # Those have been trained on since.
        settings.pop("backbone_weights", None)
    return zoo.create(
        config.model,
        num_classes=evaluation.num_classes,
        input_shape=evaluation.input_shape,
        weights=weights,
        **settings,
    )


def _finish(config, workdir, model, lines, train_examples, evaluation, evaluated_on, files):
    """Writes what is measured after a training, and returns the content of `result.json`.

    The arguments are those of `results.result`.
    """
    if model.map_names:
        save_attention_figure(workdir / "attention.png", model, evaluation)
    result = results.result(config, model, train_examples, evaluation, evaluated_on, lines, files)
    with atomic_path(workdir / "card.md") as temporary:
        temporary.write_text(cards.model_card(result))
    write_json(workdir / results.FILE, result)
    # As the next call will read it: JSON has no tuples.
    return results.read_result(workdir)


def _augmentation(config, input_shape):
    if config.augment == "none":
        return None
    flip = config.augment != "crop"
    if config.crop_pct < 1:
        crop = data.CropFlip(padding=0, flip=flip, size=input_shape[:2])
    else:
        crop = data.CropFlip(padding=4, flip=flip)
    return data.KerasAugmentation(_photo_layers(), then=crop) if config.augment == "photo" else crop


def _photo_layers():
    return [
        keras.layers.RandomZoom((-0.3, 0.0)),
        # In full turns.
        keras.layers.RandomRotation(15 / 360),
        keras.layers.RandomBrightness(0.2, value_range=(0, 255)),
        keras.layers.RandomContrast(0.2, value_range=(0, 255)),
    ]
