# SPDX-License-Identifier: MIT
"""The map from guest to host PASIDs in memory: read by its layout, never written, and kept over restarts."""

import contextlib
import errno
import fcntl
import json
import mmap
import os
import pwd
import struct
import subprocess
import threading
import unittest

from pasid_client import BUILD, Client, Daemon, Refused, daemon_user, eventually, host, pb, set_ref
from restarts import ONE, Restarts

PAGE = 4096
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
SIZE = (3 + 1024) * PAGE


class Exported:
    """What a VMM makes of the descriptor, by nothing but docs/PROTOCOL.md."""

    def __init__(self, client, **fields):
        request = client.request("set_export", **fields)
        client.send(request)
        self.answer = client.result(request.id).set_export
        (self.fd,) = client.fds.pop(request.id)
        self.memory = mmap.mmap(self.fd, self.answer.size, mmap.MAP_SHARED, mmap.PROT_READ)

    def close(self):
        self.memory.close()
        os.close(self.fd)

    def word(self, offset, form="<Q"):
        return struct.unpack_from(form, self.memory, offset)[0]

    def closed(self):
        return self.word(12, "<I") != 0

    def find(self, guest):
        root = self.word(24 + 8 * (guest >> 19))
        if not root & 1:
            return None
        directory = self.word((root & ~0xFFF) + 8 * (guest >> 10 & 511))
        if not directory & 1:
            return None
        entry = self.word((directory & ~0xFFF) + 4 * (guest & 1023), "<I")
        return entry & 0xFFFFF if entry >> 31 else None


