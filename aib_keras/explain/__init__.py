"""Where a model looks: figures and scores of its maps."""

from aib_keras.explain.figures import attention_figure, save_attention_figure
from aib_keras.explain.localization import pointing

__all__ = ["attention_figure", "pointing", "save_attention_figure"]
