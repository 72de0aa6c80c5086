"""What `recipes/train_photos.py` and `aib-keras photos` run."""

from aib_keras.experiments import command_line
from aib_keras.experiments.photo_settings import DEFAULTS

EXPORTS = ("saved_model", "litert")


def main(text=None):
    """Runs the program: parses the flags, trains, writes the report, exports.

    Args:
        text: As in `command_line.main`.
    """
    command_line.main(
        DEFAULTS,
        export_formats=EXPORTS,
        report=_write_report,
        text=text,
        needs_dataset=True,
    )


def _write_report(*arguments):
    # It needs packages that --help does not.
    from aib_keras.experiments import report

    return report.write_report(*arguments)
