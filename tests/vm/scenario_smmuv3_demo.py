# SPDX-License-Identifier: MIT
"""`pasidctl demo` on arm64, with the programs that are built for that.

The IOMMU is simulated, as everywhere in the demo; the kernel and the processor are not those of the
machine that runs the tests.
"""

import machine_arm64 as arm
import stream_reader

PORTS = ()
Observer = stream_reader.Observer
PROGRAMS = ("pasidd", "pasidctl", "pasid-sim")
SECONDS = 300  # the guest is slow, and so is a busy host


def run(machine, _observer, report):
    report.step("The demo on arm64")
    report.equal(machine.output("uname -m").strip(), "aarch64", "this is the other architecture")
    status, text = machine.run("cd /tmp && pasidctl demo", SECONDS)
    report.check(text.endswith("demo: ok\n") and status == 0, "the demo says that all is well", text.splitlines()[-20:])


def make_machine(*parts):
    return arm.Machine(*parts, [], PORTS)
