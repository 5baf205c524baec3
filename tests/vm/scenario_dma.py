# SPDX-License-Identifier: MIT
"""A DMA of a whole function on VT-d, through the page table that pasidd attached to its RID.

QEMU's iommu-testdev does it; it has no PASIDs, so that nothing is said here of a single one. Each
time all of the VMM's memory is compared with what it was. (F30, F44 of docs/FEATURES.md)
"""

import json
import time

import dma
import machine as vm
from scenario_pasidd import Vmm
from scenario_smoke import ProbeError

PORTS = ("vm1", "vm2")
PROGRAMS = ("pasidd", "pasidctl", "vmm")

DMA = "0000:00:04.0"
RID = 4 << 3
PAGE = 4096
IOVA, LENGTH = 0x40000000, 1 << 20
NEAR = IOVA + LENGTH  # not mapped
OFFSET = 0x10
TARGETS = (IOVA, IOVA + 7 * PAGE, IOVA + LENGTH - PAGE)


class Scenario:
    """The steps."""

    def __init__(self, machine, observer, report):
        self.machine, self.observer, self.report = machine, observer, report

    def run(self):
        self.start()
        self.attached()
        self.detached()
        self.replaced()
        self.killed()

    # --- helpers -----------------------------------------------------------------------------

    def physical(self, address):
        """Where the reader says that an access without PASID ends; None: nowhere."""
        tables = self.observer.tables()
        entry = tables.entries().get((RID, 0))
        return None if entry is None or not entry.page_table else tables.translate(entry, address)

    def memory(self, vmm, at):
        """An address space of the VMM with all its memory, and the page table of it."""
        (space,) = vmm.ask("ioas")
        vmm.ask(f"guest-memory {space} {at:#x} {LENGTH:#x}")
        return vmm.ask(f"hwpt {vmm.handle} {space}")[0]

    def places(self):
        places = {page: self.physical(page) for page in range(IOVA, NEAR, PAGE)}
        self.report.check(None not in places.values(), "the reader finds all of the VMM's memory")
        return places

    def reaches(self, address, what):
        target = self.pages.places[address] + OFFSET
        self.clear(address)
        answer = self.testdev.write(address + OFFSET, target)
        self.report.equal(answer, "done", f"{what}: the device finds its word there")
        changed = [hex(place) for place in self.pages.changed()]
        self.report.equal(changed, [hex(address + OFFSET)], f"{what}: this word, and no other of the VMM's")

    def is_refused(self, address, what):
        target = self.pages.places[IOVA] + OFFSET
        self.clear(IOVA)
        self.report.equal(self.testdev.write(address + OFFSET, target), "refused", f"{what}: the IOMMU refuses it")
        self.report.equal(self.pages.changed(), [], f"{what}: nothing is written")

    def clear(self, address):
        self.vmm.ask(f"poke {address + OFFSET:#x} 0")
        self.pages.changed()

    # --- steps -------------------------------------------------------------------------------

    def start(self):
        self.report.step("pasidd starts; a VMM registers the function")
        self.machine.output("echo '{}' >/run/pasidd.json; mkdir -p /run/pasidd")
        self.machine.output("(exec pasidd --config /run/pasidd.json >/run/pasidd.log 2>&1) & echo $!")
        end = time.monotonic() + 10
        while self.machine.run("pasidctl status")[0] != 0 and time.monotonic() < end:
            time.sleep(0.1)
        status = json.loads(self.machine.output("pasidctl --json status"))
        self.report.equal(status["backend"], "vtd", "it has found the IOMMU")
        self.vmm = vmm = Vmm(self.machine, "vm1")
        vmm.ask("connect")
        vmm.ask("set vm1 8")
        vmm.handle = vmm.ask(f"node {DMA}")[0]
        self.device = vmm.ask(f"device {vmm.handle}")[0]
        vmm.ask(f"enable {vmm.handle}")
        self.testdev = dma.TestDevice(vmm, vmm.handle)
        self.table = self.memory(vmm, IOVA)

    def attached(self):
        self.report.step("The VMM's page table is attached to the RID")
        self.vmm.ask(f"attach-rid {self.device}:hwpt:{self.table}")
        self.pages = dma.Pages(self.observer.memory, self.places())
        for address in TARGETS:
            self.reaches(address, f"{address:#x}")
        self.is_refused(NEAR, "the page behind it")
        self.is_refused(IOVA - PAGE, "the page before it")

    def detached(self):
        self.report.step("It is detached")
        self.vmm.ask(f"detach-rid {self.device}")
        self.is_refused(IOVA, "detached")

    def replaced(self):
        self.report.step("Attached once more, then another one replaces it")
        self.vmm.ask(f"attach-rid {self.device}:hwpt:{self.table}")
        self.reaches(IOVA, "attached once more")
        other = self.memory(self.vmm, NEAR)
        self.vmm.ask(f"replace rid {self.device}:hwpt:{other}")
        self.is_refused(IOVA, "replaced by one without this page")
        self.vmm.ask(f"replace rid {self.device}:hwpt:{self.table}")
        self.reaches(IOVA, "the first one again")

    def killed(self):
        self.report.step("The VMM is killed, and another process has the function")
        self.clear(IOVA)
        target = self.pages.places[IOVA] + OFFSET
        self.vmm.kill()
        other = Vmm(self.machine, "vm2")
        (handle,) = other.ask(f"open {DMA}")
        other.ask(f"enable {handle}")
        self.report.equal(dma.TestDevice(other, handle).write(IOVA + OFFSET, target), "refused", "the IOMMU refuses it")
        word = self.observer.memory.bytes(target, dma.SIZE)
        self.report.check(word != dma.WORD.to_bytes(dma.SIZE, "little"), "the page has nothing of it")


def run(machine, observer, report):
    try:
        Scenario(machine, observer, report).run()
    except (ProbeError, vm.MachineError):
        report.note(machine.run("cat /run/pasidd.log /run/*.log | tail -n 40")[1])
        raise


def make_machine(*parts):
    return vm.Machine(*parts, [vm.OwnEndpoint(4, "iommu-testdev")], PORTS)
