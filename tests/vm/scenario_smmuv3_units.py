# SPDX-License-Identifier: MIT
"""The unit tests that the preset arm64 leaves to a real kernel, run on one.

An emulator of processes lacks or bends what they need: ioctls of its own numbers, pidfds, workers,
limits. What runs there already is not repeated; which these are is read from the preset's filter.
"""

import json
import pathlib
import re

import machine_arm64 as arm
import stream_reader

TOP = pathlib.Path(__file__).resolve().parents[2]
PORTS = ()
Observer = stream_reader.Observer
NOT_HERE = ("test_fd",)  # wants a file system that is not in memory, which this guest does not have
SECONDS = 150  # for one program; the guest is slow, and so is a busy host
RESULT = re.compile(r"(?m)^100%: Checks: ([1-9]\d*), Failures: 0, Errors: 0$")


def left_out():
    """Programs of tests/unit that the emulator does not run."""
    presets = json.loads((TOP / "CMakePresets.json").read_text())["testPresets"]
    (preset,) = (preset for preset in presets if preset["name"] == "arm64")
    left = re.compile(preset["filter"]["exclude"]["name"])
    return sorted(path.stem for path in (TOP / "tests/unit").glob("test_*.c")
                  if left.match(path.stem) and path.stem not in NOT_HERE)


PROGRAMS = tuple(f"tests/unit/{name}" for name in left_out())


def run(machine, _observer, report):
    report.step("Unit tests on a kernel of this architecture")
    machine.run("mkdir -p /etc && : >/etc/passwd")  # a file that there is everywhere else
    for path in PROGRAMS:
        name = path.rpartition("/")[2]
        status, text = machine.run(f"cd /tmp && PASIDD_TEST_QUICK=1 CK_TIMEOUT_MULTIPLIER=20 {name}", SECONDS)
        found = RESULT.search(text)
        what = f"{name}: {found[1] if found else 'not all'} tests"
        report.check(status == 0 and found, what, text.splitlines()[-20:])


def make_machine(*parts):
    return arm.Machine(*parts, [], PORTS)
