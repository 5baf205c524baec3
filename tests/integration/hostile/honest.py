# SPDX-License-Identifier: MIT
"""Clients that want nothing but to be served, and write down how long it took."""

import contextlib
import json
import os
import signal
import socket
import time
import traceback

from pasid_client import Client, Refused, guest, pb

DEADLINE_MS = 10000  # of every request; an answer after that is no answer
REQUESTS = 6  # of a round
PACE = 0.025  # seconds for a round: the load of eight machines that start processes, not of a benchmark


class Diary:
    """Times of requests, sent to whoever judges: [[operation, when, seconds], ...]."""

    def __init__(self, sock):
        self.sock = sock
        self.samples = []

    def say(self, **what):
        self.sock.send(json.dumps(what).encode())

    @contextlib.contextmanager
    def timed(self, operation):
        started = time.monotonic()
        try:
            yield
        except Refused as refusal:
            self.say(refused=refusal.reason, operation=operation, text=str(refusal), at=started)
            raise
        self.samples.append((operation, round(started, 4), round(time.monotonic() - started, 6)))
        if len(self.samples) >= 100:
            self.flush()

    def flush(self):
        if self.samples:
            self.say(samples=self.samples)
        self.samples = []


class Machine:
    """A virtual machine with a device, one number that is bound all the time, and others that come and go."""

    def __init__(self, daemon, name, address, shared):
        self.client = Client(daemon.socket)
        self.set = self.client.create(name, pasids=2000)
        self.address = address
        if shared:
            self.device = self.client.call("device_slice", address=address).device_slice.id
        else:
            self.device = self.client.add(daemon, address).id
        self.client.map_memory(self.device)
        self.kept = self.client.allocate(guest_pasid=1)[0]
        self.client.bind(guest(1), self.device)
        self.guest = 1

    def about(self):
        return {"set": self.set.id, "name": self.set.name, "device": self.device, "pasid": self.kept,
                "address": self.address}

    def round(self, diary):
        client = self.client
        self.guest = self.guest % 60000 + 2
        number = pb.PasidRef(guest=self.guest)
        pairs = [pb.BindPair(device=self.device, table=pb.Table(space=1))]

        def call(operation, **fields):
            with diary.timed(operation):
                return client.call(operation, deadline_ms=DEADLINE_MS, **fields)

        taken = call("allocate", guest_pasid=self.guest, data=self.guest).allocate.runs[0].first
        found = call("guest_find", guest_pasid=self.guest).guest_find.host_pasid
        assert found == taken, f"allocated {taken}, found {found}"
        assert call("bind", pasid=number, pairs=pairs).bind.host_pasid == taken
        assert call("guest_find", guest_pasid=1).guest_find.host_pasid == self.kept
        call("unbind", pasid=number)
        call("free", pasids=[pb.PasidRef(host=taken)])
        client.seen_below = client.next_id
        client.replies.clear()


class Newcomer:
    """Connects anew each time, for what it is like to arrive in a crowd."""

    pace = 0.2

    def __init__(self, daemon, name):
        self.path, self.name, self.rounds = daemon.socket, name, 0

    @staticmethod
    def about():
        return {}

    def round(self, diary):
        self.rounds += 1
        with diary.timed("hello"):
            client = Client(self.path)
        with contextlib.closing(client):
            with diary.timed("set_create"):
                client.create(f"{self.name}-{self.rounds}")
            with diary.timed("allocate"):
                client.allocate()
            with diary.timed("set_destroy"):
                client.call("set_destroy", force=True)


class Honest:
    """Such a client as a process, with what it wrote."""

    def __init__(self, make):
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.samples, self.refusals, self.failure, self.ended = [], [], None, False
        self.stopped = False
        self.pid = os.fork()
        if self.pid == 0:
            self.sock.close()
            live(make, theirs)
        theirs.close()
        self.sock.settimeout(30)
        first = self.take()
        if "failure" in first:
            raise AssertionError(first["failure"])
        self.about = first["about"]

    def take(self):
        data = self.sock.recv(1 << 20)
        return json.loads(data) if data else {"ended": True, "failure": None if self.ended else "it died"}

    def listen(self):
        """Takes in what it wrote so far."""
        if self.stopped:
            return
        self.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while not self.ended:
                self.note(self.take())

    def note(self, entry):
        self.samples.extend(entry.get("samples", ()))
        if "refused" in entry:
            self.refusals.append(entry)
        self.failure = self.failure or entry.get("failure")
        self.ended = self.ended or "ended" in entry

    def stop(self):
        """Ends it after its round; what it wrote last is taken in."""
        if self.stopped:
            return
        self.stopped = True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self.sock.settimeout(DEADLINE_MS / 1000 + 10)
        try:
            while not self.ended:
                self.note(self.take())
        except TimeoutError:
            self.failure = self.failure or "it does not end: a request is lost"
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.sock.close()


def live(make, sock):
    """The process. What is refused is told, and the next round tried; what is lost ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    diary = Diary(sock)
    try:
        who = make()
        diary.say(about=who.about())
        pace = getattr(who, "pace", PACE)
        while not stopped(sock):
            started = time.monotonic()
            with contextlib.suppress(Refused):
                who.round(diary)
            time.sleep(max(0.0, started + pace - time.monotonic()))
        diary.flush()
        diary.say(ended=True)
    except BaseException:  # pylint: disable=broad-exception-caught
        with contextlib.suppress(OSError):
            diary.say(ended=True, failure=traceback.format_exc())
    finally:
        os._exit(0)


def stopped(sock):
    try:
        return sock.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False


def with_those_not_asked(values, interval):
    """
    Who waits for an answer asks nothing meanwhile, so that a pause of the daemon would count once. What would have been
    asked in that time, one request each interval, would have waited for the rest of it.
    """
    found = []
    for seconds in values:
        while seconds > 0:
            found.append(seconds)
            seconds -= interval
            if seconds < interval:
                break
    return found


def percentile(values, share):
    """Of values that need not be sorted; None of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None
