# SPDX-License-Identifier: MIT
"""usage: demo.py BUILD

The scenario of scripts/demo: a daemon, a simulated IOMMU, two virtual machines. Shows each step and checks it.
"""

import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

COLOURS = sys.stdout.isatty()
ANSWER_SECONDS = 20

DEVICES = [
    {"address": "0000:00:01.0", "width": 20},
    {"address": "0000:00:02.0", "width": 20},
    {"address": "0000:00:03.0", "width": 20},
    {"address": "0000:00:04.0", "width": 0},
    {"address": "0000:00:05.0", "width": 8},
]
SHARED = "0000:00:03.0"
CONFIG = {
    "simulate": {"devices": DEVICES},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "quarantine": {"cooling_ms": 1000},
}


def paint(text, code):
    return f"\x1b[{code}m{text}\x1b[0m" if COLOURS else text


class Unexpected(Exception):
    """An expectation that did not hold."""


def check(what, holds, seen):
    """One expectation: says that it holds, or ends the demo with what was seen."""
    if not holds:
        raise Unexpected(f"expected: {what}\nseen:     {seen}")
    print("   " + paint("ok", 32) + "  " + what)


def title(number, text):
    print("\n" + paint(f"{number}. {text}", 1))


def indent(text):
    for line in text.splitlines():
        print("       " + line)


