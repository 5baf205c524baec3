# SPDX-License-Identifier: MIT
"""Up to eight clients at once: what they were told is what one after the other could have been told (linear.py).

Some are killed while they wait, and so is the daemon, whose clients ask again; each change is done once. A failure prints the
seed and keeps the history. PASIDD_TEST_LINEAR_SECONDS: for how long clients ask, in all.
"""

import contextlib
import json
import os
import pathlib
import random
import signal
import tempfile
import time
import traceback
import unittest
import warnings

from linear import NEVER, RESTING, UNKNOWN, NotLinearizable, Numbers, Op, check
from pasid_client import TIMEOUT, Client, Closed, Daemon, Refused, guest, host, pb, set_ref

SECONDS = float(os.environ.get("PASIDD_TEST_LINEAR_SECONDS", "4"))
SEED = os.environ.get("PASIDD_TEST_LINEAR_SEED")
ROUND = 1.0  # seconds that clients ask in one history
# Nothing comes back by time: what is freed rests until an admin ends that.
CONFIG = {"quarantine": {"cooling_ms": 3600000}, "session": {"grace_ms": 20000}}
FIRST, COUNT, QUOTA, GUESTS, BATCH = 2000, 8, 5, 4, 4
READS = {"host_find", "guest_find", "set_get"}
LOSES = 0.1  # how often a client loses its connection


# ---------------------------------------------------------------- the checker, with histories that somebody thought of


def op(client, name, call, back, result, **args):
    return Op(client, name, args, call, back, result)


def allocate(client, call, back, *hosts, set="a", count=None):
    return op(client, "allocate", call, back, hosts, set=set, low=1, high=4, count=count or len(hosts))


