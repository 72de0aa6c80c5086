"""Images from TensorFlow Datasets (TFDS), which is imported only when they are loaded."""

import contextlib
import os
import pathlib

import keras
import numpy as np

from aib_keras.data import pixels, tfds_records
from aib_keras.data.image_data import ImageData
from aib_keras.data.tfds_records import ARRAY_RECORD, box_reader, finite_boxes, selector
from aib_keras.utils.optional import require
from aib_keras.utils.suggestions import did_you_mean

ALIASES = {"svhn": "svhn_cropped"}
_BATCH = 256


def without_version(name):
    """Returns the name that TFDS has for a data set, without its version."""
    base, *rest = name.partition(":")[0].split("/")
    return "/".join([ALIASES.get(base, base), *rest])


def load_tfds(name, split, image_size, data_dir, crop_to_box=False, stream=None):
    """Loads a TFDS data set, and downloads it only if it is not in `data_dir`.

    Args:
        name: A TFDS name, optionally with "/config" or ":version", or "svhn" for "svhn_cropped".
        split: A `Split` of any name that the data set has.
        image_size: (height, width) to resize to; None if the data set's images have one size.
        data_dir: Path of the folder of prepared data sets, or None for TFDS's default folder.
        crop_to_box: Boolean, whether to crop each image to its box before resizing it. The result
            has no boxes.
        stream: Boolean, whether to read the images when they are needed; None: if they need more
            than 8 GiB. It needs files of the format ArrayRecord, or TFRecord on a local disk.

    Returns:
        An `ImageData`. Its boxes are those of the feature "bbox". If the data set has a feature
        "objects" instead, the box is the smallest one around all objects, or the whole image if
        there are none.

    Raises:
        ImportError: If TensorFlow or TensorFlow Datasets is not installed.
        ValueError: If there is no such data set or split, it is not one of labelled images, or it
            has no boxes to crop to.
        OSError: If it cannot be downloaded.
    """
    tf, tfds = _import_tfds(name)
    builder = _builder(tfds, name, data_dir)
    features = builder.info.features
    _check_features(tfds, features, name)
    stored = features["image"].shape
    if image_size is None and None in stored[:2]:
        raise ValueError(
            f"The images of {name} have different sizes: give image_size=(height, width)."
        )
    size = image_size or tuple(stored[:2])
    if not builder.is_prepared():
        _download(builder, name, data_dir)
    split.require(tuple(builder.info.splits), name)
    start, stop = split.bounds(builder.info.splits[split.name].num_examples, name)
    has_boxes = box_reader(tf, tfds, features) is not None
    if crop_to_box and not has_boxes:
        raise ValueError(f"{name} has no boxes to crop to: use `crop_to_box=False`.")
    streamed = pixels.whether_to_stream(stream, stop - start, *size, name)
    # TFDS itself reads ArrayRecord files by position only.
    if streamed or builder.info.file_format.value == ARRAY_RECORD:
        examples = tfds_records.stream(builder, split.name, start, stop, size, crop_to_box, name)
        return examples if streamed else examples.in_memory()
    images = np.empty((stop - start, *size, 3), np.uint8)
    labels = np.empty((stop - start,), np.int32)
    boxes = np.empty((stop - start, 4), np.float32) if has_boxes else None
    with tf.device("CPU:0"):
        examples = builder.as_dataset(
            split=tfds.core.ReadInstruction(split.name, from_=start, to=stop, unit="abs"),
            shuffle_files=False,
            # In the order of the files, as examples are streamed.
            read_config=tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1),
        )
        select = selector(tf, tfds, features, size, crop_to_box)
        examples = examples.map(select, num_parallel_calls=tf.data.AUTOTUNE)
        position = 0
        for batch in tfds.as_numpy(examples.batch(_BATCH).prefetch(2)):
            chunk = slice(position, position + len(batch["label"]))
            images[chunk], labels[chunk] = batch["image"], batch["label"]
            if has_boxes:
                boxes[chunk] = batch["box"]
            position = chunk.stop
    if crop_to_box:
        boxes = None
    elif has_boxes:
        boxes = finite_boxes(boxes, size)
    return ImageData(images, labels, tuple(features["label"].names), boxes, name)


def _import_tfds(name):
    feature = f"{name!r} is not a file or a folder here. Looking it up in TensorFlow Datasets"
    tf, tfds = (
        require(module, feature, "tensorflow,train")
        for module in ("tensorflow", "tensorflow_datasets")
    )
    if keras.backend.backend() != "tensorflow":
        # TensorFlow takes a GPU's whole memory when it starts, but here JAX or torch needs it. The
        # error means that TensorFlow has started already; then its settings stay as they are.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    return tf, tfds


def _builder(tfds, name, data_dir):
    base = name.split("/")[0].split(":")[0]
    full_name = ALIASES.get(base, base) + name[len(base) :]
    # TFDS would look for community data sets on the network and list hundreds in its error.
    known = tfds.list_builders(with_community_datasets=False)
    prepared = _prepared(data_dir or tfds.core.constants.DATA_DIR)
    try:
        if ALIASES.get(base, base) not in {*known, *prepared}:
            raise tfds.core.DatasetNotFoundError(name)
        return tfds.builder(full_name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        hint = did_you_mean(base.lower(), sorted({*known, *ALIASES, *prepared} - {base}), count=5)
        path = f" If it is a path, there is nothing at {os.path.abspath(name)}."
        raise ValueError(
            f"There is no data set {name!r}, neither in TensorFlow Datasets nor prepared in "
            f"{data_dir or 'its default folder'}.{hint}{path}"
        ) from None


def _prepared(data_dir):
    data_dir = pathlib.Path(data_dir)
    return [path.name for path in data_dir.iterdir() if path.is_dir()] if data_dir.is_dir() else []


def _download(builder, name, data_dir):
    try:
        builder.download_and_prepare()
    except Exception as error:  # The network, the disk, or a download that TFDS leaves to the user.
        raise OSError(
            f"{name} is not prepared in {data_dir or 'the default folder of TFDS'} and could not "
            f"be downloaded ({error}). Prepare it on a machine with a network, copy the folder "
            "and pass it as `data_dir`."
        ) from error


def _check_features(tfds, features, name):
    for key, kind in (("image", tfds.features.Image), ("label", tfds.features.ClassLabel)):
        if key not in features or not isinstance(features[key], kind):
            raise ValueError(
                f"{name} is not a data set of labelled images: it has no feature {key!r} of the "
                f"type {kind.__name__}; its features are {', '.join(features)}."
            )
    if features["image"].np_dtype != np.uint8:
        raise ValueError(
            f"The images of {name} must be uint8; they are {features['image'].np_dtype}."
        )
