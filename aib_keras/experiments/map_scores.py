"""Scores of the maps of a trained model and of baselines on the same images."""

import dataclasses
import pathlib
import sys

import keras

from aib_keras.data import StreamedImageData
from aib_keras.experiments import measured
from aib_keras.experiments.examples import load_evaluation
from aib_keras.explain import (
    gaussian_map,
    grad_cam,
    grad_cam_plus_plus,
    gradient_map,
    per_sample_bottleneck,
    score_cam,
    uniform_map,
)
from aib_keras.metrics import (
    deletion,
    energy_pointing_game,
    insertion,
    pointing_game,
    road,
)

# Not the name of the table, which can be in the same folder.
FILE = "faithfulness-scores.json"
# Schulz et al. (ICLR 2020) optimise a map for each image.
_PER_SAMPLE = "per-sample bottleneck"
_USUAL = ("own", "own, quantised", "Grad-CAM", "gradient", "uniform", "Gaussian")
# The others need many more passes.
MAPS = (*_USUAL, "Grad-CAM++", "Score-CAM", _PER_SAMPLE)
CURVES = {"insertion": insertion, "deletion": deletion, "road": road}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How maps are scored.

    Attributes:
        examples: Number of evaluation images.
        curve_examples: Of these, how many are used for the scores of `CURVES`, which need a forward
            pass per step. None: all.
        maps: Names of the maps, of `MAPS`; None for all but the last three, which need many passes.
        steps: Points of the curves.
        seed: Seed of the order of cells with equal values.
        batch_size: Images per forward pass. It changes the noise of per-sample bottlenecks, and
            nothing else.
        curves: Names of the scores that are areas under curves, of `CURVES`.
    """

    examples: int = 1000
    curve_examples: int | None = None
    maps: tuple | None = None
    steps: int = 16
    seed: int = 0
    batch_size: int = 128
    curves: tuple = ("insertion", "deletion")


def measure(result, settings, data_dir=None, without_map=False):
    """Returns the scores of one trained model, from its work directory if they are there.

    Args:
        result: The content of its `result.json`, with its `workdir`.
        settings: `Settings`.
        data_dir: Where TFDS keeps its data, if it has moved.
        without_map: Whether to score the baselines of a model that has no map of its own.

    Returns:
        A dict whose `maps` has the scores of each map by the map's name, or None for a model
        without a map.
    """
    workdir = pathlib.Path(result["workdir"])
    decisive = dataclasses.asdict(settings)
    if settings.curves == Settings.curves:
        # Version 0.1.0 had no such setting.
        del decisive["curves"]
    if _PER_SAMPLE not in (settings.maps or ()):
        del decisive["batch_size"]
    if (found := measured.kept(workdir / FILE, decisive)) is not None:
        print(f"{workdir}: measured already ({FILE}).", flush=True)
        return found
    model = keras.saving.load_model(workdir / "model.keras", compile=False)
    if not model.map_names and not without_map:
        print(f"{workdir}: {result['model']} has no map.", flush=True)
        return None
    data = load_evaluation(result, data_dir)
    data = data.take(min(settings.examples, len(data)))
    if isinstance(data, StreamedImageData):
        # Every map and score reads all of these few images.
        data = data.in_memory()
    scores = {}
    for name, maps in maps_of(model, data.images, settings).items():
        print(f"{workdir}: {name}", flush=True)
        scores[name] = map_scores(model, data, maps, settings)
    found = {
        "model": result["model"],
        "dataset": result["dataset"],
        "seed": result["seed"],
        "evaluated_on": result["evaluated_on"],
        "evaluated_examples": len(data),
        "maps": scores,
    }
    measured.keep(workdir / FILE, decisive, found)
    return found


def maps_of(model, images, settings):
    """Returns the maps to measure by name, `(N, h, w, 1)`, at the resolution of the model's own."""
    batch_size = settings.batch_size
    explained = model.explain(images, batch_size=batch_size)
    own = {"own": "attention", "own, quantised": "attention_quantized"}
    maps = {name: explained[key] for name, key in own.items() if key in explained}
    cam = grad_cam(model, images, batch_size=batch_size)
    shape = maps["own"].shape if maps else cam.shape
    maps |= {"Grad-CAM": cam}
    wanted = _USUAL if settings.maps is None else settings.maps
    if "gradient" in wanted:
        maps["gradient"] = gradient_map(model, images, shape[1:3], batch_size=batch_size)
    others = {
        "Grad-CAM++": grad_cam_plus_plus,
        "Score-CAM": score_cam,
        _PER_SAMPLE: per_sample_bottleneck,
    }
    maps |= {
        name: make(model, images, batch_size=batch_size)
        for name, make in others.items()
        if name in wanted
    }
    maps |= {"uniform": uniform_map(shape), "Gaussian": gaussian_map(shape)}
    return {name: each for name, each in maps.items() if name in wanted}


def map_scores(model, data, maps, settings):
    """Returns scores of a model's maps, each in [0, 1], and the curves that they come from."""
    arguments = {
        # Of a small image, a map can have fewer cells.
        "steps": min(settings.steps, maps[0].size),
        "seed": settings.seed,
        "batch_size": settings.batch_size,
        # In a log file the bar would be thousands of lines.
        "verbose": int(sys.stdout.isatty()),
    }
    scores, scored = {}, settings.curve_examples
    for name in settings.curves:
        found = CURVES[name](model, data.images[:scored], maps[:scored], **arguments)
        scores[name] = round(found["auc"], 6)
        scores[f"{name}_curve"] = found["curve"].round(6).tolist()
    if data.boxes is not None and data.has_visible_box.any():
        visible = data.has_visible_box
        place = data.boxes[visible], data.input_shape[:2]
        scores["pointing"] = round(pointing_game(maps[visible], *place), 6)
        scores["energy"] = round(energy_pointing_game(maps[visible], *place), 6)
    return scores
