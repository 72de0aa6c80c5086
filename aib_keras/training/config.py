"""The settings of a training, each written once: name, type, default, check and help."""

import dataclasses
import functools
import inspect
import json
import numbers
import textwrap
import warnings
from typing import ClassVar

from aib_keras.training.optimizer import check_momentum
from aib_keras.training.schedule import SCHEDULES
from aib_keras.utils.checks import (
    check_boolean,
    check_choice,
    check_integer,
    check_number,
    check_seed,
)
from aib_keras.utils.suggestions import did_you_mean

_LEARNING_RATES = {"sgd": 0.1, "adam": 0.002}
_BATCH_SIZES = {"sgd": 128, "adam": 64}


def setting(default, help, check=None, choices=None, decides=True):
    """Declares a field of a configuration.

    Args:
        default: Its default. None means that the field may be None.
        help: What it is, one or more sentences. It becomes part of the docstring of the class and
            the help of the command-line flag.
        check: Optional function of (name, value) that raises a ValueError for a bad value. The
            field gets what it returns, if that is not None.
        choices: Optional tuple of the values that it can have.
        decides: Boolean, whether the field decides what a training computes. A training can be
            resumed with another value of a field that does not.
    """
    if choices is not None:
        check = functools.partial(check_choice, choices=choices)
    metadata = {"help": help, "check": check, "choices": choices, "decides": decides}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def documented(cls):
    """Class decorator that adds the help of the fields to the docstring of a configuration."""
    lines = []
    for field in dataclasses.fields(cls):
        text = f"{field.name}: {field.metadata['help']}"
        if field.metadata["choices"]:
            text += f" One of {', '.join(map(repr, field.metadata['choices']))}."
        lines += textwrap.wrap(text, 92, initial_indent="    ", subsequent_indent="        ")
    cls.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__), "", "Attributes:", *lines])
    return cls


def _check_shares(name, value):
    """Checks two shares of the training, the second not before the first."""
    valid = isinstance(value, (tuple, list)) and len(value) == 2
    valid = valid and all(isinstance(share, numbers.Real) for share in value)
    if not valid or not all(0 <= share <= 1 for share in value) or value[0] > value[1]:
        raise ValueError(
            f"`{name}` must be two shares of the training, 0 <= start <= end <= 1, got {value!r}."
        )
    return float(value[0]), float(value[1])


def _check_steps(name, value):
    """Checks pairs of a share of the training and a factor."""
    valid = isinstance(value, (tuple, list)) and all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in value
    )
    shares = [pair[0] for pair in value] if valid else []
    if not valid or shares != sorted(set(shares)) or (shares and shares[0] != 0):
        raise ValueError(
            f"`{name}` must be pairs (share of the training, factor of the learning rate) with "
            f"increasing shares from 0, got {value!r}."
        )
    return tuple(
        (
            check_number(f"{name} share", share, minimum=0, maximum=1),
            check_number(f"{name} factor", factor, minimum=0),
        )
        for share, factor in value
    )


