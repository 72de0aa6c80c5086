"""Shows in the browser where trained models look.

    python -m aib_keras.app                          # the model of recipes/quickstart.py
    python -m aib_keras.app --runs=runs/table1       # any folders of work directories

Stays on this machine: the page asks no other host for anything, and only this machine can ask for
the page, unless --host says otherwise.
"""

import importlib.util
import os
import pathlib
import signal
import sys
import tempfile

from absl import app, flags, logging

RUNS = flags.DEFINE_list("runs", ["runs/quickstart"], "Folders of work directories of trainings.")
PORT = flags.DEFINE_integer("port", 7860, "Port of the page.", 1, 65_535)
HOST = flags.DEFINE_string(
    "host", "127.0.0.1", "Address to listen on; 0.0.0.0 lets everybody in who can reach it."
)

# Photographs of telephones have up to 15 megabytes.
_MAX_FILE_SIZE = "32mb"
_EXAMPLES = 6


def main(argv):
    if len(argv) > 1:
        return _refuse(f"Unknown arguments: {' '.join(argv[1:])}. Settings are flags: see --help.")
    if importlib.util.find_spec("gradio") is None:
        return _refuse("The page needs Gradio: pip install 'aib_keras[app]'")
    logging.set_verbosity(logging.WARNING)
    from aib_keras.app.predictions import Trainings

    try:
        trainings = Trainings(RUNS.value)
    except ValueError as error:
        return _refuse(
            f"{error}\nTrain a model first with `make quickstart` or `python recipes/quickstart.py`"
            ", which takes 5 minutes, or say with --runs where trained ones are."
        )
    # A folder of our own: Gradio's default one is shared with all users of the machine.
    with tempfile.TemporaryDirectory(prefix="aib_keras-app-") as folder:
        return _serve(trainings, pathlib.Path(folder))


def _serve(trainings, folder):
    # Read when Gradio is imported.
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "cache")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from aib_keras.app import page

    blocks = page.build(trainings, _examples(trainings, folder))
    # A service manager's stop, so that the temporary folder is removed as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _, address, _ = blocks.launch(
            server_name=HOST.value,
            server_port=PORT.value,
            max_file_size=_MAX_FILE_SIZE,
            # The messages of Gradio's own checks; else a client only hears that there was an error.
            show_error=True,
            share=False,
            # Sessions whose state Gradio keeps; by default ten thousand.
            state_session_capacity=100,
            ssr_mode=False,
            mcp_server=False,
            run_history=False,
            footer_links=[],
            theme=page.THEME,
            css=page.CSS,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        return _refuse(
            f"Cannot listen on {HOST.value}:{PORT.value}: another program may be using the port. "
            f"Give another one with --port. ({error})"
        )
    print(f"{address}  shows {', '.join(trainings.results)}. Stop with Ctrl-C.", flush=True)
    blocks.block_thread()
    return 0


def _examples(trainings, folder):
    """Image files to begin with, for models of the embedded data set."""
    if all(result["dataset"] != "cluttered_digits" for result in trainings.results.values()):
        return []
    from PIL import Image

    from aib_keras import data

    paths = []
    for index, image in enumerate(data.load("cluttered_digits", f"test[:{_EXAMPLES}]").images):
        paths.append(folder / f"example-{index + 1}.png")
        Image.fromarray(image).save(paths[-1])
    return paths


def _refuse(message):
    print(message, file=sys.stderr)
    return 2


if __name__ == "__main__":
    app.run(main)
