#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Runs scenarios in a guest with an emulated IOMMU whose tables a real kernel writes.

scripts/vm-test prepares QEMU, the kernel and the programs, and calls this.
"""

import argparse
import contextlib
import importlib
import os
import signal
import sys
import tempfile

import initramfs
import machine as vm
import report as reports
import views

SCENARIOS = ("pasidd", "descriptors", "scopes", "dma", "smoke", "second_stage")
IOMMUFD_SELFTEST = ("selftest", "selftest_pasidd")
ON_ARM64 = ("smmuv3_pasidd", "smmuv3_dma", "smmuv3_smoke", "smmuv3_units", "smmuv3_demo")
WITH_SYSTEMD = ("restart", "service")
BENCHES = ("bench",)
HERE = os.path.dirname(os.path.abspath(__file__))


class OutOfTime(BaseException):
    """The time for everything is over; not an Exception, so that no scenario catches it."""


def out_of_time(*_):
    raise OutOfTime


def run_scenario(name, options, report):
    """Boots a guest for one scenario and runs it."""
    scenario = importlib.import_module(f"scenario_{name}")
    with contextlib.ExitStack() as parts:
        root = make_root(scenario, options, parts)
        machine = scenario.make_machine(options.qemu_root, options.kernel, root)
        with machine:
            failed = report.failed
            try:
                with report.guard(f"scenario {name} runs to its end"):
                    machine.start()
                    observer = getattr(scenario, "Observer", views.Observer)(machine)
                    if options.shell:
                        serve_shell(machine)
                    else:
                        scenario.run(machine, observer, report)
                    report.equal(machine.power_off(), 0, "the guest switches itself off")
            except OutOfTime:
                report.check(False, f"scenario {name} ends within {options.timeout} s")
            if report.failed > failed:
                print(machine.logs(), end="", flush=True)


def make_root(scenario, options, parts):
    """What the guest boots: an initramfs with the scenario's programs, or the disks with systemd."""
    if options.guest:
        return options.guest, os.path.join(options.programs, "disk.image")
    programs = [os.path.join(options.programs, program) for program in scenario.PROGRAMS]
    initrd = parts.enter_context(tempfile.NamedTemporaryFile(prefix="pasidd-initrd-"))
    initramfs.build(initrd.name, os.path.join(HERE, "guest/init"), programs, sysroot=options.sysroot)
    return initrd.name


def run_benches(options, report):
    """Exit status 1 when something could not be measured."""
    with contextlib.redirect_stdout(sys.stderr):
        for name in BENCHES:
            run_scenario(name, options, report)
        status = report.finish()
    print(report.figures, end="", flush=True)
    return status


def serve_shell(machine):
    """Runs what comes on standard input in the guest, a command a line."""
    print("a shell in the guest, one command a line; end with ^D", flush=True)
    for line in sys.stdin:
        status, text = machine.run(line.rstrip("\n"), timeout=3600)
        print(text + (f"(exit status {status})\n" if status else ""), end="", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--qemu-root", required=True, help="folder of the system that has QEMU")
    parser.add_argument("--kernel", required=True, help="the guest's kernel")
    parser.add_argument(
        "--programs", required=True, help="folder of the programs that the scenarios run"
    )
    parser.add_argument(
        "--timeout", type=int, default=360, help="seconds for everything (default 360)"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="print the checks alone, not the tables"
    )
    parser.add_argument(
        "--shell",
        action="store_true",
        help="instead of a scenario, run commands from standard input",
    )
    parser.add_argument(
        "--bench",
        action="store_true",
        help="measure instead: figures on standard output, all else on standard error",
    )
    parser.add_argument("--guest", help="the disk of a guest with systemd, for the scenarios that need one")
    parser.add_argument("--sysroot", help="libraries for arm64: the guest is of that kind")
    parser.add_argument("scenarios", nargs="*", help=f"of: {' '.join(SCENARIOS)} (default: all)")
    options = parser.parse_args()
    known = ON_ARM64 if options.sysroot else SCENARIOS + IOMMUFD_SELFTEST
    unknown = set(options.scenarios) - set(WITH_SYSTEMD if options.guest else known)
    if unknown:
        parser.error(f"unknown: {' '.join(sorted(unknown))}; there is: {' '.join(known)}")

    # An end by signal must still end QEMU and the endpoints.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGALRM, out_of_time)
    if not options.shell:
        signal.alarm(int(options.timeout * vm.PATIENCE))
    report = reports.Report(verbose=not options.quiet)
    if options.bench:
        return run_benches(options, report)
    for name in options.scenarios or known:
        run_scenario(name, options, report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
