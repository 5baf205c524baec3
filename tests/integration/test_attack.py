# SPDX-License-Identifier: MIT
"""What an account on the host could try: nothing of it may cost another client anything."""

import contextlib
import errno
import os
import signal
import socket
import struct
import time
import unittest

from pasid_client import Closed, Daemon, Refused, eventually, pb

LINGER = 30  # seconds, more than any client waits here


@contextlib.contextmanager
def stopped(process):
    """What a client does in one go, before the process sees any of it."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@contextlib.contextmanager
def too_many_on_their_way():
    """The kernel has a limit of its own, for users without privileges."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ETOOMANYREFS:
            raise


class Bursts(unittest.TestCase):
    def test_any_number_of_datagrams_at_once_is_read(self):
        daemon = Daemon()
        self.addCleanup(daemon.cleanup)
        with daemon.client() as client:
            for count in (*range(1, 40), *range(40, 1, -1)):
                requests = [client.request("ping") for _ in range(count)]
                with stopped(daemon.process.pid):
                    for request in requests:
                        client.send(request)
                for request in requests:
                    client.result(request.id)


class Descriptors(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.cleanup)

    def lingering(self):
        """A socket whose last close takes LINGER seconds: its peer reads nothing of what was sent."""
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            ours = socket.create_connection(listener.getsockname())
            peer, _ = listener.accept()
        self.addCleanup(peer.close)
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(bytes(1 << 16))
        ours.setblocking(True)  # only such a close lingers
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER))
        return ours

    def assert_served(self, seconds=5):
        started = time.monotonic()
        with self.daemon.admin() as admin:
            self.assertTrue(admin.status().consistent)
        self.assertLess(time.monotonic() - started, seconds)

    def test_a_descriptor_behind_an_empty_datagram_and_an_end_of_file(self):
        with stopped(self.daemon.process.pid), self.daemon.client(hello=False) as client:
            with self.lingering() as hostile:
                client.send_raw(b"")
                client.send_raw(b"")
                client.send_raw(b"\xff", [hostile.fileno()])
            client.sock.shutdown(socket.SHUT_WR)
        self.assert_served()

    def test_janitors_that_a_close_keeps_are_replaced(self):
        kept = set()
        self.addCleanup(lambda: [self.release(pid) for pid in kept])
        with self.daemon.client() as client:

            def dispose(*fds):
                client.send_raw(pb.ToServer(requests=[client.request("ping")]).SerializeToString(), fds)
                with self.assertRaises(Refused):
                    client.receive()
                client.call("ping")

            def some_descriptor():
                with open("/dev/null", "rb") as file:
                    dispose(file.fileno())

            some_descriptor()
            for _ in range(6):
                for pid in set(self.daemon.workers()) - kept:
                    os.kill(pid, signal.SIGSTOP)
                    kept.add(pid)
                some_descriptor()
            reader, writer = os.pipe()
            with open(reader, "rb", buffering=0) as ours:
                os.set_blocking(reader, False)
                dispose(writer, *[writer] * 200)
                os.close(writer)
                self.assertEqual(eventually(lambda: ours.read(1) == b"", 10), True, "it was never closed")
            self.assertTrue(eventually(lambda: not kept & set(self.daemon.workers())))
        self.assert_served()

    def test_a_flood_of_descriptors_does_not_use_up_what_the_daemon_may_open(self):
        with contextlib.ExitStack() as stack:
            null = stack.enter_context(open("/dev/null", "rb")).fileno()
            clients = [stack.enter_context(self.daemon.client()) for _ in range(4)]
            for client in clients:
                client.sock.setblocking(False)
            peak, end = 0, time.monotonic() + 2
            while time.monotonic() < end:
                for client in clients:
                    with contextlib.suppress(BlockingIOError, Refused), too_many_on_their_way():
                        client.send_raw(b"\xff", [null] * 253)
                        client.send(client.request("ping"))  # no abuse, then
                    with contextlib.suppress(BlockingIOError, Refused):
                        client.receive()
                peak = max(peak, self.daemon.open_files())
            self.assert_served()
        self.assertGreater(peak, 500, "it was no flood")
        self.assertLess(peak, 12000)
        self.assertTrue(eventually(lambda: self.daemon.open_files() < 60), self.daemon.open_files())

    def test_who_cannot_be_served_for_want_of_descriptors_is_not_kept_waiting(self):
        """A connection may take the last one; to close it another process is needed, and that takes some, too."""
        with self.daemon.client() as client:
            client.call("ping")  # it is ready, and no descriptor of its start is left
        before = self.daemon.open_files()
        for more in range(4):
            self.daemon.limit_files(before + more)
            with self.daemon.client(hello=False) as client:
                client.sock.settimeout(5)
                with contextlib.suppress(Refused, Closed, ConnectionResetError, BrokenPipeError):
                    client.call("ping")
        self.daemon.limit_files(4096)
        self.assert_served()

    @staticmethod
    def release(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    unittest.main()
