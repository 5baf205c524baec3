# SPDX-License-Identifier: MIT
"""The package of bindings/python, made as its users make it, for the tests of it."""

import atexit
import subprocess
import sys
import tempfile

from pasid_client import TOP

PYTHON = TOP / "bindings" / "python"
BUILT = tempfile.TemporaryDirectory(prefix="pasid-python-")
atexit.register(BUILT.cleanup)
subprocess.run([sys.executable, "-B", str(PYTHON / "make_package.py"), BUILT.name], check=True)
sys.path.insert(0, BUILT.name)
import pasid  # pylint: disable=wrong-import-position,import-error,unused-import
