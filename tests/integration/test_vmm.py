# SPDX-License-Identifier: MIT
"""The example VMM, and with it libpasid, against the real daemon; with lost connections in between."""

import array
import ctypes
import json
import os
import pathlib
import re
import select
import socket
import subprocess
import threading
import unittest

from pasid_client import BUILD, TIMEOUT, Daemon, eventually

VMM = BUILD / "vmm"
SHARED = "0000:00:03.0"
CONFIG = {
    "quarantine": {"cooling_ms": 1},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {"devices": [{"address": "0000:00:01.0"}, {"address": "0000:00:02.0"}, {"address": SHARED}]},
}


class Vmm:
    def __init__(self, path):
        self.process = subprocess.Popen(
            [VMM, "--socket", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.rest = b""
        self.hello = self.line()

    def line(self):
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.process.stdout], [], [], TIMEOUT)
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not data:
                raise AssertionError(f"no answer: {self.rest}")
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def ask(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        return self.line()

    def close(self):
        self.process.kill()
        self.process.communicate()


class Proxy(threading.Thread):
    """Passes datagrams and descriptors on, one connection at a time, and loses it when told."""

    def __init__(self, path, target):
        super().__init__(daemon=True)
        self.target = str(target)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen(4)
        self.order, self.wake = socket.socketpair()
        self.swallow = False  # lose the connection instead of the next reply

    def run(self):
        client = server = None
        while True:
            ends = [end for end in (client, server) if end]
            ready, _, _ = select.select([self.order, *(ends or [self.listener])], [], [])
            if self.order in ready:
                lost = self.order.recv(1) == b"l"
                if not lost:
                    break
            elif self.listener in ready:
                client, _ = self.listener.accept()
                server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                try:
                    server.connect(self.target)
                except OSError:  # the daemon is gone: so is this connection
                    client.close()
                    server.close()
                    client = server = None
                continue
            else:
                lost = not all(self.forward(end, server if end is client else client, end is server) for end in ready)
            if lost:
                for end in ends:
                    end.close()
                client = server = None
        for end in (client, server, self.listener, self.order):
            if end:
                end.close()

    def forward(self, source, sink, is_reply):
        """False: the connection is lost."""
        try:
            data, fds, _, _ = socket.recv_fds(source, 1 << 17, 4)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            if is_reply and self.swallow:
                self.swallow = False
                data = b""
            if data:
                sink.sendmsg([data], rights if fds else [])
            for fd in fds:
                os.close(fd)
            return bool(data)
        except OSError:
            return False

    def lose(self):
        self.wake.send(b"l")

    def close(self):
        if self.is_alive():
            self.wake.send(b"e")
            self.join()
            self.wake.close()


class WithVmm(unittest.TestCase):
    config = CONFIG

    def setUp(self):
        self.daemon = Daemon(self.config)
        self.addCleanup(self.daemon.cleanup)

    def vmm(self, path=None):
        vmm = Vmm(path or self.daemon.socket)
        self.addCleanup(vmm.close)
        self.assertTrue(vmm.hello["ok"], vmm.hello)
        return vmm

    def done(self, vmm, command):
        answer = vmm.ask(command)
        self.assertTrue(answer["ok"], answer)
        self.assertEqual(answer["command"], command)
        return answer

    def tables(self):
        return sorted((e["rid"], e["pasid"]) for e in json.loads(self.daemon.sim("tables", "--json")))

    def add(self, vmm, address):
        return self.done(vmm, f"add {self.daemon.simulation}/iommu {self.daemon.simulation}/devices/{address}")


class Commands(WithVmm):
    def test_everything_that_a_vmm_does(self):
        vmm = self.vmm()
        self.assertEqual(self.done(vmm, "set vm1 translated 16")["quota"], 16)
        one = self.add(vmm, "0000:00:01.0")
        self.assertEqual((one["name"], one["width"]), ("dev1", 20))
        two = self.done(vmm, f"open 0000:00:02.0 {self.daemon.simulation}/iommu")
        self.assertEqual((two["name"], two["address"]), ("dev2", "0000:00:02.0"))
        for device in ("dev1", "dev2"):
            self.done(vmm, f"map {device} 0 0x10000")
        number = self.done(vmm, "alloc guest 5")["pasids"][0]
        self.assertEqual(self.done(vmm, "bind guest 5 dev1 dev2=space:0")["pasid"], number)
        self.assertEqual(self.tables(), [("0000:00:01.0", number), ("0000:00:02.0", number)])
        self.assertEqual(self.done(vmm, "find guest 5")["pasid"], number)
        self.done(vmm, "unbind guest 5 dev1")
        self.assertEqual(self.tables(), [("0000:00:02.0", number)])
        self.done(vmm, "unbind guest 5")
        self.done(vmm, "detach 5")
        self.done(vmm, f"attach {number} 6")
        self.assertEqual(self.done(vmm, "free guest 6")["freed"], 1)
        self.done(vmm, "rid dev1=space:0")
        self.done(vmm, "unrid dev1")
        self.done(vmm, "unmap dev1 0 0 0x10000")
        self.done(vmm, "remove dev1")
        self.done(vmm, "quit")
        self.assertEqual(vmm.process.wait(TIMEOUT), 0)

    def test_input_at_once_is_answered_in_order_to_the_end(self):
        commands = ["set vm1", "slice " + SHARED, "map dev1 0 0x10000", "alloc guest 5", "bind guest 5 dev1", "info"]
        ended = subprocess.run(
            [VMM, "--socket", self.daemon.socket],
            input="# a comment\n" + "\n".join(commands),
            text=True,
            capture_output=True,
            timeout=TIMEOUT,
        )
        answers = [json.loads(line) for line in ended.stdout.splitlines()]
        self.assertEqual([answer["command"] for answer in answers], ["hello", *commands])
        self.assertTrue(all(answer["ok"] for answer in answers), answers)
        self.assertEqual(ended.returncode, 0)

    def test_refusals_have_reason_and_message(self):
        vmm = self.vmm()
        self.done(vmm, "set vm1")
        for command, reason in (
            ("nonsense", "usage"),
            ("bind guest 5", "usage"),
            ("free host 5000", "no-pasid"),
            ("add /nonexistent /nonexistent", "open"),
            ("alloc range 0x100000 0x100001", "bad-range"),
        ):
            answer = vmm.ask(command)
            self.assertEqual((answer["ok"], answer["reason"]), (False, reason), answer)
            self.assertTrue(answer["message"])

    def test_events_come_between_results(self):
        vmm = self.vmm()
        self.done(vmm, "set vm1")
        self.done(vmm, "watch")
        vmm.process.stdin.write(b"alloc guest 5\n")
        vmm.process.stdin.flush()
        lines = [vmm.line(), vmm.line()]
        self.assertEqual([line["event"] for line in lines if "event" in line], ["grant-allocated"])
        self.assertEqual(sum("pasids" in line for line in lines), 1)

    def test_no_daemon_is_said(self):
        ended = subprocess.run([VMM, "--socket", "/nonexistent"], capture_output=True, timeout=TIMEOUT)
        self.assertEqual((ended.returncode, json.loads(ended.stdout)["reason"]), (3, "no-daemon"))


class LostConnections(WithVmm):
    config = {**CONFIG, "session": {"grace_ms": 1500}}

    def setUp(self):
        super().setUp()
        path = self.daemon.folder / "proxy"
        self.proxy = Proxy(path, self.daemon.socket)
        self.proxy.start()
        self.addCleanup(self.proxy.close)
        self.vm = self.vmm(path)
        self.done(self.vm, "set vm1 translated 16")

    def test_a_session_goes_on_over_another_connection(self):
        number = self.done(self.vm, "alloc guest 5")["pasids"][0]
        for _ in range(3):
            self.proxy.lose()
            self.assertEqual(self.done(self.vm, "find guest 5")["pasid"], number)

    def test_a_change_whose_reply_was_lost_is_done_once(self):
        self.proxy.swallow = True
        self.done(self.vm, "alloc guest 5")
        self.assertFalse(self.proxy.swallow)
        self.assertEqual(self.done(self.vm, "info")["used"], 1)

    def test_descriptors_are_sent_again_and_the_device_is_there_once(self):
        self.proxy.swallow = True
        device = self.add(self.vm, "0000:00:01.0")
        self.assertFalse(self.proxy.swallow)
        self.done(self.vm, "map dev1 0 0x10000")
        self.done(self.vm, "alloc guest 5")
        self.proxy.swallow = True
        self.done(self.vm, "bind guest 5 dev1")
        self.assertEqual(len(self.tables()), 1)
        self.assertEqual(device["address"], "0000:00:01.0")

    def test_a_vmm_that_lost_its_session_says_so_and_ends(self):
        self.daemon.process.kill()
        self.daemon.process.wait()
        self.proxy.close()
        eventually(lambda: self.vm.process.poll() is not None, timeout=60)
        self.assertEqual(self.vm.process.returncode, 3)


class SystemCalls(unittest.TestCase):
    """What docs/INTEGRATING.md says that libpasid needs in a VMM's filter."""

    def test_all_that_the_library_makes_are_named(self):
        docs = pathlib.Path(__file__).resolve().parents[2] / "docs"
        named = (docs / "INTEGRATING.md").read_text().split("libpasid needs ")[1].split("\n\n")[0]
        symbols = subprocess.run(
            ["nm", "-D", "--undefined-only", BUILD / "libpasid.so"], capture_output=True, text=True, check=True
        ).stdout
        number = ctypes.CDLL("libseccomp.so.2").seccomp_syscall_resolve_name
        calls = {name for name in re.findall(r" U (\w+)", symbols) if number(name.encode()) != -1}
        self.assertLess({"sendmsg", "mmap"}, calls)
        self.assertEqual(calls - set(re.findall(r"`(\w+)", named)), set())


if __name__ == "__main__":
    unittest.main()
