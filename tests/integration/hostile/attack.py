# SPDX-License-Identifier: MIT
"""What an attack is, what it finds in front of itself, and how it is run: in a process of its own, as another user.

An attack is a function with a name that does something hostile until its time is over. It fails, with AssertionError,
when the daemon answers what it must not answer, or not at all. What it costs others is judged from outside.
"""

import collections
import contextlib
import dataclasses
import errno
import json
import os
import random
import resource
import select
import signal
import socket
import time
import traceback

from pasid_client import Client, Closed, Refused, pb

ATTACKS = {}
HANDED = set()  # those that want a handed connection

# What an attacker may be told at any time, because it, or another attacker of its user, is at a limit.
LOAD = frozenset(
    ("limit", "too-many-requests", "user-quota", "host-quota", "set-quota", "no-memory", "request-window-full",
     "operation-in-progress")
)
STUCK_SECONDS = 40  # after its time, an attack that is still there waits for an answer that does not come


def attack(function):
    """Registers an attack under its name."""
    name = function.__name__.replace("_", "-")
    assert name not in ATTACKS, name
    ATTACKS[name] = function
    return function


def handed(function):
    """Registers an attack that wants a handed connection, if there is one to be had."""
    HANDED.add(function.__name__.replace("_", "-"))
    return function


@dataclasses.dataclass
class Place:
    """What attackers know of the host: where the daemon is, what is theirs, and what is others'."""

    socket: str
    simulation: str
    devices: list  # addresses of functions that attackers may register
    shared: str = None  # one that they may have a slice of
    foreign: dict = dataclasses.field(default_factory=dict)  # sets, names, devices, pasids of the honest
    uid: int = None  # whose the attackers are; None: the caller's
    hello_ms: int = 10000
    hands: object = None  # take() gives a handed connection, or None
    handed: int = None  # such a connection, in the process of the attack

    @property
    def is_admin(self):
        return self.uid is None


