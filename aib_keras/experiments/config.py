"""All settings of the training of a zoo model: what `fit` takes, and the data and the model."""

import dataclasses
import functools
import numbers
import os

from aib_keras.experiments.paper_schedules import paper_stages
from aib_keras.training.config import FitConfig, documented, setting
from aib_keras.training.device_strategies import STRATEGIES
from aib_keras.training.precision import PRECISIONS, resolve_precision
from aib_keras.training.schedule import SCHEDULES
from aib_keras.utils.checks import check_boolean, check_integer, check_number
from aib_keras.zoo import get

FREEZE = ("nothing", "features", "backbone")
# Fewer epochs than this are too short for the authors' SGD and schedule.
_PAPER_EPOCHS = 50

_count = functools.partial(check_integer, minimum=0)
_positive = functools.partial(check_integer, minimum=1)


def _check_model(name, value):
    del name
    get(value)


def _check_initial_weights(name, value):
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(value, str) or not value:
        raise ValueError(
            f"`{name}` must be MODEL/NAME of published weights, such as 'vgg/cifar10', or the "
            f"folder of a training, got {value!r}."
        )
    return value


def _check_crop_pct(name, value):
    if not isinstance(value, numbers.Real) or not 0.1 <= value <= 1:
        raise ValueError(f"`{name}` must be a number in [0.1, 1], got {value!r}.")
    return float(value)


def _check_share_of_wrong(name, value):
    share = check_number(name, value, minimum=0)
    if share >= 1:
        raise ValueError(
            f"`{name}` must be a share in [0, 1), got {value!r}: with 1 no label is right."
        )
    return share


def _check_dataset(name, value):
    value = _check_path(name, value)
    # As the completion of a shell leaves the name of a folder: the same data without it.
    return value.rstrip("/\\") or value


def _check_path(name, value):
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(f"`{name}` must be a path, got {value!r}.")
    return os.fspath(value)