class Checker(unittest.TestCase):
    """It must be able to say no."""

    def model(self, **quotas):
        return Numbers(1, 4, quotas or {"a": 4, "b": 4})

    def yes(self, *history, **quotas):
        check(self.model(**quotas), list(history))

    def no(self, *history, **quotas):
        with self.assertRaises(NotLinearizable) as caught:
            check(self.model(**quotas), list(history))
        return caught.exception.op

    def test_one_after_the_other(self):
        self.yes(
            allocate(1, 0, 1, 3),
            op(1, "host_find", 2, 3, ("a", None, 0), host=3),
            op(1, "free", 4, 5, (1, 0), set="a", hosts=[3]),
            op(1, "host_find", 6, 7, ("a", RESTING), host=3),
            op(1, "free", 8, 9, (0, 1), set="a", hosts=[3]),
            op(1, "quarantine_end", 10, 11, (), host=3),
            op(1, "host_find", 12, 13, None, host=3),
            allocate(2, 14, 15, 3, set="b"),
        )

    def test_a_double_grant(self):
        self.no(allocate(1, 0, 1, 3), allocate(2, 2, 3, 3, set="b"))
        self.no(allocate(1, 0, 10, 3), allocate(2, 1, 9, 3, set="b"))
        self.no(allocate(1, 0, 10, 2, 2))
        self.yes(allocate(1, 0, 10, 3), allocate(2, 1, 9, 4, set="b"))

    def test_reuse_before_its_time(self):
        freed = [allocate(1, 0, 1, 3), op(1, "free", 2, 6, (1, 0), set="a", hosts=[3])]
        self.no(*freed, allocate(2, 7, 8, 3, set="b"))
        end = op(9, "quarantine_end", 3, 9, (), host=3)
        self.yes(*freed, end, allocate(2, 5, 8, 3, set="b"))
        self.no(*freed, op(9, "quarantine_end", 3, 9, "not-active", host=3), allocate(2, 5, 8, 3, set="b"))

    def test_a_stale_read(self):
        written = [
            allocate(1, 0, 1, 3),
            op(1, "data_set", 2, 3, (), set="a", host=3, data=7),
            op(2, "data_set", 4, 8, (), set="a", host=3, data=9),
        ]
        for call, back in ((5, 6), (5, 9)):
            for data in (7, 9):
                self.yes(*written, op(3, "host_find", call, back, ("a", None, data), host=3))
            self.no(*written, op(3, "host_find", call, back, ("a", None, 0), host=3))
        self.no(*written, op(3, "host_find", 9, 10, ("a", None, 7), host=3))
        # and back again: one saw the new value before another one, later, the old
        self.no(
            *written,
            op(3, "host_find", 5, 5.5, ("a", None, 9), host=3),
            op(4, "host_find", 6, 7, ("a", None, 7), host=3),
        )

    def test_a_lost_update(self):
        both = [
            allocate(1, 0, 1, 3),
            op(1, "guest_attach", 2, 5, (), set="a", host=3, guest=1),
            op(2, "set_adjust", 2, 5, (2, 1), set="a", quota=2),
        ]
        self.yes(*both, op(1, "set_get", 6, 7, (2, 1, 1), set="a"), op(1, "guest_find", 6, 7, 3, set="a", guest=1))
        self.no(*both, op(1, "set_get", 6, 7, (4, 1, 1), set="a"))
        self.no(*both, op(1, "guest_find", 6, 7, "guest-pasid-unknown", set="a", guest=1))

    def test_a_change_that_would_change_nothing_now_may_come_later(self):
        both = [
            op(1, "set_adjust", 0, 5, (4, 0), set="a", quota=4),
            op(2, "set_adjust", 1, 3, (2, 0), set="a", quota=2),
        ]
        for quota in (2, 4):
            self.yes(*both, op(3, "set_get", 6, 7, (quota, 0, 0), set="a"))
        self.no(*both, op(3, "set_get", 6, 7, (3, 0, 0), set="a"))

    def test_refusals_need_their_reason(self):
        self.no(op(1, "allocate", 0, 1, "none-free", set="a", low=1, high=4, count=1))
        self.no(op(1, "allocate", 0, 1, "set-quota", set="a", low=1, high=4, count=4))
        self.yes(op(1, "allocate", 0, 1, "set-quota", set="a", low=1, high=4, count=4), a=3)
        self.no(op(1, "allocate", 0, 1, (1, 2, 3, 4), set="a", low=1, high=4, count=4), a=3)
        self.yes(allocate(1, 0, 1, 1, 2), op(2, "allocate", 2, 3, "none-free", set="b", low=1, high=2, count=1))
        self.no(allocate(1, 0, 1, 1, 2), op(2, "free", 2, 3, (1, 0), set="b", hosts=[1]))
        self.yes(allocate(1, 0, 1, 1, 2), op(2, "free", 2, 3, "no-pasid", set="b", hosts=[1]))
        self.no(allocate(1, 0, 1, 1, 2), op(2, "host_find", 2, 3, ("a", None, 0), host=1, set="b"))

    def test_what_never_came_back_may_have_been_done_or_not(self):
        lost = op(1, "allocate", 0, NEVER, UNKNOWN, set="a", low=1, high=4, count=2)
        for used, active in ((0, 0), (2, 2)):
            self.yes(lost, op(2, "set_get", 5, 6, (4, used, active), set="a"))
        self.no(lost, op(2, "set_get", 5, 6, (4, 1, 1), set="a"))
        self.no(lost, op(2, "set_get", 5, 6, (4, 2, 2), set="a"), op(2, "set_get", 7, 8, (4, 0, 0), set="a"))
        self.yes(lost, op(2, "set_get", 5, 6, (4, 0, 0), set="a"), op(2, "set_get", 7, 8, (4, 2, 2), set="a"))
        # not before it was asked for
        lost.call = 7
        self.no(lost, op(2, "set_get", 5, 6, (4, 2, 2), set="a"))

    def test_what_one_client_sends_keeps_its_order(self):
        def history(order):
            first, second = allocate(1, 0, 9, 3), op(1, "free", 0, 9, "no-pasid", set="a", hosts=[3])
            first.order = second.order = order
            return first, second

        self.yes(*history(None))
        self.no(*history("a"))

    def test_many_at_once(self):
        """Eight who overlap all the time, in every order."""
        rng = random.Random(1)
        for _ in range(20):
            hosts, history = list(range(1, 9)), []
            rng.shuffle(hosts)
            for at, number in enumerate(hosts):
                history.append(op(at, "allocate", at / 8, 10 + at, (number,), set="a", low=1, high=8, count=1))
                history.append(op(at, "set_get", 1, 12, (8, at, at), set="a"))
            check(Numbers(1, 8, {"a": 8}), history)
            history[0].result = history[2].result
            with self.assertRaises(NotLinearizable):
                check(Numbers(1, 8, {"a": 8}), history)


