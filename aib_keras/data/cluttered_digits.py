"""Cluttered digits: a small image classification task with boxes that needs no download."""

import functools

import numpy as np

from aib_keras.data.image_data import ImageData
from aib_keras.data.pixels import check_memory
from aib_keras.utils.checks import check_choice, check_integer
from aib_keras.utils.optional import require

CLASS_NAMES = tuple(str(digit) for digit in range(10))

_SPLITS = ("train", "test")
_CELLS = 8  # Scikit-learn's digits are 8x8.
_MIN_PIECES, _MAX_PIECES = 4, 5
_LAYERS = _MAX_PIECES + 1
# Lengths are fractions of the image's side, so that a larger image shows the same scene.
_SCALE = (15 / 32, 22 / 32)
_PIECE = (5 / 32, 7 / 32)
_VISIBLE = 0.1
_CHUNK = 250  # Images rendered at once. It bounds the memory; no image depends on it.


def cluttered_digits(split, size, seed=0, image_size=32):
    """Makes images of one whole handwritten digit among pieces of other digits.

    Each image has a dark background whose colour varies gently, and on it four or five pieces of
    other digits in bright colours. On top is one whole digit in a bright colour. In an image of
    32x32 pixels a piece has a side of 5 to 7 pixels and the whole digit one of 15 to 22. The class
    is that of the whole digit.

    The 1,797 digits are scikit-learn's. In each class every fifth digit belongs to "test" and
    the others to "train", whatever the seed. So the splits share no digit, neither as the object
    nor as clutter. Image `i` of a split depends on `seed` and `i` alone: a larger set begins
    with the images of a smaller one. Because of rounding, single values can differ by 1 between
    machines.

    Args:
        split: "train" or "test".
        size: Integer of at least 1, the number of images.
        seed: Non-negative integer.
        image_size: Integer of at least 16, the side of the square images in pixels.

    Returns:
        An `ImageData` of uint8 images `(size, image_size, image_size, 3)` in [0, 255] and labels in
        [0, 9]. `boxes` are the tight boxes around the visible ink of the whole digits.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If an argument is not as described.
    """
    check_choice("split", split, _SPLITS)
    size = check_integer("size", size, minimum=1)
    seed = check_integer("seed", seed, minimum=0)
    image_size = check_integer("image_size", image_size, minimum=16)
    check_memory(size, image_size, image_size, "cluttered_digits")
    glyphs, classes = _glyphs(split)
    images = np.empty((size, image_size, image_size, 3), np.uint8)
    labels = np.empty((size,), np.int32)
    boxes = np.empty((size, 4), np.float32)
    for start in range(0, size, _CHUNK):
        chunk = slice(start, min(start + _CHUNK, size))
        scene = _Scene(_draws(split, seed, range(chunk.start, chunk.stop)), len(glyphs))
        images[chunk], ink = scene.render(glyphs, image_size)
        boxes[chunk] = _tight_boxes(ink)
        labels[chunk] = classes[scene.glyph[:, 0]]
    return ImageData(images, labels, CLASS_NAMES, boxes, "cluttered_digits")


@functools.cache
def _glyphs(split):
    """Returns the digits of a split: ink in [0, 1], float32 `(P, 8, 8)`, and classes `(P,)`."""
    digits = require("sklearn.datasets", "cluttered_digits", "train").load_digits()
    indices = digit_indices(split, digits.target)
    return (digits.images[indices] / 16).astype(np.float32), digits.target[indices]


def digit_indices(split, classes):
    """Returns the positions in scikit-learn's data set of the digits that belong to `split`."""
    # Counting, not a random permutation: the partition must never change with a NumPy version.
    rank = np.empty(len(classes), np.int64)
    for digit in np.unique(classes):
        members = np.flatnonzero(classes == digit)
        rank[members] = np.arange(len(members))
    return np.flatnonzero((rank % 5 == 4) == (split == "test"))


def _draws(split, seed, indices):
    """Returns uniform numbers in [0, 1), float64 `(N, _Scene.DRAWS)`; each image has a stream."""
    # NumPy never changes the raw bits of a bit generator, but may change `Generator`'s methods.
    raw = [
        np.random.PCG64([seed, _SPLITS.index(split), index]).random_raw(_Scene.DRAWS)
        for index in indices
    ]
    return (np.stack(raw) >> np.uint64(11)) * 2.0**-53


