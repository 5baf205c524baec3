# SPDX-License-Identifier: MIT
"""Descriptors that are not what they should be: each is refused by name, and nothing of it stays."""

import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import select
import signal
import socket
import statistics
import struct
import tempfile
import time
import unittest

from hanging_file import NotHere, hanging_file
from pasid_client import GONE, Client, Daemon, Refused, daemon_user, eventually, host, opened, pb

ONE, TWO, PAIR, SHARED, OTHER = (f"0000:00:0{i}.0" for i in (1, 2, 3, 4, 5))
CONFIG = {
    "quarantine": {"cooling_ms": 50},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {
        "devices": [
            {"address": ONE, "group": 7},
            {"address": TWO},
            {"address": PAIR, "group": 7},
            {"address": SHARED},
            {"address": OTHER},
        ]
    },
}
NOBODY = 65534 if daemon_user()[0] != 65534 else 65533  # who is not the daemon
LINGER = 30  # seconds, more than anybody waits here
SYS_MEMFD_SECRET = 447


def fill(sock):
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(1 << 16))
    sock.setblocking(True)  # only such a close lingers


@contextlib.contextmanager
def lingering():
    """A socket whose last close takes LINGER seconds: its peer reads nothing of what was sent."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
    fill(ours)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER))
    with peer:
        yield ours


@contextlib.contextmanager
def matryoshka():
    """A socket with a lingering one in its queue: its last close is that of the other as well."""
    with lingering() as inner:
        outer, far = socket.socketpair()
        with far, inner:
            socket.send_fds(far, [b"."], [inner.fileno()])
        yield outer


def memory(size=1 << 16, name="test", flags=os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING):
    fd = os.memfd_create(name, flags)
    os.ftruncate(fd, size)
    return fd


class Kinds:
    """Descriptors that are of no use to the daemon: what to call each, and what an error must call it."""

    def __init__(self, daemon, stack):
        self.found = {}
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp"))
        file = pathlib.Path(folder, "file")
        file.write_bytes(bytes(1 << 16))
        pipe = os.pipe()
        self.sockets = socket.socketpair()
        queue = socket.socketpair()
        socket.send_fds(queue[1], [b"."], [pipe[0]] * 100)
        poll = stack.enter_context(select.epoll())
        self.open = (*self.sockets, *queue)
        self.add("a regular file", os.open(file, os.O_RDWR))
        self.add("a directory", os.open(folder, os.O_RDONLY))
        self.add("a pipe", pipe[0])
        self.add("a pipe", pipe[1], "its other end")
        self.add("a socket", self.sockets[0].fileno())
        self.add("a socket", queue[0].fileno(), "with descriptors in its queue")
        self.add("an O_PATH descriptor", os.open(file, os.O_PATH), "of a file")
        self.add("an O_PATH descriptor", os.open(daemon.simulation / "iommu", os.O_PATH), "of the iommufd")
        self.add("an O_PATH descriptor", os.open(daemon.simulation / "devices" / OTHER, os.O_PATH), "of a device")
        self.add("character device 1:3", os.open("/dev/null", os.O_RDWR))
        self.add("an anonymous file (eventpoll)", poll.fileno())
        self.add("an anonymous file (eventfd)", os.eventfd(0))
        if os.path.exists("/dev/vfio/vfio"):
            self.add("character device 10:196", os.open("/dev/vfio/vfio", os.O_RDWR))

    def add(self, text, fd, remark=""):
        self.found[f"{text} {remark}".strip()] = (text, fd)

    def close(self):
        """Those of objects go with these."""
        for sock in self.open:
            sock.close()

    def items(self):
        return [(name, text, fd) for name, (text, fd) in self.found.items()]


class DescriptorTest(unittest.TestCase):
    """A victim with a device and a slice, an attacker with the same, and an account of all descriptors."""

    def setUp(self):
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.victim, self.attacker = self.connect("victim"), self.connect("attacker")
        self.admin = self.stack.enter_context(self.daemon.admin())
        self.participant = self.stack.enter_context(self.daemon.client(role=pb.ROLE_PARTICIPANT))
        self.iommufd = self.stack.enter_context(self.daemon.open_iommu())
        self.device = self.stack.enter_context(self.daemon.open_device(OTHER))
        self.victims_iommufd = self.stack.enter_context(self.daemon.open_iommu())
        self.victims_device = self.stack.enter_context(self.daemon.open_device(ONE))
        added = self.victim.call("device_add", fds=[self.victims_iommufd, self.victims_device]).device_add
        self.victim.map_memory(added.id)
        self.victim.bind(host(self.victim.allocate()[0]), added.id)
        self.refuse("descriptor-kind", "device_add", [0, 0])  # from here on, the attacker has a worker
        self.account = self.at_rest()

    def connect(self, name):
        client = self.stack.enter_context(self.daemon.client())
        client.create(name)
        return client

    def slice(self, client):
        return client.call("device_slice", address=SHARED).device_slice.id

    # -- what must not change

    def descriptors(self):
        """Of the daemon, less those of its workers, and of each set's worker; janitors come and go."""
        workers, lanes, kept = self.daemon.workers(), {}, 0
        for pid in workers:
            with contextlib.suppress(*GONE):
                lane = eventually(lambda pid=pid: self.lane(pid))  # it may be about to become a worker
                count = len(os.listdir(f"/proc/{pid}/fd"))
                if lane.isdigit():
                    lanes[lane] = count
                else:
                    kept = max(kept, count)
        # A janitor that has closed everything has no more open than a worker without devices.
        return self.daemon.open_files() - 2 * len(workers), lanes, kept <= min(lanes.values())

    @staticmethod
    def lane(pid):
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return words[words.index(b"--lane") + 1] if b"--lane" in words else None

    def look(self):
        clients = (self.victim, self.attacker)
        return {
            "tables": self.daemon.tables(),
            "devices": [[d.id for d in client.pages("device_list", "devices")] for client in clients],
            "bindings": [len(client.pages("binding_list", "bindings")) for client in clients],
            "descriptors": self.descriptors(),
        }

    def at_rest(self):
        """What there is once the janitors have closed everything."""
        self.assertTrue(eventually(lambda: self.descriptors()[2]))
        return self.look()

    def assert_as_before(self):
        self.assertTrue(self.admin.status().consistent)
        if not eventually(lambda: self.look() == self.account, 5):
            for what, now in self.look().items():
                self.assertEqual(now, self.account[what], what)

    def refuse(self, reason, operation, fds, naming="", client=None, **fields):
        client = client or self.attacker
        with self.assertRaises(Refused) as caught:
            client.call(operation, fds=fds, **fields)
        self.assertEqual(caught.exception.reason, reason, caught.exception)
        self.assertIn(naming, caught.exception.status.message)
        client.call("ping")  # one refusal after another would be abuse
        return caught.exception.status

    def map(self, device, fd, client=None, length=1 << 16, **fields):
        (client or self.attacker).call(
            "memory_map", fds=[fd], device=device, space=1, iova=0, length=length, **{"writeable": True, **fields}
        )

    def refuse_map(self, reason, device, fd, naming="", **fields):
        with self.assertRaises(Refused) as caught:
            self.map(device, fd, **fields)
        self.assertEqual(caught.exception.reason, reason, caught.exception)
        self.assertIn(naming, caught.exception.status.message)
        self.attacker.call("ping")


