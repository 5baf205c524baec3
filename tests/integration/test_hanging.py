# SPDX-License-Identifier: MIT
"""Files whose file system stops answering: what the daemon keeps running while it waits for them."""

import contextlib
import fcntl
import os
import signal
import time
import unittest

from hanging_file import NotHere, hanging_file
from pasid_client import Daemon, eventually

ONE = "0000:00:01.0"
DATAGRAM_FDS = 253
CONFIG = {"simulate": {"devices": [{"address": ONE}]}}


class HangingFiles(unittest.TestCase):
    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
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


if __name__ == "__main__":
    unittest.main()
