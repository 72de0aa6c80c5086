"""Builds the sdist and from it the wheel, and uses the wheel in a fresh environment.

Usage: python tests/wheel/check_wheel.py. Needs the package index, and minutes.
"""

import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
EXTRA = "jax"
MOST_SECONDS = 1.0
MOST_WEIGHT_BYTES = 5_000_000
IMPORTS = """
import time
started = time.perf_counter()
import keras
keras_imported = time.perf_counter()
import aib_keras
print(time.perf_counter() - keras_imported, keras_imported - started)
"""


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        build = ["-m", "build", "--outdir", folder / "dist", REPOSITORY]
        subprocess.run([sys.executable, *build], check=True, stdout=subprocess.DEVNULL)
        [sdist] = (folder / "dist").glob("*.tar.gz")
        [wheel] = (folder / "dist").glob("*.whl")
        check_sdist(sdist)
        check_wheel(wheel)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        install = ["-m", "pip", "install", "--quiet", f"{wheel}[{EXTRA}]"]
        subprocess.run([python, *install], check=True, cwd=folder)
        use = pathlib.Path(__file__).with_name("use_wheel.py")
        subprocess.run([python, use], check=True, cwd=folder, env=environment(EXTRA, folder))
        check_import_time(python, folder)
        check_missing_backend(python, folder)


def check_sdist(path):
    with tarfile.open(path) as archive:
        # The first part of each name is the folder of the release.
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "LICENSE",
        "README.md",
        "benchmarks/train_step.py",
        "mkdocs.yml",
        "pyproject.toml",
        "requirements.txt",
        "zoo/index.json",
    }
    expect(wanted | modules() <= names, path, f"lacks {sorted((wanted | modules()) - names)}")


def check_wheel(path):
    with zipfile.ZipFile(path) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {"aib_keras/zoo/index.json"} | modules() | bundled_weights()
    expect(wanted <= names, path, f"lacks {sorted(wanted - names)}")
    expect(names <= wanted, path, f"has {sorted(names - wanted)}, which it should not")


def bundled_weights():
    """The paths in the wheel of the weights that the index calls bundled; together under 5 MB."""
    index = json.loads((REPOSITORY / "zoo" / "index.json").read_text())
    entries = [each for names in index.values() for each in names.values() if each["bundled"]]
    size = sum(entry["bytes"] for entry in entries)
    expect(entries and size < MOST_WEIGHT_BYTES, "index.json", f"bundles {size} bytes")
    return {f"aib_keras/zoo/{entry['file']}" for entry in entries}


def modules():
    """The paths of the library's modules in the checkout, and of the files that they read."""
    return {
        str(path.relative_to(REPOSITORY))
        for package in ("aib_cli", "aib_keras", "aib_serve")
        for pattern in ("*.py", "*.js", "*.jpg")
        for path in (REPOSITORY / package).rglob(pattern)
    }


def check_import_time(python, folder):
    """The best of three processes, because other work on the machine only makes them slower."""
    outputs = [
        subprocess.check_output(
            [python, "-c", IMPORTS], cwd=folder, env=environment(EXTRA, folder), text=True
        )
        for _ in range(3)
    ]
    seconds, of_keras = min(tuple(map(float, output.split())) for output in outputs)
    times = f"import aib_keras took {seconds:.2f} s more than import keras ({of_keras:.2f} s)"
    expect(seconds < MOST_SECONDS, times, f"and should take less than {MOST_SECONDS} s")
    print(f"{times}.")


def check_missing_backend(python, folder):
    """Without TensorFlow, Keras's default, the last line says what to install or to set."""
    done = subprocess.run(
        [python, "-c", "import aib_keras"],
        cwd=folder,
        env=environment("tensorflow", folder),
        capture_output=True,
        text=True,
    )
    message = done.stderr.strip().split("\n")[-1]
    for part in ('pip install "aib-keras[tensorflow]"', f"KERAS_BACKEND={EXTRA}"):
        expect(part in message, "import aib_keras without TensorFlow", f"says {message!r}")


def environment(backend, folder):
    """Environment variables without the checkout's modules and the user's Keras settings."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "KERAS_BACKEND": backend, "KERAS_HOME": str(folder / "keras")}


def expect(condition, what, problem):
    if not condition:
        raise SystemExit(f"{what} {problem}.")


main()
