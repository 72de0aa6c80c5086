"""What `recipes/train_photos.py` and `aib-keras photos` run."""

from aib_keras.experiments import command_line, report
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
        report=report.write_report,
        text=text,
        needs_dataset=True,
    )
