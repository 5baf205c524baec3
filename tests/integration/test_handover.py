# SPDX-License-Identifier: MIT
"""A live session goes from one process to another (F43): no entry is touched, and nobody else gets it."""

import json
import os
import signal
import socket
import threading
import time
import traceback
import unittest

from pasid_client import TIMEOUT, Client, Closed, Daemon, Refused, eventually, host, pb, set_ref
from restarts import Restarts

ONE, TWO, SHARED = (f"0000:00:0{i}.0" for i in (1, 2, 3))
CONFIG = {
    "quarantine": {"cooling_ms": 200},
    "session": {"grace_ms": 700},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
}
STRANGER = 54321  # neither root nor the user of the daemon, who are admins


class Machine:
    """A process that connects when it is told to, calls functions of this file, and lives until it is killed."""

    def __init__(self, path, uid=None):
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            self.ours.close()
            try:
                if uid is not None:
                    os.setgroups([])
                    os.setgid(uid)
                    os.setuid(uid)
                self.live(path, theirs)
            finally:
                os._exit(0)
        theirs.close()
        self.ours.settimeout(TIMEOUT)

    def live(self, path, channel):
        client = None
        while True:
            data, fds, _, _ = socket.recv_fds(channel, 65536, 1)
            if not data:
                return
            name, fields = json.loads(data)
            sent = []
            try:
                if name == "connect":
                    if client is not None:
                        client.close()
                    client = Client(path, hello=False, fd=fds[0] if fds else None)
                    answer = None
                else:
                    answer = globals()[name](client, sent=sent, **fields)
                answer = {"result": answer}
            except Refused as refused:
                answer = {"refused": refused.reason}
            except (Closed, ConnectionError) as error:
                answer = {"closed": str(error)}
            except BaseException:  # pylint: disable=broad-exception-caught
                answer = {"error": traceback.format_exc()}
            socket.send_fds(channel, [json.dumps(answer).encode()], sent)

    def tell(self, name, fd=None, **fields):
        """Its answer, and a descriptor if there was one."""
        socket.send_fds(self.ours, [json.dumps([name, fields]).encode()], [] if fd is None else [fd])
        data, fds, _, _ = socket.recv_fds(self.ours, 65536, 1)
        answer = json.loads(data or '{"error": "it died"}')
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer, (fds[0] if fds else None)

    def do(self, name, fd=None, **fields):
        answer, _ = self.tell(name, fd, **fields)
        if "result" not in answer:
            raise AssertionError(f"{name}: {answer}")
        return answer["result"]

    def refused(self, name, **fields):
        answer, _ = self.tell(name, **fields)
        return answer.get("refused", answer)

    def kill(self):
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = None
            self.ours.close()


# -- what a machine is told to do


def greet(client, sent, **fields):
    del sent
    client.say_hello(**{name: bytes.fromhex(value) for name, value in fields.items()})
    welcome = client.welcome
    return {
        "session": welcome.session,
        "set": welcome.set,
        "token": welcome.resume_token.hex(),
        "resumed": welcome.resumed,
        "last_id": welcome.last_id,
    }


def work(client, sent, simulation, shared=True):
    """A set, devices, and a number that is bound on them."""
    del sent
    daemon = Daemon(start=False)
    daemon.simulation = daemon.folder.__class__(simulation)
    with_set = client.welcome.set == 0
    if with_set:
        client.create("vm")
    devices = [client.add(daemon, address).id for address in (ONE, TWO)]
    if shared:
        devices.append(client.call("device_slice", address=SHARED).device_slice.id)
    for device in devices:
        client.map_memory(device)
    number = client.allocate(guest_pasid=5, data=77)[0]
    client.bind(host(number), *devices[:2])
    other = client.allocate()[0]
    if shared:
        client.bind(host(other), devices[2])
    return {"number": number, "other": other, "devices": devices}


def offer(client, sent, cancel=False):
    request = client.request("hand_over", cancel=cancel)
    client.send(request)
    result = client.result(request.id).hand_over
    sent.extend(client.fds.pop(request.id, ()))
    return result.secret.hex()


def knows(client, sent):
    """All that it can list."""
    del sent
    return {
        "grants": [[g.host_pasid, g.guest_pasid, g.data] for g in client.pages("grant_list", "grants")],
        "devices": [[d.id, d.address] for d in client.pages("device_list", "devices")],
        "bindings": [[b.id, b.host_pasid, b.device] for b in client.pages("binding_list", "bindings")],
    }


