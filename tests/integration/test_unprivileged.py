# SPDX-License-Identifier: MIT
"""The daemon of a user without any privilege, which is how the whole suite runs with PASIDD_TEST_USER."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import unittest
from unittest import mock

from hostile.attack import as_user
from pasid_client import TIMEOUT, Daemon, daemon_user, host

LAUNCHER = str(pathlib.Path(__file__).with_name("unprivileged.py"))
USER = os.environ.get("PASIDD_TEST_USER") or "nobody"


def status(pid):
    """The fields of /proc/PID/status."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def flood(clients):
    """As many descriptors as the kernel lets a user have on their way, and then some."""
    with open("/dev/null", "rb") as null:
        for client in clients * 400:
            client.sock.setblocking(False)
            with contextlib.suppress(OSError):
                client.send_raw(b"\xff", [null.fileno()] * 253)
                client.send(client.request("ping"))  # no abuse, then


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

    def test_a_flood_of_descriptors_by_its_own_user_ends(self):
        """The kernel counts what is on its way by user: then the daemon cannot pass any on either."""
        with mock.patch.dict(os.environ, PASIDD_TEST_USER=USER):
            daemon = Daemon()
            uid = daemon_user()[0]
        self.addCleanup(daemon.cleanup)
        child = os.fork()
        if child == 0:
            try:
                daemon.folder.chmod(0o755)
                as_user(uid)
                flood([daemon.client() for _ in range(8)])
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        with daemon.admin() as admin:
            self.assertTrue(admin.status().consistent)

    def test_the_filter_kills(self):
        for call in ("libc.ptrace(0, 0, 0, 0)", "libc.unshare(0)", "libc.mount(0, 0, 0, 0, 0)"):
            program = f"import ctypes; libc = ctypes.CDLL(None); {call}; print('alive')"
            command = [sys.executable, LAUNCHER, USER, "/usr/bin/python3", "-c", program]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
            self.assertEqual((ended.returncode, ended.stdout), (-signal.SIGSYS, ""), call)


if __name__ == "__main__":
    unittest.main()
