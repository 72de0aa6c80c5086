"""Comparison of an exported file with its model."""

import contextlib
import dataclasses

import numpy as np

from aib_keras.export.outputs import exported_outputs, input_dtype
from aib_keras.utils.maps import map_similarity

_NUM_IMAGES = 16
_QUANTIZED = "_quantized"
# Smaller than the distance between two anchors, larger than a rounding error.
_OTHER_ANCHOR = 1e-4


class ExportError(RuntimeError):
    """An exported file does not compute what the model computes. It was not kept."""


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What an export wrote, and how much its outputs differ from the model's on a few images.

    Attributes:
        path: Absolute path of the export.
        bytes: Its size.
        images: Number of images compared.
        max_difference: Dict from the names of the outputs to the largest absolute difference. A
            position of `attention_quantized` can differ by the distance between two anchors if the
            map lies midway between them.
        mean_difference: Dict from the names of the outputs to the mean absolute difference.
        cosine: Dict from the names of the outputs to the cosine similarity of the model's output
            and the export's, averaged over the images; 1 if they agree.
        same_class: Share of the images, in [0, 1], for which both predict the same class.
    """

    path: str
    bytes: int
    images: int
    max_difference: dict
    mean_difference: dict
    cosine: dict
    same_class: float


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much an export may differ from the model before it counts as broken.

    Attributes:
        mean: Largest allowed mean absolute difference of the probabilities and of the maps.
        largest: Largest allowed absolute difference of any of their values.
        map_cosine: Smallest allowed mean cosine similarity of the maps.
        probability_cosine: Smallest allowed mean cosine similarity of the probabilities.
    """

    mean: float = np.inf
    largest: float = np.inf
    map_cosine: float = -1.0
    probability_cosine: float = -1.0


# `mean` finds a wrong conversion. A single position may differ more: under the steep sigmoid of an
# untrained Wide-ResNet, rounding the input's last bit moves the map by 1.4e-4.
FLOAT32_LIMITS = Limits(mean=1e-4, largest=1e-2)
FLOAT16_LIMITS = Limits(mean=1e-2)
# The report lets the user judge how much accuracy 8 bits may cost. These limits only tell the model
# from noise or a constant, because predictions near a class boundary may well change.
INT8_LIMITS = Limits(map_cosine=0.9, probability_cosine=0.5)


def images_to_compare(model, image_shape, representative_images=None):
    """Returns up to 16 images as the model takes them: some of the given ones, or random ones."""
    if representative_images is not None:
        step = max(1, len(representative_images) // _NUM_IMAGES)
        return representative_images[::step][:_NUM_IMAGES]
    rng = np.random.default_rng(0)
    shape = (_NUM_IMAGES, *image_shape)
    if input_dtype(model) == "uint8":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return rng.standard_normal(shape, dtype=np.float32)


def expected_outputs(model, images):
    """Returns the outputs that an export of `model` must have, as a dict of NumPy arrays.

    Raises:
        ExportError: if the model itself returns NaN or infinity.
    """
    with exact_float32():
        outputs = exported_outputs(model, images)
        outputs = {name: np.asarray(value) for name, value in outputs.items()}
    for name, value in outputs.items():
        if not np.isfinite(value).all():
            raise ExportError(
                f"{model.name} itself returns NaN or infinity ({name}), so there is nothing to "
                "export: its training has probably diverged."
            )
    return outputs


@contextlib.contextmanager
def exact_float32():
    """Switches off TensorFloat-32, which rounds convolutions to 10 bits on some GPUs."""
    import tensorflow as tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def verified_report(path, size, expected, found, limits):
    """Compares the outputs of an export with the model's.

    Args:
        path: Path that the report and the error name.
        size: Integer, the bytes of the export.
        expected: Dict of arrays, the model's outputs.
        found: Dict of arrays, the export's outputs.
        limits: `Limits`.

    Returns:
        An `ExportReport`.

    Raises:
        ExportError: if names or shapes differ, or values differ by more than the limits.
    """
    shapes = {name: value.shape for name, value in expected.items()}
    found_shapes = {name: np.shape(value) for name, value in found.items()}
    if found_shapes != shapes:
        raise ExportError(
            f"The export to {str(path)!r} failed and was not kept: its outputs are {found_shapes}, "
            f"the model's are {shapes}."
        )
    pairs = {name: (expected[name], found[name]) for name in expected}
    report = ExportReport(
        path=str(path),
        bytes=size,
        images=len(expected["logits"]),
        max_difference={name: float(np.max(np.abs(e - f))) for name, (e, f) in pairs.items()},
        mean_difference={name: float(np.mean(np.abs(e - f))) for name, (e, f) in pairs.items()},
        cosine={name: float(np.mean(map_similarity(e, f))) for name, (e, f) in pairs.items()},
        same_class=float(
            np.mean(expected["logits"].argmax(axis=-1) == found["logits"].argmax(axis=-1))
        ),
    )
    problems = _problems(report, _judged_differences(expected, found), limits)
    if problems:
        raise ExportError(
            f"The export to {str(path)!r} disagrees with the model and was not kept: "
            f"{'; '.join(problems)}. Largest differences: {report.max_difference}."
        )
    return report


def _problems(report, differences, limits):
    problems = []
    for name, difference in differences.items():
        # `not <=` instead of `>`, so that NaN is a problem, too.
        if not np.mean(difference) <= limits.mean:
            problems.append(f"{name} differs by {np.mean(difference):.3g} on average")
        if not np.max(difference) <= limits.largest:
            problems.append(f"{name} differs by up to {np.max(difference):.3g}")
        smallest = limits.probability_cosine if name == "probabilities" else limits.map_cosine
        if not report.cosine[name] >= smallest:
            problems.append(f"{name} has a cosine of {report.cosine[name]:.3g} with the model's")
    for name, difference in report.max_difference.items():
        if not np.isfinite(difference):
            problems.append(f"{name} has NaN or infinity")
    return problems


def _judged_differences(expected, found):
    """Returns absolute differences of the probabilities and maps, without those caused by ties.

    If a value of a map lies midway between two anchors, a rounding error decides which anchor it
    gets, and that changes the prediction a little. So for a quantised map the difference is how
    much further its values are from the map than the model's own quantised values, and for the
    probabilities only images without such ties count.
    """
    differences = {
        name: np.abs(expected[name] - found[name]) for name in expected if name != "logits"
    }
    tied = np.zeros(len(expected["logits"]), bool)
    for name in differences:
        if name.endswith(_QUANTIZED):
            tied |= differences[name].max(axis=(1, 2, 3)) > _OTHER_ANCHOR
            attention = expected[name.removesuffix(_QUANTIZED)]
            differences[name] = np.abs(
                np.abs(found[name] - attention) - np.abs(expected[name] - attention)
            )
    if not tied.all():
        differences["probabilities"] = differences["probabilities"][~tied]
    return differences
