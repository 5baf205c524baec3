# SPDX-License-Identifier: MIT
"""Runs the Check programs of a build and says which tests failed, by name."""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import tempfile

TAP_LINE = re.compile(r"^(ok|not ok) \d+ - (?P<file>[^:]*):(?P<case>[^:]*):(?P<test>[^:]*): (?P<message>.*)")
ROUNDS = int(os.environ.get("PASIDD_TEST_ROUNDS", "1"))
HISTORIES = int(os.environ.get("PASIDD_TEST_HISTORIES", 400 * ROUNDS))
LEAKS = os.environ.get("PASIDD_TEST_LEAKS", "1")  # looking for them takes as long as all else of most tests
TIMEOUT = 240 * ROUNDS  # seconds for one program
ENVIRONMENT = {
    "ASAN_OPTIONS": f"abort_on_error=0:detect_leaks={LEAKS}:detect_stack_use_after_return=1:strict_string_checks=1",
    "CK_TIMEOUT_MULTIPLIER": str(4 * ROUNDS),  # sanitizers on a loaded machine
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


class Result:
    """What one program of tests did."""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = []  # (test, message)
        self.skipped = []
        self.output = ""

    def read_tap(self, text):
        plan = None
        for line in text.splitlines():
            match = TAP_LINE.match(line)
            if match and match[1] == "ok":
                self.passed += 1
            elif match:
                self.failed.append((match["test"], match["message"]))
            elif line.startswith("1.."):
                plan = int(line[3:])
        return plan

    def conclude(self, plan, code):
        """Everything that is wrong without any test having said so."""
        if plan is None:
            self.failed.append((self.name, "ended before all its tests had run"))
        elif plan == 0 or plan != self.passed + len(self.failed):
            self.failed.append((self.name, f"announced {plan} tests, ran {self.passed + len(self.failed)}"))
        if code != 0 and not self.failed:
            self.failed.append((self.name, f"all tests passed, yet it exited with {code}"))


def run_limited(command, folder, environment):
    """Exit code and output; the code is None when it was ended because it took too long."""
    with subprocess.Popen([str(word) for word in command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace") as run:
        try:
            output = run.communicate(timeout=TIMEOUT)[0]
            return run.returncode, output
        except subprocess.TimeoutExpired:
            run.terminate()  # Check then ends the test that it has forked
        try:
            return None, run.communicate(timeout=10)[0]
        except subprocess.TimeoutExpired:
            run.kill()
            return None, run.communicate()[0]


def run_program(path):
    """Runs one program of tests in a folder of its own."""
    result = Result(path.name)
    with tempfile.TemporaryDirectory(prefix="pasidd-test-") as folder:
        tap = pathlib.Path(folder, "log.tap")
        environment = {**ENVIRONMENT, **os.environ, "CK_TAP_LOG_FILE_NAME": str(tap)}
        code, result.output = run_limited([path], folder, environment)
        plan = result.read_tap(tap.read_text(errors="replace")) if tap.exists() else None
    result.skipped = [line[5:].strip() for line in result.output.splitlines() if line.startswith("SKIP:")]
    if code is None:
        result.failed.append((result.name, f"did not end within {TIMEOUT} s"))
    else:
        result.conclude(plan, code)
    return result


def run_replay(path, source):
    """Replays the corpus and the regressions of a fuzz target; each input counts as a test."""
    result = Result(path.name)
    target = path.name.removeprefix("fuzz_")
    folders = [pathlib.Path(source, "tests/fuzz", kind, target) for kind in ("corpus", "regressions")]
    command = [path, *(folder for folder in folders if folder.is_dir())]
    code, result.output = run_limited(command, source, {**ENVIRONMENT, **os.environ})
    tried = [line for line in result.output.splitlines() if line.startswith(str(source))]
    result.passed = len(tried)
    if code != 0:
        result.passed -= 1
        result.failed.append((path.name, f"{'did not end' if code is None else 'fails'} at {tried[-1:]}"))
    return result


def run_histories(path):
    """Random histories of tests/sim; all of them count as one test."""
    result = Result(path.name)
    code, result.output = run_limited([path, "--histories", str(HISTORIES), "--jobs", "1"], path.parent,
                                      {**ENVIRONMENT, **os.environ})
    if code == 0:
        result.passed = 1
    else:
        lines = result.output.strip().splitlines() or ["it said nothing"]
        result.failed.append(("histories", "did not end" if code is None else lines[0]))
    return result


def replays(build, source):
    """The program of each fuzz target, whether it was built or not."""
    names = sorted(path.stem for path in pathlib.Path(source, "tests/fuzz").glob("fuzz_*.c"))
    return [pathlib.Path(build, "tests/fuzz", name).resolve() for name in names]


def programs(build, source):
    """The program of each tests/unit/test_*.c, whether it was built or not."""
    names = sorted(path.stem for path in pathlib.Path(source, "tests/unit").glob("test_*.c"))
    return [pathlib.Path(build, "tests/unit", name).resolve() for name in names]


def everything(build, source, with_replays=True):
    """Histories, programs and fuzz targets; the longest first."""
    histories = pathlib.Path(build, "tests/sim/pasid-histories").resolve()
    return [histories] + programs(build, source) + (replays(build, source) if with_replays else [])


def run_one(path, source):
    if path.exists() and path.parent.name == "sim":
        return run_histories(path)
    if path.exists():
        return run_replay(path, source) if path.parent.name == "fuzz" else run_program(path)
    missing = Result(path.name)
    missing.failed.append((path.name, "was not built"))
    return missing


def run_all(build, source, with_replays=True):
    """The results of all programs, in order; one that was not built is a failure."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(lambda path: run_one(path, source), everything(build, source, with_replays)))


def first_failure(build, source):
    """The first program's result that has a failure; the rest does not run then. None when all passed."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        runs = [pool.submit(run_one, path, source) for path in everything(build, source)]
        for run in concurrent.futures.as_completed(runs):
            if run.result().failed:
                pool.shutdown(cancel_futures=True)
                return run.result()
    return None
