# SPDX-License-Identifier: MIT
"""pasidd's backend over the kernel's iommufd with its self-test device, and over the simulator.

No emulated IOMMU nests a guest's first-stage table. The self-test device of iommufd does, without
writing one: what is proven is objects, errors and what is left when something fails, of the real
core; and that the simulator answers the same. (F31 of docs/FEATURES.md)
"""

import machine as vm

PROGRAMS = ("selftest",)
TIMEOUT = 120
# What is expected wrongly, and what the program must say of it.
MISTAKES = {
    "reason": "it is table-without-pasid, not table-kind",
    "stands": "there is not",
    "absent": "there is not 0",
    "nested": "is not what the guest described",
    "objects": "objects, not",
}
COMPLAINTS = "WARNING:|BUG:|Oops|refcount_t|general protection"


def play(machine, report, part):
    """One part of the program: its checks are ours; the steps as it printed them."""
    status, text = machine.run(f"selftest {part}", TIMEOUT)
    lines = text.splitlines()
    for line in lines:
        if line.startswith("ok "):
            report.check(True, line[3:])
        elif line.startswith("not ok "):
            report.check(False, line[7:])
    report.equal((status, lines[-1:]), (0, ["end 0 failed"]), f"{part} runs to its end")
    return [line for line in lines if line.startswith("step ")]


def compare(report, kernel, simulator):
    report.step("The same steps, what both kernels answered")
    report.equal(len(simulator), len(kernel), "both took as many steps")
    for ours, theirs in zip(simulator, kernel):
        report.equal(ours, theirs, f"the simulator answers as the kernel: {theirs[5:]}")


def mistakes(machine, report, part):
    """A check that cannot fail proves nothing."""
    for mistake, words in MISTAKES.items():
        status, text = machine.run(f"selftest {part} {mistake}", TIMEOUT)
        failures = [line for line in text.splitlines() if line.startswith("not ok ")]
        good = status == 1 and failures and words in failures[0]
        report.check(good, f"{part}: a wrong expectation of {mistake} is noticed", failures or [text[-300:]])


def run(machine, _observer, report):
    report.step("pasidd's backend, on iommufd with its self-test device")
    machine.output("cd /sys/kernel/debug && echo N > failslab/ignore-gfp-wait")
    machine.output("cd /sys/kernel/debug && for f in failslab fail_iommufd; do echo 0 > $f/verbose; done")
    machine.output("dmesg -c > /dev/null")
    kernel = play(machine, report, "kernel")
    report.step("The simulator")
    simulator = play(machine, report, "simulator")
    compare(report, kernel, simulator)
    report.step("Each place that can fail in the kernel")
    play(machine, report, "faults")
    report.step("The checks can fail")
    for part in ("kernel", "simulator"):
        mistakes(machine, report, part)
    report.step("The kernel's own opinion")
    _, log = machine.run(f"dmesg | grep -E '{COMPLAINTS}'")
    report.none(log.splitlines(), "it complains of nothing")


def make_machine(*parts):
    return vm.Machine(*parts, [])
