# SPDX-License-Identifier: MIT
"""The kernel and the readers alone, without pasidd: what iommufd does when it is asked directly.

It proves that the machine is worth testing on, that the readers see what changes and only that, and
the traps of the kernel's interface that pasidd guards against.
"""

import time

import machine as vm

PORTS = ("first", "second")
PROGRAMS = ("probe",)

A, B = "0000:00:04.0", "0000:00:05.0"
NARROW, NONE = "0000:00:08.0", "0000:00:09.0"
PAIR = ("0000:00:0a.0", "0000:00:0a.1")
IOVA = 0x40000000
PASIDS = (1, 5, 100, 4097, 0xFFFFE, 0xFFFFF)


class ProbeError(Exception):
    """The probe refused what must succeed."""


class Probe:
    """A process in the guest with an iommufd of its own."""

    program = "probe"

    def __init__(self, machine, port):
        self.machine = machine
        self.channel = machine.channels[port]
        self.process = machine.spawn(self.program, port)
        self._words(self.channel.read_line(10))

    def result(self, command):
        """The name of the error, "ok" when there was none."""
        status, _, rest = self.channel.ask(command).partition(" ")
        return status if status == "ok" else rest.split()[0]

    def ask(self, command):
        """The words after "ok"."""
        return self._words(self.channel.ask(command), command)

    def space(self, device, text):
        """A page table in which IOVA holds `text`."""
        (ioas,) = self.ask("ioas")
        self.ask(f"map {ioas} {IOVA:#x} {text}")
        return self.ask(f"hwpt {device} {ioas}")[0]

    def kill(self):
        self.machine.kill(self.process)

    @staticmethod
    def _words(answer, command="start"):
        status, *words = answer.split()
        if status != "ok":
            raise ProbeError(f"{command}: {answer}")
        return words


