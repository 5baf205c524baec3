# SPDX-License-Identifier: MIT
"""Each call of the daemon into libc fails once, in the middle of each request.

The daemon goes on, the one who asked hears of it or is disconnected, everybody else's records are as they were, and the
same request succeeds the next time. An allocation fails only where no sanitizer has its own (see tests/fault/fault.c).
"""

import contextlib
import errno
import itertools
import mmap
import os
import struct
import unittest

from manager import Manager
from pasid_client import BUILD, Closed, Refused, eventually, host, pb, set_ref
from restarts import CONFIG, ONE, QUICK, SHARED, TWO, Restarts

LIBRARY = BUILD / "tests" / "fault" / "fault.so"
SYMBOLS = ("mmap ftruncate posix_fallocate open openat accept4 recvmsg recvmmsg sendmsg send recv socketpair socket epoll_ctl "
           "epoll_wait fcntl posix_spawn statx getsockopt setsockopt read write fsync fstat linkat unlinkat renameat "
           "malloc calloc realloc").split()
MEMORY, FILES = (errno.ENOMEM,), (errno.EMFILE, errno.ENFILE)
TRANSFER = (errno.EINTR, errno.ENOBUFS)
# What the kernel may say to each; those that are not here are not made to fail.
ERRORS = {
    "mmap": MEMORY, "ftruncate": (errno.ENOSPC, errno.EINTR), "posix_fallocate": (errno.ENOSPC, errno.EINTR),
    "open": FILES, "openat": FILES, "accept4": (*FILES, errno.ECONNABORTED, errno.EINTR), "recvmsg": TRANSFER,
    "recvmmsg": TRANSFER, "sendmsg": (*TRANSFER, errno.ENOMEM), "send": TRANSFER, "recv": TRANSFER,
    "socketpair": FILES, "socket": FILES, "epoll_ctl": (errno.ENOSPC, errno.ENOMEM), "epoll_wait": (errno.EINTR,),
    "fcntl": FILES, "posix_spawn": (errno.EAGAIN, errno.ENOMEM), "statx": (errno.ENOMEM,), "getsockopt": (errno.ENOBUFS,),
    "setsockopt": (errno.ENOBUFS,), "write": (errno.ENOSPC, errno.EINTR), "fsync": (errno.EIO,), "linkat": (errno.ENOSPC,),
    "renameat": (errno.ENOSPC,), "malloc": MEMORY, "calloc": MEMORY, "realloc": MEMORY,
}  # fmt: skip
STRIDE = 7 if QUICK else 1  # of the calls of one function
MOST = 20 if QUICK else 60  # of one function in one request
GONE = (Closed, ConnectionError)


class Fault:
    """The file that a daemon with the library shares with us: words of 64 bits."""

    HEAD = 6

    def __init__(self, path):
        with open(path, "wb") as file:
            file.truncate(8 * (self.HEAD + len(SYMBOLS)))
        os.chmod(path, 0o666)
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)
        self.disarm()

    def _get(self, index):
        return struct.unpack_from("=Q", self.memory, 8 * index)[0]

    def _put(self, index, value):
        struct.pack_into("=Q", self.memory, 8 * index, value)

    def symbols(self):
        return SYMBOLS[: self._get(5)]

    def arm(self, symbol, at, error):
        """The call after `at` others fails."""
        self._put(2, at)
        self._put(3, error)
        self._put(4, 0)
        self._put(1, SYMBOLS.index(symbol))

    def disarm(self):
        """How often it failed."""
        self._put(1, 1 << 32)
        return self._get(4)

    def calls(self):
        return {name: self._get(self.HEAD + i) for i, name in enumerate(self.symbols())}

    def adopt_next(self):
        """The next process is the one that counts."""
        self._put(0, 0)


