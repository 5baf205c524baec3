# SPDX-License-Identifier: MIT
"""The running daemon and its workers are confined, and what they cannot do any more is made up for."""

import os
import pathlib
import signal
import time
import unittest

from manager import Manager
from pasid_client import TIMEOUT, host

ONE, TWO, THREE = "0000:00:01.0", "0000:00:02.0", "0000:00:03.0"
CONFIG = {"simulate": {"devices": [{"address": address} for address in (ONE, TWO, THREE)]}}


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return dict(line.split(":\t", 1) for line in lines)


class Confined(unittest.TestCase):
    def setUp(self):
        self.daemon = Manager(CONFIG)
        self.addCleanup(self.daemon.cleanup)

    def spawners(self):
        pid = self.daemon.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return [int(child) for child in children if self.daemon.is_spawner(child)]

    def bound(self, client):
        client.create("vm")
        device = client.add(self.daemon, ONE).id
        client.map_memory(device)
        number = client.allocate()[0]
        client.bind(host(number), device)
        return number

    def test_daemon_and_workers_have_a_filter_of_calls(self):
        with self.daemon.client() as client:
            self.bound(client)
            self.assertTrue(self.daemon.workers())
            for pid in (self.daemon.process.pid, *self.daemon.workers()):
                found = status(pid)
                self.assertEqual((found["Seccomp"], found["NoNewPrivs"]), ("2", "1"), pid)
        self.assertIn("confined: system calls are filtered", self.daemon.log())

    def test_one_who_starts_workers_ends_and_nobody_notices(self):
        for name, address in (("a", ONE), ("b", TWO), ("c", THREE)):
            os.kill(self.spawners()[0], signal.SIGKILL)
            with self.daemon.client() as client:
                client.create(name)
                client.add(self.daemon, address)

    def test_both_end_at_once_and_the_next_daemon_goes_on(self):
        client = self.daemon.client()
        number = self.bound(client)
        self.daemon.process.send_signal(signal.SIGSTOP)  # before it can make up for the first
        for pid in self.spawners():
            os.kill(pid, signal.SIGKILL)
        self.daemon.process.send_signal(signal.SIGCONT)
        self.assertEqual(self.daemon.process.wait(TIMEOUT), 1)  # Restart=on-failure
        self.assertIn("both processes that start workers were ended", self.daemon.log())
        self.assertEqual(set(self.daemon.tables()), {(ONE, number)})
        self.daemon.start()
        self.assertEqual(set(self.daemon.tables()), {(ONE, number)})
        with self.daemon.client() as other:
            other.create("other")
            other.add(self.daemon, TWO)
        client.close()

    def test_a_restart_is_not_held_up_by_it(self):
        begin = time.monotonic()
        self.daemon.restart()
        self.assertLess(time.monotonic() - begin, TIMEOUT)


if __name__ == "__main__":
    unittest.main()
