# SPDX-License-Identifier: MIT
"""Measures what a bind through pasidd costs on a real kernel (bench/bench_bind.c); the figures are JSON lines."""

import machine as vm
from scenario_smoke import ProbeError

PROGRAMS = ("pasidd", "pasidctl", "bench_bind")
OURS, DIRECT = "0000:00:04.0", "0000:00:05.0"
ROUNDS = 40
FIRST_CORE = "1"  # as a mask


def measure(machine, report, what, command):
    report.step(f"{what}: {ROUNDS} rounds, interleaved")
    status, text = machine.run(command, timeout=200)
    if not report.check(status == 0, "the figure was measured", [text]):
        raise ProbeError(machine.run("tail -n 20 /run/pasidd.log")[1])
    report.figure(text)


def run(machine, _observer, report):
    report.step("pasidd starts")
    daemon = machine.output("mkdir -p /run/pasidd; (exec pasidd >/run/pasidd.log 2>&1) & echo $!").strip()
    machine.output("i=0; until pasidctl status >/dev/null || [ $i -gt 100 ]; do usleep 50000; i=$((i+1)); done", 60)
    bench = f"bench_bind {OURS} {DIRECT} {ROUNDS}"
    measure(machine, report, "on both cores", bench)
    # The first run's set is torn down when its process has ended, which takes a moment.
    machine.output("i=0; while pasidctl devices | grep -q 0000: && [ $i -lt 200 ]; do usleep 50000; i=$((i+1)); done", 60)
    machine.output(f"taskset -p {FIRST_CORE} {daemon}")  # and with it the workers that it starts from now on
    measure(machine, report, "on one core", f"taskset {FIRST_CORE} {bench} 'all on one emulated core'")


def make_machine(*parts):
    return vm.Machine(*parts, [vm.Endpoint(4), vm.Endpoint(5)])
