"""`aib-serve-client`: classifies image files with a served model and shows where it looks.

    aib-serve-client bird.jpg wing.png
    aib-serve-client --grpc=localhost:8500 --model=vgg16_aib_qt --out=maps *.jpg

Prints the class of each image with its probability, and saves the image with the map over it as
IMAGE-attention.png.
"""

import pathlib
import sys

from absl import app, flags
from PIL import Image

from aib_serve.client import GrpcClient, RestClient, ServingError
from aib_serve.overlay import overlay_file

URL = flags.DEFINE_string("url", "http://localhost:8501", "URL of the server, for REST.")
GRPC = flags.DEFINE_string("grpc", None, "Host and port for gRPC, instead of REST.")
MODEL = flags.DEFINE_string("model", "aib", "Name of the model on the server.")
OUT = flags.DEFINE_string("out", ".", "Folder for the images with the maps.")
TOP = flags.DEFINE_integer("top", 3, "Classes to print.", lower_bound=1)
# A request may hold 128; fewer keep it small.
_FILES_IN_REQUEST = 16


def run():
    """Runs the command. This is its entry point."""
    try:
        app.run(main)
    except ModuleNotFoundError as error:
        sys.exit(f'{error}. Install what is missing: pip install "aib-keras[serving]"')
    except ImportError as error:
        # It says what is missing, and how to install it.
        sys.exit(str(error))


def main(argv):
    paths = [pathlib.Path(name) for name in argv[1:]]
    _check(paths)
    if GRPC.value:
        client = GrpcClient(GRPC.value, MODEL.value)
    else:
        client = RestClient(URL.value, MODEL.value)
    failed = 0
    for start in range(0, len(paths), _FILES_IN_REQUEST):
        part = paths[start : start + _FILES_IN_REQUEST]
        files = [path.read_bytes() for path in part]
        try:
            predictions = client.classify(files)
        except ServingError as error:
            sys.exit(str(error))
        for path, file, prediction in zip(part, files, predictions, strict=True):
            print(describe(path, prediction))
            failed += bool(prediction.error)
            if not prediction.error and prediction.attention is not None:
                failed += not _save_overlay(path, file, prediction)
    sys.exit(1 if failed else 0)


def _save_overlay(path, file, prediction):
    """Saves an image with the map over it, and returns whether it could."""
    saved = _overlay_path(path)
    try:
        picture = overlay_file(file, prediction.attention, prediction.attention_box)
        Image.fromarray(picture).save(saved)
    except Exception as error:  # Pillow raises errors of many types for what the server has read.
        print(f"  the map could not be drawn: {error}")
        return False
    print(f"  saved {saved}")
    return True


def describe(path, prediction):
    """Returns a line about one file."""
    if prediction.error:
        return f"{path}: {prediction.error}"
    best = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[: TOP.value]
    return f"{path}: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in best)


def _check(paths):
    """Ends the command with a clear message before anything is sent or written."""
    if not paths:
        raise app.UsageError("Name the image files to classify, such as: aib-serve-client bird.jpg")
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise app.UsageError(f"No such file: {', '.join(missing)}.")
    if not pathlib.Path(OUT.value).is_dir():
        raise app.UsageError(f"--out={OUT.value} is not a folder. Create it first.")
    saved = [_overlay_path(path) for path in paths]
    if len(set(saved)) < len(saved):
        raise app.UsageError("Two of the files have the same name: their maps would be one file.")


def _overlay_path(path):
    return pathlib.Path(OUT.value, f"{path.stem}-attention.png")
