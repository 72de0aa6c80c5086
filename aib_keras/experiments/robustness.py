"""Errors of trained models on corrupted and attacked images."""

import dataclasses
import fnmatch
import pathlib

import keras
import numpy as np

from aib_keras import data, explain, zoo
from aib_keras.experiments import measured
from aib_keras.experiments.examples import load_evaluation
from aib_keras.explain.corruptions import STRENGTHS
from aib_keras.models import VariationalClassifier
from aib_keras.zoo import pretrained

_SEED = 0


@dataclasses.dataclass(frozen=True)
class Subject:
    """A trained model, and where to keep what is measured of it.

    Attributes:
        label: Its name in tables. Trainings that differ in their seeds have the same.
        file: Path that the files of measurements begin with.
        identity: What tells the model from another one with the same files, for JSON.
        load: Function that returns the model.
        examples: Function that returns the `ImageData` to measure on.
    """

    label: str
    file: pathlib.Path
    identity: str
    load: object
    examples: object


def of_training(result, data_dir=None):
    """Returns the `Subject` of a training, measured on what it was evaluated on.

    Args:
        result: The content of its `result.json`, with `workdir`.
        data_dir: Folder where TFDS keeps its data, if it has moved since.
    """
    workdir = pathlib.Path(result["workdir"])
    label = f"{result['model']}, {result['train_examples']:,} images"
    if share := result["config"].get("wrong_labels"):
        label += f", {100 * share:g} % wrong labels"
    return Subject(
        label,
        workdir / "robustness",
        # A newer model makes what was measured obsolete, see `measured.kept`.
        workdir.name,
        lambda: keras.saving.load_model(workdir / "model.keras"),
        lambda: load_evaluation(result, data_dir),
    )


def of_weights(pattern, folder, dataset, split, data_dir=None):
    """Returns the `Subject`s of published weights.

    Args:
        pattern: Of MODEL/NAME, such as `*/cifar10`.
        folder: Path of a folder for what is measured.
        dataset, split, data_dir: What to measure on, as `data.load` takes it.

    Raises:
        ValueError: if no weights have such a name, or their classes are not those of the data set.
    """
    entries = pretrained.at_hand()
    chosen = [e for e in entries if fnmatch.fnmatchcase(f"{e.model}/{e.name}", pattern)]
    if not chosen:
        there = ", ".join(f"{entry.model}/{entry.name}" for entry in entries) or "none"
        raise ValueError(f"No published weights are called {pattern!r}. There are: {there}.")
    return [_of_entry(each, pathlib.Path(folder), dataset, split, data_dir) for each in chosen]