# ---------------------------------------------------------------- clients


class Lost(Exception):
    """The session is not there any more."""


class Asker:
    """A client in a process of its own. What it asks is written down before it is sent, what comes when it has come."""

    def __init__(self, daemon, number, rng, own, sets, first):
        self.daemon, self.number, self.rng, self.own, self.sets, self.first = daemon, number, rng, own, sets, first
        self.path = daemon.folder / f"history-{number}"
        self.asked = {}  # id: request
        self.count = 0

    # -- in the process

    def connect(self):
        if self.own is None:
            self.client = self.daemon.admin()
        else:
            self.client = self.daemon.client()
            self.client.create(self.own, pasids=QUOTA)
        self.token = self.client.welcome.resume_token
        self.log = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, *words):
        os.write(self.log, json.dumps(words).encode() + b"\n")

    def any_set(self):
        return self.own if self.own is not None else self.rng.choice(self.sets)

    def any_host(self):
        return self.first + self.rng.randrange(COUNT)

    def choose(self):
        """(name, args) of the model."""
        rng, name = self.rng, self.any_set()
        low, high = sorted((self.any_host(), self.any_host()))
        guest_pasid = rng.randint(1, GUESTS)
        data = rng.randrange(1, 1 << 20)
        choices = [
            (6, "allocate", {"set": name, "low": low, "high": high, "count": rng.choice((1, 1, 1, 2)), "data": data}),
            (2, "allocate", {"set": name, "low": low, "high": high, "count": 1, "data": data, "guest": guest_pasid}),
            (4, "free", {"set": name, "hosts": rng.sample(range(self.first, self.first + COUNT), rng.choice((1, 1, 2)))}),
            (3, "guest_attach", {"set": name, "host": self.any_host(), "guest": guest_pasid}),
            (2, "guest_detach", {"set": name, "guest": guest_pasid}),
            (2, "guest_find", {"set": name, "guest": guest_pasid}),
            (3, "host_find", {"host": self.any_host(), **({} if self.own is None else {"set": name})}),
            (2, "data_set", {"set": name, "host": self.any_host(), "data": data}),
            (2, "set_get", {"set": name}),
        ]
        if self.own is None:
            choices += [
                (8, "quarantine_end", {"host": self.any_host()}),
                (1, "set_adjust", {"set": name, "quota": rng.randrange(1, COUNT + 1)}),
            ]
        return rng.choices([choice[1:] for choice in choices], [choice[0] for choice in choices])[0]

    def request(self, name, args):
        fields = {"set": set_ref(args["set"])} if "set" in args and name != "host_find" else {}
        if name == "allocate":
            fields |= {"min": args["low"], "max": args["high"], "count": args["count"], "data": args["data"]}
            if "guest" in args:
                fields["guest_pasid"] = args["guest"]
        elif name == "free":
            fields["pasids"] = [host(number) for number in args["hosts"]]
        elif name == "data_set":
            fields |= {"pasid": host(args["host"]), "data": args["data"]}
        elif name == "set_adjust":
            fields["pasids"] = args["quota"]
        else:
            fields |= {f"{key}_pasid": args[key] for key in ("host", "guest") if key in args}
        return self.client.request(name, **fields)

    @staticmethod
    def result(name, reply):
        """As the model has it."""
        if reply.HasField("status"):
            retry = reply.status.code in (pb.RETRY, pb.PENDING)
            return f"retry {reply.status.reason}" if retry else reply.status.reason
        told = getattr(reply, name, None)
        if name == "allocate":
            return [run.first + i for run in told.runs for i in range(run.count)]
        if name == "free":
            return [told.freed, told.unchanged]
        if name == "guest_find":
            return told.host_pasid
        if name == "host_find":
            if told.state == pb.GRANT_IDLE:
                return None
            if told.state == pb.GRANT_QUARANTINED:
                return [told.set_name, RESTING]
            return [told.set_name, told.guest_pasid if told.HasField("guest_pasid") else None, told.data]
        if name == "set_adjust":
            return [told.pasids.limit, told.pasids.current]
        if name == "set_get":
            return [told.pasids.limit, told.pasids.current, told.active]
        return []

    def send(self):
        for _ in range(self.rng.randint(1, BATCH)):
            name, args = self.choose()
            request = self.request(name, args)
            self.asked[request.id] = (self.count, name, request)
            self.write("call", self.count, time.monotonic_ns(), name, args)
            self.count += 1
        self.client.seen_below = min(self.asked)
        self.client.send(*(request for _, _, request in self.asked.values()))

    def receive(self):
        while self.asked:
            self.client.receive()
            now = time.monotonic_ns()
            for key in [key for key in self.asked if key in self.client.replies]:
                number, name, _ = self.asked.pop(key)
                self.write("back", number, now, self.result(name, self.client.replies.pop(key)))

    def again(self):
        """The connection is lost: takes the session up again, and asks for what there was no reply to."""
        end = time.monotonic() + TIMEOUT
        while True:
            first_id = self.client.next_id
            self.client.close()
            try:
                self.client = Client(self.daemon.socket, hello=False, first_id=first_id)
                self.client.say_hello(resume_token=self.token)
                if self.asked:
                    self.write("again", [number for number, _, _ in self.asked.values()])
                    self.client.send(*(request for _, _, request in self.asked.values()))
                    self.receive()
                return
            except Refused as refused:
                raise Lost(refused) from refused
            except (OSError, Closed):
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def live(self, ready, go):
        self.connect()
        ready.write(b".")
        ready.flush()
        os.read(go, 1)
        end = time.monotonic() + ROUND
        while time.monotonic() < end:
            try:
                self.send()
                if self.rng.random() < LOSES:
                    time.sleep(self.rng.uniform(0, 0.03))
                    raise Closed  # the answers are there, and nobody has read them
                self.receive()
            except (OSError, Closed):
                self.again()
        self.write("end")
        ready.write(b".")
        ready.flush()
        os.read(go, 1)  # its set lives as long as others look at it

    def start(self, ready, go):
        self.pid = os.fork()
        if self.pid == 0:
            try:
                signal.alarm(int(TIMEOUT * 4))
                warnings.simplefilter("ignore", ResourceWarning)  # sockets of a daemon that is not there
                self.live(ready, go)
            except BaseException:  # pylint: disable=broad-exception-caught
                self.write("failed", traceback.format_exc())
                ready.write(b"!")
                ready.flush()
            finally:
                os._exit(0)

    # -- in the test

    def history(self):
        ops = {}
        for line in self.path.read_text().splitlines():
            kind, *words = json.loads(line)
            if kind == "call":
                number, when, name, args = words
                ops[number] = Op(self.number, name, args, when, order=args.get("set") if name != "host_find" else None)
            elif kind == "back":
                number, when, result = words
                if isinstance(result, str) and result.startswith("retry"):
                    del ops[number]  # nothing was done
                    continue
                ops[number].back = when
                ops[number].result = tuple(result) if isinstance(result, list) else result
            elif kind == "again":
                for number in words[0]:
                    if ops[number].name in READS:  # it looks anew, perhaps behind changes that followed it
                        ops[number].order = None
            elif kind == "failed":
                raise AssertionError(f"client {self.number}: {words[0]}")
        return list(ops.values())


