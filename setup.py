"""Adds the zoo's index to the wheel; everything else is in pyproject.toml."""

import pathlib

import setuptools
from setuptools.command.build_py import build_py

INDEX = "zoo/index.json"


class BuildWithIndex(build_py):
    """Copies the index into the package: in a checkout it lies beside the model cards."""

    def run(self):
        super().run()
        if not self.editable_mode:
            self.copy_file(INDEX, self._index_in_package())

    def get_outputs(self, include_bytecode=1):
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, self._index_in_package()]

    def _index_in_package(self):
        return str(pathlib.Path(self.build_lib, "aib_keras", INDEX))


setuptools.setup(cmdclass={"build_py": BuildWithIndex})
