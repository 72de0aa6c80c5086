"""Learning rates over a training, and the warm-up of beta."""

import keras

from aib_keras.utils.checks import check_choice

SCHEDULES = ("paper", "paper_cub", "cosine", "constant")

# (epoch of the paper's 200 at which it starts, rate relative to the base rate of 0.1).
_PAPER_EPOCHS = 200
_VGG_DECAY = tuple((25 * step, 0.5**step) for step in range(8))
_WRN_DECAY = ((0, 1.0), (60, 0.2), (120, 0.04), (160, 0.008))
_WARM_UPS = {
    "vgg_aib": ((0, 0.1), (1, 1.0)),
    "vgg_aib_qt": ((0, 1e-3), (1, 1e-2), (2, 1e-1), (3, 1.0)),
}


def learning_rate(name, model_name, base, epochs, steps_per_epoch):
    """The learning rate as a function of the optimiser's step.

    Args:
        name: `"paper"`: the authors' schedule for the model's family with its 200 epochs scaled to
            `epochs`, warm-up included; `"paper_cub"`: theirs on CUB, times 0.97 every second of
            200 epochs, scaled likewise; `"cosine"`: from `base` to 0 along half a cosine, after a
            linear warm-up over the first twentieth; `"constant"`.
        model_name: A name of the zoo.
        base: Float, the highest rate. The authors' is 0.1.
        epochs: Integer.
        steps_per_epoch: Integer.

    Returns:
        A float or a `keras.optimizers.schedules.LearningRateSchedule`.
    """
    check_choice("schedule", name, SCHEDULES)
    steps = epochs * steps_per_epoch
    if name == "constant":
        return base
    if name == "cosine":
        warm_up = max(1, steps // 20)
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=base / warm_up,
            warmup_target=base,
            warmup_steps=warm_up,
            decay_steps=max(1, steps - warm_up),
        )
    if name == "paper_cub":
        return keras.optimizers.schedules.ExponentialDecay(
            base, max(1, round(2 / _PAPER_EPOCHS * steps)), 0.97, staircase=True
        )
    return _piecewise(paper_table(model_name), base, steps)


def paper_table(model_name):
    """The authors' rates: (first epoch of 200, rate relative to the base), in order."""
    decay = _WRN_DECAY if model_name.startswith("wrn") else _VGG_DECAY
    warm_up = _WARM_UPS.get(model_name, ())
    return warm_up + tuple(entry for entry in decay if not warm_up or entry[0] > 0)


def _piecewise(table, base, steps):
    boundaries, values = [], [base * table[0][1]]
    for epoch, factor in table[1:]:
        # Keras's values hold up to and including a boundary.
        boundary = round(epoch / _PAPER_EPOCHS * steps) - 1
        if boundary < 0 or (boundaries and boundary == boundaries[-1]):
            # So short a training that the stage before this one has no step.
            values[-1] = base * factor
        else:
            boundaries.append(boundary)
            values.append(base * factor)
    if not boundaries:
        return values[0]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)


class BetaWarmup(keras.callbacks.Callback):
    """Raises the weight of the KL linearly, an epoch at a time.

    beta is 0 up to the epoch `start * epochs`, its target from `end * epochs` on. Depends on the
    epoch only, so that a resumed training continues as it would have.

    Args:
        encoder: The `VariationalEncoder`.
        target: Float, beta at the end.
        epochs: Integer, epochs of the whole training.
        start: Float in [0, 1], the share of the training before the rise.
        end: Float in [start, 1], the share at its end. With `end=0` beta is the target throughout.
    """

    def __init__(self, encoder, target, epochs, start=0.2, end=0.8):
        super().__init__()
        if not 0 <= start <= end <= 1:
            raise ValueError(f"Expected 0 <= start <= end <= 1, got start={start}, end={end}.")
        self.encoder = encoder
        self.target = target
        self.epochs = epochs
        self.start = start
        self.end = end

    def on_epoch_begin(self, epoch, logs=None):
        self.encoder.beta.assign(self.target * self.factor(epoch))

    def factor(self, epoch):
        """Share of the target in an epoch (from 0), in [0, 1]."""
        progress = epoch / self.epochs
        if progress >= self.end:
            return 1.0
        if progress <= self.start:
            return 0.0
        return (progress - self.start) / (self.end - self.start)
