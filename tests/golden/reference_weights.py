"""The weights and images that the golden arrays were computed with, drawn again.

The order of the draws and their distributions are fixed by the golden arrays: a change here
makes every one of them wrong.
"""

import json
import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent


def read_shapes(name):
    """Names and shapes of a PyTorch state_dict, in its order, from `NAME.shapes.json`."""
    shapes = json.loads((FOLDER / f"{name}.shapes.json").read_text())
    return {tensor: tuple(shape) for tensor, shape in shapes.items()}


def draw_state(shapes, seed):
    """A float32 array for each tensor of a state_dict, one after the other from one stream.

    Counters (`num_batches_tracked`) get none.
    """
    rng = np.random.default_rng(seed)
    return {
        name: _draw(rng, name, shape).astype("float32")
        for name, shape in shapes.items()
        if not name.endswith("num_batches_tracked")
    }


def draw_images(seed, batch=2, size=32):
    """Images that stand for normalised ones, float32 `(batch, size, size, 3)`, N(0, 1).

    They were drawn channels first.
    """
    images = np.random.default_rng(seed + 1000).standard_normal((batch, 3, size, size))
    return images.astype("float32").transpose(0, 2, 3, 1)


def _draw(rng, name, shape):
    vector = len(shape) == 1
    if name == "emb.weight":
        return rng.random(shape)
    if name.endswith("running_var") or (vector and name.endswith("weight")):
        return 0.5 + rng.random(shape)
    if vector:
        return 0.1 * rng.standard_normal(shape)
    fan_in = np.prod(shape[1:], dtype=int)
    return rng.standard_normal(shape) * np.sqrt(1.0 / fan_in)
