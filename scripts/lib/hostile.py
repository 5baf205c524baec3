# SPDX-License-Identifier: MIT
"""The siege of scripts/hostile: a daemon, honest clients, and everybody who wants to harm them; scripts/hostile --help."""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "integration"))

# pylint: disable=wrong-import-position
from hostile import ATTACKS, end, launch  # noqa: E402
from hostile.attack import STUCK_SECONDS  # noqa: E402
from hostile.field import ATTACKED, Field, attacker_user  # noqa: E402
from hostile.honest import PACE, REQUESTS, Newcomer, percentile, with_those_not_asked  # noqa: E402
from hostile.judge import Judge  # noqa: E402
from pasid_client import daemon_user  # noqa: E402

OWN_LIMITS = {"limit", "user-quota", "too-many-requests"}  # that somebody of the same user may have used up
HANG_SECONDS = 2.0  # between two hangs of the attackers' own hardware
SETTLE_SECONDS = 30.0
FIRST_GROWTH = 32768  # KiB: tables of fixed size that are touched for the first time


class Failed(Exception):
    """What did not hold."""


class Deck:
    """The attacks in an order that a seed repeats; each comes once before any comes again."""

    def __init__(self, seed, scale):
        self.seed, self.scale = seed, scale
        self.rng, self.names, self.drawn = random.Random(seed), [], 0

    def draw(self):
        """(name, seed, seconds)"""
        if not self.names:
            self.names = sorted(ATTACKS)
            self.rng.shuffle(self.names)
        self.drawn += 1
        return self.names.pop(), f"{self.seed}/{self.drawn}", self.rng.uniform(0.4, 1.6) * self.scale


class Slot:
    """One attacker, and the attack it is at."""

    def __init__(self, siege):
        self.siege = siege
        self.pid, self.name, self.until = None, None, 0.0

    def start(self, left):
        self.name, seed, seconds = self.siege.deck.draw()
        seconds = min(seconds, left)
        self.until = time.monotonic() + seconds + STUCK_SECONDS
        self.pid = launch(self.name, self.siege.field.place, seed, seconds, self.siege.theirs)

    def poll(self):
        """Has it ended?"""
        if self.pid is None:
            return True
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0 and time.monotonic() < self.until:
            return False
        end(self.pid)
        if pid == 0:
            os.waitpid(self.pid, 0)
            self.siege.failures.append(f"{self.name} is stuck: it waits for an answer")
        elif status != 0:
            self.siege.failures.append(f"{self.name} ended with the wait status {status:#x}")
        self.pid = None
        return True

    def kill(self):
        if self.pid is not None:
            end(self.pid)
            os.waitpid(self.pid, 0)
            self.pid = None


