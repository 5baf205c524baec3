# SPDX-License-Identifier: MIT
"""The kernel gives the daemon no descriptor, or no process, any more: a limit that is reached while VMs are at work.

Who is there is served, who comes is refused or waits, no processor time is used up, and all is well when the limit is
lifted.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
import unittest
from unittest import mock

from pasid_client import Closed, Refused, daemon_user, eventually, host, set_ref
from restarts import ONE, OTHER, QUICK, TWO, Restarts

ROOMS = range(0, 16, 3 if QUICK else 1)  # descriptors that are left
GONE = (Closed, ConnectionError)
USER = os.environ.get("PASIDD_TEST_USER") or "nobody"
WAIT = 3  # seconds that a newcomer is patient


class AtTheStart(Restarts):
    """A limit that is there from the beginning: the daemon says what it wants, and ends."""

    def started_with(self, *limits):
        """Its exit status, and what it said."""
        self.daemon.log_path.write_text("")
        usual = self.daemon.unprivileged
        self.daemon.unprivileged = lambda command: [shutil.which("prlimit"), *limits, *usual(command)]
        self.daemon.start_only()
        self.assertTrue(eventually(lambda: self.daemon.ready.is_set() or self.daemon.process.poll() is not None))
        self.daemon.unprivileged = usual
        return self.daemon.process.poll(), self.daemon.log()

    def test_files_that_may_not_be_as_large_as_the_records(self):
        self.begin()
        self.daemon.end()
        for path in self.daemon.folder.glob("state*"):
            path.unlink()
        status, log = self.started_with(f"--fsize={1 << 20}")
        self.assertEqual(status, 1, log)
        self.assertIn(f"{self.daemon.folder}/state", log)
        self.assertIn("File too large", log)
        self.daemon.start()

    def test_fewer_descriptors_than_it_begins_with(self):
        self.begin()
        self.daemon.end()
        ended = 0
        for count in range(8, 60, 2 if QUICK else 1):
            status, log = self.started_with(f"--nofile={count}:{1 << 14}")
            if status is None:
                break
            ended += 1
            self.assertEqual(status, 1, f"{count}: {log}")
            self.assertIn("Too many open files", log, f"{count}")
        self.assertGreater(ended, 0)
        self.daemon.limit_files(1 << 12)
        self.assertTrue(self.consistent())


class Exhausted(Restarts):
    def check_told(self, remedy):
        self.assertTrue([message for message in self.told if remedy in message], self.told)

    def begin_work(self):
        """A VM with a worker and a binding, which asks for something all the time, and one that has nothing yet."""
        self.begin()
        self.told = []  # to those who were refused
        self.quiet = self.connect("quiet")
        self.device = self.exclusive(self.quiet, TWO)[0]
        bound, self.number = self.quiet.allocate(count=2)
        self.quiet.bind(host(bound), self.device)
        self.fresh = self.connect("fresh")
        self.fresh.allocate()
        self.come_and_go("first")  # what is made once
        self.before = self.rested()

    def rested(self):
        def resting():
            with self.daemon.admin() as admin:
                return any(info.quarantined for info in admin.pages("set_list", "sets"))

        self.assertTrue(eventually(lambda: not resting()))
        return self.records(), self.daemon.tables()

    def check_as_before(self, where):
        eventually(lambda: self.rested() == self.before, 5)
        self.assertEqual(self.rested(), self.before, where)

    def quiet_work(self):
        began = time.monotonic()
        self.quiet.bind(host(self.number), self.device)
        self.quiet.unbind(host(self.number))
        self.assertLess(time.monotonic() - began, 2)

    def may_fail(self, where, ask, *arguments):
        """It may be refused for a reason, or disconnected; True when it succeeded."""
        try:
            ask(*arguments)
            return True
        except Refused as refused:
            self.assertNotIn(refused.reason, ("", "internal"), f"{where}: {refused}")
            self.told.append(refused.status.message)
        except (*GONE, TimeoutError):
            pass
        return False

    def come_and_go(self, name):
        """A VM with a worker of its own."""
        with self.daemon.client(hello=False) as client:
            client.sock.settimeout(WAIT)
            client.say_hello()
            client.create(name)
            device = self.exclusive(client, OTHER)[0]
            client.bind(host(client.allocate()[0]), device)
            client.call("set_destroy", force=True)

    def leave(self):
        """Whoever was disconnected is not waited for."""
        with self.daemon.admin() as admin:
            for name in self.names() - {"quiet", "fresh"}:
                with contextlib.suppress(Refused):
                    admin.call("set_destroy", set=set_ref(name), force=True)

    def back(self):
        """The VM that has nothing yet; it may have been disconnected."""
        try:
            self.fresh.call("ping")
        except GONE:
            self.fresh = self.resume(self.fresh)

    def start_a_worker(self):
        device = self.exclusive(self.fresh, ONE)[0]
        self.fresh.call("device_remove", device=device)

    def give_up_devices(self):
        for info in self.fresh.pages("device_list", "devices"):
            self.fresh.call("device_remove", device=info.id)

    def check_rests(self, where):
        began = self.daemon.cpu_seconds()
        time.sleep(0.5)
        self.assertLess(self.daemon.cpu_seconds() - began, 0.2, where)

    # -- descriptors

    def test_hardly_any_descriptor_left(self):
        self.begin_work()
        succeeded = failed = 0
        for room in ROOMS:
            where = f"{room} descriptors left"
            self.daemon.limit_files(self.daemon.open_files() + room)
            for attempt in (lambda room=room: self.come_and_go(f"room{room}"), self.start_a_worker):
                done = self.may_fail(where, attempt)
                succeeded += done
                failed += not done
                self.quiet_work()
            self.daemon.limit_files(1 << 12)
            self.back()
            self.give_up_devices()
            self.leave()
            self.check_as_before(where)
        self.assertGreater(failed, 0)
        self.assertGreater(succeeded, 0)
        self.check_told("LimitNOFILE")
        self.come_and_go("last")
        self.start_a_worker()

    def test_none_left_for_a_crowd_and_no_time_used_up(self):
        self.begin_work()
        self.daemon.limit_files(self.daemon.open_files())
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(self.daemon.client(hello=False))
            self.may_fail("no descriptor", self.start_a_worker)
            self.check_rests("a crowd that cannot be accepted")
            self.quiet_work()
        self.daemon.limit_files(1 << 12)
        self.back()
        self.give_up_devices()
        self.check_as_before("a crowd that has gone")
        self.start_a_worker()

    # -- processes

    def limit_processes(self, count=None):
        """Of the daemon, and of the process that starts its workers; None: as many as ever."""
        children = f"/proc/{self.daemon.process.pid}/task/{self.daemon.process.pid}/children"
        with open(children, encoding="ascii") as file:
            pids = [int(pid) for pid in file.read().split() if self.daemon.is_spawner(int(pid))]
        self.assertTrue(pids)
        soft, lines = "most" if count is None else count, ["import resource"]
        for pid in (self.daemon.process.pid, *pids):
            lines.append(f"most = resource.prlimit({pid}, resource.RLIMIT_NPROC)[1]")
            lines.append(f"resource.prlimit({pid}, resource.RLIMIT_NPROC, ({soft}, most))")
        uid, gid = daemon_user()
        subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, user=uid, group=gid, extra_groups=[])

    @unittest.skipUnless(os.geteuid() == 0, "only root starts a daemon as another user, and lifts its limits")
    def test_no_process_left(self):
        with mock.patch.dict(os.environ, PASIDD_TEST_USER=USER):
            self.begin_work()
            self.limit_processes(1)
            for name in ("one", "two"):
                self.assertFalse(self.may_fail("no process", self.come_and_go, name))
                self.assertFalse(self.may_fail("no process", self.start_a_worker))
                self.quiet_work()
            self.check_told("LimitNPROC")
            self.check_rests("no process to be had")
            self.limit_processes()
            self.back()
            self.give_up_devices()
            self.leave()
            self.check_as_before("processes are to be had again")
            self.come_and_go("last")
            self.start_a_worker()


if __name__ == "__main__":
    unittest.main()
