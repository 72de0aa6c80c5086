"""Examples of TensorFlow Datasets by their position, for data sets that do not fit in memory."""

import functools
import os

import numpy as np

from aib_keras.data import pixels
from aib_keras.data.streamed import StreamedImageData
from aib_keras.utils.optional import require

ARRAY_RECORD, _TFRECORD = "array_record", "tfrecord"
# A TFRecord file has, for each record: 8 bytes of length, 4 of checksum, the record, 4 of checksum.
_LENGTH, _BEFORE, _AFTER = 8, 12, 4
_BATCH = 256


def stream(builder, split, start, stop, size, crop_to_box, name):
    """Returns the examples `start` to `stop - 1` of a prepared data set, to be read when needed.

    Labels and boxes are read at once, which takes a pass over the files.

    Args:
        builder: TFDS builder.
        split: Name of a split.
        start, stop: Integers.
        size: (height, width) of the images.
        crop_to_box: Boolean, as in `load_tfds`.
        name: Name of the data set.

    Returns:
        A `StreamedImageData`.

    Raises:
        ValueError: If the files cannot be read by position.
    """
    examples = _Examples(os.fspath(builder.data_path), split, start, stop, size, crop_to_box)
    labels, boxes = examples.read_labels()
    if boxes is not None:
        boxes = finite_boxes(boxes, size)
    names = tuple(builder.info.features["label"].names)
    return StreamedImageData(examples, labels, names, None if crop_to_box else boxes, name)


def finite_boxes(boxes, size):
    """Returns boxes in fractions in pixels; those that are not finite become the whole image."""
    boxes[~np.isfinite(boxes).all(axis=1)] = (0, 0, 1, 1)
    return pixels.resize_boxes(boxes, (1, 1), size)


def selector(tf, tfds, features, size, crop_to_box):
    """Returns a function from an example to its image of size `size`, label and, if any, box."""
    stored = features["image"].shape
    read_box = box_reader(tf, tfds, features)

    def select(example):
        image = example["image"]
        if crop_to_box:
            image = tf.numpy_function(pixels.crop_to_box, [image, read_box(example)], tf.uint8)
        if crop_to_box or tuple(stored) != (*size, 3):
            image = tf.numpy_function(lambda x: pixels.convert(x, size), [image], tf.uint8)
            image = tf.ensure_shape(image, (*size, 3))
        picked = {"image": image, "label": example["label"]}
        if read_box:
            picked["box"] = read_box(example)
        return picked

    return select


def box_reader(tf, tfds, features):
    """Returns a function from an example to its box in fractions of the image, or None."""
    if _is_box(tfds, features, "bbox"):
        return lambda example: example["bbox"]
    if "objects" in features and _is_box(tfds, getattr(features["objects"], "feature", {}), "bbox"):

        def around_all(example):
            found = example["objects"]["bbox"]
            low, high = found[:, :2], found[:, 2:]
            return tf.concat([tf.reduce_min(low, axis=0), tf.reduce_max(high, axis=0)], axis=0)

        return around_all
    return None


def _is_box(tfds, features, key):
    # The default format has fractions with y first. Others have pixels or another order.
    usual = tfds.features.BBoxFeature().bbox_format
    return key in features and getattr(features[key], "bbox_format", None) == usual


