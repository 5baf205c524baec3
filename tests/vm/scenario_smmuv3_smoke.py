# SPDX-License-Identifier: MIT
"""The kernel and the reader alone, on an SMMUv3: a guest's stream table entry, installed by hand.

It proves that the machine is worth testing on, that the reader sees what changes, and the traps of
the kernel's interface that pasidd guards against. What is wanted of an entry is computed here from
what was asked for.
"""

import machine as vm
import machine_arm64 as arm
import stream_reader
from scenario_smoke import Probe
from stream_reader import Config

PORTS = ("first", "second")
PROGRAMS = ("guest/probe_smmu",)
Observer = stream_reader.Observer

A, B, DMA = (f"0000:00:0{slot}.0" for slot in (4, 5, 6))
STREAM, OTHER_STREAM = 8, 16  # what the guest calls them
MEMORY, LENGTH = 0x40000000, 2 << 20  # of the guest
CONTEXTS = MEMORY + 0x8000
NEST_FLAG_PASID = 8


def entry(config, contexts=0, log2=0, more=0):
    """Word 0 of a guest's entry."""
    return 1 | config << 1 | contexts | log2 << 59 | more


FIRST = entry(Config.STAGE_1, CONTEXTS)
SECOND = entry(Config.STAGE_1, CONTEXTS + 0x1000)
STALLS_NOT = 1 << 27

# What is wrong, and both words.
BAD = (
    ("a bit that no field has", FIRST | 1 << 56, 0),
    ("Config for a second stage", entry(Config.STAGE_2), 0),
    ("Config for both stages", entry(Config.NESTED, CONTEXTS), 0),
    ("a STRW, which is not the guest's", FIRST, 2 << 30),
    ("a SHCFG, which is not the guest's", FIRST, 1 << 44),
)


class Smmu(Probe):
    """A process in the guest that owns functions behind the SMMU."""

    program = "probe_smmu"

    def stage_2(self, device):
        """The address space with the guest's memory, and a second stage that tables nest on."""
        (space,) = self.ask("ioas")
        self.ask(f"guest-memory {space} {MEMORY:#x} {LENGTH:#x}")
        return space, self.ask(f"parent {device} {space}")[0]

    def ste(self, device, viommu, word0, word1=0):
        return self.ask(f"ste {device} {viommu} {word0:#x} {word1:#x}")[0]