class WrongKinds(DescriptorTest):
    def each(self):
        kinds = self.stack.enter_context(contextlib.closing(Kinds(self.daemon, self.stack)))
        for name, text, fd in kinds.items():
            with self.subTest(name):
                yield text, fd
                self.assert_as_before()

    def test_as_an_iommufd(self):
        for text, fd in self.each():
            self.refuse("descriptor-kind", "device_add", [fd, self.device], f"{text} was passed where an iommufd")
            self.refuse("descriptor-kind", "device_add", [fd, fd], f"{text} was passed where an iommufd")

    def test_as_the_iommufd_of_a_device_that_the_daemon_opens(self):
        for text, fd in self.each():
            self.refuse("descriptor-kind", "device_add", [fd], text, client=self.admin, set=pb.SetRef(name="attacker"),
                        address=OTHER)

    def test_as_a_device(self):
        for text, fd in self.each():
            self.refuse("descriptor-kind", "device_add", [self.iommufd, fd], f"{text} was passed where a VFIO device")

    def test_as_memory_of_a_slice(self):
        device = self.slice(self.attacker)
        self.refuse_map("descriptor-kind", device, 0)
        self.account = self.at_rest()
        for text, fd in self.each():
            self.refuse_map("descriptor-kind", device, fd, f"{text} was passed where memory")

    def test_as_memory_of_an_exclusive_device(self):
        device = self.attacker.call("device_add", fds=[self.iommufd, self.device]).device_add.id
        self.account = self.at_rest()
        for text, fd in self.each():
            self.refuse_map("descriptor-kind", device, fd, f"{text} was passed where memory")

    def test_devices_iommufds_and_memory_in_each_others_place(self):
        fd = memory()
        self.refuse("descriptor-kind", "device_add", [self.device, self.iommufd], "it is a device")
        self.refuse("descriptor-kind", "device_add", [self.iommufd, self.iommufd], "it is an iommufd")
        self.refuse("descriptor-kind", "device_add", [self.device, self.device], "it is a device")
        self.refuse("descriptor-kind", "device_add", [fd, self.device], "a memfd")
        self.refuse("descriptor-kind", "device_add", [self.iommufd, fd], "a memfd")
        self.assert_as_before()

    def test_nodes_that_are_not_open_for_writing(self):
        for flags in (os.O_RDONLY, os.O_WRONLY):
            iommufd = os.open(self.daemon.simulation / "iommu", flags)
            device = os.open(self.daemon.simulation / "devices" / OTHER, flags)
            self.refuse("descriptor-kind", "device_add", [iommufd, self.device], "O_RDWR")
            self.refuse("descriptor-kind", "device_add", [self.iommufd, device], "O_RDWR")
        self.assert_as_before()

    def test_the_connection_itself_and_the_other_end_of_nothing(self):
        fd = self.attacker.sock.fileno()
        self.refuse("descriptor-kind", "device_add", [fd, fd], "a socket")
        self.assert_as_before()
        # Nothing keeps a copy: the end of the connection is noticed.
        self.attacker.send(self.attacker.request("device_add", [fd, fd]), fds=[fd, fd])
        self.attacker.close()
        connected = self.account["descriptors"][0]
        self.assertTrue(eventually(lambda: self.descriptors()[0] < connected), "the connection is kept")


