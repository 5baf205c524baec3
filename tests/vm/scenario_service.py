# SPDX-License-Identifier: MIT
"""The packages in a Debian with systemd: from their installation by dpkg to their removal.

The service runs as it is installed, as a user of its own without capabilities, in its sandbox; only what a call
that the sandbox refuses does to a process is made worse, so that none goes unnoticed. The VMMs are no root.
(F37, F40 of docs/FEATURES.md)
"""

import json
import re
import time

import machine as vm
from scenario_pasidd import Vmm
from scenario_smoke import IOVA, ProbeError
from systemd_service import ServiceScenario
import table_reader

PORTS = ("vm1", "vm2", "vm3")
A, B, C, SHARED = (f"0000:00:{slot:02x}.0" for slot in range(4, 8))
USERS = {"vm1": 3001, "vm2": 3002, "vm3": 3003}
GUEST_PASID = 7
PACKAGES = ("pasidd", "libpasid1", "libpasid-dev", "pasidctl")
UNITS = ("pasidd.socket", "pasidd-admin.socket", "pasidd.service")
CONFIGURATION = "/etc/pasidd/pasidd.json.d/50-host.json"
DROP_IN = "/run/systemd/system/pasidd.service.d/test.conf"
WATCHDOG_S = 10  # the machine may be busy, and the daemon late

# systemd's filter of calls, and the daemon's own.
STRICT = f"""[Service]
SystemCallErrorNumber=
Environment=PASIDD_REFUSED_CALL=kill
WatchdogSec={WATCHDOG_S}
"""

SETTINGS = {
    "devices": [
        {"address": A, "use": "exclusive", "users": [USERS["vm1"]]},
        {"address": C, "use": "exclusive", "users": [USERS["vm3"]]},
        {"address": SHARED, "use": "shared", "users": list(USERS.values())},
    ],
    "quota": {"set_default": 4096},
    "session": {"grace_ms": 120000},  # a VMM of ours looks for the daemon when it is told to
}

# What a host's administrator adds for VMMs that are no root: an iommufd is empty until its owner puts something in, and
# whoever runs the second VMM owns the node of its function.
RULES = f"""SUBSYSTEM=="misc", KERNEL=="iommu", MODE="0666"
SUBSYSTEM=="vfio-dev", KERNELS=="{B}", OWNER="{USERS['vm2']}"
"""


class UserVmm(Vmm):
    """A VMM of an account of its own, with the nodes that the host's rules give it."""

    def __init__(self, machine, name):
        self.name, user = name, USERS[name]
        self.program = f"as_user {user} {user} vmm"
        super().__init__(machine, name)


