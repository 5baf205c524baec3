# SPDX-License-Identifier: MIT
"""The main job on an SMMUv3: a guest's stream table entry, installed and guarded by pasidd.

After each step the entry is read from outside, and compared with what was asked for and with what
pasidd reports. (F7, F32, F44 of docs/FEATURES.md)
"""

import json
import time

import dma
import guest_tables
import machine as vm
import machine_arm64 as arm
import stream_reader
import table_reader
from scenario_pasidd import Vmm
from scenario_smoke import ProbeError
from scenario_smmuv3_smoke import A, B, CONTEXTS, DMA, FIRST, MEMORY, OTHER_STREAM, SECOND, STALLS_NOT, STREAM
from scenario_smmuv3_smoke import Smmu, entry
from stream_reader import Config

PORTS = ("vm1", "vm2")
PROGRAMS = ("pasidd", "pasidctl", "guest/vmm", "guest/keeper")
Observer = stream_reader.Observer

SETTINGS = {"quarantine": {"cooling_ms": 100}, "session": {"grace_ms": 60000}}
UNKNOWN_STREAM = 99
DMA_CONTEXTS = MEMORY + 0x20000
IOVA, PAGE_OF_GUEST, OFFSET = 0x12345000, MEMORY + 0x100000, 0x20
FORGET_DESCRIPTORS, FORGET_ALL = 0x05, 0x30  # CMD_CFGI_CD and CMD_TLBI_NSNH_ALL of a guest's queue
TRANSLATION_FAULT = 0x10


class StreamVmm(Vmm, Smmu):
    """A VMM whose guest owns its tables."""

    program = "vmm"

    def register(self, function):
        """Registers a function; pasidd's number of it."""
        self.handle = self.ask(f"node {function}")[0]
        return self.ask(f"device {self.handle}")[0]


