# SPDX-License-Identifier: MIT
"""usage: integration.py FOLDER

Runs the unittest files test_*.py of a folder, prints each test, and counts for scripts/test.
"""

import os
import pathlib
import sys
import time
import unittest


SLOW = 3.0


class Result(unittest.TextTestResult):
    """Counts what passed, and says which tests are slow."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.passed = 0
        self.started = 0.0

    def startTest(self, test):
        self.started = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        seconds = time.monotonic() - self.started
        if seconds >= SLOW:
            self.stream.writeln(f"    {seconds:.1f} s")

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.passed += 1


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = str(pathlib.Path(sys.argv[1]).resolve())
    suite = unittest.defaultTestLoader.discover(folder, pattern="test_*.py", top_level_dir=folder)
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result)
    result = runner.run(suite)
    for test, reason in result.skipped:
        print(f"SKIP: {test.id()}: {reason}")
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    if "REPORT_COUNTS" in os.environ:
        pathlib.Path(os.environ["REPORT_COUNTS"]).write_text(f"{result.passed} {failed} {len(result.skipped)}\n")
    sys.exit(1 if failed or not result.passed else 0)


main()
