# SPDX-License-Identifier: MIT
"""The readers on an IOMMU without first-stage tables, whose entries have another form."""

import machine as vm
import scenario_smoke as smoke
import table_reader

PORTS = ("first",)
PROGRAMS = ("probe",)
FUNCTION = "0000:00:04.0"
PASID = 0x12345


def run(machine, observer, report):
    report.step("One PASID, attached to a second-stage table and detached")
    probe = smoke.Probe(machine, "first")
    (device,) = probe.ask(f"open {FUNCTION}")
    table = probe.space(device, "second-stage-space")
    probe.ask(f"attach {device} {table} {PASID}")

    key = table_reader.parse_function(FUNCTION), PASID
    view = observer.compare(report, {key: "table"}, "attached")
    report.equal(view.outside[key].stage, table_reader.Stage.SECOND, "it is a second-stage entry")
    reached = view.reached(key, smoke.IOVA, "second-stage-space")
    report.check(reached, "a DMA would reach the process's page")
    report.check(not view.reached(key, smoke.IOVA + 4096, ""), "and no page beside it")

    probe.ask(f"detach {device} {PASID}")
    observer.compare(report, {}, "detached")


def make_machine(*parts):
    return vm.Machine(*parts, [vm.Endpoint(4)], PORTS, first_stage=False)