class Scenario:
    """The steps; what stands in the stream table is compared after each."""

    def __init__(self, machine, observer, report):
        self.machine, self.observer, self.report = machine, observer, report
        self.contexts = {"the first": CONTEXTS, "the second": CONTEXTS + 0x1000, "that of the DMA": DMA_CONTEXTS}

    def run(self):
        self.start()
        self.installed()
        self.vmms_own_way()
        self.refused()
        self.claim_is_exclusive()
        self.replaced()
        self.dma()
        self.restarted()
        self.restarted_without_descriptors()
        self.removed()
        self.vmm_is_killed()
        self.killed_while_the_daemon_is_down()
        self.taken_away()

    # --- helpers -----------------------------------------------------------------------------

    def control(self, command):
        return json.loads(self.machine.output(f"pasidctl --json {command}"))

    def eventually(self, true, what, timeout=10):
        end = time.monotonic() + timeout
        while not (good := true()) and time.monotonic() < end:
            time.sleep(0.1)
        return self.report.check(good, f"{what} (within {timeout} s)")

    def start_keeper(self):
        """The daemon, kept by a process that keeps its descriptors, too."""
        command = "exec keeper /run/pid pasidd --config /run/pasidd.json >>/run/pasidd.log 2>&1"
        self.keeper = int(self.machine.output(f"({command}) & echo $!"))
        self.await_daemon()

    def await_daemon(self):
        self.eventually(lambda: self.machine.run("pasidctl status")[0] == 0, "pasidd answers")

    def end_daemon(self):
        """Kills it, not its workers."""
        self.machine.kill(int(self.machine.output("cat /run/pid")))

    def look(self, function=A):
        found = self.observer.entry(function)
        self.report.note(str(found))
        return found

    def entry_is(self, words, what, function=A):
        """The guest's, on the second stage; pasidd reports it."""
        found = self.look(function)
        self.report.equal(found.config, Config.NESTED, f"{what}: both stages")
        asked = stream_reader.guest_fields(words)
        self.report.equal(found.fields_of_guest(), asked, f"{what}: the guest's fields are as asked")
        self.report.check(function in self.reported(), f"{what}: pasidd reports it")
        return found

    def no_entry(self, what, function=A):
        found = self.look(function)
        self.report.check(found.config != Config.NESTED, f"{what}: no second stage of a guest's", [str(found)])
        left = [name for name, place in self.contexts.items() if found.contexts == place]
        self.report.equal((found.words[2:], left), ((0,) * 6, []), f"{what}: nothing of a guest's is left")
        self.report.check(function not in self.reported(), f"{what}: pasidd reports none")

    def reported(self):
        """Functions that have a guest's entry, as pasidd says, with the stream."""
        found = {}
        for binding in self.control("bindings"):
            if binding["state"] == "bound" and binding["vdevice"] is not None:
                found[binding["address"]] = binding["stream"]
        return found

    def refusal(self, vmm, command, wanted, what):
        self.report.equal(vmm.refusal(command), wanted, what)

    def command(self, verb, words, device=None, stream=STREAM, parent=None):
        device = device or self.device
        return f"{verb} {device} {stream} {words[0]:#x} {words[1]:#x} hwpt:{parent or self.parent}"

    # --- steps -------------------------------------------------------------------------------

    def start(self):
        self.report.step("pasidd starts; a VM whose guest owns its tables registers a function")
        self.machine.output(f"echo '{json.dumps(SETTINGS)}' >/run/pasidd.json; mkdir -p /run/pasidd")
        self.start_keeper()
        self.report.equal(self.control("status")["backend"], "smmuv3", "it has found the IOMMU")
        self.vm1, self.vm2 = StreamVmm(self.machine, "vm1"), StreamVmm(self.machine, "vm2")
        for vmm in (self.vm1, self.vm2):
            vmm.ask("connect")
        self.vm1.ask("set vm1 8 guest-owned")
        self.vm2.ask("set vm2 8")
        vm1 = self.vm1
        self.device = vm1.register(A)
        self.first_handle = vm1.handle
        self.space, self.parent = vm1.stage_2(vm1.handle)
        self.no_entry("registered")

    def installed(self):
        self.report.step("The guest's entry is installed")
        answer = self.vm1.ask(self.command("install", (FIRST, 0)))
        self.hwpt, self.viommu, self.vdevice, stream = map(int, answer)
        self.report.equal(stream, STREAM, "the answer names the stream")
        found = self.entry_is((FIRST, 0), "installed")
        self.report.equal(self.reported(), {A: STREAM}, "pasidd reports the guest's stream id")
        self.report.equal(self.observer.entry(B).config, Config.STAGE_1, "another function is as it was")
        self.second_stage = found.stage_2_table

    def vmms_own_way(self):
        self.report.step("The VMM invalidates on its own, by what it was told")
        for what, words, wanted in (
            ("all that the guest has", (FORGET_ALL, 0), "ok"),
            ("the guest's stream", (FORGET_DESCRIPTORS | STREAM << 32, 1), "ok"),
            ("a stream that the guest does not have", (FORGET_DESCRIPTORS | UNKNOWN_STREAM << 32, 1), "EIO"),
        ):
            answer = self.vm1.result(f"invalidate {self.viommu} {words[0]:#x} {words[1]:#x}")
            self.report.equal(answer, wanted, f"it invalidates {what}")

    def refused(self):
        self.report.step("What is refused, and why")
        vm1, install, change = self.vm1, "install", "change"
        self.refusal(vm1, self.command(install, (SECOND, 0)), "exists rid-attached", "a second entry beside the first")
        wrong = self.command(change, (SECOND, 0), stream=OTHER_STREAM)
        self.refusal(vm1, wrong, "state stream-fixed", "another stream id")
        self.other = vm1.register(B)
        again = self.command(install, (FIRST, 0), device=self.other)
        self.refusal(vm1, again, "exists stream-taken", "the stream id of another function")
        for what, words in (
            ("a bit that no field has", (FIRST | 1 << 57, 0)),
            ("Config for a second stage", (entry(Config.STAGE_2), 0)),
            ("Config for both stages", (entry(Config.NESTED), 0)),
            ("STRW, which is the host's", (FIRST, 2 << 30)),
            ("S1CDMax: this SMMU has no substreams", (entry(Config.STAGE_1, MEMORY, 4), 0)),
        ):
            self.refusal(vm1, self.command(change, words), "invalid table-field", what)
            self.report.note(vm1.channel.ask(self.command(change, words)))
        wrong = self.command(install, (FIRST, 0), self.other, OTHER_STREAM, 9999)
        self.refusal(vm1, wrong, "not-found table-unknown", "a parent that is none")
        plain = vm1.ask(f"hwpt {vm1.handle} {self.space}")[0]
        wrong = self.command(install, (FIRST, 0), self.other, OTHER_STREAM, plain)
        refusal = vm1.refusal(wrong)
        self.report.check(refusal.startswith(("invalid ", "unsupported ")), "a parent that cannot nest", [refusal])
        self.report.note(refusal)
        self.entry_is((FIRST, 0), "after all of them")
        self.no_entry("the other function", B)

    def claim_is_exclusive(self):
        self.report.step("The claim is exclusive, both ways")
        vm1, vm2 = self.vm1, self.vm2
        for command in ("allocate", f"bind 2000 {self.device}:hwpt:{self.parent}", "allocate 5"):
            self.refusal(vm1, command, "state set-mode", f"no number beside the entry: {command.split()[0]}")
        iommufd, device = vm1.ask(f"descriptors {vm1.handle}")
        own = self.own = vm2.register(DMA)
        space, parent = vm2.stage_2(vm2.handle)
        plain = vm2.ask(f"hwpt {vm2.handle} {space}")[0]
        vm2.ask(f"foreign {vm1.process} {iommufd} {device}")
        self.refusal(vm2, f"device {vm2.handle}", "denied descriptor-foreign", "another set cannot have its iommufd")
        vm2.ask("own")
        again = vm2.ask(f"node {A}")[0]
        self.refusal(vm2, f"device {again}", "exists device-taken", "nor its function")
        wrong = self.command("install", (FIRST, 0), own, STREAM, parent)
        self.refusal(vm2, wrong, "state set-mode", "no entry in a set that has numbers")
        (host,) = vm2.ask("allocate")
        before = self.look(DMA).words
        refusal = "unsupported device-without-pasid"
        self.refusal(vm2, f"bind {host} {own}:hwpt:{plain}", refusal, "no PASID where the kernel would write nothing")
        self.report.equal(self.look(DMA).words, before, "and nothing is written")
        vm2.ask(f"attach-rid {own}:hwpt:{plain}")
        self.report.equal(self.look(DMA).config, Config.STAGE_1, "the host's table for a RID stands")
        self.refusal(vm2, wrong, "state set-mode", "beside it no entry either")
        self.entry_is((FIRST, 0), "after all of them")
        vm2.kill()
        self.eventually(lambda: len(self.control("devices")) == 2, "pasidd forgets the other VM's function")

    def replaced(self):
        self.report.step("The guest changes its entry")
        vm1 = self.vm1
        for words, what in (((SECOND, 0), "another table"), ((SECOND, STALLS_NOT), "no stalls")):
            answer = vm1.ask(self.command("change", words))
            self.report.equal(int(answer[1]), self.viommu, f"{what}: the guest's IOMMU stays")
            found = self.entry_is(words, what)
            self.report.equal(found.stage_2_table, self.second_stage, f"{what}: so does the second stage")
        for word, config, what in (
            (entry(Config.BYPASS), Config.STAGE_2, "bypass is the second stage alone"),
            (entry(Config.ABORT), Config.ABORT, "abort"),
            (0, Config.ABORT, "an entry that is not valid aborts"),
        ):
            vm1.ask(self.command("change", (word, 0)))
            self.report.equal(self.look().config, config, what)
        vm1.ask(self.command("change", (FIRST, 0)))
        self.entry_is((FIRST, 0), "the first one again")

    def dma(self):
        self.report.step("A DMA through an entry that pasidd installed")
        vm1 = self.vm1
        device = vm1.register(DMA)
        vm1.ask(f"enable {vm1.handle}")
        space = guest_tables.Space(vm1, DMA_CONTEXTS, 7)
        space.map(IOVA, PAGE_OF_GUEST)
        words = (space.entry(), 0)
        vm1.ask(self.command("install", words, device, OTHER_STREAM))
        self.entry_is(words, "installed", DMA)
        self.report.equal(self.reported(), {A: STREAM, DMA: OTHER_STREAM}, "two functions, one guest's IOMMU")
        table, stream = self.observer.table(), table_reader.parse_function(DMA)
        target = table.translate(stream, IOVA + OFFSET)
        testdev = dma.TestDevice(vm1, vm1.handle)
        self.report.check(target is not None, "the reader finds the page")
        self.report.equal(testdev.write(IOVA + OFFSET, target), "done", "the device finds its word there")
        (word,) = vm1.ask(f"peek {PAGE_OF_GUEST + OFFSET:#x}")
        self.report.equal(int(word), dma.WORD, "so does the VMM, in the guest's page")
        vm1.ask(f"events {self.viommu}")
        answer = testdev.write(IOVA + guest_tables.PAGE, target)
        self.report.equal(answer, "refused", "a page that the guest did not map")
        event = list(map(int, vm1.ask("event 5000")))
        self.report.note("event " + " ".join(map(hex, event)))
        self.report.equal((event[0] & 0xFF, event[0] >> 32), (TRANSLATION_FAULT, OTHER_STREAM),
                          "the VMM hears of it, with the guest's stream id")
        vm1.ask(f"poke {PAGE_OF_GUEST + OFFSET:#x} 0")
        vm1.ask(f"uninstall {device}")
        self.no_entry("removed", DMA)
        self.report.equal(testdev.write(IOVA + OFFSET, target), "refused", "removed: the IOMMU refuses it")
        (word,) = vm1.ask(f"peek {PAGE_OF_GUEST + OFFSET:#x}")
        self.report.equal(int(word), 0, "removed: nothing is written")

    def state(self):
        """Of the binding of A."""
        return [binding["state"] for binding in self.control("bindings") if binding["address"] == A]

    def restarted(self):
        self.report.step("The daemon is killed, and started anew with the descriptors that it stored")
        before = self.look().words
        self.end_daemon()
        self.report.equal(self.look().words, before, "killed: the entry is untouched")
        self.await_daemon()
        self.report.equal(self.look().words, before, "started anew: the entry is untouched")
        self.report.equal(self.state(), ["bound"], "started anew: the daemon has it")
        self.report.equal(self.vm1.result("connected"), "ok", "the VMM resumes its session")
        answer = list(map(int, self.vm1.ask(self.command("change", (SECOND, 0)))))
        self.report.equal(answer[1:3], [self.viommu, self.vdevice], "the guest changes its entry: the same objects")
        self.entry_is((SECOND, 0), "changed by the new daemon")

    def restarted_without_descriptors(self):
        self.report.step("The daemon and who kept its descriptors are killed, and it is started anew")
        vm1, before = self.vm1, self.look().words
        self.machine.kill(self.keeper)
        self.end_daemon()
        self.eventually(lambda: self.machine.run("pgrep pasidd")[0] != 0, "its workers end")
        self.report.equal(self.look().words, before, "killed: the entry is untouched")
        self.start_keeper()
        self.report.equal(self.look().words, before, "started anew: the entry is untouched")
        self.report.equal(vm1.result("connected"), "ok", "the VMM resumes its session")
        self.report.equal(self.state(), ["tainted"], "the daemon says that it cannot vouch for it")
        self.refusal(vm1, self.command("change", (FIRST, 0)), "state device-tainted", "so nothing replaces it")
        self.report.equal(self.look().words, before, "refused: the entry is untouched")

        self.report.step("The VMM closes the function and registers it anew")
        vm1.ask(f"close {self.first_handle}")
        self.no_nested_entry("closed")
        self.device = vm1.register(A)
        self.report.equal(self.state(), [], "the daemon forgets what it could not vouch for")
        self.parent = vm1.ask(f"parent {vm1.handle} {self.space}")[0]
        vm1.ask(self.command("install", (FIRST, 0)))
        self.entry_is((FIRST, 0), "installed anew")

    def no_nested_entry(self, what):
        found = self.look()
        self.report.check(found.config != Config.NESTED, f"{what}: the entry is gone", [str(found)])

    def removed(self):
        self.report.step("The entry is removed, and installed once more")
        self.vm1.ask(f"uninstall {self.device}")
        self.no_entry("removed")
        self.refusal(self.vm1, f"uninstall {self.device}", "not-found not-bound", "a second time")
        self.report.equal(self.vm1.result(f"destroy {self.parent}"), "ok", "nothing hangs on the second stage any more")
        self.parent = self.vm1.ask(f"parent {self.vm1.handle} {self.space}")[0]
        self.vm1.ask(self.command("install", (FIRST, 0)))
        self.entry_is((FIRST, 0), "once more")

    def vmm_is_killed(self):
        self.report.step("The VMM is killed")
        self.vm1.kill()
        self.eventually(lambda: self.look().config != Config.NESTED, "its entry goes")
        self.eventually(lambda: not self.reported(), "pasidd reports none")
        self.no_entry("killed")

    def another(self, port):
        """Another VMM, with the same function and the same stream id."""
        vmm = StreamVmm(self.machine, port)
        vmm.ask("connect")
        self.eventually(lambda: vmm.result(f"set {port} 8 guest-owned") == "ok", "the set's name is free")
        self.device = vmm.register(A)
        self.parent = vmm.stage_2(vmm.handle)[1]
        vmm.ask(self.command("install", (SECOND, 0)))
        self.entry_is((SECOND, 0), "another VMM's")
        return vmm

    def killed_while_the_daemon_is_down(self):
        self.report.step("The daemon is killed, then the VMM, then the daemon comes back")
        vmm, before = self.another("vm2"), self.look().words
        self.machine.output(f"kill -STOP {self.keeper}")
        self.end_daemon()
        vmm.kill()
        self.report.equal(self.look().words, before, "while the daemon is down, its worker holds the function")
        self.machine.output(f"kill -CONT {self.keeper}")
        self.await_daemon()
        self.eventually(lambda: self.look().config != Config.NESTED, "the entry goes with the next daemon")
        self.eventually(lambda: not self.control("devices"), "which has nothing of it left")
        self.no_entry("killed")

    def taken_away(self):
        self.report.step("The function is taken away")
        vmm = self.another("vm1")
        vmm.ask(f"watch {vmm.handle}")
        gone = f"echo 1 >/sys/bus/pci/devices/{A}/remove; echo done >/run/removed"
        self.machine.output(f"({gone}) >/dev/null 2>&1 &")
        self.report.equal(vmm.ask(f"requested {vmm.handle} 5000"), ["1"], "the kernel asks the VMM")
        refusal = vmm.refusal(f"remove {self.device}")
        self.report.equal(refusal.split()[1], "device-busy", "pasidd detaches nothing unasked")
        self.entry_is((SECOND, 0), "asked")
        vmm.ask(f"going {self.device}")
        self.no_entry("given up")
        vmm.ask(f"close {vmm.handle}")
        self.eventually(lambda: self.machine.run("cat /run/removed")[0] == 0, "it goes when the VMM closes its own")
        self.no_entry("taken away")
        self.report.equal(vmm.result("connected"), "ok", "the VMM goes on")
        vmm.kill()


def run(machine, observer, report):
    try:
        Scenario(machine, observer, report).run()
    except (ProbeError, vm.MachineError):
        report.note(machine.run("cat /run/pasidd.log /run/*.log | tail -n 40")[1])
        raise


def make_machine(*parts):
    quiet = [vm.OwnEndpoint(slot, "pci-testdev") for slot in (4, 5)]
    return arm.Machine(*parts, [*quiet, vm.OwnEndpoint(6, "iommu-testdev")], PORTS)