class Export(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.cleanup)
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def vmm(self, name, **fields):
        client = self.stack.enter_context(self.daemon.client())
        client.create(name, **fields)
        return client

    def export(self, client, **fields):
        exported = Exported(client, **fields)
        self.stack.callback(exported.close)
        return exported

    # F39
    def test_it_holds_what_the_map_holds(self):
        vmm = self.vmm("vm")
        first = vmm.allocate(guest_pasid=5)[0]
        exported = self.export(vmm)
        self.assertEqual((exported.word(0), exported.word(8, "<I")), (0x0050414D44495341, exported.answer.version))
        self.assertEqual((exported.answer.size, exported.word(16)), (SIZE, exported.answer.set))
        self.assertEqual((exported.find(5), exported.find(6)), (first, None))
        pairs = {guest: vmm.allocate(guest_pasid=guest)[0] for guest in (1, 1023, 1024, 1 << 19, (1 << 20) - 1)}
        self.assertEqual({guest: exported.find(guest) for guest in pairs}, pairs)
        vmm.call("guest_detach", guest_pasid=5)
        self.assertIsNone(exported.find(5))
        vmm.call("guest_attach", host_pasid=first, guest_pasid=9)
        self.assertEqual(exported.find(9), first)
        vmm.call("free", all=True)
        self.assertEqual([exported.find(guest) for guest in (*pairs, 9)], [None] * 6)
        with self.daemon.admin() as admin:
            self.assertTrue(admin.status().consistent)

    def test_an_identity_set_has_each_number_as_itself(self):
        vmm = self.vmm("vm", mode=pb.SET_MODE_IDENTITY)
        exported = self.export(vmm)
        number = vmm.allocate()[0]
        self.assertEqual(exported.find(number), number)

    def test_it_takes_memory_where_there_are_entries(self):
        vmm = self.vmm("vm")
        exported = self.export(vmm)
        for guest in range(1, 11):
            vmm.allocate(guest_pasid=guest)
        self.assertEqual(os.fstat(exported.fd).st_blocks * 512, 4 * PAGE)
        self.assertEqual(os.fstat(exported.fd).st_size, SIZE)

    # F39
    def test_its_reader_can_only_read(self):
        exported = self.export(self.vmm("vm"))
        self.assertEqual(fcntl.fcntl(exported.fd, fcntl.F_GET_SEALS), SEALS)
        self.assertEqual(os.fstat(exported.fd).st_mode & 0o7777, 0o400)
        with self.assertRaises(PermissionError):
            mmap.mmap(exported.fd, PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        for attempt in (lambda: os.write(exported.fd, b"x"), lambda: os.ftruncate(exported.fd, 0)):
            with self.assertRaises(OSError) as caught:
                attempt()
            self.assertIn(caught.exception.errno, (errno.EBADF, errno.EINVAL, errno.EPERM))

    def test_no_other_user_opens_it_for_writing(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become another user")
        exported = self.export(self.vmm("vm"))
        other = pwd.getpwnam("daemon").pw_uid
        self.assertNotEqual(other, daemon_user()[0])
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setresuid(other, other, other)
                os.open(f"/proc/self/fd/{exported.fd}", os.O_RDWR)
            except PermissionError:
                os._exit(13)
            finally:
                os._exit(1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 13)

    def test_nobody_gets_another_sets(self):
        self.vmm("vm")
        other = self.vmm("other")
        with self.assertRaises(Refused) as caught:
            self.export(other, set=set_ref("vm"))
        self.assertEqual(caught.exception.reason, "no-set")
        with self.daemon.client(role=pb.ROLE_OBSERVER) as observer, self.assertRaises(Refused) as caught:
            self.export(observer, set=set_ref("vm"))
        self.assertEqual(caught.exception.reason, "role-not-allowed")

    def test_one_connection_gets_a_few_and_all_are_the_same(self):
        vmm = self.vmm("vm")
        inodes = {os.fstat(self.export(vmm).fd).st_ino for _ in range(8)}
        self.assertEqual(len(inodes), 1)
        with self.assertRaises(Refused) as caught:
            self.export(vmm)
        self.assertEqual(caught.exception.reason, "limit")

    def test_descriptors_that_nobody_reads_are_few(self):
        vmm = self.vmm("vm")
        before = self.daemon.open_files()
        for _ in range(50):
            vmm.send(*[vmm.request("set_export") for _ in range(4)])
        vmm.call("ping")
        self.assertLessEqual(self.daemon.open_files(), before + 1 + 8)
        for fds in vmm.fds.values():
            for fd in fds:
                os.close(fd)

    def test_it_is_closed_with_its_set(self):
        vmm = self.vmm("vm")
        vmm.allocate(guest_pasid=5)
        before = self.daemon.open_files()
        exported = self.export(vmm)
        self.assertTrue(eventually(lambda: self.daemon.open_files() == before + 1))
        self.assertFalse(exported.closed())
        vmm.call("set_destroy", force=True)
        self.assertTrue(exported.closed())
        self.assertIsNone(exported.find(5))
        self.assertTrue(eventually(lambda: self.daemon.open_files() == before))

    def test_the_next_vm_of_a_set_has_memory_of_its_own(self):
        with self.daemon.admin() as admin:
            admin.create("kept")
            old = self.export(admin, set=set_ref("kept"))
            request = admin.request("set_connect", set=set_ref("kept"))
            admin.send(request)
            admin.result(request.id)
            with Client(fd=admin.fds[request.id][0]) as handed:
                handed.allocate(guest_pasid=5)
                self.assertIsNotNone(old.find(5))
            self.assertTrue(eventually(old.closed))
            self.assertEqual(admin.call("set_get", set=set_ref("kept")).set_get.active, 0)

    def test_a_reader_never_sees_what_was_not(self):
        """Two numbers, one of which is behind the guest's at any time; a third one never is."""
        vmm = self.vmm("vm")
        numbers = vmm.allocate(count=2)
        exported = self.export(vmm)
        seen, over = set(), threading.Event()

        def read():
            while not over.is_set():
                seen.add(exported.find(7))

        reader = threading.Thread(target=read)
        reader.start()
        for i in range(300):
            vmm.call("guest_attach", host_pasid=numbers[i % 2], guest_pasid=7)
            self.assertEqual(exported.find(7), numbers[i % 2])
            vmm.call("guest_detach", guest_pasid=7)
            self.assertIsNone(exported.find(7))
        over.set()
        reader.join()
        self.assertLessEqual(seen, {None, *numbers})

    def pasidctl(self, *words):
        command = [BUILD / "pasidctl", "--socket", self.daemon.socket, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_pasidctl_reads_it(self):
        vmm = self.vmm("vm")
        number = vmm.allocate(guest_pasid=5)[0]
        self.assertEqual(
            json.loads(self.pasidctl("--json", "translate", "vm").stdout), [{"guest": 5, "pasid": number}]
        )
        shown = self.pasidctl("translate", "vm", "5")
        self.assertEqual((shown.returncode, shown.stdout.split()), (0, ["GUEST", "PASID", "5", str(number)]))
        shown = self.pasidctl("translate", "vm", "6")
        self.assertEqual(shown.returncode, 1)
        self.assertIn("guest PASID 6 stands for no number of vm", shown.stderr)


class Kept(Restarts):
    """The daemon's end, orderly or not, with a store of descriptors."""

    def exported(self, client):
        exported = Exported(client)
        self.addCleanup(exported.close)
        return exported

    def begun(self):
        self.begin()
        vmm = self.connect("vm")
        number = vmm.allocate(guest_pasid=5)[0]
        return vmm, number, self.exported(vmm)

    # F39
    def test_readers_go_on_in_the_same_memory(self):
        vmm, number, exported = self.begun()
        self.daemon.end(self.kill)
        self.assertEqual(exported.find(5), number)
        self.daemon.start()
        vmm = self.resume(vmm)
        self.assertEqual(exported.find(5), number)
        late = vmm.allocate(guest_pasid=70000)[0]
        self.assertEqual(exported.find(70000), late)
        self.assertEqual(os.fstat(self.exported(vmm).fd).st_ino, os.fstat(exported.fd).st_ino)
        self.assertTrue(self.consistent())
        vmm.call("set_destroy", force=True)
        self.assertTrue(exported.closed())
        self.assertTrue(eventually(lambda: not any(name.startswith("map-") for name in self.daemon.stored())))

    def test_readers_are_told_when_the_set_is_gone(self):
        self.begin(session={"grace_ms": 100})
        vmm = self.connect("vm")
        vmm.allocate(guest_pasid=5)
        exported = self.exported(vmm)
        self.daemon.end(self.kill)
        vmm.close()
        self.daemon.start()
        self.assertTrue(eventually(exported.closed))

    def test_a_device_needs_no_export_and_the_other_way_round(self):
        vmm, number, exported = self.begun()
        device = self.exclusive(vmm, ONE)[0]
        vmm.bind(host(number), device)
        self.restart()
        vmm = self.resume(vmm)
        self.assertEqual(exported.find(5), number)
        vmm.unbind(host(number))
        self.assertEqual(exported.find(5), number)


class AfterDeath(Kept):
    kill = True


class NotKept(Restarts):
    keeps = False

    def test_the_next_daemon_has_memory_of_its_own(self):
        self.begin()
        vmm = self.connect("vm")
        number = vmm.allocate(guest_pasid=5)[0]
        exported = Exported(vmm)
        self.addCleanup(exported.close)
        self.restart()
        vmm = self.resume(vmm)
        again = Exported(vmm)
        self.addCleanup(again.close)
        self.assertEqual(again.find(5), number)
        self.assertNotEqual(os.fstat(again.fd).st_ino, os.fstat(exported.fd).st_ino)


if __name__ == "__main__":
    unittest.main()
