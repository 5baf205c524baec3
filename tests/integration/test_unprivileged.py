# SPDX-License-Identifier: MIT
"""The daemon of a user without any privilege, which is how the whole suite runs with PASIDD_TEST_USER."""

import os
import pathlib
import signal
import subprocess
import sys
import unittest
from unittest import mock

from pasid_client import TIMEOUT, Daemon, host

LAUNCHER = str(pathlib.Path(__file__).with_name("unprivileged.py"))
USER = os.environ.get("PASIDD_TEST_USER") or "nobody"


def status(pid):
    """The fields of /proc/PID/status."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@unittest.skipUnless(os.geteuid() == 0, "only root can become another user; without root all tests are of this kind")
class Unprivileged(unittest.TestCase):
    def assert_unprivileged(self, pid):
        found = status(pid)
        self.assertNotIn("0", found["Uid"].split())
        self.assertEqual(found["Groups"], "")
        for what in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(found[what], 16), 0, what)
        self.assertEqual((found["NoNewPrivs"], found["Seccomp"]), ("1", "2"))

    def test_daemon_and_workers_have_no_privilege_and_do_their_work(self):
        with mock.patch.dict(os.environ, PASIDD_TEST_USER=USER):
            daemon = Daemon()
        self.addCleanup(daemon.cleanup)
        with daemon.client() as client:
            client.create("vm")
            device = client.add(daemon, "0000:00:01.0").id
            client.map_memory(device)
            number = client.allocate()[0]
            client.bind(host(number), device)
            self.assertEqual(set(daemon.tables()), {("0000:00:01.0", number)})
            self.assertTrue(daemon.workers())
            for pid in (daemon.process.pid, *daemon.workers()):
                self.assert_unprivileged(pid)

    def test_the_filter_kills(self):
        for call in ("libc.ptrace(0, 0, 0, 0)", "libc.unshare(0)", "libc.mount(0, 0, 0, 0, 0)"):
            program = f"import ctypes; libc = ctypes.CDLL(None); {call}; print('alive')"
            command = [sys.executable, LAUNCHER, USER, "/usr/bin/python3", "-c", program]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
            self.assertEqual((ended.returncode, ended.stdout), (-signal.SIGSYS, ""), call)


if __name__ == "__main__":
    unittest.main()
