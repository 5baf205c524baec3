# SPDX-License-Identifier: MIT
"""The service under systemd is restarted, killed, stopped and started while VMMs work.

Two VMMs hold bindings on functions of their own and on a shared one, and allocate all the time. What
stands in the tables is looked at from outside the guest, without a pause, while the service ends.
(F38, F40 of docs/FEATURES.md)
"""

import json
import time

import machine as vm
from scenario_pasidd import Vmm
from scenario_smoke import IOVA, ProbeError
from systemd_service import ServiceScenario
import table_reader

PORTS = ("vm1", "vm2", "vm3", "vm4", "vm5")
A, B, C, SHARED, SPARE, STUCK, PULLED, LENT = (f"0000:00:{slot:02x}.0" for slot in range(4, 12))
GUEST_PASID = 7
CHURN_MS = 5000
UNAVAILABLE_MS = 3000  # the emulator is slow, and the machine may be busy

SETTINGS = {
    "devices": [{"address": function, "use": "shared", "everyone": True} for function in (SHARED, LENT)],
    "quota": {"set_default": 4096},
}


class Scenario(ServiceScenario):
    """Steps that build on each other: what VM 1 and VM 2 have is there until a step says otherwise."""

    def run(self):
        self.install()
        self.bind_all()
        self.disturb("restart", "systemctl restart pasidd")
        self.disturb("SIGKILL", "kill -9 $(systemctl show -P MainPID pasidd)")
        self.death_while_down()
        self.reset()
        self.hang()
        self.unplug()
        self.unplug_shared()
        self.stop_and_start()

    # --- helpers -----------------------------------------------------------------------------

    def exclusive(self):
        shared = table_reader.parse_function(SHARED)
        return {key for key in self.claim if key[0] != shared}

    # --- steps -------------------------------------------------------------------------------

    def install(self):
        self.report.step("The service starts")
        self.machine.output(
            f"mkdir -p /etc/pasidd; echo '{json.dumps(SETTINGS)}' >/etc/pasidd/pasidd.json; systemctl start pasidd"
        )
        self.eventually(self.answers, "pasidd answers")
        version = self.machine.output("systemctl --version").split("\n")[0]
        self.report.note(version)
        state = self.machine.output("systemctl show -P ActiveState pasidd").strip()
        self.report.equal(state, "active", "systemd says that it is active")
        owners = [self.machine.output(f"stat -c %U /proc/{process}").strip() for process in self.service_processes()]
        self.report.equal(set(owners), {"pasidd"}, f"its {len(owners)} processes are a user's of their own")

    def bind_all(self):
        self.report.step("Two VMMs bind PASIDs on functions of their own and on a shared one")
        self.vmms = {"vm1": Vmm(self.machine, "vm1"), "vm2": Vmm(self.machine, "vm2")}
        for name, functions in (("vm1", (A, B)), ("vm2", (C,))):
            vmm = self.vmms[name]
            vmm.ask("connect")
            vmm.ask(f"set {name}")
            handles = [vmm.ask(f"node {function}")[0] for function in functions]
            devices = [vmm.ask(f"device {handle}")[0] for handle in handles]
            vmm.first, vmm.device = handles[0], devices[0]
            vmm.table = table = vmm.space(handles[0], f"{name}-process")
            pairs = " ".join(f"{device}:hwpt:{table}" for device in devices)
            for _ in range(2):
                (host,) = map(int, vmm.ask("allocate"))
                vmm.ask(f"bind {host} {pairs}")
                for function in functions:
                    self.expect(function, host, name)
            device = vmm.ask(f"slice {SHARED}")[0]
            vmm.ask(f"memory {device} 0 {IOVA:#x} {name}-memory")
            (host,) = map(int, vmm.ask(f"allocate {GUEST_PASID}"))
            vmm.ask(f"bind g{GUEST_PASID} {device}:space:0")
            self.expect(SHARED, host, f"{name}-slice")
            vmm.guest = host
            self.translated(name, vmm)
            vmm.map = self.map_of(vmm)
        self.compare("bound")

    def map_of(self, vmm):
        """Which memory the VMM has mapped for its translations."""
        return self.machine.output(f"awk '/pasidd-map/ {{ print $5; exit }}' /proc/{vmm.process}/maps").strip()

    def translated(self, name, vmm):
        (found,) = map(int, vmm.ask(f"translate {GUEST_PASID}"))
        self.report.equal(found, vmm.guest, f"{name} finds in memory what guest PASID {GUEST_PASID} stands for")

    def disturb(self, what, command):
        self.report.step(f"{what}: {command}")
        before, instance = self.numbers(), self.instance()
        with self.watch(self.claim) as watcher:
            for vmm in self.vmms.values():
                vmm.channel.send_line(f"churn {CHURN_MS}")
            time.sleep(1)
            begin = time.monotonic()
            self.machine.output(command)
            self.report.note(f"the command took {time.monotonic() - begin:.2f} s")
            for name, vmm in self.vmms.items():
                self.churned(name, vmm)
        self.never_absent(watcher, self.claim, f"during the {what}")
        for name, vmm in self.vmms.items():
            self.translated(name, vmm)
            self.report.equal(self.map_of(vmm), vmm.map, f"{name} reads in the same memory as before")
        self.report.check(self.instance() not in (instance, "0"), "another process serves now")
        self.report.equal(self.numbers(), before, "the same numbers belong to the same sets")
        self.compare(f"after the {what}")

    def churned(self, name, vmm):
        rounds, longest, failed = map(int, vmm._words(vmm.channel.read_line(60)))
        text = f"{name}: {rounds} numbers allocated and freed, the longest took {longest / 1000:.0f} ms"
        self.report.equal(failed, 0, f"{text}; failures")
        self.report.check(longest < 1000 * UNAVAILABLE_MS, f"{name} waited less than {UNAVAILABLE_MS} ms")

    def death_while_down(self):
        self.report.step("A VMM is killed while the service is down, and its worker holds a copy")
        self.machine.output(
            "mkdir -p /run/systemd/system/pasidd.service.d; "
            "printf '[Service]\\nRestartSec=6\\n' >/run/systemd/system/pasidd.service.d/slow.conf; "
            "systemctl daemon-reload"
        )
        vm3 = Vmm(self.machine, "vm3")
        vm3.ask("connect")
        vm3.ask("set vm3")
        handle = vm3.ask(f"node {SPARE}")[0]
        (device, *_) = vm3.ask(f"device {handle}")
        table = vm3.space(handle, "vm3-process")
        (host,) = map(int, vm3.ask("allocate"))
        vm3.ask(f"bind {host} {device}:hwpt:{table}")
        others = dict(self.claim)
        self.expect(SPARE, host, "vm3")
        self.compare("bound")
        with self.watch(others) as watcher:
            self.machine.output("kill -9 $(systemctl show -P MainPID pasidd)")
            self.machine.output(f"kill -9 {vm3.process}")
            self.report.equal(self.instance(), "0", "the service is down")  # whoever connects waits for the next
            self.observer.compare(self.report, self.claim, "while it is down")
            self.eventually(self.answers, "the service is back", 30)
            self.claim = others
            self.eventually(lambda: len(self.reported()) == len(others), "the dead VM's bindings are gone")
        self.never_absent(watcher, others, "meanwhile")
        states = {grant["pasid"]: grant["state"] for grant in self.control("pasids --quarantined")}
        self.report.check(
            states.get(host, "quarantined") == "quarantined", "its number is in quarantine or free", [states.get(host)]
        )
        self.compare("after the death")
        self.machine.output("rm -r /run/systemd/system/pasidd.service.d; systemctl daemon-reload")

    def arm(self, function, seconds):
        """The next reset of a function keeps whoever asks for it so long."""
        path = f"/sys/bus/pci/devices/{function}/config"
        self.machine.output(f"printf '\\{seconds:03o}' | dd of={path} bs=1 seek=2048 conv=notrunc 2>/dev/null")

    def reset(self):
        self.report.step("A function with PASIDs attached is reset")
        function = table_reader.parse_function(A)
        mine = {key for key in self.claim if key[0] == function}
        vm1 = self.vmms["vm1"]
        with self.watch(self.claim) as watcher:
            self.report.equal(vm1.result(f"reset {vm1.first}"), "ok", "by the VMM that has it")
        self.parked(watcher, mine, 0.05)
        self.compare("after the reset")

        self.report.step("A bind while a function is reset, which takes two seconds")
        self.arm(A, 2)
        (host,) = map(int, vm1.ask("allocate"))
        with self.watch(self.claim) as watcher:
            self.machine.output(f"(echo 1 >/sys/bus/pci/devices/{A}/reset; echo done >/run/reset) >/dev/null 2>&1 &")
            self.eventually(lambda: not self.present(mine), "the entries are parked")
            begin = time.monotonic()
            vm1.channel.send_line(f"bind {host} {vm1.device}:hwpt:{vm1.table}")
            answer = self.vmms["vm2"].result("allocate")
            took = time.monotonic() - begin
            self.report.equal(answer, "ok", f"VM 2 gets a number meanwhile, within {1000 * took:.0f} ms")
            self.report.check(not self.present(mine), "the reset still runs then")
            answer = vm1.channel.read_line(30)
            took = time.monotonic() - begin
            self.report.equal(answer, f"ok {host}", f"VM 1's bind waits for its end ({took:.1f} s) and succeeds")
            self.eventually(lambda: self.machine.run("cat /run/reset")[0] == 0, "the reset has ended")
        self.parked(watcher, mine, 1)
        self.expect(A, host, "vm1")
        self.compare("after the reset")

    def present(self, keys):
        return keys & self.observer.tables().entries().keys()

    def parked(self, watcher, mine, seconds):
        """Only entries of the function that was reset were away, once each, for at least so long."""
        for absence in watcher.absences:
            self.report.note(str(absence))
        others = [str(absence) for absence in watcher.absences if absence.key not in mine]
        self.report.none(others, "no entry of another function went away")
        times = {key: [absence.end and absence.end - absence.begin for absence in watcher.absent(key)] for key in mine}
        good = all(len(of) == 1 and of[0] and of[0] >= seconds for of in times.values())
        self.report.check(good, f"each of its own was parked once, for at least {seconds} s, and came back", [times])

    def hang(self):
        self.report.step("A worker sleeps in the kernel for 15 seconds, uninterruptibly")
        vm4, vm2 = Vmm(self.machine, "vm4"), self.vmms["vm2"]
        vm4.ask("connect")
        vm4.ask("set vm4")
        vm4.ask("timeout 500")
        handle = vm4.ask(f"node {STUCK}")[0]
        self.arm(STUCK, 15)
        begin = time.monotonic()
        with self.watch(self.claim) as watcher:
            answer = vm4.refusal(f"device {handle}")
            self.report.equal(answer, "pending deadline-passed", "its request ends at its deadline, as pending")
            self.report.check(self.sleepers(), "the worker sleeps", [self.machine.run("ps ax -o pid,stat,comm")[1]])
            self.served(vm2, "VM 2")
            time.sleep(1)
            notes = [note for note in self.control("status")["notes"] if "hangs" in note]
            self.report.check(any(STUCK in note for note in notes), f"pasidctl status names it: {notes}", notes)
            started = time.monotonic()
            self.machine.output("systemctl restart pasidd", 30)
            took = time.monotonic() - started
            self.report.check(took < UNAVAILABLE_MS / 1000, f"a restart takes {took:.2f} s")
            started = time.monotonic()
            state = self.machine.output("systemctl is-active pasidd").strip()
            took = time.monotonic() - started
            self.report.equal(state, "active", f"PID 1 answers in {1000 * took:.0f} ms")
            self.served(vm2, "after it, VM 2")
            self.report.check(self.sleepers(), "the old worker sleeps on")
            answer = vm4.refusal(f"device {handle}").split()[0]
            self.report.check(answer in ("pending", "exists", "busy"), f"VM 4 goes on waiting ({answer})")
            self.report.check(time.monotonic() - begin < 15, "all that while it slept")
            self.eventually(lambda: not self.sleepers(), "it wakes up", 30)
        self.never_absent(watcher, self.claim, "meanwhile")
        self.machine.kill(vm4.process)
        gone = lambda: all(device["set"] != "vm4" for device in self.control("devices"))
        self.eventually(gone, "when VM 4 is killed, its device goes", 20)
        self.compare("after the hang")

    def sleepers(self):
        """Workers that sleep uninterruptibly."""
        words = [line.split() for line in self.machine.output("ps ax -o stat=,comm=").splitlines()]
        return [comm for stat, comm in words if stat.startswith("D") and comm.startswith("pasidd")]

    def served(self, vmm, name):
        begin = time.monotonic()
        (host,) = map(int, vmm.ask("allocate"))
        vmm.ask(f"free {host}")
        took = time.monotonic() - begin
        self.report.check(took < 2, f"{name} allocates and frees in {1000 * took:.0f} ms")

    def pull(self, function):
        """Takes the function away, as a hot-unplug does; the kernel waits until nobody has it open."""
        remove = f"echo 1 >/sys/bus/pci/devices/{function}/remove; echo done >/run/removed"
        self.machine.output(f"rm -f /run/removed; ({remove}) >/dev/null 2>&1 &")

    def is_there(self, function):
        return self.machine.run(f"test -e /sys/bus/pci/devices/{function}")[0] == 0

    def is_pulled(self):
        return self.machine.run("cat /run/removed")[0] == 0

    def unplug(self):
        self.report.step("A function is taken away from a VMM, which gives up its copies and pasidd's")
        vm5 = Vmm(self.machine, "vm5")
        vm5.ask("connect")
        vm5.ask("set vm5")
        handle = vm5.ask(f"node {PULLED}")[0]
        (device, *_) = vm5.ask(f"device {handle}")
        vm5.ask(f"watch {handle}")
        table = vm5.space(handle, "vm5-process")
        hosts = [int(vm5.ask("allocate")[0]) for _ in range(2)]
        for host in hosts:
            vm5.ask(f"bind {host} {device}:hwpt:{table}")
        self.report.equal(vm5.ask(f"requested {handle} 0"), ["0"], "nobody asks the VMM for it")
        self.pull(PULLED)
        self.report.equal(vm5.ask(f"requested {handle} 5000"), ["1"], "the kernel asks the VMM")
        self.report.check(self.is_there(PULLED), "the kernel waits as long as it is held")
        self.report.equal(vm5.refusal(f"remove {device}").split()[1], "device-busy", "pasidd detaches nothing unasked")
        vm5.ask(f"going {device}")
        self.report.check(self.is_there(PULLED), "pasidd's copy is gone; the VMM's is not")
        self.compare("nothing is attached to it any more")
        vm5.ask(f"close {handle}")
        self.eventually(self.is_pulled, "it goes when the VMM closes its own")
        self.report.equal(vm5.ask(f"find {hosts[0]}")[1], "0", "the VMM has its number still")
        self.machine.kill(vm5.process)
        self.compare("after the removal")

    def unplug_shared(self):
        self.report.step("A shared function is taken away, which nobody need be asked about but pasidd")
        for name, vmm in self.vmms.items():
            device = vmm.ask(f"slice {LENT}")[0]
            vmm.ask(f"memory {device} 0 {IOVA:#x} {name}-lent")
            (host,) = map(int, vmm.ask("allocate"))
            vmm.ask(f"bind {host} {device}:space:0")
            self.expect(LENT, host, f"{name}-lent")
        self.compare("bound on it")
        self.claim = {key: name for key, name in self.claim.items() if not name.endswith("-lent")}
        began = time.monotonic()
        self.pull(LENT)
        self.eventually(self.is_pulled, "it goes")
        took = time.monotonic() - began
        self.report.check(took < UNAVAILABLE_MS / 1000, f"at once: after {took:.2f} s")
        tainted = lambda: any(d["address"] == LENT and d["tainted"] for d in self.control("devices"))
        self.eventually(tainted, "pasidd knows that it has it no more")
        self.served(self.vmms["vm2"], "VM 2")
        self.compare("after the removal")

    def stop_and_start(self):
        self.report.step("The service is stopped, and started later")
        before, exclusive = self.numbers(), self.exclusive()
        with self.watch(self.claim) as watcher:
            self.machine.output("systemctl stop pasidd")
            self.eventually(lambda: self.machine.run("pgrep -x pasidd")[0] != 0, "it and its workers end")
            claim = {key: self.claim[key] for key in exclusive}
            self.observer.compare(self.report, claim, "while it is stopped")
            self.machine.output("systemctl start pasidd")
            self.eventually(self.answers, "pasidd answers")
            for name, vmm in self.vmms.items():
                self.report.equal(vmm.result("connected"), "ok", f"{name} goes on with its session")
                self.report.equal(vmm.result("allocate"), "ok", f"{name} gets a number")
                self.translated(name, vmm)
                self.report.check(self.map_of(vmm) not in ("", vmm.map), f"{name} reads in another memory")
        kept = [str(absence) for key in exclusive for absence in watcher.absent(key)]
        self.report.none(kept, f"0 absences of the {len(exclusive)} entries of functions that VMMs hold")
        gone = {absence.key for absence in watcher.absences if absence.end is None}
        self.report.equal(
            gone, self.claim.keys() - exclusive, "the watcher saw those of the shared function go, as a stop closes it"
        )
        after = {pasid: owner for pasid, owner in self.owners().items() if pasid in before}
        self.report.equal(after, before, "the same numbers belong to the same sets")
        states = {binding["state"] for binding in self.control("bindings")}
        self.report.equal(states, {"tainted"}, "pasidd, which holds nothing any more, says that they may be attached")
        self.observer.compare(self.report, claim, "started again")

    def owners(self):
        return {grant["pasid"]: (grant["set"], grant["guest"]) for grant in self.control("pasids --quarantined")}


def run(machine, observer, report):
    try:
        Scenario(machine, observer, report).run()
    except (ProbeError, vm.MachineError):
        report.note(machine.run("journalctl -u pasidd -u guest --no-pager | tail -n 40; cat /run/*.log | tail -n 20")[1])
        raise


def make_machine(*parts):
    return vm.Machine(*parts, [vm.Endpoint(slot) for slot in range(4, 12)], PORTS)
