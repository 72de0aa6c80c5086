"""Model cards: what a trained model is, how good it is, what it is not, how to repeat it."""

import dataclasses
import inspect
import pathlib
import shlex

from aib_keras import zoo
from aib_keras.data.loading import is_own
from aib_keras.experiments import field_flags, photo_settings
from aib_keras.experiments.config import TrainingConfig
from aib_keras.experiments.results import name_of

_PAPER_EPOCHS = 200
_REPEATED = "`recipes/train_cifar10.py` takes the same flags."
_REPEATED_OWN = (
    "The same photos and this command make the same model. `aib-keras app` shows it in the browser."
)
# A card does not list the names of more classes.
_MOST_NAMES = 50
# Data sets that are easily confused with others.
_DATASET_NOTES = {
    "cub50": (
        "cub50 is the first 50 of CUB-200-2011's 200 classes: its error is not comparable with the "
        "paper's, which is over 200."
    ),
    "cluttered_digits": "cluttered_digits is made from scikit-learn's digits; no photographs.",
}


def model_card(result):
    """Returns a model card in Markdown.

    Args:
        result: The content of a `result.json`.

    Returns:
        A string.
    """
    config = TrainingConfig.from_json(result["config"])
    own = is_own(config.dataset, config.data_dir)
    lines = [
        f"# {title(result)}",
        "",
        # The rest is about the paper and about arguments.
        _description(result["model"], "\n\n" if own else "\n\nArgs:"),
        "",
        *_loading(result),
        "| | |",
        "|---|---|",
        *(f"| {what} | {value} |" for what, value in _figures(result)),
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in limits(result)),
        "",
        "## To repeat it",
        "",
        _REPEATED_OWN if own else _REPEATED,
        "",
        f"    {command(config)}",
        "",
        "Evaluated with "
        + ", ".join(f"{package} {version}" for package, version in result["versions"].items())
        + ".",
    ]
    return "\n".join(lines) + "\n"


def title(result):
    """Returns "MODEL on DATASET", with the name of a folder in place of its path.

    For published weights it is "MODEL/NAME on DATASET".
    """
    config = TrainingConfig.from_json(result["config"])
    name = config.dataset
    if is_own(name, config.data_dir):
        name = pathlib.Path(name).expanduser().absolute().name
    return f"{name_of(result)} on {name}"


def _loading(result):
    """Returns lines that load published weights; none for other trainings."""
    if "published" not in result:
        return []
    model, _, name = result["published"].partition("/")
    return [f'    model = aib_keras.zoo.{model}(weights="{name}")', ""]


def limits(result):
    """Returns sentences on what a training lacks, for one of the paper's against the paper."""
    config = TrainingConfig.from_json(result["config"])
    if is_own(config.dataset, config.data_dir):
        found = [
            f"It knows only these {result['num_classes']} classes, and assigns one of them to each "
            "photo."
        ]
    else:
        found = [_sentence(what) for what in reductions(result)]
        if found:
            found.append("Its figures are not comparable with the paper's.")
    if config.dataset in _DATASET_NOTES:
        found.append(_DATASET_NOTES[config.dataset])
    start = _sentence(_start(config))
    if start not in found:
        found.append(start)
    if _modulation(config) == "residual":
        found.append(
            'Its map need not show what the classifier uses: with `modulation="residual"`, all of '
            "the features pass."
        )
    if config.label_smoothing:
        found.append(f"Label smoothing of {config.label_smoothing:g} lowers its confidence.")
    if config.validation_examples:
        found.append("Evaluated on held-out training examples; the test set was not read.")
    if config.recalibrate:
        found.append(
            "Its batch norms behind the attention were estimated again without noise "
            "(`training.recalibrate`), for the deterministic prediction. `predict_mc`, which draws "
            "the noise, does not fit them."
        )
    found.append("One seed: the spread between seeds is not in these figures.")
    found.append("The probabilities are the network's softmax outputs and are not calibrated.")
    return found


def _sentence(phrase):
    return f"{phrase[0].upper()}{phrase[1:]}."


def _modulation(config):
    """Returns the modulation of a model with IB attention, or None."""
    defaults = inspect.signature(zoo.get(config.model)).parameters
    if "modulation" not in defaults:
        return None
    return config.settings.get("modulation", defaults["modulation"].default)


def first_weights(config):
    """Returns what a training starts from, as its settings name it, or None for random weights."""
    return config.settings.get("backbone_weights") or config.initial_weights


def _start(config):
    weights = first_weights(config)
    if weights is None:
        return "trained from scratch"
    if weights == "imagenet":
        weights = "ImageNet weights"
    frozen = {
        "features": " (its first layers are frozen)",
        "backbone": " (all is frozen but the attention, the bottleneck and the classifier)",
    }
    return f"started from {weights}{frozen.get(config.freeze, '')}"


def _description(model, end):
    return inspect.cleandoc(zoo.get(model).__doc__).split(end)[0]


def starts_from_random_weights(config):
    """Returns whether a training has no ImageNet weights, though its model takes them."""
    takes = "backbone_weights" in inspect.signature(zoo.get(config.model)).parameters
    return takes and first_weights(config) is None