class Ground:
    """One run of one attack."""

    def __init__(self, place, seed, seconds):
        self.place = place
        self.rng = random.Random(seed)
        self.end = time.monotonic() + seconds
        self.reasons = collections.Counter()
        self.counts = collections.Counter()  # connections, requests, disconnects, ...

    def over(self):
        return time.monotonic() > self.end

    def left(self):
        return max(0.0, self.end - time.monotonic())

    def rest(self, seconds):
        time.sleep(min(seconds, self.left()))

    def repeat(self, action):
        """Does it until the time is over, at least once; a disconnection ends one round of it."""
        while True:
            try:
                action()
            except Exception as error:  # pylint: disable=broad-exception-caught
                if not gone(error):
                    raise
                self.counts["turned away"] += 1
                self.rest(0.005)
            if self.over():
                return

    # -- connections

    def foe(self, **options):
        """A connection with a session."""
        return Foe(self, **options)

    def machine(self, **fields):
        """A session with a set of its own."""
        foe = Foe(self)
        foe.create(self.name(), **fields)
        return foe

    def raw(self):
        """A connected socket that does not wait; None when the daemon accepts no more for now."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            sock.connect(self.place.socket)
        except (BlockingIOError, ConnectionRefusedError):
            sock.close()
            self.counts["not accepted"] += 1
            return None
        self.counts["connections"] += 1
        return sock

    def name(self):
        return f"foe-{os.getpid()}-{self.rng.getrandbits(48):x}"

    # -- what is expected

    def refused(self, foe, reasons, operation, fds=(), **fields):
        """A request that must be refused for one of these reasons, or for load."""
        try:
            reply = foe.call(operation, fds=fds, **fields)
        except Refused as refusal:
            assert refusal.reason in reasons or refusal.reason in LOAD, (
                f"{operation} {fields}: refused with {refusal}, expected one of {sorted(reasons)}"
            )
            return refusal.status
        raise AssertionError(f"{operation} {fields}: expected {sorted(reasons)}, was answered {reply}")

    @contextlib.contextmanager
    def device(self, address):
        """Descriptors of a fresh iommufd and of a device, as a VMM opens them."""
        fds = []
        try:
            fds.append(os.open(f"{self.place.simulation}/iommu", os.O_RDWR | os.O_CLOEXEC))
            fds.append(os.open(f"{self.place.simulation}/devices/{address}", os.O_RDWR | os.O_CLOEXEC))
            yield fds
        finally:
            for fd in fds:
                os.close(fd)


class Foe(Client):
    """A client whose refusals and disconnections are counted, and that can send without caring."""

    def __init__(self, ground, **options):
        self.ground = ground
        ground.counts["connections"] += 1
        super().__init__(ground.place.socket, **options)

    def seen(self, message):
        if message.HasField("refused"):
            self.ground.reasons[message.refused.reason] += 1
        for reply in message.replies:
            self.ground.counts["replies"] += 1
            if reply.HasField("status"):
                self.ground.reasons[reply.status.reason] += 1

    def receive(self):
        try:
            return super().receive()
        except (Closed, ConnectionResetError, BrokenPipeError):
            self.ground.counts["disconnects"] += 1
            raise

    def throw(self, data, fds=()):
        """Sends bytes if there is room for them; was there?"""
        self.sock.setblocking(False)
        try:
            self.send_raw(data, fds)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            self.ground.counts["disconnects"] += 1
            raise
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:  # the kernel's own limit of descriptors on their way
                raise
            self.ground.counts["too many on their way"] += 1
            return False
        self.ground.counts["datagrams"] += 1
        return True

    def drain(self, timeout=0.0):
        """Reads what there is; waits for the first datagram. Returns how many there were."""
        count = 0
        self.sock.setblocking(False)
        try:
            while select.select([self.sock], [], [], 0 if count else timeout)[0]:
                with contextlib.suppress(Refused):
                    self.receive()
                count += 1
        except BlockingIOError:
            pass
        self.replies.clear()
        self.events.clear()
        return count

    def patient(self, seconds=20.0):
        self.sock.settimeout(seconds)
        return self


def gone(error):
    """Is this how it feels to be disconnected, or turned away for load?"""
    if isinstance(error, Refused):
        return error.reason in LOAD
    if isinstance(error, OSError) and error.errno == errno.ETOOMANYREFS:
        return True  # the kernel's own limit of a user's descriptors on their way
    return isinstance(error, (Closed, ConnectionResetError, BrokenPipeError))


def as_user(uid):
    """Becomes another user for good."""
    if uid is None:
        return
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def perform(name, place, seed, seconds):
    """Does it in this process; returns what is to be reported."""
    ground = Ground(place, seed, seconds)
    report = {"attack": name, "seed": seed}
    started = time.monotonic()
    try:
        ATTACKS[name](ground)
    except BaseException as error:  # pylint: disable=broad-exception-caught
        if gone(error):
            ground.counts["turned away"] += 1
        else:
            report["failure"] = traceback.format_exc()
    report["seconds"] = round(time.monotonic() - started, 3)
    report["reasons"], report["counts"] = dict(ground.reasons), dict(ground.counts)
    return report


def launch(name, place, seed, seconds, results):
    """Forks a process that attacks and sends its report to the socket `results`; returns its number."""
    hand = place.hands.take() if place.hands and name in HANDED else None
    pid = os.fork()
    if pid:
        if hand is not None:
            os.close(hand)
        return pid
    place = dataclasses.replace(place, handed=hand)
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setpgid(0, 0)
        os.nice(10)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 1 << 14)), hard))
        as_user(place.uid)
        results.send(json.dumps(perform(name, place, seed, seconds)).encode())
        status = 0
    finally:
        os._exit(status)


def end(pid):
    """Kills an attack with all that it forked."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def run(name, place, seed, seconds):
    """Runs one attack to its end; returns its report."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        pid = launch(name, place, seed, seconds, theirs)
        theirs.close()
        ours.settimeout(seconds + STUCK_SECONDS)
        try:
            data = ours.recv(1 << 20)
        except TimeoutError:
            data = b""
        end(pid)
        _, status = os.waitpid(pid, 0)
    if data:
        return json.loads(data)
    why = f"it is stuck, or was ended (wait status {status:#x})"
    return {"attack": name, "seed": seed, "failure": why, "seconds": seconds, "reasons": {}, "counts": {}}


def to_server(*requests, seen_below=0):
    return pb.ToServer(requests=requests, seen_below=seen_below).SerializeToString()
