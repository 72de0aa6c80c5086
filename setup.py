"""Adds the zoo's index and its small weights to the wheel; all else is in pyproject.toml."""

import json
import pathlib

import setuptools
from setuptools.command.build_py import build_py

ZOO = pathlib.Path("zoo")


def bundled():
    """Returns the files of the zoo that the wheel contains: in a checkout they lie in zoo/."""
    index = json.loads((ZOO / "index.json").read_text())
    entries = [entry for names in index.values() for entry in names.values()]
    return ["index.json", *(entry["file"] for entry in entries if entry["bundled"])]


class BuildWithZoo(build_py):
    """Copies the bundled files into the package."""

    def run(self):
        super().run()
        if not self.editable_mode:
            for file in bundled():
                self.copy_file(str(ZOO / file), self._in_package(file))

    def get_outputs(self, include_bytecode=1):
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, *map(self._in_package, bundled())]

    def _in_package(self, file):
        return str(pathlib.Path(self.build_lib, "aib_keras", "zoo", file))


setuptools.setup(cmdclass={"build_py": BuildWithZoo})
