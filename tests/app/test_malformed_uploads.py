"""Files that are no images, through the upload and the function of the real, running app."""

import pathlib

import pytest
from malformed import malformed_files

client_library = pytest.importorskip("gradio_client", reason="the page needs Gradio")

# It starts the page, in a process of its own.
pytestmark = pytest.mark.slow

MODEL = "vgg_aib_qt on cluttered_digits (seed 0)"
_SECONDS = 30
# The smallest of the decompression bombs has 196 megapixels: decoded it would take 589 MB as RGB.
# What the process grows by without decoding any is a tenth of that.
_MAY_GROW_BY_KB = 300_000
_ERRORS = ("cannot be read as an image", "too large to be decoded safely")


def highest_memory(pid):
    """The most memory that a process has ever had, in kB."""
    status = pathlib.Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("/proc is not here, where Linux tells the memory of a process")
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0])


@pytest.fixture(scope="module")
def look(server):
    client = client_library.Client(server.address, verbose=False)

    def call(path):
        image = client_library.handle_file(path)
        values = (MODEL, image, "map", "nothing", 0.5, True, "colour window", 8, 0)
        return client.submit(*values, api_name="/look").result(timeout=_SECONDS)

    return call


@pytest.mark.parametrize(("count", "seed"), [(60, 0), (1000, 1)])
def test_each_gets_a_clear_error_and_the_next_image_a_result(
    server, look, image_file, tmp_path, count, seed
):
    expected = look(image_file)
    before, log_before = highest_memory(server.pid), server.log()
    for name, content in malformed_files(count, seed):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(client_library.exceptions.AppError) as caught:
            look(path)
        message = str(caught.value)
        assert name in message
        assert any(error in message for error in _ERRORS), message
        assert "/" not in message.replace(name, ""), message
        path.unlink()
    assert look(image_file)[0] == expected[0]
    grown = highest_memory(server.pid) - before
    print(f"{count} files: the server's memory grew by {grown / 1000:.0f} MB")
    assert grown < _MAY_GROW_BY_KB
    assert "Traceback" not in server.log().removeprefix(log_before)
