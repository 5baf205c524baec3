# SPDX-License-Identifier: MIT
"""The messages are made of the protocol when the package is built."""

import pathlib
import sys

from setuptools import setup
from setuptools.command.build_py import build_py

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import make_package  # pylint: disable=wrong-import-position


class BuildWithMessages(build_py):
    """build_py, and pasid_pb2.py with its types beside the other modules."""

    def run(self):
        super().run()
        make_package.make_messages(pathlib.Path(self.build_lib) / "pasid")


setup(cmdclass={"build_py": BuildWithMessages})
