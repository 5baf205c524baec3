# SPDX-License-Identifier: MIT
"""The file system with the runtime directory, where the records are, is full: at the start, or while VMs are at work.

Nothing that was acknowledged is lost, whoever needs no new record is served, and all else is refused with the remedy.
"""

import contextlib
import os
import subprocess
import tempfile
import time
import unittest

from manager import Manager
from pasid_client import Refused, daemon_user, eventually, host
from restarts import CONFIG, ONE, TWO, Restarts

BEGIN = 704 << 10  # what the daemon says that its records take to begin with
SMALL, ROOM = 64 << 10, 2 << 20
MOST = 100000  # requests until it must be full


def can_mount():
    """Why there is no small file system to be had, or an empty string."""
    if os.geteuid() != 0:
        return "only root can mount a small file system"
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, text=True, check=False)
        if tried.returncode == 0:
            subprocess.run(["umount", "-l", folder], check=True)
        return tried.stderr.strip() and f"no small file system can be mounted: {tried.stderr.strip()}"


class Tiny(Manager):
    """A daemon whose runtime directory is on a file system of its own."""

    def __init__(self, size, **options):
        self.tiny = tempfile.mkdtemp(prefix="pasidd-tiny-")
        uid, gid = daemon_user()
        where = f"size={size},mode=755,uid={uid},gid={gid}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", where, "tmpfs", self.tiny], check=True)
        super().__init__(start=False, **options)
        self.socket = os.path.join(self.tiny, "pasidd.socket")

    def command(self):
        command = super().command()
        command[command.index("--runtime-dir") + 1] = self.tiny
        return command

    def fill(self):
        with open(os.path.join(self.tiny, "filler"), "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def make_room(self):
        os.unlink(os.path.join(self.tiny, "filler"))

    def cleanup(self):
        try:
            super().cleanup()
        finally:
            subprocess.run(["umount", "-l", self.tiny], check=True)
            os.rmdir(self.tiny)


class FullFileSystem(Restarts):
    def make(self, size):
        reason = can_mount()
        if reason:
            self.skipTest(reason)
        limits = {"sets": {"user": 16000, "host": 16000}}
        quota = {"set_default": 60000, "set_max": 60000}
        self.daemon = Tiny(size, config={**CONFIG, "quota": quota, "limits": limits})
        self.addCleanup(self.after)

    def after(self):
        if self.daemon.process:
            super().after()
        else:
            self.daemon.cleanup()

    def serve_one(self, name):
        """A VM that comes, works and goes."""
        with self.daemon.client() as client:
            client.create(name)
            device = self.exclusive(client, ONE)[0]
            client.bind(host(client.allocate()[0]), device)
            client.call("set_destroy", force=True)

    # -- at the start

    def end_at_once(self):
        """Its exit status, and what it said."""
        self.daemon.log_path.write_text("")
        self.daemon.start_only()
        self.assertTrue(eventually(lambda: self.daemon.process.poll() is not None))
        return self.daemon.process.returncode, self.daemon.log()

    def refuse_to_start(self):
        status, log = self.end_at_once()
        self.assertGreater(status, 0)
        self.assertIn(os.path.join(self.daemon.tiny, "state"), log)
        self.assertIn("No space left on device", log)
        self.assertIn(f"{BEGIN >> 10} KiB", log)
        self.assertIn("make room in the file system", log)

    def test_a_start_on_a_file_system_that_is_too_small_says_what_it_takes(self):
        self.make(SMALL)
        self.refuse_to_start()
        subprocess.run(["mount", "-o", f"remount,size={BEGIN + SMALL}", self.daemon.tiny], check=True)
        self.daemon.start()
        self.serve_one("vm")

    def test_a_start_on_a_file_system_that_is_full_succeeds_once_it_is_not(self):
        self.make(ROOM)
        self.daemon.fill()
        status, log = self.end_at_once()  # not even its lock has room there
        self.assertGreater(status, 0)
        self.assertIn(self.daemon.tiny, log)
        self.assertIn("No space left on device; make room", log)
        self.daemon.make_room()
        self.daemon.start()
        self.serve_one("vm")

    # -- in the middle of it

    def refusals(self, request):
        """Asks until it is refused; the refusal, or None when it never was."""
        for count in range(MOST):
            try:
                request(count)
            except Refused as refused:
                return refused.status
        return None

    def check_refused(self, request):
        status = self.refusals(request)
        self.assertIsNotNone(status)
        self.assertEqual(status.reason, "no-memory", status)
        self.assertIn("free space in the runtime directory", status.message)

    def begin_work(self):
        """Two VMs: one that will ask for more, and one that has a binding and asks for nothing new."""
        self.make(ROOM)
        self.daemon.start()
        self.vm = self.connect("vm")
        self.quiet = self.connect("quiet")
        self.part = self.slice(self.vm)
        self.device = self.exclusive(self.quiet, TWO)[0]
        self.numbers = self.quiet.allocate(count=4)
        self.quiet.bind(host(self.numbers[0]), self.device)
        self.granted = self.vm.allocate(count=3)

    def use_up(self):
        """Nothing can be recorded any more."""
        self.daemon.fill()
        self.check_refused(lambda _: self.granted.extend(self.vm.allocate(count=50)))
        with self.daemon.admin() as admin:
            self.check_refused(lambda count: admin.call("set_create", name=f"more{count}", pasids=1))
        self.check_refused(lambda count: self.vm.bind(host(self.granted[count]), self.part))

    def quiet_work(self):
        """What needs no new record, or one in the place of another."""
        number = self.numbers[0]
        self.quiet.call("data_set", pasid=host(number), data=7)
        self.quiet.unbind(host(number))
        self.quiet.bind(host(number), self.device)
        self.quiet.call("ping")
        self.assertEqual(self.found(number).data, 7)

    def told(self):
        with self.daemon.admin() as admin:
            return {grant.host_pasid for grant in admin.pages("grant_list", "grants")}

    def test_who_needs_no_record_is_served_while_it_is_full(self):
        self.begin_work()
        self.use_up()
        began = self.daemon.cpu_seconds()
        time.sleep(0.5)
        self.assertLess(self.daemon.cpu_seconds() - began, 0.2)
        self.quiet_work()
        self.assertLessEqual(set(self.granted) | set(self.numbers), self.told())
        self.assertTrue(self.consistent())
        self.vm.free(*self.granted[-20:])  # what is given back can be had again
        self.assertTrue(eventually(lambda: not self.resting()))
        self.vm.allocate(count=20)
        self.daemon.make_room()
        self.vm.allocate(count=1000)
        self.serve_one("late")

    def resting(self):
        with self.daemon.admin() as admin:
            return any(info.quarantined for info in admin.pages("set_list", "sets"))

    def ends_while_full(self, kill):
        self.begin_work()
        self.use_up()
        self.quiet_work()
        before = self.records()
        self.daemon.restart(kill)
        self.assertEqual(self.records(), before)
        self.vm, self.quiet = self.resume(self.vm), self.resume(self.quiet)
        self.check_refused(lambda _: self.vm.allocate(count=50))
        self.quiet_work()
        self.assertTrue(self.consistent())
        self.daemon.make_room()
        self.vm.allocate(count=1000)

    def test_a_daemon_that_is_killed_while_it_is_full_loses_nothing(self):
        self.ends_while_full(True)

    def test_a_daemon_that_is_stopped_while_it_is_full_loses_nothing(self):
        self.ends_while_full(False)


if __name__ == "__main__":
    unittest.main()
