"""How `fit` compiles a classifier: loss, metrics, optimiser."""

import dataclasses

import keras

from aib_keras.models import ImageClassifier
from aib_keras.models.class_outputs import returns_probabilities
from aib_keras.training import device_strategies as devices
from aib_keras.training.losses import SmoothedCrossentropy
from aib_keras.training.optimizer import AdamWithMultipliers, CoupledSGD
from aib_keras.training.schedule import learning_rate


def compile_classifier(model, config, steps_per_epoch, steps_per_execution=None):
    """Compiles a classifier: optimiser, learning rates, loss, metrics.

    Args:
        model: `keras.Model`.
        config: `FitConfig`.
        steps_per_epoch: Integer.
        steps_per_execution: Integer. None: that of `config`.

    Raises:
        ValueError: for settings that do not work on these devices.
    """
    config = config.resolved()
    optimizer = _optimizer(model, config, config.epochs * steps_per_epoch)
    jit = config.jit
    if devices.is_mirrored():
        devices.check_mirrored(optimizer, jit)
        devices.prepare_replicas(model)
        jit = False
        print(
            "Under a MirroredStrategy, Keras shows a `loss` that counts the terms of attention and "
            "encoder once per replica too often. The gradients and the metrics are right."
        )
    elif jit is None:
        jit = devices.has_accelerator() or devices.is_distributed()
    from_logits = config.from_logits is not False
    if config.label_smoothing:
        loss = SmoothedCrossentropy(config.label_smoothing, from_logits)
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    model.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            keras.metrics.SparseCategoricalCrossentropy(from_logits=from_logits, name="nll"),
        ],
        jit_compile=jit,
        steps_per_execution=steps_per_execution or config.steps_per_execution or 1,
    )


def _optimizer(model, config, steps):
    rate = learning_rate(config.schedule, config.learning_rate, steps, config.schedule_steps)
    in_backbone = _in_backbone(model, config.backbone_learning_rate)
    if config.optimizer == "adam":
        # PyTorch's epsilon. The authors have the anchors at the base rate with Adam.
        settings = {"beta_1": 0.5, "epsilon": 1e-8}
        if in_backbone is None:
            return keras.optimizers.Adam(rate, **settings)
        factors = [config.backbone_learning_rate if each else 1.0 for each in in_backbone]
        return AdamWithMultipliers(rate, learning_rate_multipliers=factors, **settings)
    factors = {"anchors": config.anchors_learning_rate}
    if in_backbone is not None:
        factors = [
            config.backbone_learning_rate if each else factors.get(variable.name, 1.0)
            for variable, each in zip(model.trainable_variables, in_backbone, strict=True)
        ]
    return CoupledSGD(
        rate,
        momentum=config.momentum,
        nesterov=config.nesterov,
        coupled_weight_decay=config.weight_decay,
        learning_rate_multipliers=factors,
    )


def _in_backbone(model, factor):
    """Returns for each trainable variable whether it is in the backbone. None if no matter."""
    if factor == 1:
        return None
    if not isinstance(model, ImageClassifier):
        raise ValueError(
            f"`backbone_learning_rate` {factor!r} needs to know the backbone, as the models of "
            f"aib_keras.zoo and aib_keras.models do, got {type(model).__name__}. Leave it out."
        )
    try:
        layers = model.part_layers("backbone")
    except ValueError as error:
        raise ValueError(f"`backbone_learning_rate` {factor!r}: {error}") from error
    backbone = {id(variable) for layer in layers for variable in layer.trainable_variables}
    return [id(variable) in backbone for variable in model.trainable_variables]


def built(model, batches, config):
    """Builds a model if need be, and returns `config` with `from_logits` as the model has it."""
    if isinstance(model, ImageClassifier) and model.built:
        return config if config.from_logits is not None else _with_logits(config, True)
    if model.built and config.from_logits is not None:
        return config
    inputs, *_ = batches[0] if isinstance(batches, keras.utils.PyDataset) else next(iter(batches))
    some = keras.tree.map_structure(lambda part: part[:8], inputs)
    outputs = keras.ops.convert_to_numpy(model(some, training=False))
    if config.from_logits is not None:
        return config
    return _with_logits(config, not returns_probabilities(model, outputs))


def _with_logits(config, from_logits):
    return dataclasses.replace(config, from_logits=from_logits)
