"""Figures of attention maps, trainings and scores."""

from aib_keras.plots.attention import attention_figure, save_attention_figure
from aib_keras.plots.calibration import (
    ablation_figure,
    information_figure,
    reliability_figure,
    risk_coverage_figure,
)
from aib_keras.plots.comparison import perturbation_figure, quantization_figure
from aib_keras.plots.training import anchors_figure, save_film

__all__ = [
    "ablation_figure",
    "anchors_figure",
    "attention_figure",
    "information_figure",
    "perturbation_figure",
    "quantization_figure",
    "reliability_figure",
    "risk_coverage_figure",
    "save_attention_figure",
    "save_film",
]