class Faults(Restarts):
    def setUp(self):
        config = {**CONFIG, "quarantine": {"cooling_ms": 1}, "namespace": {"policy": "lowest"}}
        self.daemon = Manager(config, start=False)
        self.addCleanup(self.after)
        path = self.daemon.folder / "fault"
        self.fault = Fault(path)
        options = os.environ.get("ASAN_OPTIONS", "")
        self.daemon.environment = {
            "LD_PRELOAD": str(LIBRARY), "PASIDD_FAULT": str(path), "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0"
        }  # fmt: skip
        self.tried = self.hits = 0

    def after(self):
        self.fault.disarm()
        if self.daemon.process:
            super().after()
        else:
            self.daemon.cleanup()

    def begin_work(self):
        """One VM that will ask, and another one whose records are to stay as they are."""
        self.daemon.start()
        self.vm = self.connect("vm1")
        self.other = self.connect("vm2")
        self.device = self.exclusive(self.other, TWO)[0]
        self.other.bind(host(self.other.allocate(count=3)[0]), self.device)
        self.number = self.vm.allocate()[0]

    # -- one request with one fault

    def back(self):
        """The session, if need be resumed."""
        try:
            self.vm.call("ping")
        except GONE:
            self.vm = self.resume(self.vm)
        return self.vm

    def attempt(self, operation, make):
        """The request; who is disconnected asks it again. The reply, or None when it was refused."""
        fds, fields = make()
        request = self.vm.request(operation, fds, **fields)
        try:
            try:
                self.vm.send(request, fds=fds)
                return self.vm.result(request.id)
            except GONE:
                self.hits += self.fault.disarm()
                self.vm = self.resume(self.vm)
                self.vm.send(request, fds=fds)
                return self.vm.result(request.id)
        except Refused as refused:
            self.assertTrue(refused.reason)
            self.assertNotEqual(refused.reason, "internal")
            return None
        finally:
            self.hits += self.fault.disarm()
            for fd in fds:
                os.close(fd)

    def state(self):
        return self.records(), self.daemon.tables()

    def rested(self):
        """The records once no number rests."""

        def resting():
            with self.daemon.admin() as admin:
                return any(info.quarantined for info in admin.pages("set_list", "sets"))

        self.assertTrue(eventually(lambda: not resting()))
        return self.state()

    def expect(self, wanted, where):
        """The records, once what rests has rested and who left is gone."""
        self.assertIsNone(self.daemon.process.poll(), f"{where}: {self.daemon.log()}")
        eventually(lambda: self.state() == wanted, 5)
        self.assertEqual(self.state(), wanted, where)

    def undone(self, operation, make, undo):
        reply = self.attempt(operation, make)
        if reply is not None:
            self.back()
            undo(reply)
        return reply is not None

    def calls_of(self, operation, make, undo):
        """How often each function is called in the request and what undoes it."""
        begin = self.fault.calls()
        self.assertTrue(self.undone(operation, make, undo), operation)
        return {name: count - begin[name] for name, count in self.fault.calls().items() if name in ERRORS}

    def try_all(self, operation, make, undo):
        """One request as it is, then with each call in it failing."""
        self.undone(operation, make, undo)  # what is made once
        before = self.rested()
        for symbol, count in self.calls_of(operation, make, undo).items():
            for at in range(self.tried % STRIDE, min(count, MOST), STRIDE):
                error = ERRORS[symbol][at % len(ERRORS[symbol])]
                where = f"{operation}: {symbol} after {at} fails with {errno.errorcode[error]}"
                self.fault.arm(symbol, at, error)
                self.undone(operation, make, undo)
                self.expect(before, where)
            self.tried += 1
        self.assertTrue(self.undone(operation, make, undo), f"{operation} after all of them")
        self.expect(before, operation)
        self.assertGreater(self.hits, 0)

    # -- the requests

    def call(self, operation, **fields):
        return self.vm.call(operation, **fields)

    def memfd(self):
        fd = os.memfd_create("guest memory", os.MFD_CLOEXEC)
        os.ftruncate(fd, 1 << 16)
        return fd

    def test_numbers(self):
        self.begin_work()

        def free(reply):
            runs = reply.allocate.runs
            self.call("free", pasids=[host(run.first + i) for run in runs for i in range(run.count)])

        self.try_all("allocate", lambda: ((), {"count": 2}), free)
        self.try_all("guest_attach", lambda: ((), {"host_pasid": self.number, "guest_pasid": 5}),
                     lambda _: self.call("guest_detach", guest_pasid=5))

    def test_devices(self):
        self.begin_work()

        def descriptors():
            with self.daemon.open_iommu() as iommufd, self.daemon.open_device(ONE) as device:
                return (os.dup(iommufd), os.dup(device)), {}

        self.try_all("device_add", descriptors, lambda reply: self.call("device_remove", device=reply.device_add.id))
        self.try_all("device_slice", lambda: ((), {"address": SHARED}),
                     lambda reply: self.call("device_remove", device=reply.device_slice.id))

    def test_bindings(self):
        self.begin_work()
        self.slices = self.slice(self.vm)
        memory = {"device": self.slices, "space": 2, "iova": 0, "length": 1 << 16, "writeable": True}
        where = {"device": self.slices, "space": 2, "iova": 0, "length": 1 << 16}
        self.try_all("memory_map", lambda: ((self.memfd(),), memory), lambda _: self.call("memory_unmap", **where))
        pairs = [pb.BindPair(device=self.slices, table=pb.Table(space=1))]
        self.try_all("bind", lambda: ((), {"pasid": host(self.number), "pairs": pairs}),
                     lambda _: self.call("unbind", pasid=host(self.number)))

    def test_whoever_connects_meanwhile(self):
        self.begin_work()

        names = itertools.count()

        def connect():
            with self.daemon.client() as client:
                client.create(f"guest{next(names)}")
                client.allocate()

        def leave():
            """Nobody of them is waited for."""
            with self.daemon.admin() as admin:
                for name in self.names() - {"vm1", "vm2"}:
                    with contextlib.suppress(Refused):
                        admin.call("set_destroy", set=set_ref(name), force=True)

        connect()
        leave()
        before = self.rested()
        begin = self.fault.calls()
        connect()
        needed = {name: count - begin[name] for name, count in self.fault.calls().items() if name in ERRORS}
        leave()
        self.expect(before, "a VM that came and went")
        for symbol, count in needed.items():
            for at in range(self.tried % STRIDE, min(count, MOST), STRIDE):
                error = ERRORS[symbol][at % len(ERRORS[symbol])]
                self.fault.arm(symbol, at, error)
                with contextlib.suppress(Refused, *GONE):
                    connect()
                self.hits += self.fault.disarm()
                self.back()
                leave()
                self.expect(before, f"a VM that comes: {symbol} after {at} fails with {errno.errorcode[error]}")
            self.tried += 1
        connect()
        self.assertGreater(self.hits, 0)

    def test_a_start_succeeds_or_says_why_not(self):
        self.daemon.start()
        needed = {name: count for name, count in self.fault.calls().items() if name in ERRORS}
        self.daemon.end()
        ended = 0
        for symbol, count in needed.items():
            for at in range(self.tried % STRIDE, min(count, MOST), STRIDE):
                error = ERRORS[symbol][at % len(ERRORS[symbol])]
                where = f"{symbol} after {at} fails with {errno.errorcode[error]}"
                self.daemon.log_path.write_text("")
                self.fault.arm(symbol, at, error)
                self.fault.adopt_next()
                self.daemon.start_only()
                self.assertTrue(eventually(lambda: self.daemon.ready.is_set() or self.daemon.process.poll() is not None), where)
                self.hits += self.fault.disarm()
                if self.daemon.process.poll() is None:
                    with self.daemon.admin() as admin:
                        self.assertTrue(admin.status().consistent, where)
                    self.daemon.end()
                    continue
                ended += 1
                self.assertGreater(self.daemon.process.returncode, 0, f"{where}: {self.daemon.log()}")
                self.assertIn("pasidd", self.daemon.log(), where)
            self.tried += 1
        self.assertGreater(ended, 0)
        self.fault.adopt_next()
        self.daemon.start()


if __name__ == "__main__":
    unittest.main()
