"""Errors of trained models on corrupted and attacked images."""

import dataclasses
import pathlib

import keras
import numpy as np

from aib_keras import explain
from aib_keras.experiments import measured
from aib_keras.experiments.examples import load_evaluation
from aib_keras.explain.corruptions import STRENGTHS
from aib_keras.models import VariationalClassifier
from aib_keras.training.fitting import MODEL_FILE

_SEED = 0


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


def label(result):
    """Returns what a training is called in tables. Those that differ in their seeds are the same.

    Args:
        result: The content of its `result.json`.
    """
    if "published" in result:
        return result["published"]
    text = f"{result['model']}, {result['train_examples']:,} images"
    share = result["config"].get("wrong_labels")
    return f"{text}, {100 * share:g} % wrong labels" if share else text


def measure(result, settings, data_dir=None):
    """Measures a training on corrupted and attacked images, or reads what was measured before.

    The images are those that it was evaluated on.

    Args:
        result: The content of its `result.json`, with `workdir`.
        settings: `Settings`.
        data_dir: Folder where TFDS keeps its data, if it has moved since.

    Returns:
        A tuple (what `corruptions` returns, a list of what `attacks` returns: through the mean and,
        for a model with a bottleneck, through samples), each with `label`; `images`, their
        number; and `evaluated_on`, what they are.
    """
    work = _Work(result, settings, data_dir)
    attack = {"epsilons": settings.epsilons, "pgd_steps": settings.pgd_steps}
    attacked = [work.of("attacks-mean", attacks, **attack)]
    corrupted = work.of("corruptions", corruptions)
    if settings.samples and attacked[0]["stochastic"]:
        name = f"attacks-{settings.samples}-samples"
        attacked.append(work.of(name, attacks, **attack, samples=settings.samples))
    return corrupted, attacked


class _Work:
    """Measures a training, whose model is loaded only if something was not measured before."""

    def __init__(self, result, settings, data_dir):
        self.result, self.count, self.data_dir = result, settings.examples, data_dir
        self.workdir = pathlib.Path(result["workdir"])
        self.loaded = None

    def of(self, name, function, **arguments):
        path = self.workdir / f"robustness-{name}.json"
        settings = {"examples": self.count, **arguments}
        if (found := measured.kept(path, settings)) is not None:
            return found
        if self.loaded is None:
            images = load_evaluation(self.result, self.data_dir)
            images = images.take(min(self.count or len(images), len(images)))
            self.loaded = keras.saving.load_model(self.workdir / MODEL_FILE), images
        model, images = self.loaded
        found = {
            "label": label(self.result),
            "images": len(images),
            "evaluated_on": self.result["evaluated_on"],
            **function(model, images, **arguments),
        }
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
        stands, wrong[name] = right.copy(), []
        for epsilon in epsilons:
            if stands.any():
                # All images, because the noise of `predict_mc` goes by the place in the array.
                # Without it, only those that stand are worth the time.
                where = np.arange(len(right)) if samples else np.flatnonzero(stands)
                images, labels = examples.images[where], examples.labels[where]
                changed = attack(model, images, labels, epsilon, samples=samples, seed=_SEED)
                stands[where] &= _predicted(model, changed, samples) == labels
            wrong[name].append(len(examples) - int(np.count_nonzero(stands)))
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