class Host:
    """The daemon on its simulated IOMMU, and the tools to look at both."""

    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        self.simulation = folder / "iommu"
        self.socket = folder / "socket"
        self.log = open(folder / "pasidd.log", "w", encoding="utf-8")
        config = folder / "pasidd.json"
        config.write_text(json.dumps(CONFIG))
        self.daemon = subprocess.Popen(
            [build / "pasidd", "--config", config, f"--simulate={self.simulation}", "--runtime-dir", folder,
             "--socket", self.socket],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        self.wait_until("the daemon answers", lambda: self.ctl_try("status")[0] == 0)

    def wait_until(self, what, condition):
        end = time.monotonic() + ANSWER_SECONDS
        while not condition():
            if self.daemon.poll() is not None:
                raise Unexpected(f"expected: {what}\nseen:     the daemon ended with {self.daemon.returncode}")
            if time.monotonic() > end:
                raise Unexpected(f"expected: {what}\nseen:     not within {ANSWER_SECONDS} s")
            time.sleep(0.02)

    def soon(self, what, condition):
        """An expectation that takes its time."""
        self.wait_until(what, condition)
        print("   " + paint("ok", 32) + "  " + what)

    def ctl_try(self, *words):
        done = subprocess.run([self.build / "pasidctl", "--socket", self.socket, *words], text=True,
                              capture_output=True, timeout=ANSWER_SECONDS)
        return done.returncode, done.stdout, done.stderr

    def ctl(self, *words):
        """The answer of a pasidctl command that must succeed."""
        code, out, err = self.ctl_try("--json", *words)
        if code != 0:
            raise Unexpected(f"expected: pasidctl {' '.join(words)} succeeds\nseen:     {err.strip()}")
        return json.loads(out)

    def sim(self, *words):
        done = subprocess.run([self.build / "pasid-sim", self.simulation, *words], text=True, capture_output=True,
                              timeout=ANSWER_SECONDS)
        if done.returncode not in (0, 3):
            raise Unexpected(f"expected: pasid-sim {' '.join(words)} succeeds\nseen:     {done.stderr.strip()}")
        return done.stdout

    def tables(self):
        """All PASID entries in the hardware, by (address, PASID)."""
        return {(entry["rid"], entry["pasid"]): entry for entry in json.loads(self.sim("tables", "--json"))}

    def reached(self, address, pasid, iova):
        """The inode of the memory that a DMA reaches; None: it is blocked."""
        walk = json.loads(self.sim("walk", address, str(pasid), hex(iova), "--json"))
        return walk.get("inode") if walk["result"] == "reached" else None

    def show_tables(self):
        print("   " + paint("the PASID tables in the IOMMU:", 36))
        indent(self.sim("tables"))

    def show(self, *words):
        print("   " + paint("pasidctl " + " ".join(words) + ":", 36))
        indent(self.ctl_try(*words)[1])

    def state_of(self, pasid):
        grant = self.ctl("who", str(pasid))
        return grant["state"], grant["quarantine"]

    def stop(self):
        if self.daemon.poll() is None:
            self.daemon.terminate()
            try:
                self.daemon.wait(10)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        self.log.close()


class Vm:
    """A process of examples/vmm: commands in, a line of JSON each out."""

    def __init__(self, host, name):
        self.name, self.host = name, host
        self.events = []
        self.answers = queue.Queue()
        self.process = subprocess.Popen([host.build / "vmm", "--socket", host.socket], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self.read, daemon=True).start()
        self.answer()

    def read(self):
        for line in self.process.stdout:
            message = json.loads(line)
            if "event" in message:
                self.events.append(message)
            else:
                self.answers.put(message)
        self.answers.put(None)

    def answer(self):
        try:
            message = self.answers.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            message = None
        if message is None:
            raise Unexpected(f"expected: an answer for {self.name}\nseen:     none")
        return message

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.answer()

    def shorten(self, command):
        return command.replace(f"{self.host.simulation}/", "").replace(f"{self.host.folder}/", "")

    def do(self, command):
        """A command that must succeed."""
        answer = self.ask(command)
        short = self.shorten(command)
        if not answer["ok"]:
            raise Unexpected(f"expected: {self.name}: {short} succeeds\nseen:     {answer['message']}")
        result = ", ".join(f"{key} {value}" for key, value in answer.items()
                           if key in ("pasids", "pasid", "name", "address", "width", "quota"))
        print(f"   {paint(self.name, 33)}> {short}" + (f"   -> {result}" if result else ""))
        return answer

    def refused(self, command, *reasons):
        """A command that must be refused, for one of these reasons."""
        answer = self.ask(command)
        short = self.shorten(command)
        if answer["ok"]:
            raise Unexpected(f"expected: {self.name}: {short} is refused\nseen:     it was done: {answer}")
        print(f"   {paint(self.name, 33)}> {short}\n       refused: {answer['message']} ({answer['reason']})")
        if answer["reason"] not in reasons:
            raise Unexpected(f"expected: {self.name}: {short} is refused as {' or '.join(reasons)}\n"
                             f"seen:     {answer['reason']}")
        return answer

    def add(self, address):
        return self.do(f"add {self.host.simulation}/iommu {self.host.simulation}/devices/{address}")["name"]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Scenario:
    """The six steps, in order; later ones use what earlier ones made."""

    def __init__(self, host):
        self.host = host
        self.vm1, self.vm2 = Vm(host, "vm1"), Vm(host, "vm2")

    def run(self):
        self.step_1()
        self.step_2()
        self.step_3()
        self.step_4()
        self.step_5()
        self.step_6()
        check("a recount of everything agrees with the counters", self.host.ctl("status")["consistent"],
              self.host.ctl("status"))

    def stop(self):
        self.vm1.stop()
        self.vm2.stop()

    def step_1(self):
        title(1, "One PASID of VM 1 on two devices: the same number stands in both tables")
        vm = self.vm1
        vm.do("set vm1 translated 16")
        self.first, self.second = vm.add("0000:00:01.0"), vm.add("0000:00:02.0")
        memory = {}
        for device in (self.first, self.second):
            memory[device] = vm.do(f"map {device} 0 0x200000")["inode"]
        self.a = vm.do("alloc guest 5")["pasids"][0]
        vm.do(f"bind guest 5 {self.first} {self.second}")
        self.host.show_tables()
        self.host.show("bindings")
        tables = self.host.tables()
        for address in ("0000:00:01.0", "0000:00:02.0"):
            check(f"host PASID {self.a} stands in the table of {address}", (address, self.a) in tables, list(tables))
        check("and in no other", len(tables) == 2, list(tables))
        for address, device in (("0000:00:01.0", self.first), ("0000:00:02.0", self.second)):
            check(f"a DMA of {address} with it reaches VM 1's memory",
                  self.host.reached(address, self.a, 0x1000) == memory[device],
                  self.host.reached(address, self.a, 0x1000))
        check("and none without it", self.host.reached("0000:00:01.0", self.a + 1, 0x1000) is None, "reached")

    def step_2(self):
        title(2, "One shared device, a slice for each VM: one guest PASID, two host PASIDs, two page tables")
        inodes = {}
        self.vm2.do("set vm2 translated 16")
        self.vm2.do("watch")
        for vm, guest in ((self.vm1, 7), (self.vm2, 7)):
            device = vm.do(f"slice {SHARED}")["name"]
            inodes[vm.name] = vm.do(f"map {device} 0 0x200000")["inode"]
            number = vm.do(f"alloc guest {guest}")["pasids"][0]
            vm.do(f"bind guest {guest} {device}")
            if vm is self.vm1:
                self.shared1, self.slice1 = number, device
            else:
                self.shared2, self.slice2 = number, device
        self.host.show_tables()
        self.host.show("pasids")
        tables = self.host.tables()
        check("both VMs hold guest PASID 7, as different host PASIDs", self.shared1 != self.shared2, self.shared1)
        entries = [tables.get((SHARED, number)) for number in (self.shared1, self.shared2)]
        check("both stand in the one table of the shared device", None not in entries, list(tables))
        check("with different page tables", entries[0]["first"] != entries[1]["first"] or
              entries[0]["second"] != entries[1]["second"], entries)
        self.memory2 = inodes["vm2"]
        for number, name in ((self.shared1, "vm1"), (self.shared2, "vm2")):
            check(f"a DMA with {number} reaches the memory of {name}",
                  self.host.reached(SHARED, number, 0x1000) == inodes[name],
                  self.host.reached(SHARED, number, 0x1000))

    def step_3(self):
        title(3, "VM 2 tries what is VM 1's: refused, and nothing changed")
        before = self.host.tables()
        sim = self.host.simulation
        nobody = 900000
        for command in ("free host {}", "unbind host {}", "find host {}", f"bind host {{}} {self.slice2}"):
            theirs = self.vm2.refused(command.format(self.a), "no-pasid")
            none = self.vm2.ask(command.format(nobody))
            check("and looks the same as for a number that nobody has",
                  theirs["message"].replace(str(self.a), "N") == none["message"].replace(str(nobody), "N") and
                  theirs["reason"] == none["reason"], none)
        self.vm2.refused(f"add {sim}/iommu {sim}/devices/0000:00:01.0", "device-taken", "group-taken",
                         "descriptor-foreign", "device-bind-refused")
        lent = self.host.folder / "lent"
        self.vm1.do(f"lend {sim}/iommu {lent}")
        self.vm2.do(f"borrow {lent} vm1s-iommufd")
        self.vm2.refused(f"add vm1s-iommufd {sim}/devices/0000:00:05.0", "descriptor-foreign")
        check("the tables are untouched", self.host.tables() == before, self.host.tables())
        check("VM 1 still has its number", self.host.state_of(self.a)[0] == "active", self.host.state_of(self.a))

    def step_4(self):
        title(4, "A bind over two devices whose second step fails leaves no entry on either")
        before = self.host.tables()
        number = self.vm1.do("alloc guest 9")["pasids"][0]
        print("   the IOMMU is told to refuse the next attach on 0000:00:02.0")
        self.host.sim("fail", "attach", "EIO", "--rid", "0000:00:02.0")
        self.vm1.refused(f"bind guest 9 {self.first} {self.second}", "kernel-refused")
        self.host.show_tables()
        check(f"{number} stands in no table", self.host.tables() == before, list(self.host.tables()))
        self.host.sim("clear")
        self.vm1.do(f"bind guest 9 {self.first} {self.second}")
        check("the same bind succeeds when the device works", len(self.host.tables()) == len(before) + 2,
              list(self.host.tables()))
        self.vm1.do("unbind guest 9")
        self.vm1.do("free guest 9")

    def step_5(self):
        title(5, "VM 1 is killed: its entries vanish, its numbers rest, VM 2 never notices")
        before = self.host.tables()[(SHARED, self.shared2)]
        events = len(self.vm2.events)
        self.vm1.kill()
        print(f"   {paint('vm1', 33)} got SIGKILL")
        self.host.soon("of all tables only VM 2's entry is left",
                       lambda: list(self.host.tables()) == [(SHARED, self.shared2)])
        self.host.soon("VM 1's set waits only for its numbers in quarantine", self.set_1_is_over)
        self.host.show_tables()
        self.host.show("pasids", "--quarantined")
        state, reasons = self.host.state_of(self.shared1)
        check(f"{self.shared1}, of the shared device, is in quarantine until that is drained",
              state == "quarantined" and "undrained" in reasons, (state, reasons))
        self.host.soon(f"{self.a}, of exclusive devices, is free again when its time is over",
                       lambda: self.host.state_of(self.a)[0] == "idle")
        time.sleep(0.5)
        state, reasons = self.host.state_of(self.shared1)
        check(f"{self.shared1} is not: time alone never moves a number on a shared device",
              state == "quarantined" and reasons == ["undrained"], (state, reasons))
        released = self.host.ctl("drained", SHARED)["released"]
        check(f"until an admin says that the device is drained (pasidctl drained {SHARED})",
              released == 1 and self.host.state_of(self.shared1)[0] == "idle", self.host.state_of(self.shared1))
        check("VM 2's entry is what it was, and it saw no event",
              self.host.tables()[(SHARED, self.shared2)] == before and len(self.vm2.events) == events,
              self.vm2.events)
        check("and its DMA still reaches its memory", self.host.reached(SHARED, self.shared2, 0x1000) == self.memory2,
              self.host.reached(SHARED, self.shared2, 0x1000))

    def set_1_is_over(self):
        return all(entry["name"] == "vm2" or (entry["dying"] and entry["active"] == 0)
                   for entry in self.host.ctl("sets"))

    def step_6(self):
        title(6, "Limits: the quota, and what the kernel must never be asked")
        used = self.vm2.do("info")["used"]
        refused = self.vm2.refused("alloc host 16", "set-quota")
        check("the error names limit, use and remedy",
              refused["limit"] == 16 and refused["used"] == used and "16" in refused["message"] and
              "free some" in refused["message"], refused)
        narrow, none = self.vm2.add("0000:00:05.0"), self.vm2.add("0000:00:04.0")
        number = self.vm2.do("alloc guest 8")["pasids"][0]
        print("   from here on the IOMMU would answer every attach with EIO: a refusal that is none did not ask it")
        self.host.sim("fail", "attach", "EIO", "--times", "0")
        self.host.sim("fail", "hwpt-alloc", "EIO", "--times", "0")
        before = self.host.tables()
        for command, reason in ((f"bind host {number} {narrow}", "pasid-width"),
                                (f"bind host {number} {none}", "device-without-pasid"),
                                (f"bind host 0 {self.slice2}", "pasid-zero")):
            answer = self.vm2.refused(command, reason)
            check("the kernel was not asked", answer["errno"] == 0, answer)
        check("the tables are untouched", self.host.tables() == before, list(self.host.tables()))
        self.host.sim("clear")
        self.host.show("sets")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    build = pathlib.Path(sys.argv[1]).resolve()
    # The path of a socket has 107 bytes.
    parent = tempfile.gettempdir() if len(tempfile.gettempdir()) < 60 else "/tmp"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pasidd-demo-", dir=parent))
    host = scenario = None
    failed = True
    try:
        host = Host(build, folder)
        print(f"pasidd serves a simulated IOMMU with {len(DEVICES)} devices, as user {os.getuid()}:")
        indent(host.ctl_try("status")[1])
        scenario = Scenario(host)
        scenario.run()
        failed = False
    except Unexpected as unexpected:
        print(f"\ndemo: failed\n{unexpected}", file=sys.stderr)
    finally:
        if scenario:
            scenario.stop()
        if host:
            host.stop()
        if failed:
            log = folder / "pasidd.log"
            print("\nthe daemon's log:\n" + (log.read_text() if log.exists() else "none"), file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
    if failed:
        sys.exit(1)
    print("\ndemo: ok")


main()
