# SPDX-License-Identifier: MIT
"""The soak of scripts/soak: VMMs that come, work, leave and crash, and a daemon that is restarted and killed."""

import argparse
import collections
import fcntl
import json
import mmap
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
import traceback

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "integration"))

# pylint: disable=wrong-import-position
from hostile.judge import ENVIRONMENT, Judge  # noqa: E402
from machine import Machine, told  # noqa: E402
from manager import Manager  # noqa: E402
from pasid_client import Closed, Refused  # noqa: E402
from restarts import ONE, SHARED, TWO  # noqa: E402

NUMBERS = 1 << 20
GONE = (Closed, ConnectionError, FileNotFoundError)
LIFE = (2.0, 20.0)  # seconds that a VMM lives
PACE = 0.25  # seconds between two of its requests, on average
RESTART = (3.0, 8.0)  # seconds between two ends of the daemon
AWAY_SECONDS = 30.0  # that a VMM waits for a daemon that is away
SETTLE_SECONDS = 60.0
MEMORY = 4096  # KiB that the daemon may have more after the second half than after the first


def config(clients):
    return {
        "namespace": {"policy": "lowest"},  # one that is granted twice is not long in coming
        "quarantine": {"cooling_ms": 20},
        "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
        "simulate": {"devices": [{"address": address} for address in (ONE, TWO, SHARED)]},
        "limits": {"connections": {"user": 4 * clients + 64}},
    }


class Failed(Exception):
    """What did not hold."""


def is_away(why):
    """The connection is lost; or the daemon is about to stop, which says that nothing was done."""
    return not isinstance(why, Refused) or why.reason == "shutting-down"


class Owners:
    """Whose each number is, for all processes: a byte for each, 0 for nobody. Used like a dictionary."""

    def __init__(self):
        self.names = mmap.mmap(-1, NUMBERS)
        self.lock = tempfile.TemporaryFile(prefix="pasidd-soak-")

    def setdefault(self, number, name):
        """Whose it is; from now on the caller's, if it was nobody's."""
        fcntl.lockf(self.lock, fcntl.LOCK_EX)  # which a process that is killed lets go
        try:
            if self.names[number] == 0:
                self.names[number] = name
            return self.names[number]
        finally:
            fcntl.lockf(self.lock, fcntl.LOCK_UN)

    def pop(self, number, _):
        self.names[number] = 0

    def forget(self, name):
        """Of somebody who does nothing any more."""
        at = self.names.find(bytes([name]))
        while at >= 0:
            self.names[at] = 0
            at = self.names.find(bytes([name]), at + 1)


class Tenant(Machine):
    """One VMM, in a process of its own."""

    numbers = 12
    counts = (1, 2, 8)
    guests = range(1, 64)
    pasids = 500

    def __init__(self, daemon, slot, generation, seed, owners):
        self.generation = generation
        super().__init__(daemon, slot, (None, ONE, TWO)[slot] if slot <= 2 else None, seed, owners)
        self.lost = self.restarts = 0
        self.leaving = False
        signal.signal(signal.SIGTERM, self.leave_soon)

    def set_name(self):
        return f"vm{self.name}.{self.generation}"

    def leave_soon(self, *_):
        self.leaving = True

    def connect_again(self):
        end = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                self.come_back()
                return
            except (*GONE, Refused) as why:
                if not is_away(why):
                    raise
                if time.monotonic() > end:
                    raise
                time.sleep(self.chance.uniform(0.01, 0.1))

    def take_up(self):
        """After a death of the daemon: what was acknowledged is there; what was under way is asked for again."""
        self.connect_again()
        found = told(self.client.pages("grant_list", "grants"))
        lost, fresh = self.compare(found)
        if self.unanswered is not None:
            try:
                reply = self.ask(self.unanswered)
            except Refused as refused:
                if is_away(refused):
                    raise
                known = self.records()
                touched = {number: (known.get(number), found.get(number)) for number in self.touched(self.unanswered)}
                raise AssertionError(f"refused: {self.unanswered} {refused}; known, found: {touched}") from None
            if fresh and set(self.took(reply)) != fresh:
                raise AssertionError(f"{sorted(fresh)} were granted, and the reply says {self.took(reply)}")
        self.lost += lost
        self.restarts += 1

    def once(self):
        self.unanswered = self.choose()
        self.about_to(self.unanswered)
        self.ask(self.unanswered)

    def live(self, until):
        """Whatever happens to the daemon; then what it has is compared once more."""
        interrupted = False
        while True:
            try:
                if interrupted:
                    self.take_up()
                    interrupted = False
                elif self.leaving or time.monotonic() > until:
                    self.lost += self.compare(told(self.client.pages("grant_list", "grants")))[0]
                    return
                else:
                    self.once()
                    time.sleep(self.chance.expovariate(1 / PACE))
            except (*GONE, Refused) as why:
                if not is_away(why):
                    raise
                interrupted = True

    def end(self):
        """Ends its set, however often the daemon dies over it."""
        for number in list(self.grants):
            self.leave(number)
        self.grants = {}
        request = self.client.request("set_destroy", force=True)
        while True:
            try:
                self.ask(request)
                return
            except (*GONE, Refused) as why:
                if not is_away(why):
                    raise
                if not self.is_there_still():
                    return

    def is_there_still(self):
        """After a death of the daemon: a session whose set was ended may have ended with it."""
        try:
            self.connect_again()
            return True
        except (AssertionError, Refused):
            return False


