# SPDX-License-Identifier: MIT
"""A device's own DMA through the page table that pasidd attached to its RID.

QEMU's iommu-testdev writes where it is told to, through the IOMMU, and looks for what it wrote at a physical
address; the pages are looked at from outside the guest as well. It has no PASIDs: this is about whole
functions. (F30 of docs/FEATURES.md)
"""

import json

import machine as vm
import scenario_pasidd
import table_reader
from scenario_pasidd import Vmm
from scenario_smoke import IOVA, ProbeError

PORTS = scenario_pasidd.PORTS
PROGRAMS = scenario_pasidd.PROGRAMS
FUNCTION = "0000:00:0b.0"
KEY = table_reader.parse_function(FUNCTION), 0  # requests without a PASID have this one in the tables
PAGE = 4096
LENGTH = 16
PATTERN = b"\x78\x56\x34\x12" * (LENGTH // 4)
REACHED, REFUSED, ELSEWHERE = 0, 0xDEAD0002, 0xDEAD0004


class Machine(vm.Machine):
    """With the function that does a DMA when it is told to."""

    def _endpoint_options(self):
        device = {"driver": "iommu-testdev", "addr": FUNCTION[-4:]}
        return [*super()._endpoint_options(), "-device", json.dumps(device)]


class Scenario(scenario_pasidd.Scenario):
    """Steps that build on each other."""

    def run(self):
        self.machine.output(f"echo vfio-pci >/sys/bus/pci/devices/{FUNCTION}/driver_override")
        self.machine.output(f"echo {FUNCTION} >/sys/bus/pci/drivers_probe")
        self.start_daemon()
        self.nothing_attached()
        self.attached()
        self.replaced()
        self.detached()
        self.another_vmm()

    # --- helpers -----------------------------------------------------------------------------

    def open(self, vmm, name):
        """The function in a VMM: its handle, pasidd's number of it, and a page table with two pages."""
        (handle,) = vmm.ask(f"node {FUNCTION}")
        device = vmm.ask(f"device {handle}")[0]
        return handle, device, self.table(vmm, handle, name)

    def table(self, vmm, handle, name):
        (ioas,) = vmm.ask("ioas")
        for number in range(2):
            vmm.ask(f"map {ioas} {IOVA + number * PAGE:#x} {name}-{number}")
        return vmm.ask(f"hwpt {handle} {ioas}")[0]

    def page(self, name, number=0):
        """The physical address of a page that is reached now; what it begins with is checked."""
        tables = self.observer.tables()
        entry = tables.entries().get(KEY)
        address = tables.translate(entry, IOVA + number * PAGE) if entry else None
        text = f"{name}-{number}".encode()
        found = self.observer.memory.bytes(address, len(text)) if address else None
        self.report.equal(found, text, f"the entry of the RID leads to page {number} of {name}")
        return address

    def dma(self, vmm, handle, iova, physical, wanted, what):
        """A DMA, and its result as the device has it."""
        (result,) = vmm.ask(f"dma {handle} {iova:#x} {physical:#x} {LENGTH}")
        self.report.equal(hex(int(result)), hex(wanted), what)

    def whole(self, address):
        return self.observer.memory.bytes(address, PAGE)

    def differences(self, before, at):
        """Exactly LENGTH bytes at `at` are the pattern now; all else is as it was. {address: page}"""
        for address, page in before.items():
            if address <= at < address + PAGE:
                page = page[: at - address] + PATTERN + page[at - address + LENGTH :]
            if self.whole(address) != page:
                yield f"the page at {address:#x} is not as it should be"

    def changed(self, before, at, what):
        self.report.none(self.differences(before, at), what)

    # --- steps -------------------------------------------------------------------------------

    def nothing_attached(self):
        self.report.step("A function is registered, and nothing is attached")
        self.handle, self.device, self.first = self.open(self.vm1, "first")
        self.second = self.table(self.vm1, self.handle, "second")
        self.dma(self.vm1, self.handle, IOVA, 0, REFUSED, "its DMA is refused")

    def attached(self):
        self.report.step("Its RID is attached")
        self.vm1.ask(f"attach-rid {self.device}:hwpt:{self.first}")
        self.pages = [self.page("first", number) for number in range(2)]
        before = {address: self.whole(address) for address in self.pages}
        at = self.pages[0] + 64
        self.dma(self.vm1, self.handle, IOVA + 64, at, REACHED, "its DMA reaches the page")
        self.changed(before, at, "it wrote there and nowhere else in both pages")
        for wrong, what in ((at + 4, "beside it"), (self.pages[1], "in the other page"), (-1, "nowhere")):
            self.report.check([*self.differences(before, wrong)], f"had it written {what}, that would be noticed")
        before = {address: self.whole(address) for address in self.pages}
        self.dma(self.vm1, self.handle, IOVA + PAGE + 64, at + 64, ELSEWHERE, "another address leads to another page")
        self.changed(before, self.pages[1] + 64, "which is the second one")
        self.dma(self.vm1, self.handle, IOVA + 2 * PAGE, at, REFUSED, "beside them, its DMA is refused")
        self.dma(self.vm1, self.handle, at, at, REFUSED, "and a physical address means nothing to it")

    def replaced(self):
        self.report.step("Another page table takes its place")
        before = {address: self.whole(address) for address in self.pages}
        self.vm1.ask(f"replace rid {self.device}:hwpt:{self.second}")
        page = self.page("second")
        before[page] = self.whole(page)
        self.dma(self.vm1, self.handle, IOVA, page, REACHED, "its DMA reaches the other's page")
        self.changed(before, page, "and none of the first's")

    def detached(self):
        self.report.step("It is detached")
        page = self.page_of_second()
        before = {address: self.whole(address) for address in [*self.pages, page]}
        self.vm1.ask(f"detach-rid {self.device}")
        self.dma(self.vm1, self.handle, IOVA, page, REFUSED, "its DMA is refused")
        self.changed(before, -1, "no page is changed")

    def page_of_second(self):
        tables = self.observer.tables()
        return tables.translate(tables.entries()[KEY], IOVA)

    def another_vmm(self):
        self.report.step("The VMM is killed while it is attached; another one takes the function")
        self.vm1.ask(f"attach-rid {self.device}:hwpt:{self.first}")
        self.machine.kill(self.vm1.process)
        self.eventually(lambda: self.vm2_open(), "another VMM gets it")
        vm2 = self.vm2
        self.dma(vm2, self.handle, IOVA, 0, REFUSED, "its DMA is refused as long as nothing is attached")
        vm2.ask(f"attach-rid {self.device}:hwpt:{self.mine}")
        page = self.page("mine")
        before = {page: self.whole(page)}
        self.dma(vm2, self.handle, IOVA + 64, page + 64, REACHED, "then it reaches the page of this one")
        self.changed(before, page + 64, "and wrote there")

    def vm2_open(self):
        try:
            self.handle, self.device, self.mine = self.open(self.vm2, "mine")
        except ProbeError:
            return False
        return True


def run(machine, observer, report):
    try:
        Scenario(machine, observer, report).run()
    except (ProbeError, vm.MachineError):
        report.note(machine.run("cat /run/pasidd.log /run/*.log | tail -n 40")[1])
        raise


def make_machine(*parts):
    return Machine(*parts, [vm.Endpoint(6)], PORTS)
