"""Exports the model of a finished training for TF Serving, phones or ONNX Runtime.

The paper has nothing on this. Each export takes a few seconds on two CPU cores.

    python recipes/export.py --workdir=runs/quickstart/vgg_aib_qt --export=serving,litert,onnx

The recipe compares each export with the model and keeps it only if the outputs agree. In --workdir
it writes

    saved_model/     a SavedModel
    serving/aib/1    a version for TF Serving with warm-up requests (extra `serving`);
                     serving/README.md says how to start a server on it
    model.tflite     a LiteRT file (extra `litert`); recipes/litert_report.py writes smaller ones
    model.onnx       an ONNX file (extra `onnx`)

It does not write an export again that is already there.
"""

from aib_keras.experiments import command_line

if __name__ == "__main__":
    command_line.export_main()
