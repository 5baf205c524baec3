# SPDX-License-Identifier: MIT
"""The Python client of bindings/python with a daemon that stops, lies, or hangs up: a script in its place."""

import contextlib
import os
import pathlib
import socket
import tempfile
import threading
import time
import unittest

from pasid_client import TIMEOUT
from python_package import pasid

pb = pasid.pb
TOKEN = b"token of a session"


class Script(threading.Thread):
    """Listens, and gives each connection to the next of its functions."""

    def __init__(self, path, *functions):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        self.listener.listen()
        self.listener.settimeout(TIMEOUT)
        self.functions = functions
        self.connections = 0
        self.error = None
        self.start()

    def run(self):
        try:
            for function in self.functions:
                with self.listener.accept()[0] as self.sock:
                    self.sock.settimeout(TIMEOUT)
                    self.connections += 1
                    function(self)
        except BaseException as error:  # pylint: disable=broad-exception-caught
            self.error = error
        finally:
            self.listener.close()

    def read(self):
        return pb.ToServer.FromString(self.sock.recv(65536))

    def send(self, **fields):
        self.sock.send(pb.ToClient(**fields).SerializeToString())

    def hello(self, **fields):
        """Hello is answered; what it said."""
        (request,) = self.read().requests
        welcome = {"version": 1, "resume_token": TOKEN, "grace_ms": 300, **fields}
        self.send(replies=[pb.Reply(id=request.id, hello=pb.HelloResult(**welcome))])
        return request.hello

    def resumed(self):
        assert self.hello(resumed=True).resume_token == TOKEN


def status(reason, code=pb.RETRY, **fields):
    return pb.Status(code=code, reason=reason, message="so it is", **fields)


