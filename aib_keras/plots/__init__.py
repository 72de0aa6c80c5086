"""Figures of attention maps, of runs and of scores."""

from aib_keras.plots.ablation import ablation_figure
from aib_keras.plots.attention import attention_figure, save_attention_figure
from aib_keras.plots.calibration import reliability_figure, risk_coverage_figure
from aib_keras.plots.comparison import perturbation_figure, quantization_figure
from aib_keras.plots.error_curves import error_curves_figure
from aib_keras.plots.information import information_figure
from aib_keras.plots.overlay import overlay_figure
from aib_keras.plots.training import anchors_figure, save_film

__all__ = [
    "ablation_figure",
    "anchors_figure",
    "attention_figure",
    "error_curves_figure",
    "information_figure",
    "overlay_figure",
    "perturbation_figure",
    "quantization_figure",
    "reliability_figure",
    "risk_coverage_figure",
    "save_attention_figure",
    "save_film",
]
