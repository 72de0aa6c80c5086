"""How the learning rate changes over a training."""

import keras

from aib_keras.utils.checks import check_choice, check_integer, check_number

SCHEDULES = ("cosine", "one_cycle", "constant", "steps", "exponential")

# The share of a training in which the learning rate rises.
_WARM_UP = {"cosine": 0.05, "one_cycle": 0.3}

# "exponential": as the paper's authors train on CUB, times 0.97 every second of 200 epochs.
_EXPONENTIAL_STAGES, _EXPONENTIAL_FACTOR = 100, 0.97


def learning_rate(schedule, base, steps, stages=()):
    """Returns the learning rate as a function of the optimiser's step.

    Args:
        schedule: `"cosine"`: from `base` to 0 along half a cosine, after a linear warm-up over the
            first twentieth of the training. `"one_cycle"`: the same, with a rise over the first
            three tenths (Smith & Topin, 2018). `"constant"`: `base`. `"steps"`: `base` times the
            factors of `stages`. `"exponential"`: times 0.97 after every hundredth of the training.
        base: Non-negative float, the learning rate that factors refer to.
        steps: Integer, the steps of the whole training, at least 1.
        stages: For `"steps"`: pairs (share of the training at which it starts, factor), with
            increasing shares from 0. If several start at the same step, the last one applies.

    Returns:
        A float or a `keras.optimizers.schedules.LearningRateSchedule`.

    Raises:
        ValueError: for an unknown schedule, a value out of its range, or `"steps"` without stages.
    """
    check_choice("schedule", schedule, SCHEDULES)
    base = check_number("base", base, minimum=0)
    steps = check_integer("steps", steps, minimum=1)
    if schedule == "constant":
        return base
    if schedule in _WARM_UP:
        warm_up = max(1, int(steps * _WARM_UP[schedule]))
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=base / warm_up,
            warmup_target=base,
            warmup_steps=warm_up,
            decay_steps=max(1, steps - warm_up),
        )
    if schedule == "exponential":
        # Not rounded, so that a short training decays as often as a long one.
        return keras.optimizers.schedules.ExponentialDecay(
            base, steps / _EXPONENTIAL_STAGES, _EXPONENTIAL_FACTOR, staircase=True
        )
    if not stages:
        raise ValueError('The schedule "steps" needs stages, pairs (share, factor).')
    return _piecewise(stages, base, steps)


def _piecewise(stages, base, steps):
    boundaries, values = [], [base * stages[0][1]]
    for share, factor in stages[1:]:
        # Keras's values hold up to and including a boundary.
        boundary = round(share * steps) - 1
        if boundary < 0 or (boundaries and boundary == boundaries[-1]):
            # The training is so short that the stage before this one has no step.
            values[-1] = base * factor
        else:
            boundaries.append(boundary)
            values.append(base * factor)
    if not boundaries:
        return values[0]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
