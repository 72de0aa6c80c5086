"""The settings of one training, and the folder that belongs to them."""

import dataclasses
import json
import pathlib

from aib_keras.training.devices import STRATEGIES
from aib_keras.training.schedule import SCHEDULES
from aib_keras.utils.checks import check_choice, check_integer, check_non_negative
from aib_keras.utils.files import read_json, write_json
from aib_keras.zoo import get

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
AUGMENTATIONS = ("crop_flip", "crop", "none")
OPTIMIZERS = ("auto", "sgd", "adam")
SCHEDULE_CHOICES = ("auto", *SCHEDULES)
# Fewer epochs than this are too short for the authors' SGD and schedule.
_PAPER_EPOCHS = 50
_LEARNING_RATES = {"sgd": 0.1, "adam": 0.002}
_BATCH_SIZES = {"sgd": 128, "adam": 64}


@dataclasses.dataclass
class TrainingConfig:
    """All that decides what a training computes. The defaults are the paper's authors'.

    Attributes:
        model: A name of `zoo.list_models()`.
        dataset: What `data.load` takes: a TFDS name, a folder, `.npz` files, "cluttered_digits".
        data_dir: Where TFDS keeps its data, or None for its default.
        epochs: Integer, at least 1.
        batch_size: Integer, images in a step, over all devices; None for the authors' 128 with SGD
            and 64 with Adam.
        seed: Integer: initial weights, order, augmentation, noise.
        train_split: Split to train on, such as "train" or "train[:20000]".
        test_split: Split to evaluate on.
        train_examples: Train on the first so many examples only; None for all.
        held_out: Hold out so many examples at the end of `train_split`, evaluate on them instead of
            the test split, and leave the test data unread. For choosing settings.
        image_size: Side in pixels of what the model sees, or None for that of the data set.
        resize_ratio: Images are resized to this times `image_size` and cropped to it: at a random
            place for training, in the middle for evaluation. The authors' 256 / 224 on CUB.
        crop_to_box: Crop images to their object's box first, as the authors on CUB.
        augment: "crop_flip", "crop" or "none". With a `resize_ratio` of 1 the crops are of the
            image padded by 4 reflected pixels.
        optimizer: "sgd", `CoupledSGD` as the authors on 32x32 images, or "adam" with beta_1 0.5 as
            they on CUB, without weight decay. "auto" is "sgd" from 50 epochs on and "adam" below,
            where it was better on held-out data (docs/defaults.md); batch size, learning rate and
            schedule follow it.
        learning_rate: Highest learning rate; None for 0.1 with SGD and 0.002 with Adam.
        schedule: "paper", "paper_cub", "cosine" or "constant", see `learning_rate`; "auto" is
            "paper" with SGD and "cosine" with Adam.
        momentum, weight_decay: Of `CoupledSGD`.
        anchors_learning_rate: Factor of the anchors' learning rate.
        beta_warmup: Start and end of the rise of beta, as shares of the training; (0, 0) for the
            full beta from the first step.
        prediction_samples: Samples of `predict_mc`, with which the last epoch's error is measured
            once more; 0 for not at all. The authors: 4, and 12 on CUB.
        settings: Settings of the zoo function.
        precision: Keras's name of a precision policy.
        strategy: "one", "mirrored" or "data_parallel".
    """

    model: str = "vgg_aib_qt"
    dataset: str = "cifar10"
    data_dir: str | None = None
    epochs: int = 200
    batch_size: int | None = None
    seed: int = 0
    train_split: str = "train"
    test_split: str = "test"
    train_examples: int | None = None
    held_out: int = 0
    image_size: int | None = None
    resize_ratio: float = 1.0
    crop_to_box: bool = False
    augment: str = "crop_flip"
    optimizer: str = "auto"
    learning_rate: float | None = None
    schedule: str = "auto"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    anchors_learning_rate: float = 1e-4
    beta_warmup: tuple[float, float] = (0.2, 0.8)
    prediction_samples: int = 4
    settings: dict = dataclasses.field(default_factory=dict)
    precision: str = "float32"
    strategy: str = "one"

    def check(self):
        """Raises a ValueError for a setting that makes no sense, before any work is done."""
        get(self.model)
        check_integer("epochs", self.epochs, minimum=1)
        if self.batch_size is not None:
            check_integer("batch_size", self.batch_size, minimum=2)
        for name in ("held_out", "prediction_samples"):
            check_integer(name, getattr(self, name), minimum=0)
        if not 1 <= self.resize_ratio < 10 or (self.resize_ratio > 1 and self.image_size is None):
            raise ValueError(
                "`resize_ratio` must be at least 1, and if it is above 1, `image_size` has to say "
                f"to what the images are cropped; got {self.resize_ratio!r} with image_size="
                f"{self.image_size!r}."
            )
        if self.train_examples is not None:
            check_integer("train_examples", self.train_examples, minimum=self.batch_size or 1)
        if self.learning_rate is not None:
            check_non_negative("learning_rate", self.learning_rate)
        for name in ("momentum", "weight_decay", "anchors_learning_rate"):
            check_non_negative(name, getattr(self, name))
        check_choice("augment", self.augment, AUGMENTATIONS)
        check_choice("schedule", self.schedule, SCHEDULE_CHOICES)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("strategy", self.strategy, STRATEGIES)
        start, end = self.beta_warmup
        if not 0 <= start <= end <= 1:
            raise ValueError(
                "`beta_warmup` must be two shares of the training, 0 <= start <= end <= 1, got "
                f"{self.beta_warmup!r}."
            )

    def resolved(self):
        """A copy with what "auto" and None stand for in its place."""
        optimizer, rate, schedule = self.optimizer, self.learning_rate, self.schedule
        if optimizer == "auto":
            optimizer = "sgd" if self.epochs >= _PAPER_EPOCHS else "adam"
        if schedule == "auto":
            schedule = "paper" if optimizer == "sgd" else "cosine"
        if rate is None:
            rate = _LEARNING_RATES[optimizer]
        return dataclasses.replace(
            self,
            optimizer=optimizer,
            batch_size=self.batch_size or _BATCH_SIZES[optimizer],
            learning_rate=rate,
            schedule=schedule,
        )


def claim_workdir(workdir, config):
    """Makes `workdir` the folder of this training, or checks that it is.

    Raises:
        ValueError: if the folder belongs to a training with another configuration, or holds
            something else.
    """
    workdir = pathlib.Path(workdir)
    path = workdir / "config.json"
    wanted = json.loads(json.dumps(dataclasses.asdict(config)))
    if path.exists():
        found = read_json(path)
        differences = [
            f"{name}: {found.get(name)!r} there, {wanted.get(name)!r} now"
            for name in sorted({*found, *wanted})
            if found.get(name) != wanted.get(name)
        ]
        if differences:
            raise ValueError(
                f"{workdir} belongs to a training with another configuration "
                f"({'; '.join(differences)}). Give another --workdir, or the same settings to "
                "resume that training."
            )
        return
    if workdir.is_dir() and any(workdir.iterdir()):
        raise ValueError(
            f"{workdir} is not empty and has no config.json, so it is not the folder of a "
            "training. Give another --workdir."
        )
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(path, wanted)
