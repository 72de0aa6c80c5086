"""Shows in the browser where trained models look.

    python -m aib_keras.app                          # the published weights on this machine
    python -m aib_keras.app --runs=runs/table1       # and trained models: any work directories, or
                                                     # folders of them, of recipes and aib-keras

Everything stays on this machine: the page asks no other host for anything, and only this machine
can open the page, unless --host says otherwise.
"""

import importlib.util
import os
import pathlib
import signal
import sys
import tempfile

from absl import app, flags, logging

from aib_keras.utils import program

RUNS = flags.DEFINE_list(
    "runs",
    ["runs", "runs/quickstart"],
    "Work directories of training runs, or folders of them. The default ones need not be there. "
    "The page shows some of the photos that a model was evaluated on as examples.",
)
PORT = flags.DEFINE_integer("port", 7860, "Port of the page.", 1, 65_535)
HOST = flags.DEFINE_string(
    "host", "127.0.0.1", "Address to listen on. 0.0.0.0 lets in everybody who can reach it."
)

# Photographs from phones have up to 15 megabytes.
_MAX_FILE_SIZE = "32mb"


def main(argv):
    if len(argv) > 1:
        return _refuse(f"Unknown arguments: {' '.join(argv[1:])}. Settings are flags: see --help.")
    if importlib.util.find_spec("gradio") is None:
        return _refuse('The page needs Gradio: pip install "aib-keras[app]"')
    logging.set_verbosity(logging.WARNING)
    try:
        choices = _choices()
    except ValueError as error:
        return _refuse(
            f"{error}\nTrain a model first, such as one of your photos with `aib-keras photos "
            "--dataset=FOLDER`, or name other folders with --runs. Without --runs, the page shows "
            "published weights."
        )
    # A folder of our own, because all users of the machine share Gradio's default one.
    with tempfile.TemporaryDirectory(prefix="aib_keras-app-") as folder:
        return _serve(choices, pathlib.Path(folder))


def _choices():
    from aib_keras.app import choices

    trained, published = choices.trained(RUNS.value), choices.published()
    # Published weights will do, unless somebody asks for trained ones.
    if not trained and (flags.FLAGS["runs"].present or not published):
        raise ValueError(
            "There is no finished training (result.json and model.keras) in "
            f"{', '.join(RUNS.value)}."
        )
    return choices.Choices([*trained, *published])


def _serve(choices, folder):
    # Gradio reads these when it is imported.
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "cache")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from aib_keras.app import page
    from aib_keras.app.samples import Samples

    blocks = page.build(choices, Samples(folder, choices.photo_sets))
    # So that a service manager's stop removes the temporary folder, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _, address, _ = blocks.launch(
            server_name=HOST.value,
            server_port=PORT.value,
            max_file_size=_MAX_FILE_SIZE,
            # Shows the messages of Gradio's own checks, not only that there was an error.
            show_error=True,
            share=False,
            # The number of sessions whose state Gradio keeps, by default ten thousand.
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
            f"Choose another one with --port. ({error})"
        )
    print(f"{address}  shows {', '.join(choices.names)}. Stop with Ctrl-C.", flush=True)
    blocks.block_thread()
    return 0


def _refuse(message):
    print(message, file=sys.stderr)
    return 2


if __name__ == "__main__":
    app.run(main, flags_parser=program.parse)
