"""Exports the model of a finished training: for TF Serving, phones, or ONNX Runtime.

    python recipes/export.py --workdir=runs/quickstart/vgg_aib_qt --export=serving,litert,onnx

Each is checked against the model, and kept only if it agrees: `saved_model/`; `serving/aib/1`, a
version with warm-up requests (extra `serving`; serving/README.md tells how to start a server on
it); `model.tflite` (extra `litert`; recipes/litert_report.py has smaller ones); `model.onnx` (extra
`onnx`). What is there already stays. A few seconds each.
"""

import pathlib

from absl import app, flags

from aib_keras.experiments import command_line

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished training.", required=True)
EXPORT = flags.DEFINE_list("export", ["saved_model"], f"Some of {', '.join(command_line.EXPORTS)}.")


def main(argv):
    del argv
    command_line.check_exports(EXPORT.value)
    workdir = pathlib.Path(WORKDIR.value)
    if not (workdir / "result.json").exists():
        raise app.UsageError(f"--workdir={workdir} holds no finished training (no result.json).")
    command_line.export_model(workdir, EXPORT.value)


if __name__ == "__main__":
    app.run(main)
