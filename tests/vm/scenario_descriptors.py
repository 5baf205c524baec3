# SPDX-License-Identifier: MIT
"""What a VMM passes to pasidd, checked by a real kernel; neither pasidd nor the VMM is root.

Nodes belong to whom udev would give them: the VMM owns its function's, pasidd is in their group.
"""

import json

import machine as vm
import table_reader
from scenario_pasidd import Scenario as PasiddScenario
from scenario_pasidd import Vmm
from scenario_smoke import ProbeError

PORTS = ("vm1", "vm2")
PROGRAMS = ("pasidd", "pasidctl", "vmm", "as_user")

A, B, C = (f"0000:00:0{slot}.0" for slot in (4, 5, 6))
DAEMON, DAEMON_GROUP, VMM_USER = 100, 100, 201
SETTINGS = {
    "devices": [{"address": C, "use": "exclusive", "everyone": True}],
    "roles": {"admins": {"users": [0]}, "observers": {"users": [0]}},
    "quarantine": {"cooling_ms": 100},
}
KIND = "invalid descriptor-kind"


class UserVmm(Vmm):
    """A VMM of an account that may open its own nodes only."""

    program = f"as_user {VMM_USER} {VMM_USER} vmm"


class Scenario(PasiddScenario):
    def run(self):
        self.nodes = {function: self.node(function) for function in (A, B, C)}
        self.give_nodes()
        self.start_unprivileged()
        self.bind_unprivileged()
        self.wrong_kinds()
        self.second_opens()
        self.bound_before()
        self.opened_by_daemon()

    def node(self, function):
        return "/dev/vfio/devices/" + self.machine.output(f"ls /sys/bus/pci/devices/{function}/vfio-dev").strip()

    def give_nodes(self):
        """As udev would: a VMM has its function, the daemon's group has all."""
        self.machine.output(
            f"chmod 711 /dev/vfio/devices; chown 0:{DAEMON_GROUP} /dev/vfio/devices/* /dev/iommu; "
            f"chmod 660 /dev/vfio/devices/*; chmod 666 /dev/iommu; chown {VMM_USER} {self.nodes[A]}"
        )

    def start_unprivileged(self):
        self.report.step(f"pasidd starts as user {DAEMON}")
        self.machine.output(
            f"echo '{json.dumps(SETTINGS)}' >/run/pasidd.json; mkdir -p /run/pasidd; "
            f"chown {DAEMON}:{DAEMON_GROUP} /run/pasidd"
        )
        command = f"export RUNTIME_DIRECTORY=/run/pasidd; exec as_user {DAEMON} {DAEMON_GROUP} pasidd --config /run/pasidd.json >/run/pasidd.log 2>&1"
        self.daemon = int(self.machine.output(f"({command}) & echo $!"))
        self.eventually(lambda: self.machine.run("pasidctl status")[0] == 0, "pasidd answers")
        owner = self.machine.output(f"stat -c %u /proc/{self.daemon}").strip()
        self.report.equal(owner, str(DAEMON), "it is no root")

    def bind_unprivileged(self):
        self.report.step(f"A VMM of user {VMM_USER} binds a PASID to its function")
        self.vm1, self.vm2 = UserVmm(self.machine, "vm1"), Vmm(self.machine, "vm2")
        for name, vmm in (("vm1", self.vm1), ("vm2", self.vm2)):
            vmm.ask("connect")
            vmm.ask(f"set {name}")
        self.handle = self.vm1.ask(f"node {A}")[0]
        device = self.vm1.ask(f"device {self.handle}")[0]
        table = self.vm1.space(self.handle, "vm1-process")
        (self.host,) = map(int, self.vm1.ask("allocate"))
        self.vm1.ask(f"bind {self.host} {device}:hwpt:{table}")
        self.claim[table_reader.parse_function(A), self.host] = "vm1"
        view = self.compare("bound")
        self.reaches(view, A, self.host, "vm1-process")

    def refused(self, iommufd, device, wanted, what):
        """vm2 passes other files in place of its own; "-" is its own."""
        self.vm2.ask(f"pass {iommufd} {device}")
        answer = self.vm2.channel.ask(f"device {self.spare}")
        self.report.equal(" ".join(answer.split()[1:3]), wanted, f"{what} is refused")
        self.report.note(answer)

    def wrong_kinds(self):
        self.report.step("Files of other kinds")
        self.spare = self.vm2.ask(f"node {C}")[0]
        container = "/dev/vfio/vfio"
        self.report.equal(self.machine.run(f"test -c {container}")[0], 0, f"this kernel has {container}")
        for path in (container, "/dev/null", "/run/pasidd.json", "/run"):
            self.refused(path, "-", KIND, f"{path} as an iommufd")
            self.refused("-", path, KIND, f"{path} as a device")
        self.refused(self.nodes[C], "/dev/iommu", KIND, "the one in the other's place")
        self.compare("after the refusals")

    def second_opens(self):
        self.report.step("Nodes that VM 1 has, opened once more")
        self.refused("-", self.nodes[A], "exists device-taken", "VM 1's function")
        iommufd, device = self.vm1.ask(f"descriptors {self.handle}")
        self.vm2.ask(f"foreign {self.vm1.process} {iommufd}")
        refusal = self.vm2.refusal(f"device {self.spare}")
        self.report.equal(refusal, "denied descriptor-foreign", "VM 1's iommufd is refused")
        self.vm2.ask(f"foreign {self.vm1.process} {iommufd} {device}")
        refusal = self.vm2.refusal(f"device {self.spare}")
        self.report.equal(refusal, "exists device-taken", "and both together")
        self.vm2.ask("own")
        self.compare("after the refusals")

    def bound_before(self):
        self.report.step("A function that the VMM has bound itself")
        handle = self.vm2.ask(f"open {B}")[0]
        answer = self.vm2.channel.ask(f"device {handle}")
        self.report.note(answer)
        self.report.equal(
            answer.split()[1:3], ["hardware", "device-bind-refused"], "it is refused by the kernel"
        )
        self.report.check("open the node anew" in answer, "the text says what helps", [answer])
        self.vm2.ask(f"close {handle}")
        handle = self.vm2.ask(f"node {B}")[0]
        self.report.equal(self.vm2.refusal(f"device {handle}"), "ok", "and it does help")

    def opened_by_daemon(self):
        self.report.step("A function that pasidd opens, whose node the VMM may not open")
        self.report.equal(self.vm1.result(f"node {C}"), "EACCES", "the VMM may not open it")
        self.vm2.ask(f"close {self.spare}")
        self.report.equal(self.vm1.refusal(f"device-open {C}"), "ok", "pasidd opens it and hands it back")
        self.compare("at the end")


def run(machine, observer, report):
    try:
        Scenario(machine, observer, report).run()
    except (ProbeError, vm.MachineError):
        report.note(machine.run("cat /run/pasidd.log /run/*.log | tail -n 40")[1])
        raise


def make_machine(*parts):
    return vm.Machine(*parts, [vm.Endpoint(slot) for slot in (4, 5, 6)], PORTS)
