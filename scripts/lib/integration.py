# SPDX-License-Identifier: MIT
"""usage: integration.py FOLDER [FILE]

Runs the unittest files test_*.py of a folder, or one of them, prints each test, and counts for scripts/test. The files
run in processes of their own, one more than there are cores: they wait for daemons half of the time.
"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest


SLOW = 3.0
LONGEST = ("test_hostile.py", "test_descriptors.py", "test_restart_kept.py")  # start first, so that none is alone at the end


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


def run_file(folder, name):
    """Runs the tests of one file in this process: passed, failed, skipped."""
    suite = unittest.defaultTestLoader.discover(folder, pattern=name, top_level_dir=folder)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
    for test, reason in result.skipped:
        print(f"SKIP: {test.id()}: {reason}")
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    return result.passed, failed, len(result.skipped)


def run_process(folder, name):
    """The same in another process, whose output is printed as a whole."""
    started = time.monotonic()
    with tempfile.NamedTemporaryFile("r", prefix="pasidd-counts-") as counts:
        run = subprocess.run([sys.executable, "-B", __file__, folder, name], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, errors="replace", check=False,
                             env={**os.environ, "REPORT_COUNTS": counts.name})
        words = counts.read().split()
    passed, failed, skipped = map(int, words) if words else (0, 0, 0)
    if run.returncode and not failed:
        run.stdout += f"FAILED: {name}: ended with {run.returncode}\n"
        failed = 1
    print(f"{run.stdout}---- {name}: {time.monotonic() - started:.1f} s\n", flush=True)
    return passed, failed, skipped


def run_folder(folder):
    names = sorted(pathlib.Path(folder).glob("test_*.py"), key=lambda path: (path.name not in LONGEST, -path.stat().st_size))
    with concurrent.futures.ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        results = list(pool.map(lambda path: run_process(folder, path.name), names))
    return tuple(map(sum, zip(*results))) if results else (0, 0, 0)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    folder = str(pathlib.Path(sys.argv[1]).resolve())
    counts = run_file(folder, sys.argv[2]) if len(sys.argv) == 3 else run_folder(folder)
    if "REPORT_COUNTS" in os.environ:
        pathlib.Path(os.environ["REPORT_COUNTS"]).write_text("{} {} {}\n".format(*counts))
    sys.exit(1 if counts[1] or not sum(counts) else 0)


main()
