"""Scores of attention maps, of probabilities, and of the information in the latent."""

from aib_keras.metrics.calibration import (
    Reliability,
    area_under_risk_coverage,
    expected_calibration_error,
    negative_log_likelihood,
    ood_auroc,
    ood_scores,
    reliability,
    risk_coverage,
)
from aib_keras.metrics.consistency import Consistency, consistency
from aib_keras.metrics.faithfulness import deletion, insertion, road
from aib_keras.metrics.information import Information, information, nats_to_bits
from aib_keras.metrics.localization import energy_pointing_game, pointing_game
from aib_keras.utils.maps import map_similarity

__all__ = [
    "Consistency",
    "Information",
    "Reliability",
    "area_under_risk_coverage",
    "consistency",
    "deletion",
    "energy_pointing_game",
    "expected_calibration_error",
    "information",
    "insertion",
    "map_similarity",
    "nats_to_bits",
    "negative_log_likelihood",
    "ood_auroc",
    "ood_scores",
    "pointing_game",
    "reliability",
    "risk_coverage",
    "road",
]
