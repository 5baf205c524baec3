# SPDX-License-Identifier: MIT
"""Guests' tables, nested, from libpasid through the daemon and its workers to a real iommufd.

The functions are real for pasidd (nodes, sysfs); binding and attaching goes to mock devices of the kernel's self-test in
the same iommufd, in the daemon's workers alone (LD_PRELOAD). The VMM, which has that iommufd, asks the self-test
what is attached. (F31 of docs/FEATURES.md)
"""

import machine as vm
import scenario_pasidd
from scenario_pasidd import A, B, GUEST_PASID, SHARED, Vmm
from scenario_smoke import IOVA, ProbeError

PORTS = ("vm1", "vm2", "watcher")
PROGRAMS = (*scenario_pasidd.PROGRAMS, "selftest_preload.so")
FAILS = 1024  # of this PASID the mock driver refuses each replacement
NEST_PARENT, WITH_PASID = 1, 8
COMPLAINTS = "WARNING:|BUG:|Oops|refcount_t|general protection"


class Scenario(scenario_pasidd.Scenario):
    """Steps that build on each other. The emulated VT-d of the machine has no part in it."""

    shared_holder = None  # process and descriptor of the shared function's iommufd
    program = "LD_PRELOAD=/usr/bin/selftest_preload.so pasidd"

    def run(self):
        self.start_daemon()
        self.registered()
        self.bound()
        self.refused()
        self.half_a_bind()
        self.replaced()
        self.repaired()
        self.whole_function()
        self.shared()
        self.death()
        self.stop_daemon()
        _, log = self.machine.run(f"dmesg | grep -E '{COMPLAINTS}'")
        self.report.none(log.splitlines(), "the kernel complains of nothing")

    # --- helpers -----------------------------------------------------------------------------

    def standing(self, index, pasid):
        """The page table that the kernel has at a PASID of VM 1's function, 0: none."""
        return int(self.vm1.ask(f"standing {index} {pasid}")[0])

    def told(self, pasid):
        """The page tables that pasidd says are bound, by function."""
        bindings = self.control("bindings")
        return {b["address"]: b["hwpt"] for b in bindings if b["pasid"] == pasid and b["state"] == "bound"}

    def objects(self):
        return int(self.vm1.ask("objects")[0])

    def guest(self, index, address, *width, parent=None):
        """A pair for libpasid: a guest's table at `address`."""
        return ":".join(map(str, (self.devices[index], "guest", parent or self.parent, hex(address), *width)))

    def holds(self, holder, pasid):
        """Does something stand at the PASID in the iommufd of a process?"""
        self.watcher.ask(f"foreign {holder}")
        standing = f"standing 0 {pasid}"
        return self.watcher.result(standing) == "ok" and self.watcher.ask(standing) != ["0"]

    # --- steps -------------------------------------------------------------------------------

    def registered(self):
        self.report.step("VM 1 registers two functions")
        vm1 = self.vm1
        handles = [vm1.ask(f"node {function}")[0] for function in (A, B)]
        self.devices = [vm1.ask(f"device {handle}")[0] for handle in handles]
        (ioas,) = vm1.ask("ioas")
        vm1.ask(f"map {ioas} {IOVA:#x} vm1")
        (self.parent,) = vm1.ask(f"hwpt {handles[0]} {ioas} {NEST_PARENT | WITH_PASID}")
        (self.plain,) = vm1.ask(f"hwpt {handles[0]} {ioas} {WITH_PASID}")
        self.report.equal(int(vm1.ask("allocate")[0]), FAILS, "the first number is the one that the mock knows")
        (self.host,) = map(int, vm1.ask("allocate"))
        self.empty = self.objects()

    def bound(self):
        self.report.step("One PASID, a guest's table on each function")
        self.vm1.ask(f"bind {self.host} {self.guest(0, 0x1000)} {self.guest(1, 0x2000)}")
        self.tables = [self.standing(index, self.host) for index in range(2)]
        self.report.check(0 not in self.tables and self.tables[0] != self.tables[1], "two page tables stand there")
        self.report.equal(self.told(self.host), dict(zip((A, B), self.tables)), "pasidd's reply names them")
        self.report.equal(self.objects(), self.empty + 2, "they are the only new objects")
        self.report.equal(self.standing(0, self.host + 1), 0, "nothing stands at the next PASID")

    def refused(self):
        self.report.step("What is refused leaves everything as it is")
        for what, pair, wanted in (
            ("a parent that is none", self.guest(0, 0x1000, parent=self.plain), "invalid table-kind"),
            ("a parent that is not there", self.guest(0, 0x1000, parent=999), "invalid table-kind"),
            ("57 bits on an IOMMU of 48", self.guest(0, 0x1000, 57), "invalid table-address-width"),
            ("an address within a page", self.guest(0, 0x1800), "invalid table-address"),
            ("an address beyond the width", self.guest(0, 1 << 52), "invalid table-address"),
        ):
            self.report.equal(self.vm1.refusal(f"bind {FAILS} {pair}"), wanted, f"{what}: refused")
        refusal = self.vm1.refusal(f"bind {self.host} {self.guest(0, 0x5000)}")
        self.report.equal(refusal, "exists already-bound", "bound already: refused, and not replaced")
        self.unchanged()

    def unchanged(self):
        tables = [self.standing(index, self.host) for index in range(2)]
        self.report.equal(tables, self.tables, "the tables stand where they did")
        self.report.equal([self.standing(index, FAILS) for index in range(2)], [0, 0], "nothing stands beside them")
        self.report.equal(self.objects(), self.empty + 2, "no object is left")

    def half_a_bind(self):
        self.report.step("A bind of two functions whose second part fails in the kernel")
        pairs = f"{self.guest(0, 0x1000)} {self.guest(1, 0x1000, parent=self.plain)}"
        self.report.equal(self.vm1.refusal(f"bind {FAILS} {pairs}"), "invalid table-kind", "it is refused")
        self.unchanged()

    def replaced(self):
        self.report.step("A guest's table takes the place of another")
        self.vm1.ask(f"replace {self.host} {self.guest(0, 0x3000)}")
        before, self.tables[0] = self.tables[0], self.standing(0, self.host)
        self.report.check(self.tables[0] not in (0, before), "another page table stands there")
        self.report.equal(self.told(self.host), dict(zip((A, B), self.tables)), "pasidd says so")
        self.unchanged()
        self.vm1.ask(f"replace {self.host} {self.devices[0]}:hwpt:{self.plain}")
        self.report.equal(self.standing(0, self.host), int(self.plain), "then the VMM's own page table")
        self.report.equal(self.objects(), self.empty + 1, "and the guest's is destroyed")
        self.vm1.ask(f"unbind {self.host}")
        self.report.equal([self.standing(index, self.host) for index in range(2)], [0, 0], "unbound, nothing stands")
        self.report.equal(self.objects(), self.empty, "and no object is left")

    def repaired(self):
        self.report.step("A replacement that the driver refuses")
        self.vm1.ask(f"bind {FAILS} {self.guest(0, 0x1000)}")
        table = self.standing(0, FAILS)
        refusal = self.vm1.refusal(f"replace {FAILS} {self.guest(0, 0x2000)}")
        self.report.equal(refusal, "hardware memlock-limit", "the driver's error is told")
        self.report.equal((self.standing(0, FAILS), self.told(FAILS)), (table, {A: table}), "the earlier stands again")
        self.vm1.ask(f"unbind {FAILS}")
        self.report.equal(self.standing(0, FAILS), 0, "unbound, nothing stands")
        self.report.equal(self.objects(), self.empty, "and no object is left")

    def whole_function(self):
        self.report.step("A guest's table for the RID, beside a PASID")
        self.vm1.ask(f"attach-rid {self.guest(0, 0x4000)}")
        self.vm1.ask(f"bind {self.host} {self.guest(0, 0x5000)}")
        rid, pasid = self.standing(0, "rid"), self.standing(0, self.host)
        self.report.check(rid and pasid and rid != pasid, "two page tables stand there", [f"{rid} {pasid}"])
        self.vm1.ask(f"detach-rid {self.devices[0]}")
        self.report.equal((self.standing(0, "rid"), self.standing(0, self.host)), (0, pasid), "detached, one")
        self.report.equal(self.objects(), self.empty + 1, "and one object")

    def shared(self):
        self.report.step("VM 2 binds a guest's table on its slice of a shared function")
        vm2 = self.vm2
        device = vm2.ask(f"slice {SHARED}")[0]
        vm2.ask(f"memory {device} 0 {IOVA:#x} vm2")
        (host,) = map(int, vm2.ask(f"allocate {GUEST_PASID}"))
        refusal = vm2.refusal(f"bind g{GUEST_PASID} {device}:guest:{self.parent}:0x1000")
        self.report.equal(refusal, "invalid table-kind", "an id of the kernel's as parent is refused")
        vm2.ask(f"bind g{GUEST_PASID} {device}:guest-space:0:0x1000")
        # Nobody but the worker has that iommufd: root takes a copy.
        self.watcher = Vmm(self.machine, "watcher")
        link = "sed -n 's,.* \\([0-9]*\\) -> /dev/iommu$,\\1,p'"
        holders = []
        for process in self.processes():
            for fd in self.machine.output(f"ls -l /proc/{process}/fd | {link}").split():
                holders.append(f"{process} {fd}")
                if not self.shared_holder and self.holds(holders[-1], host):
                    self.shared_holder = holders[-1]
        self.shared_host = host
        self.report.check(self.shared_holder, "it stands in the table of one worker's device", [str(holders)])
        self.watcher.ask(f"foreign {self.shared_holder}")
        self.report.equal(self.watcher.ask("standing 0 rid"), ["0"], "nothing stands at the RID")

    def death(self):
        self.report.step("VM 1 is killed")
        self.machine.kill(self.vm1.process)
        self.eventually(lambda: not self.told(self.host), "pasidd has torn its bindings down")
        self.report.check(self.watcher.ask(f"standing 0 {self.shared_host}") != ["0"], "VM 2's stands")
        self.vm2.ask(f"unbind g{GUEST_PASID}")
        self.report.equal(self.watcher.ask(f"standing 0 {self.shared_host}"), ["0"], "until it is unbound")

    def stop_daemon(self):
        self.report.step("pasidd stops")
        self.report.check(len(self.processes()) > 1, "it and its workers run")
        self.machine.output(f"kill {self.daemon}")
        self.eventually(lambda: not self.processes(), "it and its workers end")


def run(machine, observer, report):
    try:
        Scenario(machine, observer, report).run()
    except (ProbeError, vm.MachineError):
        report.note(machine.run("cat /run/pasidd.log /run/*.log | tail -n 40")[1])
        raise


def make_machine(*parts):
    return vm.Machine(*parts, [vm.Endpoint(slot) for slot in (4, 5, 6)], PORTS)