class Foreign(DescriptorTest):
    def test_another_sets_iommufd_and_device(self):
        copy = os.dup(self.victims_iommufd)
        self.refuse("descriptor-foreign", "device_add", [copy, self.device], "another set")
        self.refuse("device-taken", "device_add", [copy, os.dup(self.victims_device)], ONE)
        self.refuse("device-taken", "device_add", [self.iommufd, os.dup(self.victims_device)], ONE)
        self.assert_as_before()

    def test_a_second_open_of_the_same_nodes(self):
        with self.daemon.open_device(ONE) as again:
            status = self.refuse("device-taken", "device_add", [self.iommufd, again], ONE)
            self.assertNotIn("victim", status.message)
            self.assert_as_before()

    def test_a_device_of_a_group_that_another_set_uses(self):
        with self.daemon.open_device(PAIR) as pair:
            self.refuse("group-taken", "device_add", [self.iommufd, pair], "IOMMU group")
        self.assert_as_before()

    def test_a_device_of_its_own_group_through_another_iommufd(self):
        with self.daemon.open_device(PAIR) as pair:
            self.refuse("group-taken", "device_add", [self.iommufd, pair], "another iommufd", client=self.victim)
        self.assert_as_before()

    def test_another_machines_simulation(self):
        other = Daemon(CONFIG)
        self.addCleanup(other.cleanup)
        with other.open_iommu() as iommufd, other.open_device(OTHER) as device:
            self.refuse("descriptor-kind", "device_add", [iommufd, self.device], "where an iommufd")
            self.refuse("descriptor-kind", "device_add", [self.iommufd, device], "where a VFIO device")
        self.assert_as_before()

    def test_one_passed_twice_at_once(self):
        requests = [self.attacker.request("device_add", [0, 0]) for _ in range(2)]
        for request in requests:
            self.attacker.send(request, fds=[self.iommufd, self.device])
        self.attacker.result(requests[0].id)
        self.assertEqual(self.attacker.wait(requests[1].id).status.reason, "device-taken")


