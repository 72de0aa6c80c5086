"""Saliency maps of Keras models, and perturbations of images: benign, corrupting, adversarial."""

from aib_keras.explain.attacks import fgsm, pgd
from aib_keras.explain.class_activation import grad_cam, grad_cam_plus_plus, score_cam
from aib_keras.explain.corruptions import Corruption
from aib_keras.explain.image_free_maps import gaussian_map, uniform_map
from aib_keras.explain.perturbations import ColorWindow, HighPass, ImageWindow, LowPass
from aib_keras.explain.pixel_gradients import gradient_map
from aib_keras.explain.sample_bottleneck import per_sample_bottleneck

__all__ = [
    "ColorWindow",
    "Corruption",
    "HighPass",
    "ImageWindow",
    "LowPass",
    "fgsm",
    "gaussian_map",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient_map",
    "per_sample_bottleneck",
    "pgd",
    "score_cam",
    "uniform_map",
]
