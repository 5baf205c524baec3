# SPDX-License-Identifier: MIT
"""pasidd's backend over the kernel's iommufd with its self-test device, and over the simulator.

No emulated IOMMU nests a guest's first-stage table. The self-test device of iommufd does, without
writing one, and has guests' IOMMUs as an SMMUv3 has: what is proven is objects, errors and what is left when something fails, of the real
core; and that the simulator of each answers the same. (F31, F32 of docs/FEATURES.md)
"""

import machine as vm

PROGRAMS = ("selftest",)
TIMEOUT = 120
SEEDS, STEPS = 5, 200
# What is expected wrongly, and what the program must say of it.
MISTAKES = {
    "reason": ", not internal",
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


def compare(machine, report, iommu, prefix):
    """The same steps on both, and what they answered."""
    report.step(f"pasidd's backend on iommufd with its self-test device, which looks like {iommu}")
    kernel = play(machine, report, f"{prefix}kernel")
    report.step(f"The simulator of {iommu}")
    simulator = play(machine, report, f"{prefix}simulator")
    report.step("The same steps, what both answered")
    report.equal(len(simulator), len(kernel), "both took as many steps")
    for ours, theirs in zip(simulator, kernel):
        report.equal(ours, theirs, f"the simulator of {iommu} answers as the kernel: {theirs[5:]}")


def compare_random(machine, report, iommu, prefix):
    """Steps that nobody wrote down, at random: the same steps, as long as the answers are the same."""
    for seed in range(1, SEEDS + 1):
        found = []
        for kernel in ("kernel", "simulator"):
            status, text = machine.run(f"selftest {prefix}{kernel} random-{seed}", TIMEOUT)
            lines = text.splitlines()
            wrong = [line for line in lines if line.startswith("not ok ")] or lines[-1:]
            report.check(status == 0, f"{kernel}, {iommu}, seed {seed}: what stands is what was answered", wrong[:5])
            found.append([line for line in lines if line.startswith("step ")])
        differ = [f"{a} | {b}" for a, b in zip(*found) if a != b][:3]
        good = not differ and len(found[0]) == len(found[1]) == STEPS
        report.check(good, f"seed {seed}: {STEPS} steps at random, the same answers ({iommu})", differ or [text[-300:]])


def mistakes(machine, report, part):
    """A check that cannot fail proves nothing."""
    for mistake, words in MISTAKES.items():
        status, text = machine.run(f"selftest {part} {mistake}", TIMEOUT)
        failures = [line for line in text.splitlines() if line.startswith("not ok ")]
        good = status == 1 and failures and words in failures[0]
        report.check(good, f"{part}: a wrong expectation of {mistake} is noticed", failures or [text[-300:]])


def run(machine, _observer, report):
    machine.output("cd /sys/kernel/debug && echo N > failslab/ignore-gfp-wait")
    machine.output("cd /sys/kernel/debug && for f in failslab fail_iommufd; do echo 0 > $f/verbose; done")
    machine.output("dmesg -c > /dev/null")
    compare(machine, report, "VT-d", "")
    compare(machine, report, "SMMUv3", "smmuv3-")
    report.step("Steps at random")
    compare_random(machine, report, "VT-d", "")
    compare_random(machine, report, "SMMUv3", "smmuv3-")
    report.step("Each place that can fail in the kernel")
    play(machine, report, "faults")
    play(machine, report, "smmuv3-faults")
    report.step("The checks can fail")
    for part in ("kernel", "simulator", "smmuv3-kernel", "smmuv3-simulator"):
        mistakes(machine, report, part)
    report.step("The kernel's own opinion")
    _, log = machine.run(f"dmesg | grep -E '{COMPLAINTS}'")
    report.none(log.splitlines(), "it complains of nothing")


def make_machine(*parts):
    return vm.Machine(*parts, [])
