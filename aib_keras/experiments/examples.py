"""The examples that a configuration trains on and is evaluated on."""

import functools
import pathlib

import numpy as np

from aib_keras import data
from aib_keras.data import tfds_source
from aib_keras.data.loading import is_own
from aib_keras.data.splits import Split
from aib_keras.experiments.config import TrainingConfig

# For slices that compare alike whatever the number of examples is.
_ANY_COUNT = 10**9
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

    Raises:
        ValueError: if the examples to evaluate on are among those to train on, or classes are
            missing because the data are sorted by class.
    """
    train_data = whole = _load(config, config.train_split)
    if config.validation_examples:
        train_data, evaluation = train_data.hold_out(config.validation_examples)
        evaluated_on = f"the last {config.validation_examples} of {config.train_split}, held out"
    else:
        _check_apart(config)
        evaluation = _load(config, config.test_split)
        evaluated_on = config.test_split
    if config.train_examples is not None:
        train_data = train_data.take(config.train_examples)
    _check_order(config, whole, train_data, evaluation)
    if config.wrong_labels:
        train_data = data.with_wrong_labels(train_data, config.wrong_labels, config.seed)
    if config.augment == "none":
        train_data = cropped(config, train_data)
    return train_data, cropped(config, evaluation), evaluated_on


def _check_apart(config):
    """Raises a ValueError if two slices of one split overlap."""
    splits = [Split.parse(each) for each in (config.train_split, config.test_split)]
    if splits[0].name != splits[1].name or not _comparable(*splits):
        return
    (start, stop), (test_start, test_stop) = (s.bounds(_ANY_COUNT, s.name) for s in splits)
    if start < test_stop and test_start < stop:
        raise ValueError(
            f"`test_split` {config.test_split!r} has examples of `train_split` "
            f"{config.train_split!r}. Choose parts that do not overlap, or hold training examples "
            "out with `validation_examples`."
        )


def _check_order(config, whole, train_data, evaluation):
    """Raises a ValueError if classes are missing in a part because the data are in order."""
    labels = np.asarray(whole.labels)
    changes = np.count_nonzero(np.diff(labels))
    # Each class in one run.
    is_sorted = changes + 1 == len(np.unique(labels)) < len(labels)
    parts = {"train": train_data, "evaluate": evaluation}
    for verb, other in (("train", "evaluate"), ("evaluate", "train")):
        missing = np.setdiff1d(parts[other].labels, parts[verb].labels)
        if verb == "evaluate" and not config.validation_examples:
            # Those of a split of its own, which may lack a class.
            continue
        if is_sorted and len(missing):
            names = [whole.class_names[label] for label in missing]
            raise ValueError(
                f"The examples of {config.dataset} are sorted by class, and those to {verb} on "
                f"have none of {', '.join(names[:3])}{' and others' if len(names) > 3 else ''}, "
                f"which those to {other} on have. Shuffle the file (images and labels alike), or "
                "train on all of its `train_split` and evaluate on another split."
            )


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


def how_prepared(result):
    """Returns how the images that a training was evaluated on look, for the head of a table.

    Args:
        result: The content of a `result.json`.
    """
    config = result["config"]
    height, width = result["input_shape"][:2]
    text = f"{height}x{width} pixels"
    if config["crop_pct"] < 1:
        text += f" of the central {100 * config['crop_pct']:g} %"
    return text + ", cropped to the box" * config["crop_to_box"]


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


def same_data(one, other):
    """Returns whether two values of `dataset` name the same data."""
    one, other = map(tfds_source.without_version, (one, other))
    paths = (pathlib.Path(each).expanduser() for each in (one, other))
    return one == other or len({path.resolve() if path.exists() else path for path in paths}) == 1


def may_have_seen(result, config, train_examples=None):
    """Returns whether a training may have seen examples that another one is evaluated on.

    Args:
        result: The content of the first training's `result.json`.
        config: `TrainingConfig` of the other one, on the same data.
        train_examples: Integer, how many examples the other one is trained on, or None if that is
            not known yet.
    """
    before = TrainingConfig.up_to_date(result["config"])
    seen, split = Split.parse(before["train_split"]), Split.parse(config.test_split)
    held_out = config.validation_examples
    if held_out:
        split = Split.parse(config.train_split)
        if split == seen:
            if before["train_examples"] is None:
                return held_out > before["validation_examples"]
            # Those to evaluate on begin behind those to train on, or later.
            return train_examples is not None and result["train_examples"] > train_examples
    if split.name != seen.name:
        return False
    count = _ANY_COUNT
    if str(seen) == seen.name and before["train_examples"] is None:
        count = result["train_examples"] + before["validation_examples"]
    elif not _comparable(seen, split):
        return True
    seen_start, seen_stop = seen.bounds(count, seen.name)
    start, stop = split.bounds(count, split.name)
    if held_out:
        start = max(start, stop - held_out)
    return start < seen_stop - before["validation_examples"] and stop > seen_start


def _comparable(*splits):
    """Returns whether slices of one split can be compared without the number of its examples."""
    bounds = [each for split in splits for each in (split.start, split.stop) if each is not None]
    return len({(each.startswith("-"), each.endswith("%")) for each in bounds}) <= 1


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
    return cropped(config, evaluation)


def cropped(config, examples):
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
