# SPDX-License-Identifier: MIT
"""Requests as such: batches, ids, the window, deadlines, descriptors, and everything malformed."""

import os
import socket
import unittest

from pasid_client import Closed, Daemon, Refused, eventually, pb

# Workers that close what nobody wants stay, each with a socket and a pidfd of the daemon's.
DISPOSERS = 8


class Requests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon({"quarantine": {"cooling_ms": 50}})
        cls.addClassCleanup(cls.daemon.cleanup)

    def setUp(self):
        self.client = self.daemon.client()
        self.addCleanup(self.client.close)
        self.client.create("vm")

    def tearDown(self):
        if self.client.sock.fileno() >= 0:
            self.client.call("set_destroy", force=True)
        self.assertIsNone(self.daemon.process.poll(), self.daemon.log())

    def active(self):
        return self.client.call("set_get").set_get.active

    def refused_whole(self, reason, data, fds=()):
        """A datagram that is refused as a whole."""
        self.client.send_raw(data, fds)
        with self.assertRaises(Refused) as caught:
            self.client.receive()
        self.assertEqual(caught.exception.reason, reason)
        return caught.exception

    # -- batches and ids

    def test_a_batch_is_answered_in_full(self):
        requests = [self.client.request("allocate", guest_pasid=i) for i in range(1, 201)]
        self.client.send(*requests)
        numbers = [self.client.result(r.id).allocate.runs[0].first for r in requests]
        self.assertEqual(len(set(numbers)), 200)

    def test_each_request_of_a_batch_succeeds_or_fails_alone(self):
        good, bad, last = (
            self.client.request("allocate"),
            self.client.request("allocate", min=9, max=8),
            self.client.request("allocate"),
        )
        self.client.send(good, bad, last)
        self.client.result(good.id)
        self.client.result(last.id)
        with self.assertRaises(Refused):
            self.client.result(bad.id)
        self.assertEqual(self.active(), 2)

    def test_the_same_id_and_content_is_done_once(self):
        request = self.client.request("allocate", count=3)
        self.client.send(request)
        first = self.client.result(request.id)
        for _ in range(3):
            self.client.send(request)
            self.assertEqual(self.client.result(request.id), first)
        self.assertEqual(self.active(), 3)

    def test_a_refusal_is_remembered_too(self):
        with self.daemon.client() as other:
            other.create("other")
            taken = other.allocate()[0]
            request = self.client.request("allocate", min=taken, max=taken)
            self.client.send(request)
            first = self.client.wait(request.id)
            self.assertEqual(first.status.reason, "none-free")
            other.call("set_destroy", force=True)
            with self.daemon.admin() as admin:
                idle = pb.GRANT_IDLE
                self.assertTrue(
                    eventually(lambda: admin.call("host_find", host_pasid=taken).host_find.state == idle)
                )
        self.client.send(request)
        self.assertEqual(self.client.wait(request.id), first)
        self.assertEqual(self.client.allocate(min=taken, max=taken), [taken])

    def test_the_same_id_with_other_content_is_refused(self):
        request = self.client.request("allocate")
        self.client.send(request)
        self.client.result(request.id)
        request.allocate.count = 2
        self.client.send(request)
        with self.assertRaises(Refused) as caught:
            self.client.result(request.id)
        self.assertEqual(caught.exception.reason, "request-id-reused")
        self.assertEqual(self.active(), 1)

    def test_an_id_below_the_window_is_refused(self):
        request = self.client.request("allocate")
        self.client.send(request)
        self.client.result(request.id)
        self.client.seen_below = self.client.next_id
        self.client.call("ping")
        self.client.send(request)
        with self.assertRaises(Refused) as caught:
            self.client.result(request.id)
        self.assertEqual(caught.exception.reason, "request-id-below-window")
        self.assertEqual(self.active(), 1)

    def test_the_window_slides_over_a_client_that_never_says_what_it_saw(self):
        first = self.client.request("allocate")
        self.client.send(first)
        self.client.result(first.id)
        for _ in range(256):
            self.client.allocate()
        self.client.send(first)
        with self.assertRaises(Refused) as caught:
            self.client.result(first.id)
        self.assertEqual(caught.exception.reason, "request-id-below-window")
        self.assertEqual(self.active(), 257)

    def test_reads_need_no_window(self):
        for _ in range(600):
            self.client.call("set_get")

    def test_ping_comes_back(self):
        self.assertEqual(self.client.call("ping", payload=b"\0\xffx").ping.payload, b"\0\xffx")

    # -- deadlines

    def test_a_deadline_answers_pending_and_the_work_goes_on(self):
        self.daemon.sim("latency", "300000")
        self.addCleanup(self.daemon.sim, "clear")
        with self.daemon.open_iommu() as iommufd, self.daemon.open_device("0000:00:01.0") as device:
            request = self.client.request("device_add", fds=[iommufd, device], deadline_ms=50)
            self.client.send(request, fds=[iommufd, device])
            with self.assertRaises(Refused) as caught:
                self.client.result(request.id)
            self.assertEqual((caught.exception.code, caught.exception.reason), (pb.PENDING, "deadline-passed"))
            request.ClearField("deadline")
            self.client.send(request, fds=[iommufd, device])
        info = self.client.result(request.id).device_add
        self.assertEqual(info.address, "0000:00:01.0")
        self.assertEqual(len(self.client.pages("device_list", "devices")), 1)

    # -- malformed

    def test_garbage_is_refused(self):
        for data in (b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x32" + b"\xff" * 50, b"\x0a\x02\x08"):
            with self.subTest(data=data):
                self.refused_whole("malformed", data)
        self.assertEqual(self.active(), 0)

    def test_an_empty_datagram_is_no_end_of_file(self):
        for _ in range(3):
            self.client.sock.send(b"")
        self.client.call("ping")

    def test_unknown_fields_are_refused(self):
        request = self.client.request("allocate").SerializeToString()
        for reason, unknown in (("unknown-operation", b"\xf8\x7f\x01"), ("unknown-field", b"\x22\x00")):
            inner = request + unknown
            self.refused_whole(reason, b"\x0a" + bytes([len(inner)]) + inner)
        allocate = pb.Allocate(count=1).SerializeToString() + b"\x98\x06\x01"
        inner = b"\x08\x63\x82\x03" + bytes([len(allocate)]) + allocate
        self.refused_whole("unknown-field", b"\x0a" + bytes([len(inner)]) + inner)
        self.assertEqual(self.active(), 0)

    def test_a_field_twice_is_refused(self):
        inner = b"\x08\x05\x08\x06" + self.client.request("ping").SerializeToString()[2:]
        self.client.send_raw(b"\x0a" + bytes([len(inner)]) + inner)
        with self.assertRaises(Refused):
            self.client.receive()

    def test_a_request_without_id_or_operation_is_refused(self):
        for request in (pb.Request(id=50), pb.Request(ping=pb.Ping())):
            self.client.send(request)
            with self.assertRaises(Refused):
                self.client.receive()
        self.client.call("ping")

    def test_the_largest_id_has_no_next_and_is_refused(self):
        for number, reason in ((2**64 - 1, "malformed"), (2**64 - 2, None)):
            data = pb.ToServer(requests=[self.client.request("ping", request_id=number)]).SerializeToString()
            if reason:
                self.refused_whole(reason, data)
            else:
                self.client.send_raw(data)
                self.client.result(number)

    def test_too_many_requests_in_one_datagram_are_refused_whole(self):
        requests = [self.client.request("allocate") for _ in range(257)]
        data = pb.ToServer(requests=requests).SerializeToString()
        self.refused_whole("too-large", data)
        self.assertEqual(self.active(), 0)

    def test_an_oversized_datagram_is_refused(self):
        self.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.refused_whole("too-large", pb.ToServer(requests=[self.client.request("ping")]).SerializeToString() * 9000)
        self.client.call("ping")

    def test_repeated_abuse_closes_the_connection_and_no_other(self):
        with self.daemon.client(hello=False) as other:
            for _ in range(200):
                try:
                    other.send_raw(b"\xff\xff")
                except OSError:
                    break
            self.assertTrue(other.closed())
        self.client.call("ping")

    def test_the_session_of_an_abuser_can_be_resumed(self):
        token = self.client.welcome.resume_token
        self.client.allocate(count=2)
        try:
            for _ in range(200):
                self.client.send_raw(b"\xff\xff")
        except OSError:
            pass
        self.assertTrue(self.client.closed())
        self.client.close()
        self.client = self.daemon.client(resume=token, first_id=self.client.next_id)
        self.assertTrue(self.client.welcome.resumed)
        self.assertEqual(self.active(), 2)

    # -- descriptors

    def files(self, count):
        fds = [os.open("/dev/null", os.O_RDWR) for _ in range(count)]
        self.addCleanup(lambda: [os.close(fd) for fd in fds])
        return fds

    def device_add(self, fds, says=None):
        request = self.client.request("device_add", fds=fds)
        if says is not None:
            request.descriptors = says
        self.client.send(request, fds=fds)
        return request

    def assert_refused(self, request, reason):
        with self.assertRaises(Refused) as caught:
            self.client.result(request.id)
        self.assertEqual(caught.exception.reason, reason)

    def test_descriptors_of_the_wrong_number(self):
        self.assert_refused(self.device_add([]), "descriptor-count")
        self.assert_refused(self.device_add(self.files(1)), "descriptor-count")
        self.assert_refused(self.device_add(self.files(2), says=1), "descriptor-count")

    def test_descriptors_of_no_request(self):
        data = pb.ToServer(requests=[self.client.request("ping")]).SerializeToString()
        self.refused_whole("descriptor-count", data, self.files(2))

    def test_descriptors_with_a_request_that_takes_none(self):
        fds = self.files(1)
        request = self.client.request("allocate", fds=fds)
        self.client.send(request, fds=fds)
        self.assert_refused(request, "descriptor-count")
        self.assertEqual(self.active(), 0)

    def test_descriptors_of_the_wrong_kind(self):
        reader, writer = os.pipe()
        ours, theirs = socket.socketpair()
        path_fd = os.open(self.daemon.simulation / "iommu", os.O_PATH)
        self.addCleanup(lambda: [os.close(fd) for fd in (reader, writer, path_fd)])
        self.addCleanup(lambda: [s.close() for s in (ours, theirs)])
        with self.daemon.open_iommu() as iommufd, self.daemon.open_device("0000:00:02.0") as device:
            for fds in (
                self.files(2),
                [reader, writer],
                [ours.fileno(), theirs.fileno()],
                [path_fd, device],
                [device, iommufd],
                [iommufd, iommufd],
            ):
                with self.subTest(fds=fds):
                    self.assert_refused(self.device_add(fds), "descriptor-kind")
        self.assertEqual(len(self.client.pages("device_list", "devices")), 0)

    def test_a_flood_of_descriptors_leaves_none_behind(self):
        self.device_add(self.files(2))
        self.client.receive()
        before = self.daemon.open_files()
        fds = self.files(250)
        data = pb.ToServer(requests=[self.client.request("ping")]).SerializeToString()
        for _ in range(8):
            self.refused_whole("descriptor-count", data, fds)
        self.assertTrue(eventually(lambda: self.daemon.open_files() <= before + DISPOSERS), self.daemon.open_files())

    def test_descriptors_of_a_connection_that_nobody_reads_are_closed(self):
        before = self.daemon.open_files()
        fds = self.files(100)
        with self.daemon.client(hello=False) as other:
            try:
                for _ in range(60):
                    other.send_raw(b"\xff", fds)
            except (Closed, OSError):
                pass
            other.closed()
        self.assertTrue(eventually(lambda: self.daemon.open_files() <= before + DISPOSERS), self.daemon.open_files())
        self.client.call("ping")


if __name__ == "__main__":
    unittest.main()
