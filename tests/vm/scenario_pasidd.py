# SPDX-License-Identifier: MIT
"""The main job: VMMs get PASIDs from pasidd, by libpasid, and the entries stand in real tables.

After each step three accounts of the tables are compared: what pasidd reports, what the kernel
prints, and what lies in memory. (F30, F44 of docs/FEATURES.md)
"""

import json
import time

import machine as vm
import table_reader
from scenario_smoke import IOVA, Probe, ProbeError

PORTS = ("vm1", "vm2")
PROGRAMS = ("pasidd", "pasidctl", "vmm")

A, B, SHARED, OWN = (f"0000:00:0{slot}.0" for slot in (4, 5, 6, 7))
NARROW, NONE = "0000:00:08.0", "0000:00:09.0"
GUEST_PASID = 7
QUOTA = 6

SETTINGS = {
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "quarantine": {"cooling_ms": 4000},
}


class Vmm(Probe):
    """A VMM in the guest: a process with an iommufd and a session with pasidd."""

    program = "vmm"

    def refusal(self, command):
        """Code and reason of a refusal, "ok" when there was none."""
        words = self.channel.ask(command).split()
        return " ".join(words[1:3]) if words[0] == "error" else "ok"


class Scenario:
    """The steps, each of which leaves the tables as `claim` says."""

    program = "pasidd"

    def __init__(self, machine, observer, report):
        self.machine, self.observer, self.report = machine, observer, report
        self.claim = {}

    def run(self):
        self.start_daemon()
        self.is_ready()
        self.two_devices()
        self.one_shared_device()
        self.trespass()
        self.half_a_bind()
        self.limits()
        self.death()
        self.stop_daemon()

    # --- helpers -----------------------------------------------------------------------------

    def control(self, command):
        return json.loads(self.machine.output(f"pasidctl --json {command}"))

    def reported(self):
        """The entries that pasidd says are there, each with a name for its page table."""
        entries = {}
        for binding in self.control("bindings"):
            if binding["state"] == "bound" and binding["pasid"] is not None:
                rid = table_reader.parse_function(binding["address"])
                # pasidd names the page tables of a shared device to nobody; each set has one there.
                name = f"{binding['set']}/{binding['hwpt'] or 'slice of ' + binding['address']}"
                entries[rid, binding["pasid"]] = name
        return entries

    def compare(self, when):
        reported = self.reported()
        lines = [f"{table_reader.function_name(r)} {p:#x} {n}" for (r, p), n in reported.items()]
        self.report.note("pasidd: " + ("; ".join(sorted(lines)) or "no binding"))
        self.report.equal(sorted(reported), sorted(self.claim), f"{when}: pasidd reports them")
        view = self.observer.look()
        differ = view.violations(reported, self.observer.rids)
        self.report.none(differ, f"{when}: the tables are as pasidd reports")
        return self.observer.compare(self.report, self.claim, when)

    def expect(self, function, pasid, name):
        self.claim[table_reader.parse_function(function), pasid] = name

    def reaches(self, view, function, pasid, text):
        key = table_reader.parse_function(function), pasid
        what = f"{function} with PASID {pasid:#x} would reach {text!r}"
        self.report.check(view.reached(key, IOVA, text), what)

    def processes(self):
        """The daemon's and its workers'."""
        find = "for p in /proc/[0-9]*; do case $(readlink $p/exe) in */pasidd) echo ${p#/proc/} ;; esac; done"
        return self.machine.output(find).split()

    def eventually(self, true, what, timeout=10):
        end = time.monotonic() + timeout * vm.PATIENCE
        while not (good := true()) and time.monotonic() < end:
            time.sleep(0.1)
        self.report.check(good, f"{what} (within {timeout} s)")

    # --- steps -------------------------------------------------------------------------------

    def start_daemon(self):
        self.report.step("pasidd starts; nothing is bound")
        self.machine.output(
            f"echo '{json.dumps(SETTINGS)}' >/run/pasidd.json; mkdir -p /run/pasidd"
        )
        command = f"{self.program} --config /run/pasidd.json >/run/pasidd.log 2>&1"
        self.daemon = int(self.machine.output(f"({command}) & echo $!"))
        self.eventually(lambda: self.machine.run("pasidctl status")[0] == 0, "pasidd answers")
        self.report.equal(self.control("status")["backend"], "vtd", "it has found the IOMMU")
        self.vm1, self.vm2 = Vmm(self.machine, "vm1"), Vmm(self.machine, "vm2")
        for name, vmm in (("vm1", self.vm1), ("vm2", self.vm2)):
            vmm.ask("connect")
            vmm.ask(f"set {name} {QUOTA}")
        self.compare("at the start")

    def is_ready(self):
        self.report.step("pasidctl doctor finds the host ready")
        status, text = self.machine.run("pasidctl --json doctor")
        answer = json.loads(text)
        problems = [f"{one['name']}: {one['found']}" for one in answer["findings"] if one["level"] == "problem"]
        self.report.equal((status, problems), (0, []), "it is ready, without a problem")
        functions = {one["name"]: one["found"] for one in answer["findings"] if one["level"] == "ok"}
        for function in (A, B, SHARED, OWN):
            found = functions.get(f"function {function}", "not ok")
            self.report.check("PASIDs of 20 bits" in found, f"{function} can have PASIDs of 20 bits", [found])

    def two_devices(self):
        self.report.step("VM 1 binds one PASID to two functions of its own")
        vm1 = self.vm1
        self.handles = [vm1.ask(f"node {function}")[0] for function in (A, B)]
        self.devices = [vm1.ask(f"device {handle}")[0] for handle in self.handles]
        self.table = vm1.space(self.handles[0], "vm1-process")
        (self.host,) = map(int, vm1.ask("allocate"))
        pairs = " ".join(f"{device}:hwpt:{self.table}" for device in self.devices)
        vm1.ask(f"bind {self.host} {pairs}")
        for function in (A, B):
            self.expect(function, self.host, "vm1")
        view = self.compare("bound")
        for function in (A, B):
            self.reaches(view, function, self.host, "vm1-process")

    def one_shared_device(self):
        self.report.step("Both VMs bind the same guest PASID on one shared function")
        self.slices = {}
        for name, vmm in (("vm1", self.vm1), ("vm2", self.vm2)):
            device = vmm.ask(f"slice {SHARED}")[0]
            vmm.ask(f"memory {device} 0 {IOVA:#x} {name}-memory")
            (host,) = map(int, vmm.ask(f"allocate {GUEST_PASID}"))
            vmm.ask(f"bind g{GUEST_PASID} {device}:space:0")
            self.slices[name] = device, host
            self.expect(SHARED, host, f"{name}-slice")
        view = self.compare("bound")
        hosts = [host for _, host in self.slices.values()]
        self.report.check(hosts[0] != hosts[1], "one guest PASID, two host PASIDs", [str(hosts)])
        for name, (_, host) in self.slices.items():
            self.reaches(view, SHARED, host, f"{name}-memory")

    def trespass(self):
        self.report.step("VM 2 tries what only VM 1 may")
        vm2, equal = self.vm2, self.report.equal
        before = self.control("pasids")
        own = self.own = vm2.ask(f"node {OWN}")[0]
        self.own_device = vm2.ask(f"device {own}")[0]
        self.own_table = vm2.space(own, "vm2-process")
        for command in (
            f"free {self.host}",
            f"unbind {self.host}",
            f"find {self.host}",
            f"bind {self.host} {self.own_device}:hwpt:{self.own_table}",
        ):
            code = vm2.refusal(command).split()[0]
            equal(code, "not-found", f"{command.split()[0]} of VM 1's number")
        iommufd, device = self.vm1.ask(f"descriptors {self.handles[0]}")
        vm2.ask(f"foreign {self.vm1.process} {iommufd} {device}")
        equal(vm2.refusal(f"device {own}"), "exists device-taken", "VM 1's device is refused")
        vm2.ask(f"foreign {self.vm1.process} {iommufd}")
        equal(
            vm2.refusal(f"device {own}"), "denied descriptor-foreign", "VM 1's iommufd is refused"
        )
        vm2.ask("own")
        equal(self.control("pasids"), before, "pasidd's account of all PASIDs has not changed")
        self.compare("after the refusals")

    def half_a_bind(self):
        self.report.step("A bind to two functions, the second of which cannot be")
        (host,) = map(int, self.vm1.ask("allocate"))
        pairs = f"{self.devices[0]}:hwpt:{self.table} {self.devices[1]}:hwpt:9999"
        refusal = self.vm1.refusal(f"bind {host} {pairs}")
        self.report.equal(refusal, "not-found table-unknown", "the kernel refuses the second")
        self.compare("neither function has an entry")

    def limits(self):
        self.report.step("Limits: the quota, and numbers that a function cannot take")
        vm2 = self.vm2
        answers = [vm2.refusal("allocate") for _ in range(QUOTA)]
        wanted = ["ok"] * (QUOTA - 1) + ["quota set-quota"]
        self.report.equal(answers, wanted, "VM 2 gets as many PASIDs as its quota says")
        host = self.slices["vm2"][1]
        devices = {OWN: self.own_device}
        for function in (NARROW, NONE):
            handle = vm2.ask(f"node {function}")[0]
            devices[function] = vm2.ask(f"device {handle}")[0]
        for what, function, pasid, wanted in (
            ("a PASID beyond the width of a function", NARROW, host, "invalid pasid-width"),
            ("one without PASIDs", NONE, host, "unsupported device-without-pasid"),
            ("PASID 0", OWN, 0, "invalid pasid-zero"),
        ):
            command = f"bind {pasid} {devices[function]}:hwpt:{self.own_table}"
            self.report.equal(vm2.refusal(command), wanted, f"{what}: refused, with the reason")
            self.report.note(vm2.channel.ask(command))
        self.report.note(vm2.channel.ask("allocate"))
        self.compare("after the refusals")

    def resting(self):
        """The PASIDs in quarantine, with the reasons."""
        pasids = self.control("pasids --quarantined")
        return {p["pasid"]: p["quarantine"] for p in pasids if p["state"] == "quarantined"}

    def death(self):
        self.report.step("VM 1 is killed")
        check, shared = self.report.check, self.slices["vm1"][1]
        self.machine.kill(self.vm1.process)
        self.claim = {key: name for key, name in self.claim.items() if name == "vm2-slice"}
        self.eventually(lambda: len(self.reported()) == 1, "pasidd has torn its bindings down")
        resting = self.resting()
        check({self.host, shared} <= resting.keys(), "its numbers are in quarantine", [resting])
        view = self.compare("after the death")
        self.reaches(view, SHARED, self.slices["vm2"][1], "vm2-memory")
        self.report.equal(self.vm2.result("connected"), "ok", "VM 2 goes on")
        self.eventually(lambda: self.host not in self.resting(), "one of them has cooled")
        check("undrained" in self.resting().get(shared, []), "the shared device's rests on")
        self.machine.output(f"pasidctl drained {SHARED}")
        check(shared not in self.resting(), "until an admin says that the device is drained")

    def stop_daemon(self):
        self.report.step("pasidd stops")
        self.report.check(len(self.processes()) > 1, "it and its workers run")
        self.machine.output(f"kill {self.daemon}")
        self.eventually(lambda: not self.processes(), "it and its workers end")
        self.observer.compare(self.report, {}, "the shared device's entries go with it")


def run(machine, observer, report):
    try:
        Scenario(machine, observer, report).run()
    except (ProbeError, vm.MachineError):
        report.note(machine.run("cat /run/pasidd.log /run/*.log | tail -n 40")[1])
        raise


def make_machine(*parts):
    """Four functions of full width, a narrow one, and one without PASIDs."""
    wide = [vm.Endpoint(slot) for slot in (4, 5, 6, 7)]
    return vm.Machine(*parts, [*wide, vm.Endpoint(8, width=8), vm.Endpoint(9, width=0)], PORTS)