class Siege:
    def __init__(self, options):
        self.options = options
        self.attacks, self.reasons, self.counts = (collections.Counter() for _ in range(3))
        self.failures, self.limited = [], 0
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setblocking(False)
        self.field = Field(machines=options.clients, uid=None if options.same_user else attacker_user())
        self.field.daemon.keep = options.keep
        self.judge = None
        # In a short siege too every attack comes in each half.
        self.deck = Deck(options.seed, min(1.0, options.seconds / 60))
        self.slots = [Slot(self) for _ in range(options.attackers)]
        self.started, self.hang_at, self.shown = time.monotonic(), 0.0, 0.0
        self.marks = {}

    # -- what happens

    def listen(self):
        """Takes in what attackers and honest clients have to say."""
        with contextlib.suppress(BlockingIOError):
            while True:
                report = json.loads(self.ours.recv(1 << 20))
                self.attacks[report["attack"]] += 1
                self.reasons.update(report["reasons"])
                self.counts.update(report["counts"])
                if "failure" in report:
                    self.failures.append(f"{report['attack']} (seed {report['seed']}): {report['failure']}")
        for one in self.field.honest:
            one.listen()
            if one.ended and not one.stopped:
                raise Failed(f"an honest client has ended: {one.failure}")
        if self.field.daemon.process.poll() is not None:
            raise Failed(f"pasidd has ended with {self.field.daemon.process.returncode}:\n{self.field.log()}")

    def pass_time(self, seconds, what):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.listen()
            self.show(what)
            time.sleep(0.05)

    def hang(self):
        """The attackers' devices are slow, or hang, and their IOMMU unit behind them."""
        if time.monotonic() < self.hang_at:
            return
        self.hang_at = time.monotonic() + HANG_SECONDS
        self.field.daemon.sim("hang", random.choice(ATTACKED), str(random.choice((50, 300, 1000))), "--unit")

    def wave(self, seconds, what):
        self.field.add_newcomer()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.listen()
            self.hang()
            self.show(what)
            for slot in self.slots:
                left = until - time.monotonic()
                if slot.poll() and left > 0.2:
                    slot.start(left)
            time.sleep(0.05)
        while not all([slot.poll() for slot in self.slots]):
            self.listen()
            self.show("waiting for the last attacks")
            time.sleep(0.05)
        self.field.daemon.sim("clear")
        self.field.stop_newcomers()

    def settle(self, when, memory):
        """Everything is back where it was, and nothing is contradictory."""
        self.show("settling", force=True)
        if self.judge.memory is not None:
            self.judge.memory = memory
        found, now = self.judge.settle(SETTLE_SECONDS)
        self.listen()
        if found:
            raise Failed(f"{when}: " + "; ".join(found))
        missing = self.field.standing()
        if missing:
            raise Failed(f"{when}: bindings of honest clients are gone: {missing}")
        return now

    def run(self):
        field, options = self.field, self.options
        field.add_neighbour()
        self.pass_time(1.0, "warming up")
        self.judge = Judge(field.daemon)
        self.judge.remember()
        field.add_newcomer()
        self.marks["quiet"] = (time.monotonic(), time.monotonic() + options.quiet)
        self.pass_time(options.quiet, "quiet")
        field.stop_newcomers()
        self.before = self.settle("after the quiet phase", FIRST_GROWTH)
        self.judge.before = self.before
        started = time.monotonic()
        self.wave(options.seconds / 2, "first wave")
        # What is reached for the first time is kept; what grows after that is lost.
        middle = self.settle("after the first wave", FIRST_GROWTH)
        all_tried = set(self.attacks) == set(ATTACKS)
        if all_tried:
            self.judge.before = {**self.before, "memory": middle["memory"]}
        self.wave(options.seconds - options.seconds / 2, "second wave")
        self.marks["siege"] = (started, time.monotonic())
        self.after = self.settle("after the second wave", options.memory if all_tried else FIRST_GROWTH)
        self.judge.close()
        field.stop_honest()

    # -- what came of it

    def latencies(self, clients, mark):
        start, stop = self.marks[mark]
        return [seconds for one in clients for _, when, seconds in one.samples if start <= when < stop]

    def figures(self, clients, interval=PACE / REQUESTS):
        """{quiet, siege: {requests, p50, p99, most}} in milliseconds; clients would ask once in an interval."""
        found = {}
        for mark in ("quiet", "siege"):
            values = self.latencies(clients, mark)
            found[mark] = {"requests": len(values)}
            values = with_those_not_asked(values, interval)
            for name, share in (("p50", 0.5), ("p99", 0.99), ("most", 1.0)):
                found[mark][name] = round((percentile(values, share) or 0) * 1000, 3)
        return found

    def verdict(self, machines):
        """Why it failed, in words; nothing when it did not."""
        found = [f"attack failed: {failure}" for failure in self.failures[:5]]
        for one in self.field.honest:
            if one.failure:
                found.append(f"an honest client failed: {one.failure}")
            for refusal in one.refusals:
                if self.options.same_user and refusal["refused"] in OWN_LIMITS:
                    self.limited += 1
                else:
                    found.append(f"an honest client was refused: {refusal['operation']}: {refusal['text']}")
        limit = max(self.options.ratio * machines["quiet"]["p99"], self.options.floor)
        if machines["siege"]["p99"] > limit:
            found.append(f"honest p99 {machines['siege']['p99']} ms, at most {limit:.3f} ms")
        for mark in ("quiet", "siege"):
            if machines[mark]["requests"] < 100:
                found.append(f"only {machines[mark]['requests']} honest requests in the time of {mark}")
        missing = sorted(set(ATTACKS) - set(self.attacks))
        if missing and self.options.seconds >= 60:
            found.append(f"not tried: {', '.join(missing)}")
        return found[:10]

    def result(self):
        machines = self.figures(self.field.machines)
        return {
            "seed": self.options.seed, "seconds": self.options.seconds, "clients": self.options.clients,
            "attackers": self.options.attackers, "attacks": dict(self.attacks.most_common()),
            "errors": dict(self.reasons.most_common()), "disconnects": self.counts["disconnects"],
            "counts": dict(self.counts), "honest": machines, "newcomer": self.figures(self.field.newcomers, Newcomer.pace),
            "neighbour": self.figures(self.field.neighbours), "before": self.before, "after": self.after,
            "failed": self.verdict(machines), "limited": self.limited,
        }

    # -- what is seen of it

    def show(self, what, force=False):
        now = time.monotonic()
        if not sys.stdout.isatty() or (now < self.shown + 0.5 and not force):
            return
        self.shown = now
        recent = [s for one in self.field.machines for _, when, s in one.samples[-400:] if when > now - 2]
        p99 = percentile(recent, 0.99)
        text = f"{now - self.started:5.0f} s  {what}: {sum(self.attacks.values())} attacks"
        text += f", {sum(self.reasons.values())} errors given, {self.counts['disconnects']} disconnects"
        text += f", honest p99 {p99 * 1000:.1f} ms" if p99 is not None else ""
        print(f"\r\x1b[K{text[:110]}", end="", flush=True)

    def close(self):
        for slot in self.slots:
            slot.kill()
        for one in self.field.honest:
            one.stop()
        if sys.stdout.isatty():
            print("\r\x1b[K", end="", flush=True)
        self.field.cleanup()