@documented
@dataclasses.dataclass(frozen=True)
class TrainingConfig(FitConfig):
    """All settings of a training. The defaults follow the paper, apart from the warm-up of beta.

    Raises:
        ValueError: for a value out of its range, when the object is made.
    """

    earlier_names = {"held_out": "validation_examples"}

    model: str = setting("vgg_aib_qt", "Name of a model of the zoo.", _check_model)
    settings: dict = setting({}, "Settings of the model, as its zoo function takes them.")
    initial_weights: str | None = setting(
        None,
        "MODEL/NAME of published weights, such as `vgg/cifar10`, or the folder of a finished "
        "training. Layers that have the same name and shapes there start from them.",
        _check_initial_weights,
    )
    freeze: str = setting(
        "nothing",
        "Which layers to leave as they start, for training with `initial_weights` or with ImageNet "
        "weights: `features` are those before the attention, `backbone` all but the attention, the "
        "bottleneck and the classifier.",
        choices=FREEZE,
    )
    freeze_batch_norm: bool = setting(
        False,
        "Leave the statistics of the batch norms as they start, also where layers are trained: for "
        "training pretrained layers with few images.",
        check_boolean,
    )
    dataset: str = setting(
        "cifar10",
        "A TFDS name, an image folder, .npz files, or `cluttered_digits`.",
        _check_dataset,
    )
    data_dir: str | None = setting(
        None,
        "Folder where TFDS keeps its data, or with a file NAME.npz for a data set of that name.",
        _check_path,
        decides=False,
    )
    train_split: str = setting("train", "Split to train on, such as `train[:20000]`.")
    test_split: str = setting("test", "Split to evaluate on.")
    train_examples: int | None = setting(
        None, "Train on only the first N examples. None: all of them.", _positive
    )
    wrong_labels: float = setting(
        0.0,
        "Share of the training examples that get a wrong label, in [0, 1): drawn from `seed`, any "
        "of the other classes with the same probability, as `data.with_wrong_labels` does. Labels "
        "of held-out and test examples stay right.",
        _check_share_of_wrong,
    )
    validation_examples: int = setting(
        0,
        "Hold out the last N examples of the training split, evaluate on them, and leave the test "
        "data unread. For choosing settings.",
        _count,
    )
    image_size: int | None = setting(
        None, "Side in pixels of what the model sees. None: that of the data set.", _positive
    )
    crop_pct: float = setting(
        1.0,
        "Images are resized to `image_size / crop_pct` and cropped to `image_size`: at a random "
        "place for training, in the middle for evaluation. The authors use 0.875 on CUB.",
        _check_crop_pct,
    )
    crop_to_box: bool = setting(
        False, "Crop images to their object's box first, as the authors do on CUB.", check_boolean
    )
    stream: bool | None = setting(
        None,
        "Whether to read images when they are needed instead of all at once, from a folder or "
        "TFDS. The result is the same. None: if they need more than 8 GiB.",
        check_boolean,
        decides=False,
    )
    augment: str = setting(
        "crop_flip",
        "Augmentation. With a `crop_pct` of 1, crops are taken from the image padded by 4 "
        "reflected pixels. `photo` also zooms in by up to 30 %, rotates by up to 15 degrees, and "
        "changes brightness and contrast.",
        choices=("crop_flip", "crop", "photo", "none"),
    )
    feature_views: int | None = setting(
        None,
        "With frozen features: augment each training image this many times before training, "
        "compute the features of these views once, and use one view per epoch. None: augment and "
        "compute the features again in each epoch.",
        _positive,
    )
    recalibrate: bool = setting(
        False,
        "After the training, estimate the statistics of the batch norms behind the attention "
        "again, on 2,560 training images without noise, as `training.recalibrate` does. For "
        "`modulation` 'noise': the deterministic prediction and the exports get better, and "
        "`predict_mc` worse. Frozen batch norms stay as they are.",
        check_boolean,
    )
    epochs: int = setting(200, "Passes over the training examples.", _positive)
    optimizer: str = setting(
        "auto",
        "`sgd` is `CoupledSGD`, as the authors train on 32x32 images. `adam` has beta_1 0.5, as "
        "they train on CUB, and no weight decay. `auto` is `sgd` from 50 epochs on and `adam` "
        "below, where it was better on held-out data (docs/defaults.md).",
        choices=("auto", "sgd", "adam"),
    )
    schedule: str = setting(
        "auto",
        "How the learning rate changes. `paper` is the authors' schedule for the model's family, "
        "scaled to `epochs`. `auto` is `paper` with SGD and `cosine` with Adam.",
        choices=("auto", "paper", *SCHEDULES),
    )
    prediction_samples: int = setting(
        4,
        "Number of samples of `predict_mc`, which measures the error of the last epoch once more. "
        "0: skip this. The authors use 4, and 12 on CUB.",
        _count,
    )
    precision: str = setting(
        "auto",
        "Keras's precision policy. `auto` is `mixed_bfloat16` where there are units for it: with "
        "TensorFlow or JAX on an accelerator, and with TensorFlow on a CPU. Elsewhere it is "
        "`float32`.",
        choices=PRECISIONS,
    )
    strategy: str = setting("one", "Devices, see `training.devices`.", choices=STRATEGIES)

    def __post_init__(self):
        super().__post_init__()
        if self.crop_pct < 1 and self.image_size is None:
            raise ValueError(
                f"`crop_pct` {self.crop_pct!r} needs `image_size`, the side of the crops."
            )
        if self.feature_views is not None and (self.freeze == "nothing" or self.augment == "none"):
            raise ValueError(
                f"`feature_views` {self.feature_views} needs frozen layers (`freeze` 'features' or "
                f"'backbone', got {self.freeze!r}) and an augmentation (got `augment` "
                f"{self.augment!r})."
            )
        if self.backbone_learning_rate != 1 and self.freeze != "nothing":
            raise ValueError(
                f"`backbone_learning_rate` {self.backbone_learning_rate!r} is for training all "
                f"layers, and `freeze` {self.freeze!r} keeps some as they are. Set `freeze` to "
                "'nothing', or leave `backbone_learning_rate` out."
            )
        if self.train_examples is not None and self.train_examples < (self.batch_size or 1):
            raise ValueError(
                f"`train_examples` {self.train_examples} do not fill one batch of "
                f"{self.batch_size}."
            )

    def resolved(self):
        """Returns a copy in which "auto", "paper" and None are replaced by what they stand for."""
        optimizer, schedule, stages = self.optimizer, self.schedule, self.schedule_steps
        if optimizer == "auto":
            optimizer = "sgd" if self.epochs >= _PAPER_EPOCHS else "adam"
        if schedule == "auto":
            schedule = "paper" if optimizer == "sgd" else "cosine"
        if schedule == "paper":
            schedule, stages = "steps", paper_stages(self.model)
        chosen = dataclasses.replace(
            self,
            optimizer=optimizer,
            schedule=schedule,
            schedule_steps=stages,
            precision=resolve_precision(self.precision),
        )
        return super(TrainingConfig, chosen).resolved()
