"""The interval of a share that was counted."""

from aib_keras.utils.optional import require

_CONFIDENCE_LEVEL = 0.95


def wilson_interval(count, total, needed_by):
    """Computes the 95 % Wilson interval of the share `count / total`.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, Journal of
    the American Statistical Association, 1927.

    Args:
        count: Integer in [0, total].
        total: Integer of at least 1.
        needed_by: What needs the interval, for the error without SciPy.

    Returns:
        A tuple of floats (low, high) in [0, 1].

    Raises:
        ImportError: If SciPy is not installed.
    """
    stats = require("scipy.stats", needed_by, "train")
    found = stats.binomtest(int(count), int(total)).proportion_ci(
        _CONFIDENCE_LEVEL, method="wilson"
    )
    return float(found.low), float(found.high)