class Counts(DescriptorTest):
    def test_too_few_and_too_many(self):
        fds = [self.iommufd, self.device]
        for sent in ([], fds[:1], fds + fds[:1], fds * 126 + fds[:1]):
            with self.subTest(count=len(sent)):
                self.refuse("descriptor-count", "device_add", sent)
                self.assert_as_before()
        device = self.slice(self.attacker)
        self.account = self.at_rest()
        for sent in ([], [memory()] * 2, [memory()] * 253):
            self.refuse("descriptor-count", "memory_map", sent, device=device, space=1, iova=0, length=1 << 16)
            self.assert_as_before()

    def test_more_or_less_than_the_request_says(self):
        for said, sent in ((2, 1), (2, 0), (1, 2), (0, 1), (0, 253)):
            with self.subTest(said=said, sent=sent):
                request = self.attacker.request("device_add", [0] * said)
                with self.assertRaises(Refused) as caught:
                    self.attacker.send(request, fds=[self.iommufd] * sent)
                    self.attacker.result(request.id)
                self.assertEqual(caught.exception.reason, "descriptor-count")
                self.attacker.call("ping")
                self.assert_as_before()

    def test_with_each_request_that_takes_none(self):
        operations = [field.name for field in pb.Request.DESCRIPTOR.oneofs_by_name["operation"].fields]
        self.assertGreater(len(operations), 25)
        for operation in operations:
            if operation in ("device_add", "memory_map", "hello"):
                continue
            with self.subTest(operation):
                admins = operation in ("set_connect", "quarantine_end", "device_share", "device_drained", "recover")
                others = operation.startswith("set_move_") or operation == "acknowledge"
                self.refuse("role-not-allowed" if admins or others else "descriptor-count", operation, [self.iommufd])
                client = self.participant if operation == "acknowledge" else self.admin
                self.refuse("descriptor-count", operation, [self.iommufd], client=client)
        self.assert_as_before()

    def test_lost_on_the_way(self):
        """What the daemon may open is used up: the kernel cuts them off."""
        used = {int(name) for name in os.listdir(f"/proc/{self.daemon.process.pid}/fd")}
        free = next(number for number in range(1 << 12) if number not in used)
        self.daemon.limit_files(free + 1)  # room for one of two
        self.refuse("descriptors-truncated", "device_add", [self.iommufd, self.device], "again")
        self.daemon.limit_files(1 << 12)
        self.assert_as_before()
        self.attacker.call("device_add", fds=[self.iommufd, self.device])


class Memory(DescriptorTest):
    def setUp(self):
        super().setUp()
        self.target = self.slice(self.attacker)
        self.refuse_map("descriptor-kind", self.target, 0)
        self.account = self.at_rest()

    def again(self, fd, flags):
        return os.open(f"/proc/self/fd/{fd}", flags)

    def test_that_may_only_be_read_is_not_written(self):
        fd = memory()
        reader, writer = self.again(fd, os.O_RDONLY), self.again(fd, os.O_WRONLY)
        self.refuse_map("descriptor-kind", self.target, reader, "reading only")
        self.refuse_map("descriptor-kind", self.target, writer, "writing only", writeable=False)
        self.assert_as_before()
        self.map(self.target, reader, writeable=False)

    def test_that_is_sealed_is_not_written(self):
        for seal in (0x8, 0x10):  # F_SEAL_WRITE, F_SEAL_FUTURE_WRITE
            fd = memory()
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seal)
            self.refuse_map("descriptor-kind", self.target, fd, "sealed")
        self.assert_as_before()
        self.map(self.target, fd, writeable=False)

    def test_that_cannot_shrink_or_grow_is_as_good_as_any(self):
        fd = memory()
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        self.map(self.target, fd)

    def test_ends_where_it_ends(self):
        fd = memory(1 << 13)
        for fields in ({"length": 1 << 14}, {"length": 1 << 13, "offset": 1 << 12}, {"length": 1 << 12, "offset": 1 << 62}):
            self.refuse_map("bad-range", self.target, fd, "8192", **fields)
        self.assert_as_before()

    def test_that_shrinks_after_it_was_mapped_harms_nobody_else(self):
        fd = memory()
        self.map(self.target, fd)
        number = self.attacker.allocate()[0]
        self.attacker.bind(host(number), self.target)
        os.ftruncate(fd, 0)
        self.assertIn((SHARED, number), self.daemon.tables())
        theirs = self.slice(self.victim)
        self.victim.map_memory(theirs)
        self.victim.bind(host(self.victim.allocate()[0]), theirs)
        self.attacker.unbind(host(number))
        self.attacker.call("memory_unmap", device=self.target, space=1, iova=0, length=1 << 16)
        self.assertTrue(self.admin.status().consistent)

    def test_on_tmpfs_is_memory_too(self):
        with tempfile.TemporaryFile(dir="/dev/shm") as file:
            file.truncate(1 << 16)
            self.map(self.target, file.fileno())

    def test_secret_memory_is_none(self):
        fd = ctypes.CDLL(None, use_errno=True).syscall(SYS_MEMFD_SECRET, 0)
        if fd < 0:
            self.skipTest(f"memfd_secret: {os.strerror(ctypes.get_errno())}")
        os.ftruncate(fd, 1 << 16)
        self.refuse_map("descriptor-kind", self.target, fd, "where memory")
        self.assert_as_before()

    def test_of_huge_pages_is_memory_too(self):
        try:
            fd = memory(1 << 21, flags=os.MFD_HUGETLB | os.MFD_CLOEXEC)
            os.posix_fallocate(fd, 0, 1 << 21)
        except OSError as error:
            self.skipTest(f"huge pages: {error}")
        self.map(self.target, fd, length=1 << 21)


