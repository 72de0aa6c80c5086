"""The examples that a configuration trains on and is evaluated on."""

import functools
import pathlib

from aib_keras import data
from aib_keras.data.loading import is_own
from aib_keras.experiments.config import TrainingConfig

# What decides the evaluation examples of a configuration, and how they look.
_EVALUATION_FIELDS = (
    "dataset",
    "data_dir",
    "train_split",
    "test_split",
    "validation_examples",
    "image_size",
    "crop_pct",
    "crop_to_box",
    # Images that did not fit in memory still do not.
    "stream",
)


def load_data(config):
    """Loads the examples of a configuration.

    Returns:
        A tuple (training examples, evaluation examples, what the latter are): two `ImageData` and
        a string.
    """
    train_data = _load(config, config.train_split)
    if config.validation_examples:
        train_data, evaluation = train_data.hold_out(config.validation_examples)
        evaluated_on = f"the last {config.validation_examples} of {config.train_split}, held out"
    else:
        evaluation = _load(config, config.test_split)
        evaluated_on = config.test_split
    if config.train_examples is not None:
        train_data = train_data.take(config.train_examples)
    if config.wrong_labels:
        train_data = data.with_wrong_labels(train_data, config.wrong_labels, config.seed)
    if config.augment == "none":
        train_data = _cropped(config, train_data)
    return train_data, _cropped(config, evaluation), evaluated_on


def evaluated_images(result):
    """Returns what decides which images a training was evaluated on, and how they look, as a dict.

    Args:
        result: The content of a `result.json`.
    """
    config = result["config"]
    unused = {
        "data_dir",
        "stream",
        "test_split" if config["validation_examples"] else "train_split",
    }
    return {name: config[name] for name in _EVALUATION_FIELDS if name not in unused}


def load_evaluation(result, data_dir=None):
    """Loads the examples that a training was evaluated on.

    Training examples are not read, unless the evaluation examples were held out of them. The last
    examples are kept in memory: most runs of a table were evaluated on the same ones.

    Args:
        result: The content of a `result.json`.
        data_dir: Folder where TFDS keeps its data, if it has moved since.

    Returns:
        An `ImageData`.

    Raises:
        ValueError: if they are images of a folder that has changed since. Some of those that the
            model was trained on may now be among them.
    """
    fields = {name: result["config"][name] for name in _EVALUATION_FIELDS}
    if data_dir is not None:
        fields["data_dir"] = data_dir
    if files_have_changed(result, fields["dataset"], fields["data_dir"]):
        raise ValueError(
            f"The images of {fields['dataset']} have changed since the training. Some that the "
            "model was trained on may now be among those to evaluate on. Put them back, or train "
            "again with those of now."
        )
    return _load_evaluation(**fields)


def files_have_changed(result, dataset, data_dir):
    """Returns whether the data are a folder of images that has changed since a training.

    Args:
        result: The content of the training's `result.json`.
        dataset, data_dir: As in a `TrainingConfig`.
    """
    now = files_digest(dataset, data_dir)
    return now is not None and result.get("files", now) != now


def files_digest(dataset, data_dir):
    """Returns the digest of the data if they are a folder of images, else None."""
    # A TFDS data set can have the name of a folder here.
    if not is_own(dataset, data_dir):
        return None
    folder = pathlib.Path(dataset).expanduser()
    return data.folder_digest(folder) if folder.is_dir() else None


@functools.lru_cache(maxsize=1)
def _load_evaluation(**fields):
    config = TrainingConfig(**fields)
    if config.validation_examples:
        _, evaluation = _load(config, config.train_split).hold_out(config.validation_examples)
    else:
        evaluation = _load(config, config.test_split)
    return _cropped(config, evaluation)


def _cropped(config, examples):
    if config.crop_pct == 1:
        return examples
    return examples.center_crop((config.image_size, config.image_size))


def _load(config, split):
    size = config.image_size
    if size is not None:
        (size, _) = data.EvaluationTransform((size, size), config.crop_pct).resized_size
    return data.load(
        config.dataset,
        split,
        data_dir=config.data_dir,
        image_size=size,
        crop_to_box=config.crop_to_box,
        stream=config.stream,
    )
