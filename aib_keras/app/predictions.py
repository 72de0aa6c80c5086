"""What the page shows, without the page: from files to probabilities, maps and bits."""

import dataclasses
import functools
import pathlib

import keras
import numpy as np

from aib_keras.data import EvaluationTransform
from aib_keras.experiments.tables import read_trainings
from aib_keras.metrics import nats_to_bits

# Number of loaded models to keep. A full-size Wide-ResNet takes a quarter of a gigabyte.
_KEPT = 3
# What the page reads from a `result.json`.
_NEEDED = {"model", "dataset", "seed", "class_names", "config"}


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """What a model predicts for one image, without sampling.

    Attributes:
        probabilities: Float `(C,)`, sum 1.
        class_name: Name of the most probable class.
        attention: Float32 `(h, w)`, the map, or None if the model has none. Most maps are in
            [0, 1]; a class activation map has any real numbers.
        attention_quantized: Float32 `(h, w)`, or None if the model does not quantise its map.
        bits: KL divergence of p(z|x) from the prior in bits, or None without a bottleneck.
    """

    probabilities: np.ndarray
    class_name: str
    attention: np.ndarray | None
    attention_quantized: np.ndarray | None
    bits: float | None

    @property
    def anchors_in_use(self):
        """The number of different values in the quantised map."""
        return len(np.unique(self.attention_quantized))


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained model, and how images were prepared for it.

    Attributes:
        model: An `aib_keras.models.ImageClassifier`.
        class_names: Strings, one per class.
        transform: `EvaluationTransform` from an image of any size to what the model sees.
        crop_to_box: Whether it was trained on images cropped to their object.
    """

    model: keras.Model
    class_names: tuple
    transform: EvaluationTransform
    crop_to_box: bool

    @property
    def num_anchors(self):
        """The number of anchors of the model's quantiser, or None without a quantiser."""
        return None if self.model.quantizer is None else self.model.quantizer.num_anchors

    def predict(self, images):
        """Predicts the classes of images.

        Args:
            images: uint8 array `(N, H, W, 3)`.

        Returns:
            A list with one `Prediction` per image.

        Raises:
            ValueError: if the model returns numbers that are not finite.
        """
        found = self.model.explain(images)
        if not all(np.isfinite(values).all() for values in found.values()):
            raise ValueError("The model's outputs are not finite: its training has diverged.")
        return [
            self._prediction({name: values[index] for name, values in found.items()})
            for index in range(len(images))
        ]

    def _prediction(self, found):
        logits = found["logits"].astype(np.float64)
        exponentials = np.exp(logits - logits.max())
        attention, quantized = (
            found[name][..., 0] if name in found else None
            for name in ("attention", "attention_quantized")
        )
        return Prediction(
            exponentials / exponentials.sum(),
            self.class_names[int(logits.argmax())],
            attention,
            quantized,
            float(nats_to_bits(found["kl_nats"])) if "kl_nats" in found else None,
        )


class Trainings:
    """The finished trainings in some folders. Their models are loaded when they are needed.

    Args:
        runs: Folders of work directories.

    Attributes:
        results: Dict from names such as "vgg_aib_qt on cluttered_digits (seed 0)" to the contents
            of their `result.json`.

    Raises:
        ValueError: if there is no finished training, or a `result.json` is not of a training.
    """

    def __init__(self, runs):
        self.results = {}
        for result in read_trainings(runs):
            if not _model_path(result).exists():
                continue
            if missing := _NEEDED - result.keys():
                raise ValueError(
                    f"{result['workdir']}/result.json is not that of a training: it has no "
                    f"{', '.join(sorted(missing))}. Move it to another folder."
                )
            name = f"{result['model']} on {result['dataset']} (seed {result['seed']})"
            if name in self.results:
                name = f"{name}, {result['workdir']}"
            self.results[name] = result
        if not self.results:
            raise ValueError(
                f"There is no finished training (*/result.json and model.keras) in "
                f"{', '.join(map(str, runs))}."
            )
        self._load = functools.lru_cache(maxsize=_KEPT)(self._load_uncached)

    @property
    def first(self):
        """The name of the training to begin with: the first of those with most to show."""

        def shows(name):
            last_epoch = self.results[name].get("last_epoch", {})
            return "anchors_in_use" in last_epoch, "kl_nats" in last_epoch

        return max(self.results, key=shows)

    def load(self, name):
        """Returns the `Trained` model of a name in `results`.

        Raises:
            ValueError: if there is no such name.
        """
        if not isinstance(name, str) or name not in self.results:
            raise ValueError(f"There is no such model. Expected one of: {', '.join(self.results)}.")
        return self._load(name)

    def _load_uncached(self, name):
        result = self.results[name]
        # Without the optimiser, which takes twice the memory of the weights.
        model = keras.saving.load_model(_model_path(result), compile=False)
        size = tuple(model.get_build_config()["input_shape"][1:3])
        config = result["config"]
        return Trained(
            model,
            tuple(result["class_names"]),
            EvaluationTransform(size, config["crop_pct"]),
            config["crop_to_box"],
        )


def _model_path(result):
    return pathlib.Path(result["workdir"]) / "model.keras"
