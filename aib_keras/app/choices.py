"""The models that the page offers: published ones and trained ones, loaded when they are chosen."""

import dataclasses
import functools
import pathlib
import warnings
from collections.abc import Callable

import keras

from aib_keras import zoo
from aib_keras.app.predictions import Trained
from aib_keras.data import EvaluationTransform
from aib_keras.data.folders import list_files
from aib_keras.data.loading import is_own
from aib_keras.data.splits import Split
from aib_keras.experiments.examples import files_have_changed
from aib_keras.experiments.tables import read_trainings
from aib_keras.utils.suggestions import did_you_mean
from aib_keras.zoo import pretrained

# Number of loaded models to keep. A full-size Wide-ResNet takes a quarter of a gigabyte.
_KEPT = 3
# What the page reads from a `result.json`.
_NEEDED = {"model", "dataset", "seed", "class_names", "config"}


@dataclasses.dataclass(frozen=True)
class Choice:
    """A model that can be chosen.

    Attributes:
        name: String that identifies it, in links, too.
        label: What the page calls it.
        dataset: Name of the data set that it was trained on.
        load: Function that returns the `Trained` model.
        shows: Tuple that is greater the more there is to see, to choose the first model by.
        photos: Paths of image files that it was evaluated on, as far as they are on this machine.
    """

    name: str
    label: str
    dataset: str
    load: Callable
    shows: tuple
    photos: tuple = ()


class Choices:
    """The models that the page offers.

    Args:
        choices: `Choice` objects with different names, at least one. The page opens with the first
            of those with most to show among the runs, if there are any.
    """

    def __init__(self, choices):
        self._choices = {choice.name: choice for choice in choices}
        self._load = functools.lru_cache(maxsize=_KEPT)(lambda name: self._choices[name].load())

    @property
    def names(self):
        """The names of the models, in the order of the page."""
        return list(self._choices)

    @property
    def labels(self):
        """Pairs (label, name)."""
        return [(choice.label, choice.name) for choice in self._choices.values()]

    @property
    def photo_sets(self):
        """Dict from the photos that models were evaluated on to the name of their data set."""
        return {one.photos: one.dataset for one in self._choices.values() if one.photos}

    @property
    def first(self):
        """The name of the model to begin with: the first of those with most to show."""
        return max(self._choices.values(), key=lambda choice: choice.shows).name

    def dataset(self, name):
        """Returns the name of the data set that a model was trained on; ValueError if unknown."""
        return self._choices[self._check(name)].dataset

    def photos(self, name):
        """Returns the `Choice.photos` of a model; ValueError if unknown."""
        return self._choices[self._check(name)].photos

    def load(self, name):
        """Returns the `Trained` model of a name.

        Raises:
            ValueError: if there is no such name, or the model cannot be loaded.
        """
        return self._load(self._check(name))

    def _check(self, name):
        if not isinstance(name, str) or name not in self._choices:
            raise ValueError(
                f"There is no such model.{did_you_mean(name, self.names)} Expected one of: "
                f"{', '.join(self.names)}."
            )
        return name


def published():
    """Returns the `Choice` of each of the published weights whose files are on this machine."""
    return [
        Choice(
            f"{entry.model}/{entry.name}",
            f"{entry.model}/{entry.name} (published, {entry.error:.1%} error)",
            # What it was evaluated on is named "DATASET SPLIT".
            entry.evaluated_on.rpartition(" ")[0],
            functools.partial(_load_published, entry),
            (False, entry.bundled),
        )
        for entry in pretrained.at_hand()
    ]


def trained(runs):
    """Returns the `Choice` of each finished training, a list.

    Args:
        runs: Paths of work directories, or of folders of them.

    Raises:
        ValueError: if a `result.json` is not of a training.
    """
    found = {}
    for result in read_trainings(runs):
        if not _model_path(result).exists():
            continue
        if missing := _NEEDED - result.keys():
            raise ValueError(
                f"{result['workdir']}/result.json is not that of a training: it has no "
                f"{', '.join(sorted(missing))}. Move it to another folder."
            )
        name = f"{result['model']} on {result['dataset']} (seed {result['seed']})"
        if name in found:
            name = f"{name}, {result['workdir']}"
        last_epoch = result.get("last_epoch", {})
        shows = (True, "anchors_in_use" in last_epoch, "kl_nats" in last_epoch)
        load = functools.partial(_load_trained, result)
        photos = _evaluation_files(result)
        found[name] = Choice(name, name, result["dataset"], load, shows, photos)
    return list(found.values())


def _evaluation_files(result):
    """Returns the paths of the files that a training was evaluated on, () if they are not there."""
    config, dataset = result["config"], result["dataset"]
    if not is_own(dataset, config.get("data_dir")):
        return ()
    validation_examples = config.get("validation_examples", 0)
    split = config.get("train_split" if validation_examples else "test_split", "test")
    try:
        with warnings.catch_warnings():
            # About files that are no images.
            warnings.simplefilter("ignore")
            if files_have_changed(result, dataset, config.get("data_dir")):
                # The model may have been trained on some of those that would be listed.
                return ()
            _, files = list_files(pathlib.Path(dataset).expanduser(), Split.parse(split))
    except (ValueError, OSError):
        # It has no folder per class, or is not here.
        return ()
    if validation_examples:
        files = files[-validation_examples:]
    return tuple(path for path, _ in files)


def _load_published(entry):
    model = zoo.create(entry.model, weights=entry.name)
    return _trained(model, entry.class_names, entry.training["config"])


def _load_trained(result):
    # Without the optimiser, which takes twice the memory of the weights.
    model = keras.saving.load_model(_model_path(result), compile=False)
    return _trained(model, tuple(result["class_names"]), result["config"])


def _trained(model, class_names, config):
    transform = EvaluationTransform(_size(model), config["crop_pct"])
    return Trained(model, class_names, transform, config["crop_to_box"])


def _size(model):
    return tuple(model.get_build_config()["input_shape"][1:3])


def _model_path(result):
    return pathlib.Path(result["workdir"]) / "model.keras"
