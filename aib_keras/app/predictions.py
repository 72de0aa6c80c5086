"""What the page shows, without the page: from images to probabilities, maps and bits."""

import dataclasses

import keras
import numpy as np
from scipy import special

from aib_keras import explain
from aib_keras.data import EvaluationTransform
from aib_keras.experiments.selectivity import is_residual
from aib_keras.metrics import nats_to_bits

# The maps that the page knows, and the names of a model's own among the outputs of `explain`.
MAP, QUANTIZED, GRAD_CAM = "map", "quantised map", "Grad-CAM"
_OWN = {MAP: "attention", QUANTIZED: "attention_quantized"}


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """What a model predicts for one image, without sampling.

    Attributes:
        probabilities: Float `(C,)`, sum 1.
        class_name: Name of the most probable class.
        maps: Dict from "map", "quantised map" and "Grad-CAM", as far as the model has them and they
            were asked for, to float32 arrays `(h, w)`. Most maps are in [0, 1]; a class activation
            map has any real numbers, and Grad-CAM has numbers of at least 0.
        bits: KL divergence of p(z|x) from the prior in bits, or None without a bottleneck.
        cell_bits: Float `(h, w)`, the bits that pass each cell of the map with the modulation
            `"noise"`; None with another one.
    """

    probabilities: np.ndarray
    class_name: str
    maps: dict
    bits: float | None
    cell_bits: np.ndarray | None = None

    @property
    def anchors_in_use(self):
        """The number of different values in the quantised map."""
        return len(np.unique(self.maps[QUANTIZED]))


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
    crop_to_box: bool = False

    @property
    def num_anchors(self):
        """The number of anchors of the model's quantiser, or None without a quantiser."""
        return None if self.model.quantizer is None else self.model.quantizer.num_anchors

    @property
    def is_residual(self):
        """Whether all features pass the model's map, which only adds to them."""
        return is_residual(self.model)

    @property
    def maps(self):
        """The names of the maps that the page can show of this model."""
        own = [MAP] if self.model.map_names else []
        return (*own, *([QUANTIZED] if self.num_anchors else []), GRAD_CAM)

    def predict(self, images, with_grad_cam=False):
        """Predicts the classes of images.

        Args:
            images: uint8 array `(N, H, W, 3)`.
            with_grad_cam: Boolean, whether to compute Grad-CAM of the predicted classes, too.

        Returns:
            A list with one `Prediction` per image.

        Raises:
            ValueError: if the model returns numbers that are not finite.
        """
        found = self.model.explain(images)
        maps = {name: found[key] for name, key in _OWN.items() if key in found}
        if with_grad_cam:
            maps[GRAD_CAM] = explain.grad_cam(self.model, images)
        if not all(np.isfinite(values).all() for values in (*found.values(), *maps.values())):
            raise ValueError("The model's outputs are not finite: its training has diverged.")
        probabilities = special.softmax(found["logits"].astype(np.float64), axis=-1)
        bits, cell_bits = (
            nats_to_bits(found[name]) if name in found else None
            for name in ("kl_nats", "attention_nats")
        )
        return [
            Prediction(
                probabilities[index],
                self.class_names[int(probabilities[index].argmax())],
                {name: values[index, ..., 0] for name, values in maps.items()},
                None if bits is None else float(bits[index]),
                None if cell_bits is None else cell_bits[index, ..., 0],
            )
            for index in range(len(images))
        ]
