"""What the page shows, without the page: from files to probabilities, maps and bits."""

import dataclasses
import functools
import pathlib

import keras
import numpy as np
from scipy import special

from aib_keras.data import pixels
from aib_keras.experiments.tables import read_trainings
from aib_keras.metrics import nats_to_bits

# Loaded models that are kept: a full-size Wide-ResNet takes a quarter of a gigabyte.
_KEPT = 3
# Of a `result.json`.
_NEEDED = {"model", "dataset", "seed", "class_names", "config"}


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """What a model makes of one image; without sampling.

    Attributes:
        probabilities: Float `(C,)`, sum 1.
        class_name: Name of the most probable class.
        attention: Float32 `(h, w)`, the map, or None if the model has none. In [0, 1] for most
            models; a class activation map has any real numbers.
        attention_quantized: Float32 `(h, w)`, or None if the model does not quantise its map.
        bits: KL of p(z|x) to the prior in bits, or None if the model has no bottleneck.
    """

    probabilities: np.ndarray
    class_name: str
    attention: np.ndarray | None
    attention_quantized: np.ndarray | None
    bits: float | None

    @property
    def anchors_in_use(self):
        """How many different values the quantised map has."""
        return len(np.unique(self.attention_quantized))


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained model, and how images were prepared for it.

    Attributes:
        model: An `aib_keras.models.ImageClassifier`.
        class_names: Strings, one a class.
        image_size: (height, width) of what the model sees.
        resize_ratio: Images are resized to this times `image_size` and cropped in the middle.
        crop_to_box: Whether it was trained on images cropped to their object.
    """

    model: keras.Model
    class_names: tuple
    image_size: tuple
    resize_ratio: float
    crop_to_box: bool

    @property
    def num_anchors(self):
        """How many anchors the model's quantiser has, or None if there is no quantiser."""
        quantizer = getattr(getattr(self.model, "attention", None), "quantizer", None)
        return None if quantizer is None else quantizer.num_anchors

    def read(self, path):
        """An image file as the model was evaluated on such files, uint8 `(H, W, 3)`.

        Raises:
            ValueError: if it is not an image that can be read safely.
        """
        height, width = self.image_size
        resized = [round(side * self.resize_ratio) for side in self.image_size]
        image = pixels.decode(path, resized)
        top, left = (resized[0] - height) // 2, (resized[1] - width) // 2
        return np.ascontiguousarray(image[top : top + height, left : left + width])

    def predict(self, images):
        """A `Prediction` for each of the uint8 images `(N, H, W, 3)`.

        Raises:
            ValueError: if the model gives no finite numbers.
        """
        if self.model.map_names:
            found = self.model.explain(images)
        elif hasattr(self.model, "information"):
            found = self.model.information(images)
        else:
            found = {"logits": self.model.predict(images, verbose=0)}
        if not all(np.isfinite(values).all() for values in found.values()):
            raise ValueError("The model's outputs are not finite: its training has diverged.")
        return [
            self._prediction({name: values[index] for name, values in found.items()})
            for index in range(len(images))
        ]

    def _prediction(self, found):
        logits = found["logits"].astype(np.float64)
        attention, quantized = (
            found[name][..., 0] if name in found else None
            for name in ("attention", "attention_quantized")
        )
        return Prediction(
            special.softmax(logits),
            self.class_names[int(logits.argmax())],
            attention,
            quantized,
            float(nats_to_bits(found["kl_nats"])) if "kl_nats" in found else None,
        )


class Trainings:
    """The finished trainings in some folders. Their models are loaded when they are asked for.

    Args:
        runs: Folders of work directories.

    Attributes:
        results: Contents of their `result.json`, a dict by names such as
            "vgg_aib_qt on cluttered_digits (seed 0)".

    Raises:
        ValueError: if there is no finished training, or a `result.json` is none.
    """

    def __init__(self, runs):
        self.results = {}
        for result in read_trainings(runs):
            if not _model_path(result).exists():
                continue
            if missing := _NEEDED - result.keys():
                raise ValueError(
                    f"{result['workdir']}/result.json is not that of a training: it has no "
                    f"{', '.join(sorted(missing))}. Move it out of the way."
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
        """The name of the one to begin with: of the first with most to show."""

        def shows(name):
            last_epoch = self.results[name].get("last_epoch", {})
            return "anchors_in_use" in last_epoch, "kl_nats" in last_epoch

        return max(self.results, key=shows)

    def load(self, name):
        """The `Trained` model of a name in `results`.

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
        height, width = model.get_build_config()["input_shape"][1:3]
        config = result["config"]
        return Trained(
            model,
            tuple(result["class_names"]),
            (height, width),
            config["resize_ratio"],
            config["crop_to_box"],
        )


def _model_path(result):
    return pathlib.Path(result["workdir"]) / "model.keras"