class Faults(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="pasid-script-")
        self.addCleanup(folder.cleanup)
        self.path = str(pathlib.Path(folder.name) / "socket")
        self.script = None

    def begin(self, *functions, **options):
        self.script = Script(self.path, *functions)
        client = pasid.Client(self.path, **{"timeout": TIMEOUT, **options})
        self.addCleanup(client.close)
        return client

    def end(self):
        self.script.join(TIMEOUT)
        if self.script.error is not None:
            raise self.script.error

    def test_a_daemon_that_is_about_to_stop_is_asked_again_by_the_same_id(self):
        seen = []

        def stops(script):
            script.hello()
            (request,) = script.read().requests
            seen.append(request)
            script.send(replies=[pb.Reply(id=request.id, status=status("shutting-down"))])

        def serves(script):
            script.resumed()
            (request,) = script.read().requests
            seen.append(request)
            result = pb.AllocateResult(runs=[pb.PasidRun(first=7, count=1)])
            script.send(replies=[pb.Reply(id=request.id, allocate=result)])
            with contextlib.suppress(ConnectionResetError):
                script.sock.recv(1)

        with self.begin(stops, serves) as client:
            self.assertEqual(client.allocate(), [7])
        self.end()
        self.assertEqual(seen[0], seen[1])

    def test_what_was_answered_is_not_sent_again(self):
        seen = []

        def first(script):
            script.hello()
            requests = script.read().requests
            script.send(replies=[pb.Reply(id=requests[1].id, ping=pb.PingResult(payload=b"two"))])

        def second(script):
            script.resumed()
            message = script.read()
            seen.extend(message.requests)
            assert message.seen_below == message.requests[0].id
            script.send(replies=[pb.Reply(id=each.id, ping=pb.PingResult(payload=each.ping.payload)) for each in seen])

        client = self.begin(first, second)
        calls = [client.start("ping", payload=payload) for payload in (b"one", b"two", b"three")]
        self.assertEqual([call.result().ping.payload for call in calls], [b"one", b"two", b"three"])
        self.end()
        self.assertEqual([each.ping.payload for each in seen], [b"one", b"three"])
        self.assertEqual([each.id for each in seen], [calls[0].id, calls[2].id])

    def test_a_daemon_that_hangs_up_at_once_is_not_asked_for_ever(self):
        client = self.begin(Script.hello, *[lambda script: None] * 1000)
        start = time.monotonic()
        with self.assertRaises(pasid.NotConnected) as caught:
            client.ping()
        self.assertLess(time.monotonic() - start, TIMEOUT / 2)
        self.assertLess(self.script.connections, 10)
        self.assertIn("could not be taken up", str(caught.exception))

    def test_a_session_that_is_forgotten(self):
        def forgets(script):
            (request,) = script.read().requests
            script.send(replies=[pb.Reply(id=request.id, status=status("resume-token-unknown", pb.NOT_FOUND))])

        client = self.begin(Script.hello, forgets)
        with self.assertRaises(pasid.NotConnected) as caught:
            client.ping()
        self.assertEqual(caught.exception.__cause__.reason, "resume-token-unknown")
        with self.assertRaises(pasid.NotConnected) as caught:
            client.start("ping")
        self.assertFalse(caught.exception.sent)

    def test_another_session_than_the_one_that_was_lost_is_none(self):
        client = self.begin(Script.hello, Script.hello)
        with self.assertRaises(pasid.NotConnected):
            client.ping()

    def test_turned_away_before_anything_was_said(self):
        with self.assertRaises(pasid.Refused) as caught:
            self.begin(lambda script: script.send(refused=status("limit", pb.QUOTA, limit=pb.Limit(limit=4, used=4))))
        self.assertEqual((caught.exception.reason, caught.exception.limit), ("limit", 4))

    def test_a_refused_datagram_is_all_that_is_refused(self):
        def refuses(script):
            script.hello()
            first = script.read().requests
            second = script.read().requests
            script.send(refused=status("malformed", pb.INVALID, object=second[0].id))
            script.send(replies=[pb.Reply(id=each.id, ping=pb.PingResult(payload=b"!")) for each in first])
            with contextlib.suppress(ConnectionResetError):
                script.sock.recv(1)

        client = self.begin(refuses)
        one = client.start("ping")
        client.process()
        two = [client.start("ping"), client.start("ping")]
        self.assertEqual(one.result().ping.payload, b"!")
        for call in two:
            with self.assertRaises(pasid.Refused) as caught:
                call.result()
            self.assertEqual(caught.exception.reason, "malformed")

    def test_codes_and_fields_of_later_versions(self):
        def later(script):
            script.hello(features=["teleport"])
            (request,) = script.read().requests
            reply = pb.Reply(id=request.id, status=status("too-late")).SerializeToString()
            reply = reply.replace(b"\x08\x0c", b"\x08\x63")  # code 99
            body = reply + b"\xfa\x3f\x01x"  # and a field 1023
            script.sock.send(b"\x0a" + bytes([len(body)]) + body)
            with contextlib.suppress(ConnectionResetError):
                script.sock.recv(1)

        client = self.begin(later)
        with self.assertRaises(pasid.Refused) as caught:
            client.ping()
        self.assertEqual((caught.exception.code, caught.exception.reason), (pasid.Code.INTERNAL, "too-late"))

    def test_bytes_that_are_no_message_end_the_connection(self):
        def lies(script):
            script.hello()
            script.read()
            script.sock.send(b"\xff" * 10)
            with contextlib.suppress(ConnectionResetError):
                assert script.sock.recv(1) == b""

        def serves(script):
            script.resumed()
            (request,) = script.read().requests
            script.send(replies=[pb.Reply(id=request.id, ping=pb.PingResult(payload=b"!"))])

        self.assertEqual(self.begin(lies, serves).ping(), b"!")
        self.end()

    def test_descriptors_that_nobody_asked_for_are_closed(self):
        def gives(script):
            script.hello()
            (request,) = script.read().requests
            replies = [pb.Reply(id=99, descriptors=1), pb.Reply(id=request.id, set_connect=pb.SetInfo())]
            socket.send_fds(script.sock, [pb.ToClient(replies=replies).SerializeToString()], [0, 0])
            with contextlib.suppress(ConnectionResetError):
                script.sock.recv(1)

        client = self.begin(gives)
        before = len(os.listdir("/proc/self/fd"))
        with self.assertRaises(pasid.ProtocolError):
            client.set_connect("vm")
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_a_request_too_large_for_a_datagram(self):
        def small(script):
            script.hello(datagram_limit=512)
            with contextlib.suppress(ConnectionResetError):
                script.sock.recv(1)

        client = self.begin(small)
        with self.assertRaises(ValueError):
            client.free(*range(1, 200))
        with self.assertRaises(OSError):
            client.start("memory_map", fds=[1 << 20])


if __name__ == "__main__":
    unittest.main()