def _of_entry(entry, folder, dataset, split, data_dir):
    label = f"{entry.model}/{entry.name}"

    def examples():
        images = data.load(dataset, split, data_dir=data_dir)
        if images.class_names != entry.class_names:
            raise ValueError(
                f"The weights {label} have the classes {', '.join(entry.class_names)}, and "
                f"{dataset} has {', '.join(images.class_names)}. Measure them on their own data."
            )
        return images

    return Subject(
        label,
        folder / f"{entry.model}-{entry.name}",
        f"{entry.sha256} on {split} of {dataset}",
        lambda: zoo.create(entry.model, weights=entry.name),
        examples,
    )


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        examples: Integer, the number of images, or None for all.
        epsilons: Numbers in increasing order, the largest changes of a pixel, in units of 1/255.
        pgd_steps: Integer, the steps of PGD.
        samples: Integer, the samples of attacks through samples; 0 for no such attacks.
    """

    examples: int | None = None
    epsilons: tuple = (1, 2, 4, 8)
    pgd_steps: int = 10
    samples: int = 4


def measure(subject, settings):
    """Measures a model on corrupted and attacked images, or reads what was measured before.

    Returns:
        A tuple (what `corruptions` returns, a list of what `attacks` returns: through the mean and,
        for a model with a bottleneck, through samples), each with `label` and `images`, their
        number.
    """
    work = _Work(subject, settings)
    attack = {"epsilons": settings.epsilons, "pgd_steps": settings.pgd_steps}
    attacked = [work.of("attacks-mean", attacks, **attack)]
    corrupted = work.of("corruptions", corruptions)
    if settings.samples and attacked[0]["stochastic"]:
        name = f"attacks-{settings.samples}-samples"
        attacked.append(work.of(name, attacks, **attack, samples=settings.samples))
    return corrupted, attacked


class _Work:
    """Measures a model, which is loaded only if something was not measured before."""

    def __init__(self, subject, settings):
        self.subject, self.count = subject, settings.examples
        self.loaded = None

    def of(self, name, function, **arguments):
        path = self.subject.file.with_name(f"{self.subject.file.name}-{name}.json")
        settings = {"identity": self.subject.identity, "examples": self.count, **arguments}
        if (found := measured.kept(path, settings)) is not None:
            return found
        if self.loaded is None:
            images = self.subject.examples()
            images = images.take(min(self.count or len(images), len(images)))
            self.loaded = self.subject.load(), images
        model, images = self.loaded
        found = {
            "label": self.subject.label,
            "images": len(images),
            **function(model, images, **arguments),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        measured.keep(path, settings, found)
        return found


def corruptions(model, examples):
    """Counts the wrong deterministic predictions, clean and under each corruption.

    Args:
        model: An `ImageClassifier`.
        examples: `ImageData`.

    Returns:
        A dict with `clean`, an integer, and `wrong`, which maps each kind of `explain.Corruption`
        to five integers, one per severity.
    """

    def wrong(images):
        return int(np.count_nonzero(_predicted(model, images) != examples.labels))

    return {
        "clean": wrong(examples.images),
        "wrong": {
            kind: [wrong(explain.Corruption(kind, s, _SEED)(examples.images)) for s in range(1, 6)]
            for kind in STRENGTHS
        },
    }


def attacks(model, examples, epsilons, pgd_steps, samples=0):
    """Counts the wrong predictions under FGSM and PGD.

    An image counts as wrong at an epsilon if its prediction is wrong without a change, or after the
    attack with this epsilon or a smaller one, whose changes are allowed, too.

    Args:
        model: An `ImageClassifier`.
        examples: `ImageData`.
        epsilons, pgd_steps: As in `Settings`.
        samples: Integer. 0: attack and prediction are through the mean. From 1 on: the gradients
            are averaged over the predictions of `predict_mc` with so many samples, which is also
            what predicts.

    Returns:
        A dict with `stochastic`, whether the model has distributions to sample; `samples`; `clean`,
        an integer; `epsilons`; and `wrong`, which maps each attack to one integer per epsilon.
    """

    def pgd(*arguments, **settings):
        return explain.pgd(*arguments, steps=pgd_steps, **settings)

    right = _predicted(model, examples.images, samples) == examples.labels
    wrong = {}
    for name, attack in (("FGSM", explain.fgsm), (f"PGD-{pgd_steps}", pgd)):
        standing, wrong[name] = np.flatnonzero(right), []
        for epsilon in epsilons:
            if len(standing):
                images, labels = examples.images[standing], examples.labels[standing]
                changed = attack(model, images, labels, epsilon, samples=samples, seed=_SEED)
                standing = standing[_predicted(model, changed, samples) == labels]
            wrong[name].append(len(examples) - len(standing))
    return {
        "stochastic": isinstance(model, VariationalClassifier),
        "samples": samples,
        "clean": int(np.count_nonzero(~right)),
        "epsilons": list(epsilons),
        "wrong": wrong,
    }


def _predicted(model, images, samples=0):
    if samples:
        return model.predict_mc(images, samples, seed=_SEED)["logits"].argmax(axis=-1)
    return model.explain(images)["logits"].argmax(axis=-1)