@documented
@dataclasses.dataclass(frozen=True)
class FitConfig:
    """How `fit` trains a model.

    Raises:
        ValueError: for a value out of its range, when the object is made.
    """

    # Names that settings had in earlier versions, and those of now.
    earlier_names: ClassVar[dict] = {}

    epochs: int = setting(
        10, "Passes over the training examples.", functools.partial(check_integer, minimum=1)
    )
    batch_size: int | None = setting(
        None,
        "Images per step, over all devices. None: 128 with SGD and 64 with Adam.",
        functools.partial(check_integer, minimum=2),
    )
    seed: int = setting(
        0,
        "Seed of the order and the augmentation. Recipes seed weights and noise with it, too. For "
        "a model of your own, call `keras.utils.set_random_seed` before you build it.",
        check_seed,
    )
    optimizer: str = setting(
        "adam",
        "`sgd` is `CoupledSGD`, as the paper's authors train on 32x32 images. `adam` has beta_1 "
        "0.5, as they train on CUB, and no weight decay.",
        choices=("sgd", "adam"),
    )
    learning_rate: float | None = setting(
        None,
        "The highest learning rate. None: 0.1 with SGD and 0.002 with Adam.",
        functools.partial(check_number, minimum=0),
    )
    schedule: str = setting(
        "cosine", "How the learning rate changes, see `learning_rate`.", choices=SCHEDULES
    )
    schedule_steps: tuple = setting(
        (),
        "For the schedule `steps`: pairs (share of the training, factor of the learning rate).",
        _check_steps,
    )
    momentum: float = setting(0.9, "Momentum of SGD, in [0, 1).", check_momentum)
    nesterov: bool = setting(False, "Nesterov's momentum with SGD.", check_boolean)
    weight_decay: float = setting(
        5e-4,
        "Weight decay of SGD, added to the gradient as in PyTorch.",
        functools.partial(check_number, minimum=0),
    )
    anchors_learning_rate: float = setting(
        1e-4,
        "Factor of the anchors' learning rate with SGD.",
        functools.partial(check_number, minimum=0),
    )
    backbone_learning_rate: float = setting(
        1.0,
        "Factor of the learning rate of the backbone, for fine-tuning: below 1, pretrained layers "
        "change less than the attention, the bottleneck and the classifier.",
        functools.partial(check_number, minimum=0),
    )
    beta_warmup: tuple[float, float] = setting(
        (0.2, 0.8),
        "Start and end of the rise of beta, as shares of the training. (0, 0): no warm-up.",
        _check_shares,
    )
    label_smoothing: float = setting(
        0.0,
        "Share of the target that is spread evenly over all classes, in [0, 1].",
        functools.partial(check_number, minimum=0, maximum=1),
    )
    class_weights: str = setting(
        "equal",
        "`balanced` weights each training example by the inverse of the frequency of its class, so "
        "that rare classes count as much as frequent ones. It needs an ImageData or arrays.",
        choices=("equal", "balanced"),
    )
    from_logits: bool | None = setting(
        None,
        "Whether the model returns logits (True) or probabilities (False). None: `fit` finds out.",
        check_boolean,
    )
    jit: bool | None = setting(
        None,
        "Whether to compile with XLA. None: on an accelerator and on several JAX devices, but not "
        "on one CPU.",
        check_boolean,
        decides=False,
    )
    data_on_device: bool | None = setting(
        None,
        "Whether to hold the training examples in the memory of the device and run many steps per "
        "call, which keeps a GPU busy with small images. It needs the JAX backend, one device, and "
        "examples in memory that are augmented by `CropFlip` or not at all. None: yes if all of "
        "this holds and the device is an accelerator.",
        check_boolean,
        decides=False,
    )
    steps_per_execution: int | None = setting(
        None,
        "Steps per call of the compiled function. None: a whole epoch with `data_on_device`, "
        "otherwise 1.",
        functools.partial(check_integer, minimum=1),
        decides=False,
    )
    checkpoint_epochs: int = setting(
        1,
        "Number of epochs between saved states. The last epoch is always saved.",
        functools.partial(check_integer, minimum=1),
        decides=False,
    )
    checkpoint_steps: int | None = setting(
        None,
        "Number of steps between saved states within an epoch, for long epochs. A resumed training "
        "continues in the middle of the epoch, with the same result. It needs an ImageData or "
        "arrays. None: save only after epochs.",
        functools.partial(check_integer, minimum=1),
        decides=False,
    )
    validation_freq: int = setting(
        1,
        "Number of epochs between evaluations, as in `keras.Model.fit`. The last epoch is always "
        "evaluated.",
        functools.partial(check_integer, minimum=1),
        decides=False,
    )
    patience: int | None = setting(
        None,
        "End the training when the negative log-likelihood on the evaluation examples has not "
        "fallen for this many evaluations. The weights are those of the last epoch. The evaluation "
        "examples must not be the test data. None: train all epochs.",
        functools.partial(check_integer, minimum=1),
    )
    num_workers: int = setting(
        0,
        "Processes that read and decode streamed images, for the training and again for the "
        "evaluation. 0: threads of this process.",
        functools.partial(check_integer, minimum=0),
        decides=False,
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, check = getattr(self, field.name), field.metadata["check"]
            if check is not None and not (value is None and field.default is None):
                checked = check(field.name, value)
                if checked is not None:
                    # A Python value, which JSON has, in place of NumPy's, or of a path.
                    object.__setattr__(self, field.name, checked)
        if self.schedule == "steps" and not self.schedule_steps:
            raise ValueError(
                "The schedule 'steps' needs `schedule_steps`, pairs such as ((0, 1.0), (0.5, 0.1)) "
                "of a share of the training and a factor of the learning rate."
            )
        if self.schedule_steps and self.schedule != "steps":
            raise ValueError(
                f"`schedule_steps` {self.schedule_steps} are for the schedule 'steps', and "
                f"`schedule` is {self.schedule!r}. Choose that schedule, or leave them out."
            )

    def resolved(self):
        """Returns a copy in which None is replaced by the value that it stands for."""
        if self.optimizer == "adam":
            self._warn_of_settings_for_sgd()
        return dataclasses.replace(
            self,
            batch_size=self.batch_size or _BATCH_SIZES[self.optimizer],
            learning_rate=(
                _LEARNING_RATES[self.optimizer]
                if self.learning_rate is None
                else self.learning_rate
            ),
        )

    def _warn_of_settings_for_sgd(self):
        usual = type(self)()
        ignored = [
            f"`{name}` {getattr(self, name)!r}"
            for name in ("momentum", "nesterov", "weight_decay", "anchors_learning_rate")
            if getattr(self, name) != getattr(usual, name)
        ]
        if ignored:
            warnings.warn(
                f"No effect with Adam: {' and '.join(ignored)}. Set `optimizer` to 'sgd' for "
                "settings of SGD.",
                stacklevel=3,
            )

    def to_json(self):
        """Returns a dict that `json` can write."""
        return dataclasses.asdict(self)

    @classmethod
    def up_to_date(cls, content):
        """Returns what an earlier version wrote as JSON as this version would have written it.

        Settings have their names of now, and those that the version did not know their defaults,
        because it trained as they do. Values are not checked.
        """
        renamed = {cls.earlier_names.get(name, name): value for name, value in content.items()}
        found = {**json.loads(json.dumps(cls().to_json())), **renamed}
        if found["schedule"] != "steps":
            # Earlier versions ignored them.
            found["schedule_steps"] = []
        return found

    @classmethod
    def from_json(cls, content):
        """Makes a configuration from what `to_json` returned, after a round trip through JSON.

        Raises:
            ValueError: for a name that is not a field, or a bad value.
        """
        content = cls.up_to_date(content)
        known = {field.name for field in dataclasses.fields(cls)}
        for name in content:
            if name not in known:
                raise ValueError(
                    f"A {cls.__name__} has no setting {name!r}.{did_you_mean(name, known)} Remove "
                    "it, or use the version of aib_keras that wrote it."
                )
        return cls(**{name: _as_tuple(value) for name, value in content.items()})


def _as_tuple(value):
    """JSON has no tuples."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
