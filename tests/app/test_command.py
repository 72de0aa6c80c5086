"""`python -m aib_keras.app` where it cannot start: a sentence, status 2, no traceback."""

import importlib.util
import socket
import subprocess

import pytest


@pytest.fixture(scope="module")
def refusals(app_command, runs, tmp_path_factory):
    """What three commands that cannot start end with: (status, stderr) by what they lack."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        code = (
            "import sys, runpy; sys.modules['gradio'] = None; import aib_keras;"
            "assert 'aib_keras.app' not in sys.modules; sys.argv = ['app'];"
            "runpy.run_module('aib_keras.app', run_name='__main__')"
        )
        empty = tmp_path_factory.mktemp("empty")
        without_gradio, environment = app_command()
        commands = {
            "gradio": [*without_gradio[:1], "-c", code],
            "model": app_command(f"--runs={empty}")[0],
            "port": app_command(f"--runs={runs}", f"--port={port}")[0],
        }
        # Side by side, for each takes as long as TensorFlow takes to be imported.
        processes = {
            name: subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
            for name, command in commands.items()
        }
        try:
            return {
                name: (process.communicate(timeout=120)[1], process.returncode)[::-1]
                for name, process in processes.items()
            }
        finally:
            for process in processes.values():
                process.kill()


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
    advice = ("make quickstart", "python recipes/quickstart.py", "--runs")
    check(refusals["model"], "no finished training (*/result.json and model.keras)", *advice)


def test_without_gradio_it_says_what_to_install_and_the_library_does_not_need_it(refusals):
    check(refusals["gradio"], 'pip install "aib-keras[app]"')


@needs_gradio
def test_a_busy_port_is_told(refusals):
    check(refusals["port"], "Cannot listen on 127.0.0.1:", "--port")
