# SPDX-License-Identifier: MIT
"""scripts/demo on arm64: its scenario, with the programs that are built for that.

The IOMMU is simulated, as everywhere in the demo; the kernel and the processor are not those of the
machine that runs the tests. Python comes from the folder with arm64's libraries.
"""

import pathlib

import machine_arm64 as arm
import stream_reader

TOP = pathlib.Path(__file__).resolve().parents[2]
PORTS = ()
Observer = stream_reader.Observer
PROGRAMS = ("pasidd", "pasidctl", "pasid-sim", "vmm")
PYTHON = "usr/bin/python3.11"
NEEDLESS = {"__pycache__", "ensurepip", "idlelib", "lib2to3", "test", "unittest"}
SECONDS = 300  # the guest is slow, and so is a busy host


def from_sysroot(sysroot):
    """Programs, and files by the name that they have in the guest."""
    library = pathlib.Path(sysroot, "usr/lib/python3.11")
    files = [("demo.py", (TOP / "scripts/lib/demo.py").read_bytes())]
    for path in sorted(library.rglob("*")):
        place = path.relative_to(sysroot)
        if path.is_file() and not NEEDLESS.intersection(place.parts):
            files.append((str(place), path.read_bytes()))
    return [str(pathlib.Path(sysroot, PYTHON))], files


def run(machine, _observer, report):
    report.step("The demo on arm64")
    report.equal(machine.output("uname -m").strip(), "aarch64", "this is the other architecture")
    status, text = machine.run("cd /tmp && python3.11 -B /demo.py /usr/bin", SECONDS)
    report.check(text.endswith("demo: ok\n") and status == 0, "the demo says that all is well", text.splitlines()[-20:])


def make_machine(*parts):
    return arm.Machine(*parts, [], PORTS)