class Scenario:
    """The steps; after each the entry is read from outside."""

    def __init__(self, machine, observer, report):
        self.machine, self.observer, self.report = machine, observer, report
        self.probe = Smmu(machine, "first")

    def run(self):
        self.machine_is_right()
        self.kernels_own_table()
        self.order_of_calls()
        self.installed()
        self.refused()
        self.replaced()
        self.detached()
        self.killed()

    def look(self, function=A):
        found = self.observer.entry(function)
        self.report.note(str(found))
        return found

    def equal(self, found, wanted, what):
        self.report.equal(found, wanted, what)

    def is_guests(self, words, what, function=A):
        """The entry in the table is the guest's, on the second stage that was made for it."""
        found = self.look(function)
        self.equal(found.config, Config.NESTED, f"{what}: both stages")
        asked = stream_reader.guest_fields(words)
        self.equal(found.fields_of_guest(), asked, f"{what}: the guest's fields are as asked")
        return found

    def is_gone(self, what, function=A):
        found = self.look(function)
        self.equal((found.config, found.words[1:]), (Config.ABORT, (0,) * 7), what)

    # --- steps -------------------------------------------------------------------------------

    def machine_is_right(self):
        self.report.step("The machine, before anything is attached")
        table = self.observer.table()
        self.report.note(f"stream table at {table.base:#x}, 2^{table.log2_size} streams, split {table.split}")
        self.equal(table.format, table.TWO_LEVELS, "the stream table has two levels")
        for endpoint in self.machine.endpoints:
            driver = self.machine.output(f"readlink /sys/bus/pci/devices/{endpoint.name}/driver").strip()
            self.report.check(driver.endswith("/vfio-pci"), f"{endpoint.name} is driven by vfio-pci", [driver])
            self.look(endpoint.name)
        self.device = self.probe.ask(f"open {A}")[0]
        self.is_gone("a bound function's accesses are aborted")
        kind, width = self.probe.ask(f"smmu {self.device}")[:2]
        self.equal((kind, width), ("2", "0"), "it is behind an SMMUv3 that has no substreams")

    def kernels_own_table(self):
        self.report.step("A page table of the host's kernel")
        probe = self.probe
        self.space, self.parent = probe.stage_2(self.device)
        self.plain = probe.ask(f"hwpt {self.device} {self.space}")[0]
        probe.ask(f"attach {self.device} {self.plain}")
        before = self.look()
        self.equal(before.config, Config.STAGE_1, "the kernel's own entry has a first stage")
        answer = probe.result(f"attach {self.device} {self.plain} 5")
        self.equal(answer, "ok", "trap 1: a PASID attach without substreams returns 0")
        self.equal(self.look().words, before.words, "and writes nothing in the entry")
        answer = probe.result(f"parent {self.device} {self.space} {NEST_FLAG_PASID}")
        self.equal(answer, "EOPNOTSUPP", "trap 7: a second stage for guests' tables takes no PASIDs")
        probe.ask(f"detach {self.device} 5")
        probe.ask(f"detach {self.device}")
        self.is_gone("detached")

    def order_of_calls(self):
        self.report.step("The objects of a guest's entry, in their order")
        probe = self.probe
        answer = probe.result(f"viommu {self.device} {self.plain}")
        self.equal(answer, "EINVAL", "a vIOMMU needs a second stage to nest on")
        self.viommu = probe.ask(f"viommu {self.device} {self.parent}")[0]
        early = probe.ste(self.device, self.viommu, FIRST)
        answer = probe.result(f"attach {self.device} {early}")
        self.equal(answer, "ENOENT", "trap 8: an entry that translates needs its vDEVICE first")
        self.is_gone("and nothing was written")
        probe.ask(f"destroy {early}")
        self.vdevice = probe.ask(f"vdevice {self.device} {self.viommu} {STREAM}")[0]
        answer = probe.result(f"vdevice {self.device} {self.viommu} {OTHER_STREAM}")
        self.equal(answer, "EEXIST", "a function has one stream id")
        self.other = probe.ask(f"open {B}")[0]
        answer = probe.result(f"vdevice {self.other} {self.viommu} {STREAM}")
        self.equal(answer, "EEXIST", "trap 8: and no two have the same one")
        probe.ask(f"vdevice {self.other} {self.viommu} {OTHER_STREAM}")

    def installed(self):
        self.report.step("A guest's entry is installed")
        probe = self.probe
        self.nested = probe.ste(self.device, self.viommu, FIRST)
        probe.ask(f"attach {self.device} {self.plain} 5")
        answer = probe.result(f"attach {self.device} {self.nested}")
        self.equal(answer, "EINVAL", "trap 7: not while a PASID counts as attached")
        probe.ask(f"detach {self.device} 5")
        probe.ask(f"attach {self.device} {self.nested}")
        found = self.is_guests((FIRST, 0), "installed")
        self.equal(self.observer.entry(B).config, Config.ABORT, "the other function's is not")
        wrong = stream_reader.guest_fields((SECOND, 0))
        self.report.check(found.fields_of_guest() != wrong, "the comparison can fail")
        for table, name in ((self.plain, "the host's"), (self.nested, "the guest's")):
            answer = probe.result(f"attach {self.device} {table} 5")
            self.equal(answer, "EINVAL", f"trap 7: beside it, no PASID of {name} table")
        self.equal(self.look().words, found.words, "the entry is as before")

    def refused(self):
        self.report.step("What no guest may say")
        for what, word0, word1 in BAD:
            answer = self.probe.result(f"ste {self.device} {self.viommu} {word0:#x} {word1:#x}")
            self.equal(answer, "EIO", f"trap 8: {what}")
        answer = self.probe.result(f"ste {self.device} {self.viommu} {FIRST:#x} 0 {NEST_FLAG_PASID}")
        self.equal(answer, "EOPNOTSUPP", "trap 7: nor does it take PASIDs")
        self.is_guests((FIRST, 0), "after all of them")

    def replaced(self):
        self.report.step("The guest changes its entry")
        probe, device = self.probe, self.device
        for words, what in (((SECOND, 0), "another table"), ((SECOND, STALLS_NOT), "no stalls")):
            table = probe.ste(device, self.viommu, *words)
            probe.ask(f"attach {device} {table}")
            self.is_guests(words, what)
            probe.ask(f"destroy {self.nested}")
            self.nested = table
        for word, config, what in (
            (entry(Config.BYPASS), Config.STAGE_2, "bypass is the second stage alone"),
            (entry(Config.ABORT), Config.ABORT, "abort"),
            (0, Config.ABORT, "an entry that is not valid aborts"),
        ):
            table = probe.ste(device, self.viommu, word)
            probe.ask(f"attach {device} {table}")
            self.equal(self.look().config, config, what)
            probe.ask(f"destroy {self.nested}")
            self.nested = table

    def detached(self):
        self.report.step("Detached, and released in reverse order")
        probe = self.probe
        table = probe.ste(self.device, self.viommu, FIRST)
        probe.ask(f"attach {self.device} {table}")
        self.is_guests((FIRST, 0), "once more")
        probe.ask(f"detach {self.device}")
        self.is_gone("detached: the entry is gone")
        self.equal(probe.result(f"destroy {self.viommu}"), "EBUSY", "a vIOMMU outlives its tables")
        for thing in (table, self.nested, self.vdevice):
            probe.ask(f"destroy {thing}")

    def killed(self):
        self.report.step("The process is killed")
        probe = self.probe
        probe.ask(f"vdevice {self.device} {self.viommu} {STREAM}")
        table = probe.ste(self.device, self.viommu, FIRST)
        probe.ask(f"attach {self.device} {table}")
        self.is_guests((FIRST, 0), "before")
        probe.kill()
        found = self.look()
        self.report.check(found.contexts != CONTEXTS, "nothing of the guest's is left", [str(found)])
        self.report.check(found.config != Config.NESTED, "nor its second stage", [str(found)])


def run(machine, observer, report):
    Scenario(machine, observer, report).run()


def make_machine(*parts):
    quiet = [vm.OwnEndpoint(slot, "pci-testdev") for slot in (4, 5)]
    return arm.Machine(*parts, [*quiet, vm.OwnEndpoint(6, "iommu-testdev")], PORTS)