class _Scene:
    """What N images show. Layer 0 is the whole digit, the other layers are the pieces."""

    DRAWS = 1 + 8 * _LAYERS + 3 * _LAYERS + 9

    def __init__(self, draws, num_glyphs):
        columns = iter(np.split(draws, np.cumsum([1] + [_LAYERS] * 8 + [3 * _LAYERS]), axis=1))
        count = _MIN_PIECES + np.floor(next(columns) * (1 + _MAX_PIECES - _MIN_PIECES))
        self.present = np.arange(_LAYERS) <= count
        glyph = next(columns)
        own = np.floor(glyph[:, :1] * num_glyphs).astype(np.int64)
        others = (own + 1 + np.floor(glyph[:, 1:] * (num_glyphs - 1)).astype(np.int64)) % num_glyphs
        self.glyph = np.concatenate([own, others], axis=1)
        self.scale = _between(next(columns), *_SCALE)
        self.opacity = _between(next(columns), 0.75, 1.0)
        self.opacity[:, 0] = 1.0
        piece = _between(next(columns), *_PIECE)
        self.axes = [self._axis(next(columns), next(columns), piece) for _ in range(2)]
        self.tint = _bright(next(columns).reshape(-1, _LAYERS, 3))
        self.background = next(columns)

    def _axis(self, place, part, piece):
        """Returns where each glyph's frame starts, and the window (start, stop) that shows it."""
        # Interpolation lets ink reach half a cell beyond the frame.
        margin = self.scale / (2 * _CELLS)
        start = _between(place, margin, 1 - self.scale - margin)
        low, high = np.zeros_like(start), np.ones_like(start)
        low[:, 1:] = (place * (1 - piece))[:, 1:]
        high[:, 1:] = (low + piece)[:, 1:]
        # The window is near the middle of the frame, because at its edge there is often no ink.
        centre = _between(part, 0.3, 0.7) * self.scale
        start[:, 1:] = (low + piece / 2 - centre)[:, 1:]
        return start, low, high

    def render(self, glyphs, side):
        """Returns uint8 `(N, side, side, 3)` and the digits' opacity, float32 `(N, side, side)`."""
        rows, columns = (self._resampling(*axis, side) for axis in self.axes)
        ink = rows @ glyphs[self.glyph] @ columns.transpose(0, 1, 3, 2)
        # A ramp sharpens the strokes that interpolation has blurred.
        ink = np.clip((ink - 0.25) / 0.5, 0, 1) * (self.opacity * self.present)[..., None, None]
        ink[:, 1:] *= 1 - self._halo(glyphs, side)[:, None]
        ink = ink.astype(np.float32)
        canvas = self._backdrop(side)
        for layer in range(_LAYERS - 1, -1, -1):
            cover = ink[:, layer, :, :, None]
            canvas += cover * (self.tint[:, layer, None, None] - canvas)
        return np.round(canvas * 255).astype(np.uint8), ink[:, 0]

    def _halo(self, glyphs, side):
        """Returns how much the pieces are hidden around the digit, `(N, side, side)` in [0, 1].

        A piece of a similar colour that touched a stroke would change what a person reads.
        """
        rows, columns = (
            self._resampling(*(part[:, :1] for part in axis), side, reach=2.0)[:, 0]
            for axis in self.axes
        )
        return np.clip(rows @ glyphs[self.glyph[:, 0]] @ columns.transpose(0, 2, 1), 0, 1)

    def _resampling(self, start, low, high, side, reach=1.0):
        """Returns the resampling along an axis as matrices, float32 `(N, layers, side, 8)`.

        Args:
            start, low, high: `(N, layers)`, as `_axis` returns them.
            side: The image's side in pixels.
            reach: Distance in cells at which ink fades out. 1 is linear interpolation, more is a
                blur.
        """
        scale = self.scale[:, : start.shape[1], None]
        pixel = (np.arange(side) + 0.5) / side
        cell = (pixel - start[..., None]) / scale * _CELLS - 0.5
        weights = np.maximum(0, 1 - np.abs(cell[..., None] - np.arange(_CELLS)) / reach)
        seen = (pixel >= low[..., None]) & (pixel < high[..., None])
        return (weights * seen[..., None]).astype(np.float32)

    def _backdrop(self, side):
        """Returns colours that change along a random direction, float32 `(N, side, side, 3)`."""
        base = self.background[:, :3] * _between(self.background[:, 3:4], 0.15, 0.5)
        change = _between(self.background[:, 4:7], -0.12, 0.12)
        angle = 2 * np.pi * self.background[:, 7, None, None]
        bend = _between(self.background[:, 8, None, None], -1, 1)
        line = np.linspace(-1, 1, side)
        along = np.cos(angle) * line[:, None] + np.sin(angle) * line
        wave = np.sin(2 * along + np.pi * bend)[..., None]
        canvas = base[:, None, None] + change[:, None, None] * wave
        return np.clip(canvas, 0, 1).astype(np.float32)


def _between(uniform, low, high):
    return low + uniform * (high - low)


def _bright(uniform):
    """Turns uniform numbers `(..., 3)` into colours of a luminance of 0.62 to 0.95."""
    weights = np.array([0.299, 0.587, 0.114])
    luminance = uniform @ weights
    target = _between(uniform[..., :1], 0.62, 0.95)
    # Scaling could leave the RGB cube; mixing with white stays inside and keeps the hue.
    white = np.clip((target - luminance[..., None]) / (1 - luminance[..., None]), 0, 1)
    return (uniform + white * (1 - uniform)).astype(np.float32)


def _tight_boxes(ink):
    """Returns boxes `(N, 4)` around the pixels of `(N, H, W)` where ink can be seen."""
    visible = ink >= _VISIBLE
    sides = []
    for axis in (2, 1):
        line = visible.any(axis=axis)
        sides.append((line.argmax(1), line.shape[1] - line[:, ::-1].argmax(1)))
    (top, bottom), (left, right) = sides
    return np.stack([top, left, bottom, right], axis=1)
