"""`python -m aib_keras.app` where it cannot start: a sentence, status 2, no traceback."""

import importlib.util
import json
import socket
import subprocess
import sys

import pytest
from page_in_browser import app_command

# It imports the page, in a process of its own.
pytestmark = pytest.mark.slow

# One process for all commands, because TensorFlow takes seconds to be imported.
COMMANDS = """
import contextlib, io, json, sys

import aib_keras

assert "aib_keras.app" not in sys.modules
from absl import app
from aib_keras.app import __main__ as command


def refusal(arguments):
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        try:
            app.run(command.main, ["app", *arguments])
        except SystemExit as end:
            return end.code, stderr.getvalue()


*others, without_gradio = json.loads(sys.argv[1])
found = list(map(refusal, others))
sys.modules["gradio"] = None
print(json.dumps([*found, refusal(without_gradio)]))
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """What three commands that cannot start end with: (status, stderr) by what they lack."""
    empty = tmp_path_factory.mktemp("empty")
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        commands = {
            # With the published weights, for nothing was trained in the folder. This is the first
            # one, because absl remembers which flags were given.
            "port": [f"--port={busy.getsockname()[1]}"],
            "model": [f"--runs={empty}"],
            "gradio": [],
        }
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, json.dumps(list(commands.values()))],
            env=app_command()[1],
            cwd=empty,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    return dict(zip(commands, json.loads(done.stdout.splitlines()[-1]), strict=True))


needs_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="gradio is not installed"
)


def check(refusal, *parts):
    status, message = refusal
    assert status == 2
    assert "Traceback" not in message
    for part in parts:
        assert part in message


@needs_gradio
def test_without_a_trained_model_it_says_how_to_get_one(refusals):
    advice = ("aib-keras photos --dataset=FOLDER", "--runs")
    check(refusals["model"], "no finished training (result.json and model.keras)", *advice)


def test_without_gradio_it_says_what_to_install_and_the_library_does_not_need_it(refusals):
    check(refusals["gradio"], 'pip install "aib-keras[app]"')


@needs_gradio
def test_it_needs_no_training_and_tells_of_a_busy_port(refusals):
    check(refusals["port"], "Cannot listen on 127.0.0.1:", "--port")
