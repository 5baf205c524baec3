# SPDX-License-Identifier: MIT
"""Every limit of a user: reached, named by its refusal, counted, no matter to other users, and free again at the end."""

import json
import os
import signal
import socket
import time
import traceback
import unittest

from hostile.attack import Ground, as_user
from hostile.field import Field, attacker_user
from hostile.limits import FILLERS, USER, Full, config
from pasid_client import Client, Closed, Daemon, Refused, eventually, host, pb

# At these a client is not refused: it is not read from.
SILENT = {"unread_bytes", "received_descriptors"}
SLOW_MS = 150  # of the hardware, so that work is under way


class Taker:
    """A process of the other user that takes all it can get of something, and keeps it."""

    def __init__(self, place, name):
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            self.live(place, name, writer)
        os.close(writer)
        with os.fdopen(reader) as answers:
            self.answer = json.loads(answers.readline() or '{"failure": "it died"}')

    @staticmethod
    def live(place, name, writer):
        try:
            as_user(place.uid)
            Client.patience = 5  # other tests' descriptors count, too
            refusal = FILLERS[name](Full(Ground(place, name, 0)))
            answer = {}
            if refusal is not None:
                status = refusal.status
                answer = {"reason": status.reason, "message": status.message, "code": status.code,
                          "limit": status.limit.limit, "used": status.limit.used}
            os.write(writer, json.dumps(answer).encode() + b"\n")
            signal.pause()
        except BaseException:  # pylint: disable=broad-exception-caught
            os.write(writer, json.dumps({"failure": traceback.format_exc()}).encode() + b"\n")
        finally:
            os._exit(1)

    def end(self):
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.pid = None


@unittest.skipUnless(os.geteuid() == 0, "only root can be several users")
class Limits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.field = Field(machines=1, uid=attacker_user(), changes={"limits": config()})
        cls.addClassCleanup(cls.field.cleanup)
        cls.addClassCleanup(cls.field.stop_honest)
        cls.daemon = cls.field.daemon
        cls.admin = cls.daemon.admin()
        cls.addClassCleanup(cls.admin.close)

    def accounts(self):
        """{key: use} of the other user."""
        listed = self.admin.pages("limit_list", "limits")
        uid = self.field.place.uid
        return {info.key: info.use for info in listed if info.level == pb.LIMIT_USER and info.uid == uid}

    def be_another_user(self):
        """Everything that the other user has no room for."""
        with self.daemon.client() as client:
            client.create("another", pasids=10)
            device = client.call("device_slice", address=self.field.place.shared).device_slice.id
            client.map_memory(device)
            number = client.allocate(guest_pasid=77)[0]
            client.bind(host(number), device)
            client.call("watch")
            client.call("set_destroy", force=True)

    def drain(self):
        for device in self.admin.pages("device_list", "devices"):
            if device.kind == pb.DEVICE_SHARED:
                self.admin.call("device_drained", device=device.id)

    def check(self, name):
        key = f"limits.{name}.user"
        if name == "operations":
            self.daemon.sim("latency", str(SLOW_MS * 1000), "--call", "attach")
            self.addCleanup(self.daemon.sim, "clear")
        taker = Taker(self.field.place, name)
        self.addCleanup(taker.end)
        answer = taker.answer
        self.assertNotIn("failure", answer, answer.get("failure"))
        use = self.accounts()[key]
        if name not in SILENT:
            self.assertIn(key, answer.get("message", ""), answer)
            self.assertEqual(answer["limit"], USER[name], answer)
            self.assertIn(answer["code"], (pb.QUOTA, pb.RETRY), answer)
            self.assertGreater(use.hits, 0, f"{key}: {use}")
        self.assertEqual(use.limit, USER[name])
        self.assertLessEqual(use.peak, use.limit)
        self.assertGreater(use.peak, use.limit / 2)
        self.daemon.sim("clear")
        started = time.monotonic()
        self.be_another_user()
        self.assertLess(time.monotonic() - started, 2)
        taker.end()

        def nothing_left():
            self.drain()
            return not [key for key, use in self.accounts().items() if use.current]

        self.assertTrue(eventually(nothing_left), self.accounts())
        self.assertTrue(self.admin.status().consistent)
        self.field.machines[0].listen()
        self.assertEqual((self.field.machines[0].failure, self.field.machines[0].refusals), (None, []))

    def test_every_limit_has_a_test(self):
        keys = {info.key for info in self.admin.pages("limit_list", "limits") if info.level == pb.LIMIT_HOST}
        self.assertEqual({f"limits.{name}.host" for name in FILLERS}, keys)


def add_tests():
    for name in FILLERS:
        setattr(Limits, "test_" + name, lambda self, name=name: self.check(name))


add_tests()

class UnreadDescriptors(unittest.TestCase):
    """What the daemon has passed on is its own user's, for the kernel, until it is read or nobody has the other end."""

    MOST = 8

    def setUp(self):
        self.daemon = Daemon({"limits": {"connections": {"user": self.MOST}}})
        self.addCleanup(self.daemon.cleanup)
        self.client = self.daemon.client()
        self.client.create("vm")
        self.kept = []
        self.addCleanup(lambda: [client.close() for client in self.kept])

    def again(self):
        """The session, on another connection; the daemon gives up the one that it had."""
        client = self.daemon.client(resume=self.client.welcome.resume_token)
        self.kept.append(self.client)
        self.client = client

    def ask_and_not_read(self):
        requests = [self.client.request("set_export") for _ in range(8)]
        self.client.send(*requests)
        with self.daemon.client() as other:  # until then they are answered
            other.call("ping")

    def leave_unread(self, leave):
        """How many connections can be left with descriptors in them; the refusal of one more."""
        for count in range(3 * self.MOST):
            try:
                self.ask_and_not_read()
                leave()
            except Refused as refused:
                return count, refused.reason
        return None

    def check_room(self):
        def room():
            try:
                return self.daemon.client()
            except (Refused, Closed, ConnectionError):
                return None

        client = eventually(room)
        self.assertIsNotNone(client)
        client.close()

    def test_who_leaves_them_unread_stays_charged_for_the_connection(self):
        count, reason = self.leave_unread(self.again)
        self.assertEqual(reason, "limit")
        self.assertLess(count, self.MOST)
        for client in self.kept:
            client.close()
        self.check_room()

    def test_to_say_nothing_more_is_no_way_out(self):
        def leave():
            self.client.sock.shutdown(socket.SHUT_WR)
            self.again()

        count, reason = self.leave_unread(leave)
        self.assertEqual(reason, "limit")
        self.assertLess(count, self.MOST)

    def test_what_was_sent_can_still_be_read_and_makes_room(self):
        count, _ = self.leave_unread(self.again)
        for client in self.kept:
            with self.assertRaises(Closed):
                while True:
                    client.receive()
            self.assertEqual(len(client.fds), 8)
            for fds in client.fds.values():
                os.close(*fds)
        self.assertEqual(len(self.kept), count)
        self.check_room()


if __name__ == "__main__":
    unittest.main()
