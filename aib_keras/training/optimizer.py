"""SGD as the paper's authors ran it, and Adam with several learning rates."""

import keras
from keras import ops

from aib_keras.utils.checks import check_boolean, check_non_negative, check_number


def check_momentum(name, value):
    """Returns `value` as a float if it is a momentum, a number in [0, 1)."""
    momentum = check_number(name, value, minimum=0, maximum=1)
    if momentum == 1:
        raise ValueError(f"`{name}` must be in [0, 1), got {value!r}.")
    return momentum


@keras.saving.register_keras_serializable(package="aib_keras")
class CoupledSGD(keras.optimizers.Optimizer):
    """SGD with momentum whose weight decay is added to the gradient, as in PyTorch.

        v = momentum * v + (gradient + coupled_weight_decay * w)
        w = w - learning_rate * multiplier * v

    and with `nesterov`, in the last line, `gradient + coupled_weight_decay * w + momentum * v` in
    place of v.

    Keras's own `weight_decay` is decoupled: it does not pass through the momentum, and is therefore
    1 / (1 - momentum) times weaker. Keras's momentum contains the learning rate too, so that a new
    rate takes effect gradually; here, as in PyTorch, it takes effect at once.
    `exclude_from_weight_decay` works.

    Args:
        learning_rate: Float or `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: Float in [0, 1).
        coupled_weight_decay: Non-negative float, for every parameter that is not excluded.
        learning_rate_multipliers: Optional factors of the learning rate, non-negative floats:
            either a dict by a variable's path or the last component of it (such as "anchors"), or
            a sequence with one for each trainable variable of the model, in their order. The order
            of a model's variables outlasts saving and loading, while paths can change.
        nesterov: Boolean, whether to look ahead by one step of the momentum.

    Raises:
        ValueError: for a value out of its range, another number of factors than of variables, or
            for Keras's `weight_decay`, which would decay the parameters twice.
    """

    def __init__(
        self,
        learning_rate=0.1,
        momentum=0.9,
        coupled_weight_decay=5e-4,
        learning_rate_multipliers=None,
        nesterov=False,
        name="coupled_sgd",
        **kwargs,
    ):
        if kwargs.get("weight_decay"):
            raise ValueError(
                "CoupledSGD decays the parameters by `coupled_weight_decay`. `weight_decay` would "
                "decay them a second time: leave it out."
            )
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = check_momentum("momentum", momentum)
        self.coupled_weight_decay = check_non_negative("coupled_weight_decay", coupled_weight_decay)
        self.nesterov = check_boolean("nesterov", nesterov)
        self.learning_rate_multipliers = _checked(learning_rate_multipliers)

    def build(self, variables):
        if self.built:
            return
        self._multipliers = _factors(variables, self.learning_rate_multipliers)
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")
        self._decays = [
            self.coupled_weight_decay if self._use_weight_decay(variable) else 0.0
            for variable in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        gradient = ops.cast(gradient, variable.dtype)
        rate = ops.cast(learning_rate, variable.dtype) * self._multipliers[index]
        velocity = self.velocities[index]
        gradient = gradient + self._decays[index] * variable
        self.assign(velocity, self.momentum * velocity + gradient)
        change = gradient + self.momentum * velocity if self.nesterov else velocity
        self.assign_sub(variable, rate * change)

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "coupled_weight_decay": self.coupled_weight_decay,
            "nesterov": self.nesterov,
            "learning_rate_multipliers": self.learning_rate_multipliers,
        }


@keras.saving.register_keras_serializable(package="aib_keras")
class AdamWithMultipliers(keras.optimizers.Adam):
    """Keras's Adam with a factor of the learning rate for some variables.

    Args:
        learning_rate_multipliers: As in `CoupledSGD`.
        **kwargs: Arguments of `keras.optimizers.Adam`.

    Raises:
        ValueError: for a negative factor, or another number of factors than of variables.
    """

    def __init__(self, *args, learning_rate_multipliers=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.learning_rate_multipliers = _checked(learning_rate_multipliers)

    def build(self, variables):
        if self.built:
            return
        self._multipliers = _factors(variables, self.learning_rate_multipliers)
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        factor = self._multipliers[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self):
        return {
            **super().get_config(),
            "learning_rate_multipliers": self.learning_rate_multipliers,
        }


def _checked(multipliers):
    """Returns a dict for a dict or None, and a list for a sequence."""
    by_name = isinstance(multipliers or {}, dict)
    items = (multipliers or {}).items() if by_name else enumerate(multipliers)
    checked = {
        key: check_non_negative(f"learning_rate_multipliers[{key!r}]", factor)
        for key, factor in items
    }
    return checked if by_name else list(checked.values())


def _factors(variables, multipliers):
    """Returns the factor of each variable.

    They are looked up before the first step, and used by index, because under tf.distribute the
    variables that `update_step` gets have no path.
    """
    if isinstance(multipliers, list):
        if len(multipliers) != len(variables):
            raise ValueError(
                f"There are {len(multipliers)} `learning_rate_multipliers` and {len(variables)} "
                "trainable variables. Give one for each. If you have frozen or unfrozen layers "
                "since, compile the model with a new optimizer."
            )
        return multipliers
    return [
        multipliers.get(variable.path, multipliers.get(variable.path.split("/")[-1], 1.0))
        for variable in variables
    ]