class _Examples:
    """Images of a part of a split by their position, decoded as TFDS itself decodes them."""

    def __init__(self, folder, split, start, stop, size, crop_to_box):
        self._folder = folder
        self._split = split
        self._start, self._stop = start, stop
        self._size = size
        self._crop_to_box = crop_to_box
        info = self._builder.info
        paths = [os.fspath(path) for path in info.splits[split].filepaths]
        form = info.file_format.value
        if form not in _RECORDS:
            raise ValueError(
                f"The data set in {folder} has files of the format {form}, which cannot be read by "
                f"position: prepare it with file_format={ARRAY_RECORD!r}."
            )
        self._records = _RECORDS[form](paths)
        if len(self._records) != info.splits[split].num_examples:
            raise ValueError(
                f"{split!r} in {folder} should have {info.splits[split].num_examples} examples, "
                f"and its files have {len(self._records)}: prepare the data set again."
            )

    def __getstate__(self):
        # TensorFlow's objects stay in their process. The next one makes its own.
        cached = ("_builder", "_decode")
        return {name: value for name, value in self.__dict__.items() if name not in cached}

    def __len__(self):
        return self._stop - self._start

    def __getitem__(self, index):
        return self._decode(self._records.read(self._start + index)).numpy()

    @functools.cached_property
    def _builder(self):
        return _tfds().builder_from_directory(self._folder)

    @functools.cached_property
    def _decode(self):
        import tensorflow as tf

        features = self._builder.info.features
        select = selector(tf, _tfds(), features, self._size, self._crop_to_box)

        @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
        def decode(record):
            return select(features.deserialize_example(record))["image"]

        def on_cpu(record):
            with tf.device("CPU:0"):
                return decode(tf.constant(record))

        return on_cpu

    def read_labels(self):
        """Returns int32 labels `(N,)` and float32 boxes `(N, 4)` in fractions, or None."""
        import tensorflow as tf

        tfds = _tfds()
        wanted = {name: True for name in ("label", "bbox") if name in self._builder.info.features}
        read_box = box_reader(tf, tfds, self._builder.info.features)
        if read_box and "bbox" not in wanted:
            wanted["objects"] = {"bbox": True}
        features = tfds.decode.PartialDecoding(wanted).extract_features(self._builder.info.features)

        def parse(record):
            example = features.deserialize_example(record)
            picked = {"label": tf.cast(example["label"], tf.int32)}
            return {**picked, "box": read_box(example)} if read_box else picked

        with tf.device("CPU:0"):
            records = tf.data.Dataset.from_generator(
                lambda: map(self._records.read, range(self._start, self._stop)),
                output_signature=tf.TensorSpec((), tf.string),
            )
            batches = records.map(parse, num_parallel_calls=tf.data.AUTOTUNE).batch(_BATCH)
            found = list(batches.as_numpy_iterator())
        labels, boxes = (
            np.concatenate([batch[key] for batch in found]) if key in found[0] else None
            for key in ("label", "box")
        )
        return labels, boxes


def _tfds():
    return require("tensorflow_datasets", "Streaming from TensorFlow Datasets", "tensorflow,train")


class _TFRecords:
    """Records of TFRecord files by their position. They have no index, so it is made here."""

    def __init__(self, paths):
        self._paths = paths
        places = [_places(path) for path in paths]
        self._ends = np.cumsum([len(place) for place in places])
        self._places = np.concatenate(places)

    def __len__(self):
        return len(self._places)

    def read(self, index):
        number = int(np.searchsorted(self._ends, index, side="right"))
        start, length = self._places[index].tolist()
        # Threads and processes cannot share an open file's position.
        with open(self._paths[number], "rb") as file:
            file.seek(start)
            return file.read(length)


def _places(path):
    """Returns where the records of a TFRecord file start, and their lengths, int64 `(N, 2)`."""
    places, position, size = [], 0, os.path.getsize(path)
    with open(path, "rb") as file:
        while position < size:
            file.seek(position)
            length = int.from_bytes(file.read(_LENGTH), "little")
            places.append((position + _BEFORE, length))
            position += _BEFORE + length + _AFTER
    if position != size:
        raise ValueError(f"{path} is not a complete TFRecord file: prepare the data set again.")
    return np.array(places, np.int64).reshape(-1, 2)


class _ArrayRecords:
    """Records of ArrayRecord files by their position."""

    def __init__(self, paths):
        self._paths = paths

    def __getstate__(self):
        return {"_paths": self._paths}

    @functools.cached_property
    def _source(self):
        module = require(
            "array_record.python.array_record_data_source", "Reading ArrayRecord files", "stream"
        )
        return module.ArrayRecordDataSource(self._paths)

    def __len__(self):
        return len(self._source)

    def read(self, index):
        return self._source[index]


_RECORDS = {ARRAY_RECORD: _ArrayRecords, _TFRECORD: _TFRecords}
