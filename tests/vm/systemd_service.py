# SPDX-License-Identifier: MIT
"""What the scenarios with systemd in the guest share: the service as systemd sees it, and its entries, watched."""

import scenario_pasidd
from watcher import Watcher

GROUP = "/sys/fs/cgroup/system.slice/pasidd.service/cgroup.procs"


class ServiceScenario(scenario_pasidd.Scenario):
    """The service is systemd's; the steps are the scenario's."""

    def answers(self):
        return self.machine.run("pasidctl status")[0] == 0

    def show(self, name, unit="pasidd.service"):
        """A property of a unit."""
        return self.machine.output(f"systemctl show -P {name} {unit}").strip()

    def instance(self):
        return self.show("MainPID")

    def service_processes(self):
        """The daemon's and its workers', whatever file they were started from."""
        return set(self.machine.output(f"cat {GROUP}").split())

    def holders(self):
        """Those of them that have a function open: workers with something attached."""
        links = " ".join(f"/proc/{process}/fd/*" for process in self.service_processes())
        found = self.machine.run(f"for l in {links}; do echo $l $(readlink $l); done | grep /dev/vfio/devices/")[1]
        return {line.split("/")[2] for line in found.splitlines()}

    def watch(self, keys):
        # The observer's tables, not the guest, say where an entry is.
        return Watcher(self.observer.memory, self.observer.tables(), keys)

    def never_absent(self, watcher, keys, when):
        text = f"{watcher.samples} looks at {len(keys)} entries, at most {1000 * watcher.longest_gap:.1f} ms apart"
        self.report.note(f"{when}: {text}")
        self.report.check(watcher.samples > 1000, f"{when}: the entries were watched ({text})")
        self.report.none(map(str, watcher.absences), f"{when}: {len(watcher.absences)} absences of {len(keys)} entries")

    def numbers(self):
        """What each set that has something bound holds, by number."""
        return {
            grant["pasid"]: (grant["set"], grant["guest"])
            for grant in self.control("pasids")
            if grant["bindings"] > 0
        }