def allocate(client, sent, request_id=None):
    del sent
    return client.call("allocate", request_id=request_id).allocate.runs[0].first


def unbind(client, sent, number):
    del sent
    client.unbind(host(number))


def hear(client, sent):
    """The next datagram, which nobody asked for."""
    del sent
    client.receive()


def hang_up(client, sent):
    del sent
    client.close()


class Watcher(threading.Thread):
    """Looks at the tables all the time: which entries were ever missing, or another's."""

    def __init__(self, daemon, wanted):
        super().__init__()
        self.daemon_, self.wanted = daemon, wanted
        self.stopping = threading.Event()
        self.looks, self.wrong = 0, []

    def run(self):
        while not self.stopping.is_set():
            found = self.daemon_.tables()
            self.looks += 1
            if found != self.wanted:
                self.wrong.append(found)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join()


class HandOver(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.admin = self.daemon.admin()
        self.addCleanup(self.admin.close)

    def machine(self, fd=None, uid=None, **fields):
        """A process; with fields one that has said hello so."""
        machine = Machine(self.daemon.socket, uid)
        self.addCleanup(machine.kill)
        machine.do("connect", fd=fd)
        if fields or fd is not None:
            machine.do("greet", **fields)
        return machine

    def first(self, **fields):
        machine = Machine(self.daemon.socket)
        self.addCleanup(machine.kill)
        machine.do("connect")
        self.welcome = machine.do("greet", **fields)
        return machine

    def work(self, machine, **fields):
        return machine.do("work", simulation=str(self.daemon.simulation), **fields)

    def sets(self):
        return {info.name for info in self.admin.pages("set_list", "sets")}

    def ended(self):
        """The session is over, and its set with it; numbers of the shared device wait to be drained."""
        self.assertTrue(eventually(lambda: self.admin.status().sessions == 1))
        self.assertTrue(eventually(lambda: self.daemon.tables() == {}))
        self.assertTrue(eventually(lambda: self.admin.status().devices == 1))

    def counted(self, name):
        return {c.name: c.value for c in self.admin.status().counters}.get(name, 0)

    # F43
    def test_the_entries_stay_where_they_are(self):
        old, new = self.first(), self.machine()
        made = self.work(old)
        before, known = self.daemon.tables(), old.do("knows")
        workers = set(self.daemon.workers())
        self.assertEqual(len(before), 3)
        with Watcher(self.daemon, before) as watcher:
            looks = watcher.looks
            secret = old.do("offer")
            welcome = new.do("greet", take_over=secret)
            self.assertEqual(old.refused("hear"), "handed-over")
            old.kill()
            self.assertTrue(eventually(lambda: watcher.looks > looks + 3))
            time.sleep(1)  # longer than the grace period
            self.assertEqual(new.do("knows"), known)
        self.assertEqual(watcher.wrong, [])
        self.assertGreater(watcher.looks, 5)
        self.assertEqual(self.daemon.tables(), before)
        self.assertLessEqual(workers, set(self.daemon.workers()))
        self.assertEqual((welcome["session"], welcome["resumed"]), (self.welcome["session"], True))
        self.assertNotEqual(welcome["token"], self.welcome["token"])
        self.assertEqual(self.sets(), {"vm"})
        self.assertEqual(self.counted("sessions-handed-over"), 1)
        self.assertTrue(self.admin.status().consistent)
        # and it is the new one's: it changes what the old one made, and takes it along at its end
        new.do("unbind", number=made["number"])
        self.assertEqual(len(self.daemon.tables()), 1)
        new.kill()
        self.ended()

    def test_it_goes_on_from_hand_to_hand(self):
        machine = self.first()
        self.work(machine)
        before = self.daemon.tables()
        for _ in range(10):
            heir = self.machine(take_over=machine.do("offer"))
            machine.kill()
            machine = heir
            machine.do("allocate")
        self.assertEqual(self.daemon.tables(), before)
        self.assertEqual(len(machine.do("knows")["grants"]), 12)
        self.assertEqual(self.admin.status().sessions, 2)
        machine.kill()
        self.ended()

    def test_replies_go_along(self):
        old, new = self.first(), self.machine()
        self.work(old, shared=False)
        number = old.do("allocate", request_id=1000)
        last = new.do("greet", take_over=old.do("offer"))["last_id"]
        self.assertGreaterEqual(last, 1000)
        self.assertEqual(new.do("allocate", request_id=1000), number)
        self.assertNotEqual(new.do("allocate"), number)

    def test_what_the_old_one_asks_for_in_the_same_instant_is_done_once_or_not_at_all(self):
        for round_ in range(20):
            old = self.daemon.client()
            old.create(f"vm{round_}")
            secret = old.call("hand_over").hand_over.secret
            new = self.daemon.client(hello=False)
            hello = new.request("hello", version_min=1, version_max=1, take_over=secret)
            asked = [old.request("allocate") for _ in range(8)]
            for at, request in enumerate(asked):
                if at == round_ % 8:
                    new.send(hello)
                try:
                    old.send(request)
                except (BrokenPipeError, ConnectionResetError):
                    break
            welcome = new.result(hello.id).hello
            told, reason = set(), None
            try:
                while True:
                    old.receive()
            except Refused as refused:
                reason = refused.reason
            except ConnectionResetError:  # the kernel says that first, once; what was sent is there still
                with self.assertRaises(Refused) as caught:
                    while True:
                        old.receive()
                reason = caught.exception.reason
            for request in asked:
                if request.id in old.replies:
                    told.add(old.replies[request.id].allocate.runs[0].first)
            self.assertEqual(reason, "handed-over")
            new.next_id = welcome.last_id + 1
            found = {g.host_pasid for g in new.pages("grant_list", "grants")}
            self.assertEqual(found, told)
            new.close()
            old.close()

    def test_a_death_before_it_is_taken_is_a_death(self):
        old, new = self.first(), self.machine()
        self.work(old)
        secret = old.do("offer")
        old.kill()
        self.ended()
        self.assertEqual(new.refused("greet", take_over=secret), "hand-over-unknown")

    def test_it_may_be_parked_when_it_is_taken(self):
        old, new = self.first(), self.machine()
        self.work(old)
        before = self.daemon.tables()
        secret = old.do("offer")
        old.do("hang_up")
        new.do("greet", take_over=secret)
        old.kill()
        time.sleep(1)  # longer than the grace period
        self.assertEqual(self.daemon.tables(), before)
        self.assertEqual(self.sets(), {"vm"})

    # -- attacks

    def test_one_of_many_gets_it(self):
        old = self.first()
        self.work(old)
        before = self.daemon.tables()
        secret = old.do("offer")
        machines = [self.machine() for _ in range(6)]
        hello = json.dumps(["greet", {"take_over": secret}]).encode()
        for machine in machines:
            machine.ours.send(hello)
        answers = [json.loads(machine.ours.recv(65536)) for machine in machines]
        self.assertEqual(sorted(a.get("refused", "") for a in answers), [""] + ["hand-over-unknown"] * 5)
        self.assertEqual(self.daemon.tables(), before)
        self.assertEqual(self.counted("sessions-handed-over"), 1)

    def test_the_old_ones_token_brings_nothing_back(self):
        old, new, again = self.first(), self.machine(), self.machine()
        self.work(old)
        secret = old.do("offer")
        new.do("greet", take_over=secret)
        for fields in ({"resume_token": self.welcome["token"]}, {"resume_token": secret}):
            self.assertEqual(again.refused("greet", **fields), "resume-token-unknown")
        for taken in (secret, self.welcome["token"], secret[:-2], secret + "00", "00" * 16):
            self.assertEqual(again.refused("greet", take_over=taken), "hand-over-unknown")
        new.do("allocate")

    def test_cancelled_and_replaced_secrets_are_void(self):
        old, new = self.first(), self.machine()
        self.work(old)
        void = [old.do("offer")]
        void.append(old.do("offer"))
        old.do("offer", cancel=True)
        for secret in void:
            self.assertEqual(new.refused("greet", take_over=secret), "hand-over-unknown")
        new.do("greet", take_over=old.do("offer"))

    def test_who_has_no_business_with_it_does_not_get_it(self):
        old = self.first()
        self.work(old)
        secret = old.do("offer")
        if os.geteuid() == 0:
            os.chmod(self.daemon.folder, 0o755)
            other = self.machine(uid=STRANGER)
            self.assertEqual(other.refused("greet", take_over=secret), "hand-over-unknown")
        refused = self.admin.request("hello", version_min=1, version_max=1, take_over=bytes.fromhex(secret))
        self.admin.send(refused)
        with self.assertRaises(Refused) as caught:
            self.admin.result(refused.id)
        self.assertEqual(caught.exception.reason, "hello-twice")
        both = self.daemon.client(hello=False)
        self.addCleanup(both.close)
        hello = pb.Hello(version_min=1, version_max=1, take_over=bytes.fromhex(secret)).SerializeToString()
        hello += pb.Hello(resume_token=bytes(16)).SerializeToString()
        request = b"\x08\x01\x82\x01" + bytes([len(hello)]) + hello
        both.send_raw(b"\x0a" + bytes([len(request)]) + request)
        with self.assertRaises(Refused) as caught:
            both.receive()
        self.assertEqual(caught.exception.reason, "malformed")
        self.machine(take_over=secret)

    # -- handed connections

    # F43, F46
    def test_a_handed_connection_gets_a_successor(self):
        self.admin.create("vm")
        request = self.admin.request("set_connect", set=set_ref("vm"))
        self.admin.send(request)
        self.admin.result(request.id)
        fd = self.admin.fds.pop(request.id)[0]
        old = self.machine(fd=fd)
        os.close(fd)
        self.work(old)
        before, known = self.daemon.tables(), old.do("knows")
        for _ in range(3):
            answer, fd = old.tell("offer")
            secret = answer["result"]
            # the secret alone is nothing, and nor is the connection
            self.assertEqual(self.machine().refused("greet", take_over=secret), "hand-over-unknown")
            new = Machine(self.daemon.socket)
            self.addCleanup(new.kill)
            new.do("connect", fd=fd)
            os.close(fd)
            self.assertEqual(new.refused("greet"), "hand-over-unknown")
            welcome = new.do("greet", take_over=secret)
            self.assertEqual((welcome["token"], welcome["resumed"]), ("", True))
            self.assertEqual(old.refused("hear"), "handed-over")
            old.kill()
            time.sleep(0.1)
            self.assertEqual(self.daemon.tables(), before)
            self.assertEqual(new.do("knows"), known)
            old = new
        old.kill()
        self.assertTrue(eventually(lambda: self.daemon.tables() == {}))
        self.assertEqual(self.sets(), {"vm"})
        self.assertTrue(eventually(lambda: self.admin.status().devices == 1))  # the shared one
        self.assertTrue(self.admin.status().consistent)

    def test_a_descriptor_that_is_just_passed_on_ends_with_who_said_hello(self):
        self.admin.create("vm")
        request = self.admin.request("set_connect", set=set_ref("vm"))
        self.admin.send(request)
        self.admin.result(request.id)
        fd = self.admin.fds.pop(request.id)[0]
        self.addCleanup(os.close, fd)
        old = self.machine(fd=fd)
        self.work(old)
        new = Machine(self.daemon.socket)
        self.addCleanup(new.kill)
        new.do("connect", fd=fd)
        self.assertEqual(new.refused("greet"), "hello-twice")
        old.kill()
        self.assertTrue(eventually(lambda: self.daemon.tables() == {}))
        self.assertIn("closed", new.tell("greet")[0])


class Restarted(Restarts):
    """The daemon ends in between."""

    kill = True

    def setUp(self):
        self.begin(session={"grace_ms": 5000})

    def machine(self):
        machine = Machine(self.daemon.socket)
        self.addCleanup(machine.kill)
        machine.do("connect")
        return machine

    def test_a_secret_does_not_outlive_the_daemon_and_what_was_taken_does(self):
        old, new = self.machine(), self.machine()
        token = old.do("greet")["token"]
        made = old.do("work", simulation=str(self.daemon.simulation))
        before = self.daemon.tables()
        secret = old.do("offer")
        self.restart()
        new.do("connect")
        self.assertEqual(new.refused("greet", take_over=secret), "hand-over-unknown")
        old.do("connect")
        old.do("greet", resume_token=token)
        secret = old.do("offer")
        taken = new.do("greet", take_over=secret)["token"]
        old.kill()
        for _ in range(2):
            # as if the daemon had died before it could answer
            self.restart()
            self.assertEqual(self.machine().refused("greet", take_over=secret), "hand-over-unknown")
            self.assertEqual(self.machine().refused("greet", resume_token=token), "resume-token-unknown")
            new.do("connect")
            self.assertEqual(new.do("greet", take_over=secret)["token"], taken)
        self.restart()
        new.do("connect")
        new.do("greet", resume_token=taken)
        self.assertEqual(self.daemon.tables(), before)
        new.do("unbind", number=made["number"])


if __name__ == "__main__":
    unittest.main()
