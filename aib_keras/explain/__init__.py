"""Where a model looks: figures and scores of its maps."""

from aib_keras.explain.consistency import Consistency, consistency, map_similarity
from aib_keras.explain.faithfulness import deletion, insertion
from aib_keras.explain.figures import attention_figure, save_attention_figure
from aib_keras.explain.figures_compare import modification_figure, quantization_figure
from aib_keras.explain.figures_training import anchors_figure, save_film
from aib_keras.explain.figures_uncertainty import (
    ablation_figure,
    information_figure,
    reliability_figure,
    risk_coverage_figure,
)
from aib_keras.explain.information import Information, information, nats_to_bits
from aib_keras.explain.localization import energy_inside, pointing
from aib_keras.explain.modify import ColorWindow, HighPass, ImageWindow, LowPass
from aib_keras.explain.saliency import gaussian_map, grad_cam, gradient_map, uniform_map
from aib_keras.explain.uncertainty import (
    Reliability,
    area_under_risk_coverage,
    expected_calibration_error,
    foreignness,
    negative_log_likelihood,
    ood_auroc,
    reliability,
    risk_coverage,
)

__all__ = [
    "ColorWindow",
    "Consistency",
    "HighPass",
    "ImageWindow",
    "Information",
    "LowPass",
    "Reliability",
    "ablation_figure",
    "area_under_risk_coverage",
    "anchors_figure",
    "attention_figure",
    "consistency",
    "deletion",
    "energy_inside",
    "expected_calibration_error",
    "foreignness",
    "gaussian_map",
    "grad_cam",
    "gradient_map",
    "information",
    "information_figure",
    "insertion",
    "map_similarity",
    "modification_figure",
    "nats_to_bits",
    "negative_log_likelihood",
    "ood_auroc",
    "pointing",
    "quantization_figure",
    "reliability",
    "reliability_figure",
    "risk_coverage",
    "risk_coverage_figure",
    "save_attention_figure",
    "save_film",
    "uniform_map",
]
