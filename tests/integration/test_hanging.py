# SPDX-License-Identifier: MIT
"""Files whose file system stops answering: what the daemon keeps running while it waits for them."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import unittest.mock

from hanging_file import NotHere, hanging_file
from pasid_client import TIMEOUT, Daemon, daemon_user, eventually

ONE = "0000:00:01.0"
DATAGRAM_FDS = 253
CONFIG = {"simulate": {"devices": [{"address": ONE}]}}


class WithHangingFile(unittest.TestCase):
    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def begin(self, config, prepare=lambda: None):
        """No process that is started after this ends before the file does: `prepare` starts what is needed later."""
        self.daemon = Daemon(config)
        self.addCleanup(self.daemon.cleanup)
        prepare()
        try:
            self.file = self.stack.enter_context(hanging_file())
        except NotHere as why:
            self.skipTest(f"no such file can be made here: {why}")

    def client(self, **options):
        return self.stack.enter_context(self.daemon.client(**options))

    def children(self):
        pid = self.daemon.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            return [int(child) for child in children.read().split()]

    def kept(self):
        """Processes that sleep in a close."""
        found = []
        for pid in self.children():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/stack", encoding="ascii") as stack:
                if "fuse_flush" in stack.read():
                    found.append(pid)
        return found


class HangingFiles(WithHangingFile):
    def setUp(self):
        super().setUp()
        self.begin(CONFIG)

    def flood(self, attacker, count):
        """As many copies as are taken, of at most `count`; returns how many those were."""
        attacker.sock.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError, BlockingIOError, OSError):
            while sent < count:
                request = attacker.request("device_add", [0] * DATAGRAM_FDS)
                attacker.send(request, fds=[self.file] * DATAGRAM_FDS)
                sent += DATAGRAM_FDS
        return sent

    def assert_answers(self, client, seconds):
        end = time.monotonic() + seconds
        slowest = 0
        while time.monotonic() < end:
            started = time.monotonic()
            client.call("ping")
            slowest = max(slowest, time.monotonic() - started)
        self.assertLess(slowest, 1, "the loop was kept")

    def test_more_of_them_than_are_taken_are_not_read(self):
        victim = self.client()
        attackers = [self.client(), self.client(), self.client()]
        for attacker in attackers:
            self.flood(attacker, 8 * DATAGRAM_FDS)  # much more than is taken
        self.assert_answers(victim, 3)
        self.assertTrue(self.kept(), "nobody was kept: the test shows nothing")
        # None is out of sight: three connections, each with no more than one may have on its way.
        self.assertLess(self.daemon.open_files(), 3 * 512 + 200)

    def test_a_daemon_that_is_killed_meanwhile_leaves_nothing_with_who_is_kept(self):
        victim, attacker = self.client(), self.client()
        victim.create("victim")
        victim.add(self.daemon, ONE)
        worker = self.daemon.workers()
        attacker.send(attacker.request("ping", [self.file]), fds=[self.file])
        eventually(self.kept)
        self.daemon.process.kill()
        self.daemon.process.wait()
        self.assertTrue(victim.closed(), "its connection is open still")
        for pid in worker:
            eventually(lambda: not os.path.exists(f"/proc/{pid}/fd/3"))  # pylint: disable=cell-var-from-loop
        # A process started here would wait for the file, too.
        with open(self.daemon.folder / "lock", encoding="ascii") as lock:
            self.assertTrue(eventually(lambda: self.locks(lock)), "another daemon cannot start")

    @staticmethod
    def locks(file):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def test_without_who_starts_the_workers_one_is_had(self):
        attacker = self.client()
        attacker.send(attacker.request("ping", [self.file]), fds=[self.file])
        eventually(self.kept)
        os.kill(next(pid for pid in self.children() if self.daemon.is_spawner(pid)), signal.SIGKILL)
        fresh = self.client()
        fresh.create("fresh")
        fresh.add(self.daemon, ONE)
        self.assert_answers(fresh, 1.5)


class Successors(WithHangingFile):
    """Whoever makes a close hang, which takes no role, decides nothing about the next daemon."""

    def start(self):
        """A second daemon, as soon as it is told to go."""
        command = ["sh", "-c", 'read go && exec "$@"', "sh", *self.daemon.unprivileged(self.daemon.command())]
        self.successor = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                                          env={**os.environ, **self.daemon.environment})  # fmt: skip
        self.addCleanup(self.successor.stderr.close)
        self.addCleanup(self.successor.wait, TIMEOUT)
        self.addCleanup(self.successor.kill)

    def serves(self):
        with contextlib.suppress(OSError):
            self.admin = self.daemon.admin()
        return self.admin is not None or self.successor.poll() is not None

    def check_after(self, signal_):
        # The records in memory, as /run is, and the trail on a disk, as /var/log is.
        logs = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="pasidd-logs-"))
        os.chown(logs, *daemon_user())
        with unittest.mock.patch.object(tempfile, "tempdir", "/dev/shm" if os.path.isdir("/dev/shm") else None):
            self.begin({**CONFIG, "audit": {"records": 8192, "path": f"{logs}/audit"}}, self.start)
        with self.daemon.client() as victim, contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) as nobody:
            victim.create("victim")
            nobody.connect(str(self.daemon.socket))
            socket.send_fds(nobody, [b"\xff\xff"], [self.file])
            self.assertTrue(eventually(self.kept), "nobody is kept: the test shows nothing")
        self.daemon.process.send_signal(signal_)
        self.daemon.process.wait(TIMEOUT)
        self.admin = None
        self.successor.stdin.write(b"go\n")
        self.successor.stdin.close()
        self.assertTrue(eventually(self.serves))
        if self.successor.poll() is not None:
            self.fail(f"another daemon cannot start: {self.successor.stderr.read().decode()}")
        status = self.stack.enter_context(self.admin).status()
        self.assertFalse([note for note in status.notes if "audit" in note])
        self.assertTrue(status.consistent)

    def test_after_it_was_killed(self):
        self.check_after(signal.SIGKILL)

    def test_after_it_ended_in_order(self):
        self.check_after(signal.SIGTERM)


if __name__ == "__main__":
    unittest.main()
