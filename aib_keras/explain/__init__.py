"""Saliency maps of Keras models, and perturbations of images."""

from aib_keras.explain.perturbations import ColorWindow, HighPass, ImageWindow, LowPass
from aib_keras.explain.saliency import (
    gaussian_map,
    grad_cam,
    grad_cam_plus_plus,
    gradient_map,
    per_sample_bottleneck,
    score_cam,
    uniform_map,
)

__all__ = [
    "ColorWindow",
    "HighPass",
    "ImageWindow",
    "LowPass",
    "gaussian_map",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient_map",
    "per_sample_bottleneck",
    "score_cam",
    "uniform_map",
]
