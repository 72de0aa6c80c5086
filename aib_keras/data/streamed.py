"""Images that are read when they are needed, for data sets that do not fit in memory."""

import concurrent.futures
import dataclasses
import operator
import os

import numpy as np

from aib_keras.data.image_data import ImageData


class LazyImages:
    """Reads images of a source when it is indexed, and looks like an array until then.

    `images[3]` reads one image, `images[:8]` and `images[[5, 2]]` read several. Nothing is kept.

    Args:
        source: An object with `len(source)` and `source[index]`, which returns a uint8 array
            `(H, W, 3)`, the same whenever it is read. It is read from several threads at once, and
            is pickled for worker processes.
        name: Where the images come from, for messages.

    Raises:
        TypeError: If the source has no length, or an image is not a uint8 array.
        ValueError: If the source is empty, or an image is not `(H, W, 3)` of the size of the first.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, source, name=""):
        if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
            raise TypeError(
                "Images to stream need a source with __len__ and __getitem__; got "
                f"{type(source).__name__}."
            )
        if len(source) == 0:
            raise ValueError(f"{name or 'The source'} has no images.")
        self.source = source
        self.name = name
        self.shape = (len(source), None, None, 3)
        self.shape = (len(source), *self._read(0).shape)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, key):
        if isinstance(key, slice):
            indices = range(*key.indices(len(self)))
        elif np.ndim(key) == 0:
            return self._read(self._index(key))
        else:
            key = np.asarray(key)
            if key.dtype == bool and key.shape == (len(self),):
                key = np.flatnonzero(key)
            indices = [self._index(index) for index in key]
        images = np.empty((len(indices), *self.shape[1:]), np.uint8)
        for position, index in enumerate(indices):
            images[position] = self._read(index)
        return images

    def _index(self, value):
        index = operator.index(value)
        if not -len(self) <= index < len(self):
            raise IndexError(f"There are images 0 to {len(self) - 1}; got {index}.")
        return index % len(self)

    def _read(self, index):
        image = self.source[index]
        where = f"Image {index} of {self.name or 'the source'}"
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            got = getattr(image, "dtype", type(image).__name__)
            raise TypeError(f"{where} must be a NumPy array of uint8; got {got}.")
        wanted = self.shape[1:]
        if image.ndim != 3 or any(
            want not in (None, got) for want, got in zip(wanted, image.shape, strict=True)
        ):
            sizes = "(H, W, 3)" if None in wanted else f"{wanted}, as the first,"
            raise ValueError(f"{where} must have the shape {sizes} and has {image.shape}.")
        return image

    def part(self, start, stop):
        """Returns the images `start` to `stop - 1`, still to be read."""
        return LazyImages(_Part(self.source, start, stop), self.name)

    def cropped(self, transform):
        """Returns the images as an `EvaluationTransform` crops them, still to be read."""
        return LazyImages(_Cropped(self.source, transform), self.name)

    def read_all(self):
        """Reads all images into memory, with a thread for each processor.

        Returns:
            uint8 array `(N, H, W, 3)`.
        """
        images = np.empty(self.shape, np.uint8)

        def read(index):
            images[index] = self._read(index)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = [pool.submit(read, index) for index in range(len(self))]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return images


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    source: object
    start: int
    stop: int

    def __len__(self):
        return self.stop - self.start

    def __getitem__(self, index):
        return self.source[self.start + index]


@dataclasses.dataclass(frozen=True, eq=False)
class _Cropped:
    source: object
    transform: object

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        return np.ascontiguousarray(self.transform.crop(self.source[index]))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class StreamedImageData(ImageData):
    """Labelled colour images that do not have to fit in memory.

    The images are read when they are needed; labels and boxes are in memory. It takes the place of
    an `ImageData`: `aib_keras.data.load` returns one for images that are too many, and
    `aib_keras.training.fit` trains on it, with the same result as on the same images in memory.

        class Tiles:
            def __len__(self):
                return 1_000_000

            def __getitem__(self, index):
                return read_tile(index)  # uint8, (224, 224, 3)

        train = aib_keras.data.StreamedImageData(Tiles(), labels, ("cloud", "no cloud"))

    Args:
        images: An object with `__len__` and `__getitem__`, whose items are uint8 arrays
            `(H, W, 3)` of one size, the same whenever they are read. It is read from several
            threads at once, and is pickled if worker processes read it.
        labels: Integers (N,), values in [0, len(class_names)); kept as int32.
        class_names: Names of the classes, at least two, all different.
        boxes: Optional float32 (N, 4), as in `ImageData`.
        name: Where the images come from, for messages and reports.

    Raises:
        TypeError: If an argument or the first image is not of the type described above.
        ValueError: If a shape or a value is not as above, or there are no images.
    """

    def __post_init__(self):
        if not isinstance(self.images, LazyImages):
            object.__setattr__(self, "images", LazyImages(self.images, self.name))
        super().__post_init__()

    def _check_images(self):
        """`LazyImages` checks each image when it is read."""

    def _part(self, start, stop):
        return self.images.part(start, stop)

    def _cropped(self, transform):
        return self.images.cropped(transform)

    def in_memory(self):
        """Reads all images and returns them as an `ImageData`."""
        return ImageData(
            self.images.read_all(), self.labels, self.class_names, self.boxes, self.name
        )