def reductions(result):
    """Returns short phrases on what a training had less of than the paper's; none at full size."""
    config = TrainingConfig.from_json(result["config"])
    width = config.settings.get("width", 1.0)
    found = []
    if width != 1.0:
        found.append(f"width {width:g} of the paper's")
    if result["epochs"] < _PAPER_EPOCHS:
        found.append(f"{_epochs(result)} of {_PAPER_EPOCHS}")
    if config.train_examples is not None or config.train_split != "train":
        found.append(f"{result['train_examples']:,} training images only")
    if config.wrong_labels:
        found.append(f"{100 * config.wrong_labels:g} % of the training labels wrong on purpose")
    if config.initial_weights:
        found.append(_start(config))
    elif starts_from_random_weights(config):
        found.append("random weights at the start, not those of ImageNet")
    usual = inspect.signature(zoo.get(result["model"])).parameters["input_shape"].default
    if result["input_shape"][0] < usual[0]:
        found.append(f"{result['input_shape'][0]} pixels a side, not {usual[0]}")
    if not config.validation_examples and config.test_split != "test":
        found.append(f"evaluated on {config.test_split} only")
    return found


def command(config):
    """Returns the command line that trains with a configuration."""
    return shlex.join(["aib-keras", *arguments(config)])


def arguments(config):
    """Returns the command of `aib-keras` that trains with a configuration, and its flags."""
    if _is_of_photos(config):
        base = dataclasses.replace(photo_settings.DEFAULTS, dataset=config.dataset)
        flags = field_flags.arguments(config.resolved(), base=_for_any_machine(base))
        return ["photos", f"--dataset={config.dataset}", *flags]
    config = config.resolved()
    named = {name: getattr(config, name) for name in ("model", "dataset", "epochs")}
    # A command without an optimiser may stand for another one.
    if TrainingConfig(**named).resolved().optimizer != config.optimizer:
        named["optimizer"] = config.optimizer
    flags = [f"--{name}={value}" for name, value in named.items()]
    flags += field_flags.arguments(config, base=_for_any_machine(TrainingConfig(**named)))
    return ["train", *flags]


def _for_any_machine(base):
    """Returns the defaults that a command changes, but those that depend on the machine."""
    return dataclasses.replace(base.resolved(), precision="auto")


def _is_of_photos(config):
    """Whether `aib-keras photos` can repeat a training."""
    defaults = photo_settings.DEFAULTS
    known = inspect.signature(zoo.get(config.model)).parameters
    return (
        is_own(config.dataset, config.data_dir)
        and config.image_size is not None
        and all(name in config.settings for name in defaults.settings if name in known)
    )


def _figures(result):
    split = evaluated_split(result)
    last, config = result["last_epoch"], TrainingConfig.from_json(result["config"])
    if is_own(config.dataset, config.data_dir):
        yield "images", config.dataset
        if len(result["class_names"]) <= _MOST_NAMES:
            yield "names of the classes", ", ".join(result["class_names"])
    yield "parameters", f"{result['parameters']:,}"
    yield "classes, input", f"{result['num_classes']}, {'x'.join(map(str, result['input_shape']))}"
    yield (
        "evaluated on",
        f"{result['evaluated_on']}, {result['evaluated_examples']:,} images",
    )
    yield "error of a guess", _percent(1 - 1 / result["num_classes"])
    recalibrated = ", recalibrated" if config.recalibrate else ""
    yield f"error, last epoch{recalibrated}", _percent(result[f"{split}_error_last_epoch"])
    # Earlier versions compared models before and after recalibration.
    if f"{split}_error_best_epoch" in result and not config.recalibrate:
        yield "error, best epoch", _percent(result[f"{split}_error_best_epoch"])
    sampled = result.get(f"{split}_error_last_epoch_sampled")
    if sampled is not None:
        samples = result["prediction_samples"]
        yield f"error, last epoch, `predict_mc` with {samples} samples", _percent(sampled)
    yield "negative log-likelihood", f"{last['nll']:.4f} nats"
    # Trainings of 0.1.0 did not measure it.
    if "expected_calibration_error" in result:
        yield "expected calibration error", _percent(result["expected_calibration_error"])
    if "kl_nats" in last:
        yield "information in z (KL to the prior)", f"{last['kl_nats']:.2f} nats per image"
    if "map_passes" in result:
        yield "passed by the map", f"{_percent(result['map_passes'])} (100 % hides nothing)"
    if "map_similarity" in result:
        yield (
            "cosine of two images' maps",
            f"{result['map_similarity']:.3f} (1: the map does not depend on the image)",
        )
    if "pointing" in result:
        chance = _percent(result["pointing_uniform_map"])
        yield "map's maximum in the box", f"{_percent(result['pointing'])} (uniform map {chance})"
    yield "training", f"{_epochs(result)}, {result['train_examples']:,} images"
    minutes = round(result["seconds"] / 60)
    yield "time of the epochs", f"{minutes} minutes" if minutes > 1 else "less than 2 minutes"
    yield "seed", result["seed"]


def _epochs(result):
    return "1 epoch" if result["epochs"] == 1 else f"{result['epochs']} epochs"


def evaluated_split(result):
    """Returns what the names of a result's errors begin with, "validation" or "test"."""
    return "validation" if "validation_error_last_epoch" in result else "test"


def _percent(share):
    return f"{100 * share:.2f} %"