def tenant_run(daemon, slot, generation, seed, owners, writer):
    """The process of a VMM; never returns. Reports what it found as one line of JSON."""
    chance = random.Random(seed)
    try:
        try:
            tenant = Tenant(daemon, slot, generation, seed, owners)
        except (*GONE, Refused):  # the daemon is away; or the earlier one's device is not free yet
            report(writer, {"early": 1})
        tenant.live(time.monotonic() + chance.uniform(*LIFE))
        if chance.random() < 0.7:
            tenant.end()
        else:  # as if it crashed: nothing is said, the process is gone
            owners.forget(slot)
        report(writer, {"acknowledged": tenant.acknowledged, "lost": tenant.lost, "double": tenant.doubles,
                        "resumed": tenant.restarts, "vmms": 1})
    except BaseException:  # pylint: disable=broad-exception-caught
        owners.forget(slot)  # others get them now
        report(writer, {"error": traceback.format_exc()})


def report(writer, what):
    os.write(writer, json.dumps(what).encode() + b"\n")
    os._exit(0)


class Place:
    """Where one VMM after the other runs."""

    def __init__(self, soak, slot):
        self.soak, self.slot = soak, slot
        self.pid, self.reader, self.generation, self.start_at = None, None, 0, 0.0

    def start(self):
        self.generation += 1
        self.reader, writer = os.pipe()
        seed = f"{self.soak.options.seed}/{self.slot}/{self.generation}"
        ours = (signal.SIGINT, signal.SIGTERM)  # whose handlers are the parent's until the child has its own
        signal.pthread_sigmask(signal.SIG_BLOCK, ours)
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.reader)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent ends us
            signal.signal(signal.SIGTERM, lambda *_: report(writer, {"early": 1}))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)
            tenant_run(self.soak.daemon, self.slot, self.generation, seed, self.soak.owners, writer)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)
        os.close(writer)

    def poll(self):
        """Takes what it reported, if it has ended. Whether nobody is there."""
        if self.pid is None:
            return True
        if os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            return False
        with os.fdopen(self.reader) as told_us:
            line = told_us.readline()
        found = json.loads(line or '{"error": "a VMM died"}')
        if "error" in found:
            self.soak.failures.append(f"VMM {self.slot}.{self.generation}: {found['error'].strip()[-600:]}")
        self.soak.counts.update({name: n for name, n in found.items() if name != "error"})
        self.pid = None
        self.start_at = time.monotonic() + random.uniform(0.02, 0.5)
        return True

    def crash(self):
        """SIGKILL. What it had is nobody's from before that: the daemon may give it to others at once."""
        os.kill(self.pid, signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            self.soak.owners.forget(self.slot)
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.soak.counts["crashed"] += 1
        os.close(self.reader)
        self.pid = None


class Soak:
    def __init__(self, options):
        self.options = options
        self.chance = random.Random(options.seed)
        self.counts, self.failures = collections.Counter(), []
        self.owners = Owners()
        self.daemon = Manager(config(options.clients), environment=ENVIRONMENT)
        self.daemon.keep = options.keep
        self.places = [Place(self, slot + 1) for slot in range(options.clients)]
        self.started, self.shown = time.monotonic(), 0.0
        self.marks = []

    # -- what happens

    def restart(self):
        """By a signal that it may obey, or by SIGKILL; what it stored is given to the next one."""
        kill = self.chance.random() < 0.5
        self.daemon.restart(kill)
        self.counts["kills" if kill else "restarts"] += 1

    def check(self):
        if self.daemon.process.poll() is not None:
            raise Failed(f"pasidd has ended with {self.daemon.process.returncode}: {self.daemon.log()[-2000:]}")
        if len(self.failures) >= 3:
            raise Failed("too much fails")

    def work(self, seconds, what):
        until, restart_at = time.monotonic() + seconds, time.monotonic() + RESTART[0]
        while (now := time.monotonic()) < until:
            for place in self.places:
                if place.poll() and now > place.start_at:
                    place.start()
            if self.chance.random() < self.options.clients / 1000:
                place = self.chance.choice(self.places)
                if place.pid is not None:
                    place.crash()
            self.check()
            if now > restart_at:
                self.restart()
                restart_at = time.monotonic() + self.chance.uniform(*RESTART)
            self.show(what)
            time.sleep(0.05)

    def all_leave(self):
        """Everybody compares once more, and ends its set or its process."""
        end = time.monotonic() + SETTLE_SECONDS
        while not all([place.poll() for place in self.places]):
            for place in self.places:
                if place.pid is not None:
                    os.kill(place.pid, signal.SIGTERM)
            if time.monotonic() > end:
                raise Failed("a VMM does not leave")
            self.show("all leave")
            time.sleep(0.2)

    def settle(self):
        """Nothing is left of anybody: what is, is leaked. The daemon is measured after a start of its own."""
        self.daemon.restart()
        judge = Judge(self.daemon)
        end = time.monotonic() + SETTLE_SECONDS
        while True:
            self.show("settling")
            judge.drain()
            now = judge.look()
            now["entries"] = len(self.daemon.tables())
            left = {what: now[what] for what in ("sets", "bindings", "pasids", "entries", "operations")}
            left["devices"] = now["devices"] - 1  # the shared one
            left["sessions"] = now["sessions"] - 1  # the judge's
            left = {what: count for what, count in left.items() if count}
            if not left or time.monotonic() > end:
                break
            time.sleep(0.1)
        judge.close()
        now["lanes"] = len(self.daemon.stored())  # of workers, which are no children of a daemon that adopted them
        now["state"] = sum(path.stat().st_blocks // 2 for path in self.daemon.folder.glob("*state*") if path.is_file())
        if not now["consistent"]:
            self.failures.append("a recount contradicts the counters")
        self.counts["leaked"] += sum(left.values())
        if left:
            self.failures.append("left over: " + ", ".join(f"{count} {what}" for what, count in left.items()))
        self.marks.append(now)

    def run(self):
        half = 60 * self.options.minutes / 2
        for what in ("first half", "second half"):
            self.work(half, what)
            self.all_leave()
            self.settle()

    # -- what came of it

    def verdict(self):
        found = list(self.failures)
        found += [f"{self.counts[what]} {what}" for what in ("lost", "double") if self.counts[what]]
        first, second = self.marks
        for what in ("files", "workers", "lanes"):
            if second[what] > first[what] + 2:
                found.append(f"{second[what]} {what}, were {first[what]}")
        if not self.options.asan and second["memory"] > first["memory"] + MEMORY:
            found.append(f"{second['memory']} KiB of memory, were {first['memory']}")
        if self.counts["vmms"] < self.options.clients or not self.counts["kills"] or not self.counts["resumed"]:
            found.append(f"too little happened: {dict(self.counts)}")
        return found

    def summary(self):
        count = self.counts
        return (f"{count['vmms'] + count['crashed']} VMMs, {count['crashed']} of them killed; {count['restarts']} restarts "
                f"and {count['kills']} kills of the daemon, {count['resumed']} sessions resumed; "
                f"{count['acknowledged']} requests acknowledged")

    def print_result(self):
        print(self.summary())
        print(f"{'':14s}{'first half':>12s}{'second half':>13s}")
        for what in ("memory", "state", "files", "workers", "lanes"):
            unit = " KiB" if what in ("memory", "state") else ""
            print(f"{what + unit:14s}{self.marks[0][what]:>12d}{self.marks[1][what]:>13d}")

    def show(self, what):
        now = time.monotonic()
        if not sys.stdout.isatty() or now < self.shown + 0.5:
            return
        self.shown = now
        print(f"\r\x1b[K{now - self.started:5.0f} s  {what}: {self.summary()[:95]}", end="", flush=True)

    def close(self):
        for place in self.places:
            if place.pid is not None:
                os.kill(place.pid, signal.SIGKILL)
                os.waitpid(place.pid, 0)
        if sys.stdout.isatty():
            print("\r\x1b[K", end="", flush=True)
        self.daemon.cleanup()


def parse():
    parser = argparse.ArgumentParser(prog="scripts/soak", add_help=False)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", default=str(random.SystemRandom().getrandbits(32)))
    parser.add_argument("--clients", type=int, default=200, choices=range(3, 251), metavar="N")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--asan", action="store_true")
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args()


def interrupt(*_):
    raise Failed("interrupted")


def main():
    options = parse()
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    failed, soak = [], None
    print(f"seed {options.seed}, {options.clients} VMMs at a time, {options.minutes:g} minutes", flush=True)
    try:
        soak = Soak(options)
        soak.run()
        failed = soak.verdict()
        if options.json:
            print(json.dumps({"seed": options.seed, "counts": soak.counts, "marks": soak.marks, "failed": failed}))
        else:
            soak.print_result()
    except (Failed, AssertionError) as why:
        failed = [str(why), *(soak.failures if soak else ())]
    finally:
        try:
            if soak is not None:
                soak.close()
        except AssertionError as why:
            failed.append(str(why))
    if soak is not None and options.keep:
        print(f"kept: {soak.daemon.folder}")
    if soak is not None:
        print(" ".join(f"{what}={soak.counts[what]}" for what in ("lost", "double", "leaked")))
    print(f"soak: FAILED: {'; '.join(failed[:10])}" if failed else "soak: ok")
    sys.exit(1 if failed else 0)


main()