def table(title, counter):
    print(title)
    for name, count in counter.items():
        print(f"  {count:9d}  {name}")


def print_result(result):
    table(f"\nattacks tried ({sum(result['attacks'].values())}):", result["attacks"])
    table(f"errors given ({sum(result['errors'].values())}):", result["errors"])
    print(f"attackers' connections: {result['counts'].get('connections', 0)}, disconnects: {result['disconnects']}, "
          f"deaths: {result['counts'].get('deaths', 0)}")
    print(f"\n{'ms':24s}{'requests':>10s}{'p50':>10s}{'p99':>10s}{'most':>10s}")
    for who, text in (("honest", "honest"), ("newcomer", "a newcomer"), ("neighbour", "on the attackers' device")):
        for mark, when in (("quiet", "before"), ("siege", "during")):
            row = result[who][mark]
            print(f"{text + ', ' + when:32s}"[:34] + f"{row['requests']:>10d}{row['p50']:>10.3f}{row['p99']:>10.3f}"
                  f"{row['most']:>10.3f}")
    print(f"\n{'':20s}{'before':>10s}{'after':>10s}")
    for what in ("memory", "files", "workers", "worker files", "sessions", "sets", "devices", "bindings"):
        unit = " KiB" if what == "memory" else ""
        print(f"{what + unit:20s}{result['before'][what]:>10d}{result['after'][what]:>10d}")
    print(f"recount: {'agrees' if result['after']['consistent'] else 'CONTRADICTS'}")
    if result["limited"]:
        print(f"{result['limited']} requests of honest clients met a limit that their own user had used up")


def parse():
    parser = argparse.ArgumentParser(prog="scripts/hostile", add_help=False)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", default=str(random.SystemRandom().getrandbits(32)))
    parser.add_argument("--clients", type=int, default=8, choices=range(1, 17))
    parser.add_argument("--attackers", type=int, default=3)
    parser.add_argument("--quiet", type=float, default=10)
    parser.add_argument("--ratio", type=float, default=20)
    parser.add_argument("--floor", type=float, default=200)
    parser.add_argument("--memory", type=int, default=8192)
    parser.add_argument("--same-user", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args()


def interrupt(*_):
    raise Failed("interrupted")


def main():
    options = parse()
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    failed, siege = [], None
    print(f"seed {options.seed}", flush=True)
    try:
        siege = Siege(options)
        who = "the same user" if siege.field.place.uid is None else f"user {siege.field.place.uid}"
        print(f"pasidd of user {daemon_user()[0]}, {options.clients} honest clients of user {os.geteuid()}, "
              f"{options.attackers} attackers as {who}, nice 10", flush=True)
        siege.run()
        result = siege.result()
        failed = result["failed"]
        siege.show("done", force=True)
        if options.json:
            print(json.dumps(result))
        else:
            print_result(result)
    except Failed as why:
        failed = [str(why), *(siege.failures[:5] if siege else ())]
    finally:
        try:
            if siege is not None:
                siege.close()
        except AssertionError as why:
            failed = [*failed, str(why)]
    if siege is not None and options.keep:
        print(f"kept: {siege.field.daemon.folder}")
    print(f"hostile: FAILED: {'; '.join(failed)}" if failed else "hostile: ok")
    sys.exit(1 if failed else 0)


main()
