"""`aib-keras explain` on 200,000 files, 1 % of them broken, killed once and resumed."""

import collections
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

parquet = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("tensorflow")
import keras  # noqa: E402

if keras.backend.backend() != "tensorflow":
    pytest.skip("the SavedModel is exported on TensorFlow", allow_module_level=True)

from small import small_classifier  # noqa: E402

from aib_keras import export  # noqa: E402

COUNT = 200_000
PART = 5_000
# Of each process, in bytes. TensorFlow alone takes about half of it.
MOST_MEMORY = 1.5 * 2**30


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("model") / "saved"
    export.to_saved_model(small_classifier(), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """200,000 JPEG files of 32x32 pixels; each hundredth is cut off in its middle."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(500):
        path = folder / "one.jpg"
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype="uint8")).save(path)
        contents.append(path.read_bytes())
    path.unlink()
    for index in range(COUNT):
        content = contents[index % len(contents)]
        if index % 100 == 50:
            content = content[: len(content) // 2]
        path = folder / f"{index // 10_000:02d}" / f"{index:06d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return folder


PROGRAM = """
import sys
from aib_serve import bulk
source, model, out, workers = sys.argv[1:]
summary = bulk.explain_files(source, model, out, part_size={part}, workers=int(workers) or None)
print(summary.images, summary.errors, summary.new_parts, summary.parts)
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2], ids=["a plain loop", "two workers of Ray"])
def test_every_file_has_one_row_after_a_kill(folder, saved_model, tmp_path, workers):
    psutil = pytest.importorskip("psutil")
    if workers:
        pytest.importorskip("ray")
    out = tmp_path / "maps"
    program = PROGRAM.format(part=PART)
    command = [sys.executable, "-c", program, str(folder), str(saved_model), str(out), str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[2])}

    def start(name):
        with open(tmp_path / name, "w") as log:
            return subprocess.Popen(
                command, env=environment, start_new_session=True, stdout=log, stderr=log
            )

    first = start("first.log")
    limit = time.monotonic() + 900
    while len(list(out.glob("part-*"))) < 3:
        assert first.poll() is None, (tmp_path / "first.log").read_text()
        assert time.monotonic() < limit
        time.sleep(0.2)
    started = psutil.Process(first.pid).children(recursive=True)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    # Ray's processes notice, and may end a part before they do.
    assert not psutil.wait_procs(started, timeout=120)[1]
    kept = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}

    second = start("second.log")
    memory = 0
    limit = time.monotonic() + 1800
    while second.poll() is None:
        assert time.monotonic() < limit
        memory = max(memory, _most_memory(psutil, second.pid))
        time.sleep(0.5)
    text = (tmp_path / "second.log").read_text()
    assert second.returncode == 0, text
    parts = COUNT // PART
    expected = f"{COUNT} {COUNT // 100} {parts - len(kept)} {parts}"
    assert text.splitlines()[-1] == expected
    assert 0 < memory < MOST_MEMORY
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    rows = collections.Counter()
    for path in out.glob("part-*"):
        for row in parquet.read_table(path, columns=["path", "error"]).to_pylist():
            index = int(row["path"][-10:-4])
            rows[index] += 1
            assert bool(row["error"]) == (index % 100 == 50)
    assert rows == collections.Counter(range(COUNT))


def _most_memory(psutil, pid):
    """Returns the bytes of the largest process among one and what it has started."""
    found = 0
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            found = max(found, process.memory_info().rss)
    return found
