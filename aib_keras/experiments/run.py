"""Trains a zoo model as a configuration says; the same call again resumes or finds it finished."""

import pathlib
import sys

import keras

from aib_keras import data, zoo
from aib_keras.experiments import cards, results
from aib_keras.experiments.config import claim_workdir
from aib_keras.experiments.examples import load_data
from aib_keras.plots.attention import save_attention_figure
from aib_keras.training import callbacks, devices, schedule
from aib_keras.training.optimizer import CoupledSGD
from aib_keras.utils.files import atomic_path, read_json, write_json

_MODEL_FILE = "model.keras"
_IMAGES_IN_FIGURES = 8


def train(config, workdir, jit="auto", steps_per_execution=1, verbose="auto"):
    """Trains, evaluates after each epoch, and leaves everything in `workdir`.

    Leaves `config.json`, `metrics.jsonl` (a line an epoch), `result.json`, `card.md`,
    `model.keras`; for a model with a map `attention.png` and `maps/`, a file an epoch;
    `tensorboard/` if TensorFlow is there.
    After a kill the same call goes on from the last complete epoch, to the same weights as without
    the kill.

    Args:
        config: `TrainingConfig`.
        workdir: Folder, new or of this very configuration.
        jit: `"auto"` (XLA on an accelerator, not on a CPU), True or False.
        steps_per_execution: Integer, steps in one call of the compiled function.
        verbose: As `keras.Model.fit` takes it; "auto" is a bar on a terminal and a line an epoch
            elsewhere.

    Returns:
        The content of `result.json`, a dict.

    Raises:
        ValueError: for a configuration that makes no sense, or not that of `workdir`.
        TrainingDivergedError: if the loss becomes NaN; the last good state is kept.
    """
    config.check()
    config = config.resolved()
    workdir = pathlib.Path(workdir)
    claim_workdir(workdir, config)
    result_path = workdir / "result.json"
    if result_path.exists():
        print(f"{workdir} holds a finished training (result.json). Nothing to do.")
        return read_json(result_path)

    if verbose == "auto" and not sys.stdout.isatty():
        # A bar that rewrites its line fills a log file with control characters.
        verbose = 2
    previous_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        with devices.devices(config.strategy) as number:
            devices.check_batch_size(config.batch_size, number)
            result = _train(config, workdir, jit, steps_per_execution, verbose)
    finally:
        keras.config.set_dtype_policy(previous_policy)
    with atomic_path(workdir / "card.md") as temporary:
        temporary.write_text(cards.model_card(result))
    write_json(result_path, result)
    # As the next call will read it: JSON has no tuples.
    return read_json(result_path)


def _train(config, workdir, jit, steps_per_execution, verbose):
    train_data, evaluation, evaluated_on = load_data(config)
    batches = data.AugmentedBatches(
        train_data,
        config.batch_size,
        augment=_augmentation(config, evaluation.input_shape),
        seed=config.seed,
        drop_remainder=True,
    )
    if not len(batches):
        raise ValueError(
            f"{len(train_data)} training examples do not fill one batch of {config.batch_size}."
        )
    evaluation_batches = data.AugmentedBatches(evaluation, config.batch_size, shuffle=False)

    keras.utils.set_random_seed(config.seed)
    model = zoo.get(config.model)(
        num_classes=train_data.num_classes, input_shape=evaluation.input_shape, **config.settings
    )
    compile_model(model, config, len(batches), jit, steps_per_execution)

    checkpoint = callbacks.Checkpoint(workdir / "checkpoint")
    log = callbacks.MetricsLog(workdir / "metrics.jsonl")
    done = checkpoint.restore(model)
    log.resume(done)
    if done:
        print(f"Resuming after epoch {done} of {config.epochs}.")
    if done < config.epochs:
        model.fit(
            batches,
            epochs=config.epochs,
            initial_epoch=done,
            validation_data=evaluation_batches,
            shuffle=False,
            verbose=verbose,
            callbacks=[
                callbacks.SetEpoch(batches),
                *_beta_warmup(model, config),
                callbacks.StopOnNaN(checkpoint),
                *_maps(workdir, model, evaluation),
                *_tensorboard(workdir, model, evaluation),
                log,
                checkpoint,
            ],
        )

    devices.synchronize_batch_norm(model, False)
    with atomic_path(workdir / _MODEL_FILE) as temporary:
        model.save(temporary)
    if model.map_names:
        save_attention_figure(workdir / "attention.png", model, evaluation)
    return results.result(config, model, len(train_data), evaluation, evaluated_on, log.lines)


def compile_model(model, config, steps_per_epoch, jit="auto", steps_per_execution=1):
    """Compiles a classifier as a configuration says: optimiser, schedule, loss, metrics."""
    config = config.resolved()
    optimizer = _optimizer(config, steps_per_epoch)
    if config.strategy == "mirrored":
        devices.check_mirrored(optimizer, jit)
        devices.synchronize_batch_norm(model, True)
        jit = False
        print(
            "Under --strategy=mirrored Keras shows a `loss` that counts the terms of attention and "
            "encoder once a replica too often. The gradients, nll, kl_nats and accuracy are right."
        )
    elif jit == "auto":
        jit = devices.has_accelerator()
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nll"),
        ],
        jit_compile=jit,
        steps_per_execution=steps_per_execution,
    )


def _optimizer(config, steps_per_epoch):
    rate = schedule.learning_rate(
        config.schedule, config.model, config.learning_rate, config.epochs, steps_per_epoch
    )
    if config.optimizer == "adam":
        # PyTorch's epsilon; the authors have the anchors at the base rate there.
        return keras.optimizers.Adam(rate, beta_1=0.5, epsilon=1e-8)
    return CoupledSGD(
        rate,
        momentum=config.momentum,
        coupled_weight_decay=config.weight_decay,
        learning_rate_multipliers={"anchors": config.anchors_learning_rate},
    )


def _augmentation(config, input_shape):
    flip = config.augment == "crop_flip"
    if config.augment == "none":
        return None
    if config.resize_ratio > 1:
        return data.CropFlip(padding=0, flip=flip, size=input_shape[:2])
    return data.CropFlip(padding=4, flip=flip)


def _beta_warmup(model, config):
    encoder = getattr(model, "encoder", None)
    if encoder is None:
        return []
    start, end = config.beta_warmup
    return [schedule.BetaWarmup(encoder, encoder.initial_beta, config.epochs, start, end)]


def _maps(workdir, model, evaluation):
    if not model.map_names:
        return []
    return [callbacks.MapHistory(workdir / "maps", evaluation.images[:_IMAGES_IN_FIGURES])]


def _tensorboard(workdir, model, evaluation):
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        print("TensorFlow is not installed: no TensorBoard logs. metrics.jsonl has the figures.")
        return []
    log_dir = workdir / "tensorboard"
    logs = [keras.callbacks.TensorBoard(str(log_dir), write_graph=False)]
    if model.map_names:
        images = evaluation.images[:_IMAGES_IN_FIGURES]
        logs.append(callbacks.AttentionImages(log_dir / "maps", images))
    return logs
