# SPDX-License-Identifier: MIT
"""Numbers of scope rids in real tables, replacements watched from outside, and a hand-over.

Two sets have one number on different functions; it is extended; page tables are replaced under it while a
process of ours looks at the entry; and the VMM hands its session to another process and is killed.
(F4, F34, F43 of docs/FEATURES.md)
"""

import machine as vm
import scenario_pasidd
import table_reader
from scenario_pasidd import A, B, OWN, SHARED, Vmm
from scenario_smoke import IOVA, ProbeError
from watcher import Watcher

PORTS = ("vm1", "vm2", "heir")
PROGRAMS = scenario_pasidd.PROGRAMS
NUMBER = 5  # one that scope global leaves to the kernel
REPLACEMENTS = 100


class Scenario(scenario_pasidd.Scenario):
    """Steps that build on each other."""

    def run(self):
        self.start_daemon()
        self.one_number_of_two_sets()
        self.extension()
        self.replacement()
        self.hand_over()
        self.end()

    def one_number_of_two_sets(self):
        self.report.step(f"Both VMs get PASID {NUMBER}, each on a function of its own")
        self.devices, self.tables = {}, {}
        for name, vmm, functions in (("vm1", self.vm1, (A, B)), ("vm2", self.vm2, (OWN,))):
            handles = {function: vmm.ask(f"node {function}")[0] for function in functions}
            for function, handle in handles.items():
                self.devices[function] = vmm.ask(f"device {handle}")[0]
            handle = handles[functions[0]]
            self.tables[name] = vmm.space(handle, f"{name}-process")
            if name == "vm1":
                self.tables["other"] = vmm.space(handle, "vm1-other")
            device = self.devices[functions[0]]
            self.report.equal(vmm.ask(f"rids {NUMBER} {device}"), [str(NUMBER)], f"{name} has it")
            vmm.ask(f"bind {NUMBER} {device}:hwpt:{self.tables[name]}")
            self.expect(functions[0], NUMBER, name)
        view = self.compare("bound")
        self.reaches(view, A, NUMBER, "vm1-process")
        self.reaches(view, OWN, NUMBER, "vm2-process")
        who = self.machine.run(f"pasidctl --json who {NUMBER}")[1]
        self.report.check("pasid-ambiguous" in who, "whose it is needs the set's name", [who])

    def extension(self):
        self.report.step("The number is extended to a further function, and not where it is taken")
        vm1, equal = self.vm1, self.report.equal
        bind = f"bind {NUMBER} {self.devices[B]}:hwpt:{self.tables['vm1']}"
        equal(vm1.refusal(bind), "state outside-scope", "before, it is not bound there")
        self.compare("after the refusal")
        mine, theirs = (vmm.ask(f"slice {SHARED}")[0] for vmm in (vm1, self.vm2))
        equal(self.vm2.ask(f"extend {NUMBER} {theirs}"), ["1"], "VM 2 extends its own to the shared one")
        refusal = vm1.refusal(f"extend {NUMBER} {self.devices[B]} {mine}")
        equal(refusal, "exists pasid-taken", "there, VM 1 is refused, and for the other function with it")
        equal(vm1.refusal(bind), "state outside-scope", "nothing was extended")
        equal(vm1.ask(f"extend {NUMBER} {self.devices[B]}"), ["1"], "alone, it is extended")
        vm1.ask(bind)
        self.expect(B, NUMBER, "vm1")
        self.reaches(self.compare("bound there"), B, NUMBER, "vm1-process")

    def page_tables(self):
        """{name: address of the page table} by what a DMA through it would read."""
        view, found = self.observer.look(), {}
        for key, name in self.claim.items():
            found[name] = view.outside[key].page_table
        return found

    def replacement(self):
        self.report.step(f"The page table of one function is replaced {REPLACEMENTS} times")
        key = table_reader.parse_function(A), NUMBER
        vm1, device = self.vm1, self.devices[A]
        first = self.page_tables()["vm1"]
        vm1.ask(f"replace {NUMBER} {device}:hwpt:{self.tables['other']}")
        self.expect(A, NUMBER, "other")
        view = self.compare("replaced")
        self.reaches(view, A, NUMBER, "vm1-other")
        self.reaches(view, B, NUMBER, "vm1-process")
        allowed = {first, view.outside[key].page_table}
        others = {key for key in self.claim if key[0] != table_reader.parse_function(A)}
        with Watcher(self.observer.memory, self.observer.tables(), {key, *others}) as watcher:
            for i in range(REPLACEMENTS):
                table = self.tables["vm1" if i % 2 == 0 else "other"]
                vm1.ask(f"replace {NUMBER} {device}:hwpt:{table}")
        absent = watcher.absent(key)
        spans = [1e6 * (a.end - a.begin) for a in absent if a.end is not None]
        longest = f", at most {max(spans):.0f} us" if spans else ""
        self.report.note(f"{watcher.samples} looks: {len(absent)} absences in {REPLACEMENTS} replacements{longest}")
        self.report.check(watcher.samples > 1000, "the entry was watched")
        self.report.none(map(hex, watcher.pages(key) - allowed), "never was another page table seen in it")
        self.report.equal(watcher.pages(key), allowed, "both of them were")
        for other in others:
            self.report.none(map(str, watcher.absent(other)), f"{table_reader.function_name(other[0])} has its entry all the time")
        self.compare("afterwards")
        refusal = vm1.refusal(f"replace {NUMBER} {device}:hwpt:9999")
        self.report.equal(refusal, "not-found table-unknown", "one that is not there is refused")
        self.reaches(self.compare("after the refusal"), A, NUMBER, "vm1-other")

    def hand_over(self):
        self.report.step("VM 1's process hands its session to another one, and is killed")
        heir = Vmm(self.machine, "heir")
        with Watcher(self.observer.memory, self.observer.tables(), self.claim) as watcher:
            (secret,) = self.vm1.ask("hand-over")
            self.report.equal(heir.refusal("take-over " + "0" * 32), "not-found hand-over-unknown", "a guess is refused")
            heir.ask(f"take-over {secret}")
            self.report.equal(self.vm2.refusal("connected"), "ok", "VM 2 notices nothing")
            self.vm1.kill()
            self.report.equal(heir.refusal("connected"), "ok", "the heir goes on")
            (found, bound) = heir.ask(f"find {NUMBER}")
        self.report.equal(bound, "2", f"set {found} is the heir's, with its bindings")
        self.report.check(watcher.samples > 1000, f"{watcher.samples} looks meanwhile")
        self.report.none(map(str, watcher.absences), "no entry was absent for a moment")
        self.compare("after the death of the first process")
        heir.ask(f"unbind {NUMBER} {self.devices[B]}")
        del self.claim[table_reader.parse_function(B), NUMBER]
        self.compare("the heir has unbound one")
        self.heir = heir

    def end(self):
        self.report.step("The heir is killed, too")
        self.heir.kill()
        self.claim = {key: name for key, name in self.claim.items() if name == "vm2"}
        self.eventually(lambda: len(self.reported()) == 1, "pasidd has torn its bindings down")
        self.reaches(self.compare("after its death"), OWN, NUMBER, "vm2-process")
        self.report.equal(self.control("status")["consistent"], True, "pasidd's recount agrees")


def run(machine, observer, report):
    try:
        Scenario(machine, observer, report).run()
    except (ProbeError, vm.MachineError):
        report.note(machine.run("cat /run/pasidd.log /run/*.log | tail -n 40")[1])
        raise


def make_machine(*parts):
    return vm.Machine(*parts, [vm.Endpoint(slot) for slot in (4, 5, 6, 7)], PORTS)
