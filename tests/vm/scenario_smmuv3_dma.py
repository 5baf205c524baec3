# SPDX-License-Identifier: MIT
"""A DMA through a guest's table, on an SMMUv3: it reaches the page that it should, and no other.

QEMU's iommu-testdev does it, told to by a process that owns it. What a reader of tables says is thus
compared with what the IOMMU does.
"""

import dma
import guest_tables
import machine as vm
import machine_arm64 as arm
import stream_reader
import table_reader
from scenario_smmuv3_smoke import DMA, LENGTH, MEMORY, STREAM, Smmu, entry
from stream_reader import Config

PORTS = ("first", "second")
PROGRAMS = ("guest/probe_smmu",)
Observer = stream_reader.Observer

IOVA = 0x12345000
PAGE = guest_tables.PAGE
NEAR = IOVA + PAGE  # never mapped
FIXED = IOVA + 2 * PAGE  # mapped, not writable
OUTSIDE = IOVA + 3 * PAGE  # mapped to what is not the guest's memory
ONE, OTHER = MEMORY + 0x100000, MEMORY + 0x140000
OFFSET = 0x10


class Scenario:
    """The steps; after each DMA all of the guest's memory is compared with what it was."""

    def __init__(self, machine, observer, report):
        self.machine, self.observer, self.report = machine, observer, report
        self.stream = table_reader.parse_function(DMA)
        self.probe = Smmu(machine, "first")

    def run(self):
        self.prepare()
        self.through_the_guests_table()
        self.what_is_not_mapped()
        self.replaced()
        self.without_a_first_stage()
        self.after_its_end()

    def attach(self, word):
        table = self.probe.ste(self.device, self.viommu, word)
        self.probe.ask(f"attach {self.device} {table}")

    def physical(self, address):
        """Where the reader says that an access ends; None: nowhere."""
        return self.observer.table().translate(self.stream, address)

    def reaches(self, address, page, what):
        """The DMA writes that word of that page, where the reader says it is, and nothing else."""
        target = self.places[page] + OFFSET
        self.report.equal(self.physical(address + OFFSET), target, f"{what}: the reader finds the page")
        self.clear(page + OFFSET)
        answer = self.testdev.write(address + OFFSET, target)
        self.report.equal(answer, "done", f"{what}: the device finds its word there")
        changed = [hex(place) for place in self.pages.changed()]
        self.report.equal(changed, [hex(page + OFFSET)], f"{what}: this word, and no other of the guest's")

    def is_refused(self, address, what):
        """The DMA fails, and all of the guest's memory is as it was."""
        self.report.equal(self.physical(address + OFFSET), None, f"{what}: the reader finds no page")
        self.clear(ONE + OFFSET)
        answer = self.testdev.write(address + OFFSET, self.places[ONE] + OFFSET)
        self.report.equal(answer, "refused", f"{what}: the IOMMU refuses it")
        self.report.equal([hex(place) for place in self.pages.changed()], [], f"{what}: nothing is written")

    def clear(self, address):
        """An earlier DMA must not stand for this one."""
        self.probe.ask(f"poke {address:#x} 0")
        self.pages.changed()

    # --- steps -------------------------------------------------------------------------------

    def prepare(self):
        self.report.step("Guest memory, and a guest's tables in it")
        probe = self.probe
        self.device = probe.ask(f"open {DMA}")[0]
        _, parent = probe.stage_2(self.device)
        self.viommu = probe.ask(f"viommu {self.device} {parent}")[0]
        probe.ask(f"vdevice {self.device} {self.viommu} {STREAM}")
        probe.ask(f"enable {self.device}")
        self.testdev = dma.TestDevice(probe, self.device)
        self.space = guest_tables.Space(probe, MEMORY, 1)
        self.space.map(IOVA, ONE)
        self.space.map(FIXED, OTHER, guest_tables.READ_ONLY)
        self.space.map(OUTSIDE, MEMORY + 2 * LENGTH)
        self.attach(entry(Config.BYPASS))
        self.places = {page: self.physical(page) for page in range(MEMORY, MEMORY + LENGTH, PAGE)}
        self.report.check(None not in self.places.values(), "the second stage has all of the guest's memory")
        self.report.equal(len(set(self.places.values())), LENGTH // PAGE, "each page at a place of its own")
        self.pages = dma.Pages(self.observer.memory, self.places)

    def through_the_guests_table(self):
        self.report.step("A DMA through the guest's table")
        self.attach(self.space.entry())
        self.report.note(str(self.observer.entry(DMA)))
        self.reaches(IOVA, ONE, "mapped")

    def what_is_not_mapped(self):
        self.report.step("What the guest's table does not allow")
        self.is_refused(NEAR, "the page behind it")
        self.is_refused(ONE, "the guest's own address of the page")
        self.is_refused(OUTSIDE, "mapped to what is not the guest's")
        self.clear(OTHER + OFFSET)
        answer = self.testdev.write(FIXED + OFFSET, self.places[OTHER] + OFFSET)
        self.report.equal(answer, "refused", "mapped, but not for writing: the IOMMU refuses it")
        self.report.equal(self.pages.changed(), [], "mapped, but not for writing: nothing is written")

    def replaced(self):
        self.report.step("The guest changes its entry: other tables")
        space = guest_tables.Space(self.probe, MEMORY + 0x10000, 2)
        space.map(IOVA, OTHER)
        self.attach(space.entry())
        self.pages.changed()
        self.reaches(IOVA, OTHER, "in the other tables")

    def without_a_first_stage(self):
        self.report.step("Bypass, and abort")
        self.attach(entry(Config.BYPASS))
        self.reaches(ONE, ONE, "bypass: the guest's own addresses")
        self.is_refused(IOVA, "bypass: what only its tables had")
        self.attach(entry(Config.ABORT))
        self.is_refused(ONE, "abort")
        self.attach(self.space.entry())
        self.reaches(IOVA, ONE, "the first tables again")

    def after_its_end(self):
        self.report.step("No DMA after its end")
        self.probe.ask(f"detach {self.device}")
        self.is_refused(IOVA, "detached")
        self.attach(self.space.entry())
        self.reaches(IOVA, ONE, "attached once more")
        self.clear(ONE + OFFSET)
        self.probe.kill()
        second = Smmu(self.machine, "second")
        device = second.ask(f"open {DMA}")[0]
        second.ask(f"enable {device}")
        target = self.places[ONE] + OFFSET
        answer = dma.TestDevice(second, device).write(IOVA + OFFSET, target)
        self.report.equal(answer, "refused", "its owner was killed: the IOMMU refuses it")
        self.report.check(
            self.observer.memory.bytes(target, dma.SIZE) != dma.WORD.to_bytes(4, "little"),
            "its owner was killed: the page has nothing of it",
        )


def run(machine, observer, report):
    Scenario(machine, observer, report).run()


def make_machine(*parts):
    return arm.Machine(*parts, [vm.OwnEndpoint(6, "iommu-testdev")], PORTS)