class Scenario(ServiceScenario):
    """Steps that build on each other: what VM 1 and VM 2 have is there until they end."""

    def run(self):
        self.prepare()
        self.install()
        self.first_client()
        self.bind_all()
        self.sandbox()
        self.permissions()
        self.journal_fields()
        self.reload()
        self.watchdog()
        self.upgrade()
        self.planted_refusal()
        self.remove()
        self.purge()

    # --- helpers -----------------------------------------------------------------------------

    def write(self, path, text):
        folder = path.rpartition("/")[0]
        lines = text.replace("\\", "\\\\").replace("\n", "\\n").replace("'", "'\\''")
        self.machine.output(f"mkdir -p {folder}; printf '%b' '{lines}' >{path}")

    def nothing_wrong(self, when):
        """No unit failed, and no call was refused by a filter of calls, which would be a death by signal 31."""
        failed = self.machine.output("systemctl --failed --plain --no-legend").splitlines()
        self.report.none(failed, f"{when}: no failed unit")
        self.report.none(self.refused_calls(), f"{when}: no call was refused by a filter")

    def refused_calls(self):
        return re.findall(r".*(?:fatal signal 31\b|type=1326\b).*", self.machine.output("dmesg"))

    def journal(self, options=""):
        return self.machine.output(f"journalctl -u pasidd -o cat --no-pager {options}")

    def status_of(self, package):
        return self.machine.run(f"dpkg-query -W -f '${{db:Status-Status}}' {package} 2>/dev/null")[1]

    def version(self):
        """Of the program that runs, not of the file that was started."""
        return self.machine.output(f"/proc/{self.instance()}/exe --version").strip()

    # --- steps -------------------------------------------------------------------------------

    def prepare(self):
        self.report.step("A host before pasidd")
        # A filter's refusal is an error that a program may get over; here it is the end of the process.
        self.machine.output("echo 1 >/proc/sys/kernel/print-fatal-signals")
        self.write(DROP_IN, STRICT)
        self.write("/etc/udev/rules.d/70-vms.rules", RULES)
        self.nothing_wrong("at the start")

    def install(self):
        self.report.step("dpkg installs the packages")
        began = time.monotonic()
        self.report.note(self.machine.output("dpkg --unpack /mnt/packages/1/*.deb 2>&1", 120))
        # Something happens, and udev reads the rules, which name a group that is not there yet.
        self.machine.output("udevadm trigger --settle /sys/class/misc/iommu")
        self.report.note(self.machine.output("dpkg --configure -a 2>&1", 120))
        self.report.note(f"that took {time.monotonic() - began:.1f} s")
        states = {package: self.status_of(package) for package in PACKAGES}
        self.report.equal(set(states.values()), {"installed"}, f"all are installed: {', '.join(PACKAGES)}")
        enabled = {unit: self.machine.run(f"systemctl is-enabled {unit}")[1].strip() for unit in UNITS}
        self.report.equal(set(enabled.values()), {"enabled"}, f"units are enabled: {', '.join(UNITS)}")
        for unit in UNITS[:2]:
            self.report.equal(self.show("ActiveState", unit), "active", f"{unit} listens")
        nodes = self.machine.output("stat -c %G:%a /dev/vfio/devices/* /dev/iommu").split()
        self.report.equal(set(nodes[:-1]), {"pasidd:660"}, "the nodes of functions are the service's group's")
        self.report.equal(nodes[-1], "pasidd:666", "that of iommufd, which the host's own rule opens, too")
        self.nothing_wrong("installed")

    def first_client(self):
        self.report.step("The service is started by its first client, a VMM")
        self.write(CONFIGURATION, json.dumps(SETTINGS))
        self.machine.output("systemctl stop pasidd.service 2>&1")
        self.report.equal(self.show("ActiveState"), "inactive", "the service does not run")
        self.vmms = {name: UserVmm(self.machine, name) for name in ("vm1", "vm2")}
        self.vmms["vm1"].ask("connect")
        self.report.equal(self.show("ActiveState"), "active", "a VMM that is no root connects, and it runs")
        self.report.equal(self.control("status")["backend"], "vtd", "it has found the IOMMU")
        self.first_version = self.version()
        self.report.note(f"{self.first_version}; {self.machine.output('systemctl --version').splitlines()[0]}")
        self.vmms["vm2"].ask("connect")

    def sandbox(self):
        self.report.step("Its processes have no power")
        processes = self.service_processes()
        self.report.check(len(processes) > 1, f"it has workers: {len(processes)} processes")
        wanted = {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
        user = self.machine.output("id -u pasidd").strip()
        for process in sorted(processes, key=int):
            fields = dict(
                line.split(":\t", 1) for line in self.machine.output(f"cat /proc/{process}/status").splitlines()
            )
            found = {name: fields[name] for name in wanted}
            self.report.equal(found, wanted, f"{process}: no capabilities, no new ones, a filter of calls")
            self.report.equal(set(fields["Uid"].split()), {user}, f"{process}: a user of its own")

    def bind_all(self):
        self.report.step("VMMs bind: what pasidd opens for one, what the other may open, slices of what both share")
        vm1, vm2 = self.vmms["vm1"], self.vmms["vm2"]
        for name, vmm in self.vmms.items():
            vmm.ask(f"set {name}")
        vm1.device = vm1.ask(f"device-open {A}")[0]
        handle = vm2.ask(f"node {B}")[0]
        vm2.device = vm2.ask(f"device {handle}")[0]
        vm2.table = f"hwpt:{vm2.space(handle, 'vm2-process')}"
        vm1.table = f"ioas:{self.memory_of(vm1)}"
        for vmm, function in ((vm1, A), (vm2, B)):
            self.bind(vmm, function)
            slice_ = vmm.ask(f"slice {SHARED}")[0]
            vmm.ask(f"memory {slice_} 0 {IOVA:#x} {vmm.name}-memory")
            (host,) = map(int, vmm.ask(f"allocate {GUEST_PASID}"))
            vmm.ask(f"bind g{GUEST_PASID} {slice_}:space:0")
            self.expect(SHARED, host, f"{vmm.name}-slice")
        view = self.compare("bound")
        for (rid, pasid), name in self.claim.items():
            text = name.replace("-slice", "-memory") if name.endswith("slice") else f"{name}-process"
            self.reaches(view, table_reader.function_name(rid), pasid, text)

    def memory_of(self, vmm):
        (ioas,) = vmm.ask("ioas")
        vmm.ask(f"map {ioas} {IOVA:#x} {vmm.name}-process")
        return ioas

    def bind(self, vmm, function):
        (host,) = map(int, vmm.ask("allocate"))
        vmm.ask(f"bind {host} {vmm.device}:{vmm.table}")
        self.expect(function, host, vmm.name)

    def permissions(self):
        self.report.step("Nobody gets what the host did not give")
        vm2 = self.vmms["vm2"]
        self.report.equal(vm2.result(f"node {A}"), "EACCES", "a VMM may not open another's node")
        self.report.equal(vm2.refusal(f"device-open {A}").split()[0], "denied", "nor have pasidd open it")
        user = f"as_user {USERS['vm2']} {USERS['vm2']}"
        status, said = self.machine.run(f"{user} pasidctl drained {SHARED}")
        self.report.check(status != 0, "only root is an admin", [said])
        status, said = self.machine.run(f"{user} sh -c 'echo >/run/pasidd/admin.socket'")
        self.report.check("Permission denied" in said, "and may open the socket for admins", [said])
        self.compare("after the refusals")

    def journal_fields(self):
        self.report.step("The journal says who did what, in fields")
        entries = [json.loads(line) for line in self.machine.output("journalctl -u pasidd -o json").splitlines()]
        (host,) = (pasid for (_, pasid), name in self.claim.items() if name == "vm1")
        vm1, vm2 = ({"PASIDD_VM": name, "PASIDD_UID": str(user)} for name, user in list(USERS.items())[:2])
        for wanted, what in (
            ({"PASIDD_OPERATION": "bind", "PASIDD_DEVICE": A, "PASIDD_PASID": str(host), **vm1}, "VM 1's bind"),
            ({"PASIDD_REASON": "policy-denies", "PASIDD_DEVICE": A, **vm2}, "VM 2's refusal"),
        ):
            found = [entry for entry in entries if wanted.items() <= entry.items()]
            said = [" ".join(f"{k}={v}" for k, v in entry.items() if k[0] != "_") for entry in entries[-5:]]
            if not self.report.check(found, f"a line about {what} has {wanted}", said):
                continue
            text = self.machine.output(f"journalctl --catalog -u pasidd MESSAGE_ID={found[-1]['MESSAGE_ID']}")
            self.report.check("Defined-By: pasidd" in text, "the journal's catalogue explains it", [text])
        history = self.machine.output(f"pasidctl history {host}")
        self.report.note(history)
        self.report.check("bound" in history and "vm1" in history, f"and so does the audit trail of PASID {host}")

    def reload(self):
        self.report.step("Other settings, read while it serves")
        instance = self.instance()
        changed = {**SETTINGS, "quota": {"set_default": 3}, "namespace": {"reserved_last": 2047}}
        self.write(CONFIGURATION, json.dumps(changed))
        self.machine.output("systemctl reload pasidd")
        self.eventually(lambda: "settings applied" in self.journal("-n 20"), "it has read them")
        said = self.journal("-n 20")
        self.report.check(re.search(r"settings applied:.*quota", said), "what can be applied is", [said])
        needed = re.search(r"needs a restart:.*namespace.reserved_last", said)
        self.report.check(needed, "and it says what needs a restart", [said])
        vm3 = UserVmm(self.machine, "vm3")
        vm3.ask("connect")
        vm3.ask("set vm3")
        answers = [vm3.refusal("allocate") for _ in range(4)]
        self.report.equal(answers, ["ok"] * 3 + ["quota set-quota"], "a set that is made now has the new quota")
        vm3.kill()
        self.write(CONFIGURATION, '{\n  "quota": {"set_default": "many"}\n}\n')
        self.machine.output("systemctl reload pasidd")
        where = f"{CONFIGURATION}:2:"
        self.eventually(lambda: where in self.journal("-n 20"), f"of wrong ones it says where: {where}")
        self.write(CONFIGURATION, json.dumps(SETTINGS))
        self.machine.output("systemctl reload pasidd")
        self.eventually(lambda: not self.control("status")["notes"], "the first ones once more: nothing is left to say")
        self.report.equal(self.instance(), instance, "it is the same daemon")
        self.compare("after the reloads")

    def watchdog(self):
        self.report.step(f"The daemon stands still, and its watchdog of {WATCHDOG_S} s ends")
        vm1, instance, workers = self.vmms["vm1"], self.instance(), self.holders()
        before = self.numbers()
        with self.watch(self.claim) as watcher:
            began = time.monotonic()
            self.machine.output(f"kill -STOP {instance}")
            vm1.channel.send_line("allocate")
            self.eventually(lambda: self.instance() not in (instance, "0"), "systemd starts another", 6 * WATCHDOG_S)
            self.eventually(self.answers, "which answers", 30)
            self.report.note(f"{time.monotonic() - began:.1f} s after the stop")
            answer = vm1.channel.read_line(30)
        self.report.equal(answer.split()[0], "ok", "what a VMM asked meanwhile is answered")
        self.never_absent(watcher, self.claim, "meanwhile")
        self.report.check("Watchdog timeout" in self.journal(), "the journal says why")
        self.kept(workers, instance)
        self.go_on()
        self.report.equal(self.numbers(), before, "the same numbers belong to the same sets")
        self.compare("after the watchdog")
        self.nothing_wrong("after the watchdog")

    def kept(self, workers, instance):
        """Another daemon serves, and the workers with something attached are those that were there."""
        now = self.service_processes()
        self.report.check(instance not in now and self.instance() in now, "another daemon serves")
        self.report.check(len(workers) > 2 and workers <= self.holders(), f"workers are those of before: {workers}")

    def go_on(self):
        answers = {name: vmm.result("connected") for name, vmm in self.vmms.items()}
        self.report.equal(set(answers.values()), {"ok"}, f"the VMMs go on with their sessions: {', '.join(answers)}")

    def upgrade(self):
        self.report.step("An upgrade to packages of a later version")
        instance, workers, before = self.instance(), self.holders(), self.numbers()
        vm1 = self.vmms["vm1"]
        with self.watch(self.claim) as watcher:
            self.report.note(self.machine.output("dpkg --unpack /mnt/packages/2/*.deb 2>&1", 120))
            self.between_versions()
            self.configure_busily(vm1)
            self.eventually(self.answers, "pasidd answers")
        self.never_absent(watcher, self.claim.keys() - self.late, "during the upgrade")
        versions = self.version(), self.first_version
        self.report.check(versions[0] == versions[1] + "+rebuilt", "the daemon is the new version", versions)
        file = self.machine.output(f"readlink /proc/{self.instance()}/exe").strip()
        self.report.equal(file, "/usr/sbin/pasidd", "and its file that is installed")
        self.kept(workers, instance)
        self.go_on()
        after = self.numbers()
        self.report.equal({n: after.get(n) for n in before}, before, "the same numbers belong to the same sets")
        self.compare("after the upgrade")
        for name, function in (("vm1", A), ("vm2", B), ("vm3", C)):
            self.bind(self.vmms[name], function)
        self.compare("bound by the new daemon and workers of the old one")
        self.nothing_wrong("upgraded")

    def configure_busily(self, vmm):
        """dpkg restarts the service while a VMM allocates and frees without a pause."""
        self.machine.output("(dpkg --configure -a; echo $? >/run/configured) >/run/dpkg.log 2>&1 &")
        rounds, longest, failed, status = 0, 0, 0, 1
        end = time.monotonic() + 120 * vm.PATIENCE
        while status != 0 and time.monotonic() < end:
            vmm.channel.send_line("churn 2000")
            one = [int(word) for word in vmm.channel.read_line(60).split()[1:]]
            rounds, longest, failed = rounds + one[0], max(longest, one[1]), failed + one[2]
            status, answer = self.machine.run("cat /run/configured 2>/dev/null")
        self.report.equal(answer.strip(), "0", "dpkg configures them")
        self.report.note(self.machine.output("cat /run/dpkg.log"))
        text = f"{rounds} numbers allocated and freed meanwhile, the longest took {longest / 1000:.0f} ms"
        self.report.equal(failed, 0, f"{text}; failures")

    def between_versions(self):
        """A VMM comes while the daemon is of the old version and its file of the new one."""
        vm3 = self.vmms["vm3"] = UserVmm(self.machine, "vm3")
        vm3.ask("connect")
        vm3.ask("set vm3")
        vm3.device = vm3.ask(f"device-open {C}")[0]
        vm3.table = f"ioas:{self.memory_of(vm3)}"
        known = set(self.claim)
        self.bind(vm3, C)
        self.late = self.claim.keys() - known

    def planted_refusal(self):
        self.report.step("A refused call would be noticed")
        # A service of its own, so that no unit of pasidd's is counted as failed.
        start = "systemd-run --quiet --wait --collect -p SystemCallFilter=~chdir"
        status = self.machine.run(f"{start} sh -c 'cd /tmp' 2>&1", 30)[0]
        noticed = status != 0 and self.refused_calls()
        self.report.check(noticed, "a program whose call is refused is in the kernel's log")
        self.machine.output("dmesg --clear")

    def remove(self):
        self.report.step("The packages are removed while VMMs go on")
        shared = table_reader.parse_function(SHARED)
        self.report.note(self.machine.output(f"dpkg -r {' '.join(PACKAGES)} 2>&1", 120))
        states = {package: self.status_of(package) for package in PACKAGES}
        self.report.none([p for p, state in states.items() if state == "installed"], "none is installed")
        self.eventually(lambda: self.machine.run("pgrep -x pasidd")[0] != 0, "the daemon and its workers end")
        for unit in UNITS:
            self.report.equal(self.show("LoadState", unit), "not-found", f"there is no {unit}")
        sockets = self.machine.run("ls /run/pasidd/*.socket 2>/dev/null")[1].split()
        self.report.none(sockets, "there are no sockets")
        self.claim = {key: name for key, name in self.claim.items() if key[0] != shared}
        self.observer.compare(self.report, self.claim, "entries of functions that VMMs hold stay, others go")
        self.report.equal(self.machine.run(f"cat {CONFIGURATION}")[0], 0, "what the administrator wrote stays")
        self.report.equal(self.machine.run("ls /var/lib/pasidd/*")[0], 0, "and what the service remembers")
        for vmm in self.vmms.values():
            vmm.kill()
        self.observer.compare(self.report, {}, "the VMMs end")
        self.nothing_wrong("removed")

    def purge(self):
        self.report.step("The packages are purged")
        self.machine.output(f"rm -r {DROP_IN.rpartition('/')[0]} /etc/udev/rules.d/70-vms.rules")
        self.report.note(self.machine.output(f"dpkg -P {' '.join(PACKAGES)} 2>&1", 120))
        states = {package: self.status_of(package) for package in PACKAGES}
        self.report.none([p for p, state in states.items() if state != ""], "dpkg knows none of them")
        left = self.machine.output("find / -xdev -name '*pasid*' -not -path '/sys/*'; find /run -name '*pasid*'")
        self.report.none(left.split(), "nothing of theirs is left")
        self.report.equal(self.machine.run("id pasidd")[0], 0, "but the user, whose number nobody else shall get")
        self.nothing_wrong("purged")


def run(machine, observer, report):
    try:
        Scenario(machine, observer, report).run()
    except (ProbeError, vm.MachineError):
        report.note(machine.run("systemctl status pasidd --no-pager; journalctl -b --no-pager | tail -n 50")[1])
        raise


def make_machine(*parts):
    return vm.Machine(*parts, [vm.Endpoint(slot) for slot in range(4, 8)], PORTS)