class Clients(unittest.TestCase):
    """Two ranges, each with a shared set and the sets of two VMMs; nothing of one is about the other."""

    def setUp(self):
        self.seed = SEED or str(random.SystemRandom().randrange(1 << 32))
        self.rng = random.Random(self.seed)
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)

    def make(self, round_, arenas, each):
        """[(first number, sets, askers)]"""
        made = []
        with self.daemon.admin() as admin:
            for arena in range(arenas):
                first = FIRST + (round_ * arenas + arena) * COUNT
                sets = [f"shared-{round_}-{arena}"]
                admin.create(sets[0], pasids=QUOTA)
                owns = [f"own-{round_}-{arena}-{n}" if n < each // 2 else None for n in range(each)]
                sets += [own for own in owns if own is not None]
                askers = [
                    Asker(self.daemon, f"{round_}-{arena}-{n}", random.Random(self.rng.random()), own, sets, first)
                    for n, own in enumerate(owns)
                ]
                made.append((first, sets, askers))
        return made

    @contextlib.contextmanager
    def running(self, askers):
        """All of them have begun; afterwards all have ended."""
        ready, said = os.pipe()
        go, release = os.pipe()
        with os.fdopen(said, "wb") as writer:
            for asker in askers:
                asker.start(writer, go)
        try:
            self.heard(ready, len(askers))
            os.write(release, b"." * len(askers))
            yield
            self.heard(ready, sum(asker.pid is not None for asker in askers))
        finally:
            for fd in (ready, go, release):
                os.close(fd)
            for asker in askers:
                self.kill(asker)

    def heard(self, ready, count):
        for _ in range(count):
            if os.read(ready, 1) != b".":
                break  # its history says why

    def kill(self, asker):
        if asker.pid is not None:
            os.kill(asker.pid, signal.SIGKILL)
            os.waitpid(asker.pid, 0)
            asker.pid = None

    def disturb(self, askers, daemon):
        """Kills an admin while it waits; and the daemon, so often."""
        time.sleep(ROUND * self.rng.uniform(0.2, 0.4))
        self.kill(self.rng.choice([asker for asker in askers if asker.own is None]))
        for _ in range(daemon):
            time.sleep(ROUND * self.rng.uniform(0.1, 0.3))
            self.daemon.process.kill()
            self.daemon.process.wait()
            self.daemon.start()

    def judge(self, made):
        """How many operations there were, and how often two were under way at once."""
        operations = overlaps = 0
        for first, sets, askers in made:
            history = sorted((op for asker in askers for op in asker.history()), key=lambda op: op.call)
            try:
                check(Numbers(first, COUNT, {name: QUOTA for name in sets}), history)
            except BaseException as error:
                kept = pathlib.Path(tempfile.mkdtemp(prefix="pasidd-history-")) / "history"
                kept.write_text("".join(f"{op}\n" for op in history))
                raise AssertionError(f"seed {self.seed}, all of it in {kept}: {error}") from error
            operations += len(history)
            overlaps += sum(a.client != b.client and b.call < a.back for a, b in zip(history, history[1:]))
        return operations, overlaps

    def play(self, arenas, each, disturb=False, daemon=0, share=1.0):
        end = time.monotonic() + SECONDS * share
        operations = overlaps = round_ = 0
        while round_ == 0 or time.monotonic() < end:
            made = self.make(round_, arenas, each)
            askers = [asker for _, _, some in made for asker in some]
            with self.running(askers):
                if disturb:
                    self.disturb(askers, daemon)
            some, at_once = self.judge(made)
            operations, overlaps, round_ = operations + some, overlaps + at_once, round_ + 1
        self.assertGreater(overlaps, operations / 10, "they did not meet")
        with self.daemon.admin() as admin:
            self.assertTrue(admin.status().consistent)
        return operations

    def test_eight_clients(self):
        self.assertGreater(self.play(arenas=2, each=4, share=0.4), 200)

    def test_eight_clients_of_one_range(self):
        self.assertGreater(self.play(arenas=1, each=8, share=0.2), 100)

    def test_a_client_is_killed(self):
        self.play(arenas=2, each=4, disturb=True, share=0.2)

    def test_the_daemon_is_killed(self):
        self.play(arenas=2, each=4, disturb=True, daemon=2, share=0.2)


if __name__ == "__main__":
    unittest.main()