class SlowCloses(DescriptorTest):
    """Descriptors that take long to close or to look at cost nobody but who passed them."""

    def setUp(self):
        super().setUp()
        self.theirs = self.slice(self.victim)
        self.victim.map_memory(self.theirs)
        self.target = self.slice(self.attacker)

    def attack(self, fd):
        """Every way to pass it, from sessions of their own; nobody waits for an answer."""
        requests = [("device_add", [fd, fd], {}), ("device_add", [self.iommufd, fd], {}), ("ping", [fd], {}),
                    ("memory_map", [fd], {"device": self.target, "space": 1, "iova": 0, "length": 1 << 16})]
        for operation, fds, fields in requests:
            request = self.attacker.request(operation, fds, **fields)
            self.attacker.send(request, fds=fds)
        with self.daemon.client(hello=False) as stranger:
            stranger.send_raw(b"\xff", [fd] * 3)

    def time_of(self, call, *arguments):
        started = time.monotonic()
        call(*arguments)
        return time.monotonic() - started

    def assert_nobody_waits(self, seconds=2.5):
        pings, binds, end = [], [], time.monotonic() + seconds
        while time.monotonic() < end:
            pings.append(self.time_of(self.victim.call, "ping"))
            number = self.victim.allocate()[0]
            binds.append(self.time_of(self.victim.bind, host(number), self.theirs))
            self.victim.unbind(host(number))
            self.victim.free(number)
        self.assertGreater(len(pings), 20)
        self.assertLess(statistics.median(pings), 0.02)
        self.assertLess(max(pings), 0.5, "the loop was kept")
        self.assertLess(max(binds), 1.0, "another set's binding was kept")
        with self.daemon.client() as fresh:  # workers can still be started
            fresh.create("fresh")
            fresh.add(self.daemon, TWO)

    def test_a_socket_that_lingers(self):
        with lingering() as sock:
            self.attack(sock.fileno())
            sock.close()  # theirs are the last copies
            self.assert_nobody_waits()

    def test_a_socket_in_a_socket(self):
        with matryoshka() as sock:
            self.attack(sock.fileno())
            sock.close()
            self.assert_nobody_waits()

    def test_as_memory_of_a_slice_it_does_not_keep_the_others_on_the_device(self):
        """Nobody else has a copy: whoever refuses it would be the one to close it."""
        with lingering() as sock:
            fields = {"device": self.target, "space": 1, "iova": 0, "length": 1 << 16}
            self.attacker.send(self.attacker.request("memory_map", [0], **fields), fds=[sock.fileno()])
            sock.close()
            self.assert_nobody_waits()

    def test_many_of_them_leave_the_attackers_own_worker_free(self):
        with contextlib.ExitStack() as stack:
            # Ours is to be closed before the daemon has closed its own, or it would be us who linger.
            self.daemon.process.send_signal(signal.SIGSTOP)
            for _ in range(8):
                with stack.enter_context(lingering()) as sock:
                    request = self.attacker.request("device_add", [0, 0])
                    self.attacker.send(request, fds=[self.iommufd, sock.fileno()])
            self.daemon.process.send_signal(signal.SIGCONT)
            started = time.monotonic()
            self.attacker.call("device_add", fds=[self.iommufd, self.device])
            self.assertLess(time.monotonic() - started, 5)

    def assert_left_alone(self):
        """The processes that sleep in a close have nothing of the daemon's."""
        children = pathlib.Path(f"/proc/{self.daemon.process.pid}/task/{self.daemon.process.pid}/children")
        kept = []
        for pid in children.read_text().split():
            with contextlib.suppress(*GONE):
                if "fuse_flush" in pathlib.Path(f"/proc/{pid}/stack").read_text():
                    kept.append(len(os.listdir(f"/proc/{pid}/fd")))
        self.assertTrue(kept, "nobody was kept: the test shows nothing")
        self.assertLessEqual(min(kept), 8, kept)  # the other copies that were passed

    def test_a_file_whose_file_system_hangs(self):
        try:
            with hanging_file() as fd:
                self.attack(fd)
                self.assert_nobody_waits()
                self.assert_left_alone()
                self.stack.close()
                self.assertEqual(self.daemon.stop(), 0, "its end was kept")
        except NotHere as why:
            self.skipTest(f"no such file can be made here: {why}")