class Scenario:
    """The steps, each of which leaves the tables as `claim` says."""

    def __init__(self, machine, observer, report):
        self.machine, self.observer, self.report = machine, observer, report
        self.rids = {endpoint.name: endpoint.rid for endpoint in machine.endpoints}
        self.claim = {}
        self.first = Probe(machine, "first")
        self.second = Probe(machine, "second")

    def run(self):
        self.machine_is_right()
        self.attach_and_detach()
        self.refusals()
        self.replacement()
        self.groups()
        self.death()
        self.hang()

    def compare(self, when):
        return self.observer.compare(self.report, self.claim, when)

    def key(self, function, pasid):
        return self.rids[function], pasid

    def machine_is_right(self):
        self.report.step("The machine, before anything is attached")
        for endpoint in self.machine.endpoints:
            folder = f"/sys/bus/pci/devices/{endpoint.name}"
            driver = self.machine.output(f"readlink {folder}/driver").strip()
            self.report.check(
                driver.endswith("/vfio-pci"), f"{endpoint.name} is driven by vfio-pci", [driver]
            )
        self.compare("at the start")

    def attach_and_detach(self):
        self.report.step("One process attaches six PASIDs to two functions")
        first, report = self.first, self.report
        self.a, self.b = first.ask(f"open {A}")[0], first.ask(f"open {B}")[0]
        for device in (self.a, self.b):
            report.equal(
                first.ask(f"info {device}")[:2],
                ["1", "20"],
                f"device {device} is behind VT-d, 20 bits",
            )
        self.table = first.space(self.a, "first-space")
        for function, device in ((A, self.a), (B, self.b)):
            for pasid in PASIDS:
                first.ask(f"attach {device} {self.table} {pasid}")
                self.claim[self.key(function, pasid)] = "first"
        view = self.compare("attached")
        unreached = [str(key) for key in self.claim if not view.reached(key, IOVA, "first-space")]
        report.none(unreached, "a DMA with each of them would reach the process's page")
        self.comparison_can_fail(view)

        report.step("PASID 5 is detached from both")
        for function, device in ((A, self.a), (B, self.b)):
            first.ask(f"detach {device} 5")
            del self.claim[self.key(function, 5)]
        view = self.compare("detached")
        report.check(
            not view.reached(self.key(A, 5), IOVA, "first-space"),
            "a DMA with PASID 5 reaches nothing",
        )
        report.equal(
            first.result(f"detach {self.a} 6"),
            "ok",
            "trap: detaching what was never attached succeeds",
        )

    def comparison_can_fail(self, view):
        """The checks above are worth something only if they would have noticed."""
        key = self.key(A, 5)
        for what, claim in (
            ("an entry too many", {k: v for k, v in self.claim.items() if k != key}),
            ("an entry that is missing", {**self.claim, self.key(A, 6): "first"}),
            ("a page table with two names", {**self.claim, key: "other"}),
        ):
            found = list(view.violations(claim, self.observer.rids))
            self.report.equal(len(found), 1, f"control: the comparison finds {what}")
        words = view.debugfs.pop(key)
        self.report.equal(
            len(list(view.disagreements())), 1, "control: it finds what one reader lacks"
        )
        view.debugfs[key] = (words[0], words[1], words[2] ^ 0x1000)
        self.report.equal(
            len(list(view.disagreements())), 1, "control: it finds another page table"
        )
        self.report.check(
            not view.reached(key, IOVA, "other-space"), "control: it finds another page behind it"
        )

    def refusals(self):
        self.report.step("Numbers and functions that take no PASID")
        first, equal = self.first, self.report.equal
        equal(
            first.result(f"attach {self.a} {self.table} 0x100000"),
            "EINVAL",
            "a PASID of 21 bits is refused",
        )
        narrow = first.ask(f"open {NARROW}")[0]
        equal(first.ask(f"info {narrow}")[1], "8", "the narrow function has 8 bits")
        equal(
            first.result(f"attach {narrow} {self.table} 256"), "EINVAL", "its PASID 256 is refused"
        )
        first.ask(f"attach {narrow} {self.table} 255")
        self.claim[self.key(NARROW, 255)] = "first"
        none = first.ask(f"open {NONE}")[0]
        equal(
            first.ask(f"info {none}")[1], "0", "the function without PASID capability has no bits"
        )
        equal(
            first.result(f"attach {none} {self.table} 7"),
            "ok",
            "trap: the kernel says that PASID 7 is attached to it",
        )
        self.compare("after the refusals, and without PASID 7")

    def replacement(self):
        self.report.step("A second attach of the same PASID")
        other = self.first.space(self.a, "other-space")
        result = self.first.result(f"attach {self.a} {other} 100")
        self.report.equal(result, "ok", "trap: it replaces the first without a word")
        self.claim[self.key(A, 100)] = "other"
        view = self.compare("replaced")
        self.report.check(
            view.reached(self.key(A, 100), IOVA, "other-space"), "a DMA would reach the other page"
        )

    def groups(self):
        self.report.step("Two functions in one IOMMU group")
        groups = {
            self.machine.output(f"readlink /sys/bus/pci/devices/{name}/iommu_group")
            for name in PAIR
        }
        self.report.equal(len(groups), 1, f"{' and '.join(PAIR)} are in one group")
        first, second = self.first, self.second
        pair = [first.ask(f"open {name}")[0] for name in PAIR]
        self.report.equal(
            second.result(f"open {A}"), "EINVAL", "another process cannot bind a bound function"
        )
        table = first.space(pair[0], "group-space")
        first.ask(f"attach {pair[0]} {table} 9")
        for name in PAIR:
            self.claim[self.key(name, 9)] = "group"
        self.compare("trap: an attach to one is an attach to both")
        first.ask(f"attach {pair[1]} {table} 9")
        self.report.equal(first.result(f"detach {pair[0]} 9"), "ok", "one member's detach succeeds")
        self.compare("trap: and changes nothing")
        first.ask(f"detach {pair[1]} 9")
        for name in PAIR:
            del self.claim[self.key(name, 9)]
        self.compare("the last member's detach")

    def death(self):
        self.report.step("One of two processes is killed")
        function = "0000:00:06.0"
        device = self.second.ask(f"open {function}")[0]
        table = self.second.space(device, "second-space")
        self.second.ask(f"attach {device} {table} 5")
        self.claim[self.key(function, 5)] = "second"
        self.compare("with two processes")
        self.first.kill()
        self.claim = {self.key(function, 5): "second"}
        view = self.compare("after the death of the first")
        self.report.check(
            view.reached(self.key(function, 5), IOVA, "second-space"), "the second's DMA goes on"
        )
        self.device = device

    def hang(self):
        self.report.step("A function that does not come back from its reset for two seconds")
        path = "/sys/bus/pci/devices/0000:00:06.0/config"
        self.machine.output(
            f"printf '\\002' | dd of={path} bs=1 seek=2048 conv=notrunc 2>/dev/null"
        )
        began = time.monotonic()
        self.second.channel.send_line(f"reset {self.device}")
        self.report.equal(
            self.machine.output("echo alive"), "alive\n", "the rest of the guest goes on"
        )
        self.report.equal(self.second.channel.read_line(60), "ok", "the reset succeeds in the end")
        took = time.monotonic() - began
        self.report.check(2 <= took < 20, "and took as long as it was armed for", [f"{took:.1f} s"])
        self.compare("after the reset")


def run(machine, observer, report):
    Scenario(machine, observer, report).run()


def make_machine(*parts):
    """Four functions of full width, a narrow one, one without PASIDs, and a group of two."""
    one = vm.Endpoint
    wide = [one(slot) for slot in (4, 5, 6, 7)]
    pair = [one(10, function, multifunction=True) for function in (0, 1)]
    return vm.Machine(*parts, [*wide, one(8, width=8), one(9, width=0), *pair], PORTS)
