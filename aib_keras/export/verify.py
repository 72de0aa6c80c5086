"""Whether what was written computes what the model computes."""

import contextlib
import dataclasses

import numpy as np

from aib_keras.export.serving import input_dtype, serving_outputs

_NUM_IMAGES = 16
_QUANTIZED = "_quantized"
# An anchor differs from the next by more, a rounding error is less.
_OTHER_ANCHOR = 1e-4


class ExportError(RuntimeError):
    """What was written does not compute what the model computes; it was not kept."""


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What an export wrote and how far it is from the model, over a few images.

    Attributes:
        path: Where it is, absolute.
        bytes: Its size.
        images: Number of images compared.
        max_difference: Largest absolute difference, for each output by its name. One position of
            `attention_quantized` can differ by the distance of two anchors where the map lies
            between them.
        mean_difference: Mean absolute difference, likewise.
        cosine: Mean over the images of the cosine between the model's output and the exported
            one's, likewise; 1 if they agree.
        same_class: Share of the images, in [0, 1], that get the same class.
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
    """How far an export may be from the model before it counts as broken.

    Attributes:
        mean: Largest mean absolute difference of the probabilities and of the maps.
        largest: Largest absolute difference of these at any place.
        map_cosine: Smallest mean cosine of the maps.
        probability_cosine: Smallest mean cosine of the probabilities.
    """

    mean: float = np.inf
    largest: float = np.inf
    map_cosine: float = -1.0
    probability_cosine: float = -1.0


# `mean` finds a wrong conversion. A single position may be further off: under the steep sigmoid of
# a new WRN, rounding the input's last bit moves the map by 1.4e-4.
FLOAT32_LIMITS = Limits(mean=1e-4, largest=1e-2)
FLOAT16_LIMITS = Limits(mean=1e-2)
# How much accuracy 8 bits may cost is for the user to judge by the report. These only tell a model
# from noise or a constant; a prediction near a class boundary may well tip over.
INT8_LIMITS = Limits(map_cosine=0.9, probability_cosine=0.5)


def images_to_compare(model, image_shape, representative_images=None):
    """Up to 16 images as the model takes them, spread over the given ones or random."""
    if representative_images is not None:
        step = max(1, len(representative_images) // _NUM_IMAGES)
        return representative_images[::step][:_NUM_IMAGES]
    rng = np.random.default_rng(0)
    shape = (_NUM_IMAGES, *image_shape)
    if input_dtype(model) == "uint8":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return rng.standard_normal(shape, dtype=np.float32)


def expected_outputs(model, images):
    """What an export of `model` has to give, as numpy arrays.

    Raises:
        ExportError: if the model itself gives NaN or infinity.
    """
    with exact_float32():
        outputs = serving_outputs(model, images)
        outputs = {name: np.asarray(value) for name, value in outputs.items()}
    for name, value in outputs.items():
        if not np.isfinite(value).all():
            raise ExportError(
                f"{model.name} itself gives NaN or infinity ({name}): its weights are of no use."
            )
    return outputs


@contextlib.contextmanager
def exact_float32():
    """On GPUs that would round convolutions to TensorFloat-32, 10 bits, does not let them."""
    import tensorflow as tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def verified_report(path, size, expected, found, limits):
    """The `ExportReport` of what is to be at `path`.

    Args:
        path: Path that the report and the error name.
        size: Bytes.
        expected: Dict of arrays from the model.
        found: Dict of arrays from what was written.
        limits: `Limits`.

    Raises:
        ExportError: if the two have other names or shapes, or are further apart than the limits.
    """
    shapes = {name: value.shape for name, value in expected.items()}
    found_shapes = {name: np.shape(value) for name, value in found.items()}
    if found_shapes != shapes:
        raise ExportError(
            f"The export to {str(path)!r} failed and was not kept: its outputs are {found_shapes}, "
            f"the model's {shapes}."
        )
    pairs = {name: (expected[name], found[name]) for name in expected}
    report = ExportReport(
        path=str(path),
        bytes=size,
        images=len(expected["logits"]),
        max_difference={name: float(np.max(np.abs(e - f))) for name, (e, f) in pairs.items()},
        mean_difference={name: float(np.mean(np.abs(e - f))) for name, (e, f) in pairs.items()},
        cosine={name: _cosine(e, f) for name, (e, f) in pairs.items()},
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
        # Written so that NaN is a problem too.
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
    """Absolute differences of the probabilities and maps, without those that a tie explains.

    Where a map lies midway between two anchors, a rounding error decides which one it gets, and
    with it a little of the prediction. So a quantised value is judged by how much further it is
    from the map than the model's own, and the probabilities by the images without such a place.
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


def _cosine(expected, found):
    expected, found = (np.reshape(value, (len(value), -1)) for value in (expected, found))
    lengths = np.linalg.norm(expected, axis=-1) * np.linalg.norm(found, axis=-1)
    # The floor is for a map of zeros, whose cosine with itself would be NaN.
    cosine = np.sum(expected * found, axis=-1) / np.maximum(lengths, 1e-30)
    return float(np.mean(np.where((expected == found).all(axis=-1), 1.0, cosine)))