class OtherUser(unittest.TestCase):
    """The daemon as root, the client as nobody."""

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become another user")
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.daemon.folder.chmod(0o755)
        self.daemon.simulation.chmod(0o755)
        (self.daemon.simulation / "devices").chmod(0o755)

    def as_nobody(self, action):
        """What action(client) returns in a process of that user."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                with Client(self.daemon.socket) as client:
                    os.write(writer, json.dumps(action(client)).encode())
            except BaseException as error:  # pylint: disable=broad-exception-caught
                os.write(writer, json.dumps(repr(error)).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            text = answer.read()
        os.waitpid(child, 0)
        return json.loads(text)

    @staticmethod
    def reasons(client, requests):
        found = []
        for operation, fds, fields in requests:
            try:
                client.call(operation, fds=fds, **fields)
                found.append("ok")
            except Refused as refused:
                found.append(refused.reason)
        return found

    def test_is_refused_like_anybody_and_can_use_what_it_may_open(self):
        nodes = [self.daemon.simulation / "iommu", self.daemon.simulation / "devices" / OTHER]
        for node in nodes:  # as udev would give them to a VMM
            os.chown(node, NOBODY, NOBODY)
            # The workers of the simulation open it too.
            node.chmod(0o600 if daemon_user()[0] == 0 else 0o666)

        def action(client):
            client.create("vm")
            with opened(nodes[0]) as iommufd, opened(nodes[1]) as device, opened("/dev/null") as null:
                return self.reasons(client, [
                    ("device_add", [null, device], {}),
                    ("device_add", [iommufd, null], {}),
                    ("device_add", [device, iommufd], {}),
                    ("ping", [null], {}),
                    ("device_share", [], {"address": ONE}),
                    ("device_add", [iommufd], {"address": SHARED}),
                    ("device_add", [iommufd, device], {}),
                ])

        kind = "descriptor-kind"
        wanted = [kind, kind, kind, "descriptor-count", "role-not-allowed", "policy-denies", "ok"]
        self.assertEqual(self.as_nobody(action), wanted)
        with self.daemon.admin() as admin:
            self.assertTrue(admin.status().consistent)

    def test_cannot_open_what_it_may_not(self):
        def action(client):
            client.create("vm")
            with opened(self.daemon.simulation / "devices" / ONE):
                return "it could"

        (self.daemon.simulation / "devices" / ONE).chmod(0o600)
        self.assertIn("PermissionError", self.as_nobody(action))


if __name__ == "__main__":
    unittest.main()
