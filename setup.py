"""Package metadata; the dependencies are in requirements.txt, for tools that read only that."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "aib_keras" / "__init__.py").read_text())[1]
REQUIREMENTS = (ROOT / "requirements.txt").read_text().split("\n")

EXTRAS = {
    "cuda": ["tensorflow[and-cuda]>=2.20"],
    "litert": ["ai-edge-litert>=2.0"],
    "serving": ["grpcio>=1.70", "requests>=2.31", "tensorflow-serving-api>=2.20"],
    "onnx": ["onnxruntime>=1.20", "tf2onnx>=1.16"],
    "app": ["gradio>=6"],
    "jax": ["jax>=0.6"],
    "torch": ["torch>=2.6"],
    "safetensors": ["safetensors>=0.5"],
}
# What the tests want beside themselves; torch is installed by itself, for its size.
TESTED_EXTRAS = ("litert", "serving", "onnx", "app", "jax", "safetensors")
TEST_TOOLS = [
    "ipykernel>=6",
    "nbclient>=0.10",
    "playwright>=1.50",
    "pytest>=8",
    "pytest-xdist>=3.6",
    "ruff>=0.12",
]

setuptools.setup(
    name="aib-keras",
    version=VERSION,
    description="Spatial attention that has to earn its information, for Keras 3",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=setuptools.find_packages(include=["aib_keras", "aib_keras.*", "aib_serve"]),
    entry_points={"console_scripts": ["aib-serve-client = aib_serve.main:run"]},
    install_requires=[line for line in REQUIREMENTS if line and not line.startswith("#")],
    extras_require={
        **EXTRAS,
        "dev": TEST_TOOLS + [line for extra in TESTED_EXTRAS for line in EXTRAS[extra]],
    },
)
