# SPDX-License-Identifier: MIT
"""The demonstration of scripts/migrate-demo: a set moves between two daemons, whatever is killed at whichever message."""

import argparse
import json
import os
import pathlib
import random
import select
import socket
import subprocess
import sys
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "integration"))

# pylint: disable=wrong-import-position
from pasid_client import BUILD, Client, Closed, Daemon, Refused, eventually, pb, set_ref  # noqa: E402

CONFIG = {"quarantine": {"cooling_ms": 2000}}
MANY = 1100  # numbers without a guest's: more than one message is for
DATA = 7  # theirs
LOST = (Closed, ConnectionError, FileNotFoundError)

# The messages of a move, and whom they are for.
MESSAGES = (
    ("export", "source", "set_move_export", 1),
    ("reserve", "target", "set_move_reserve", 1),
    ("the rest", "target", "set_move_reserve", 2),
    ("commit", "source", "set_move_commit", 1),
    ("take", "target", "set_move_take", 1),
    ("release", "source", "set_move_release", 1),
)
WHEN = ("before", "during", "after")
VICTIMS = ("source", "target", "mover", "all")


class Failed(Exception):
    """What did not hold."""


def expect(holds, what):
    if not holds:
        raise Failed(what)


class Trap:
    """At the n-th request of a kind, before it arrives, while it is done, or before its reply arrives: what to do."""

    def __init__(self, operation, count, when, spring):
        self.operation, self.count, self.when, self.spring = operation, count, when, spring
        self.sprung = False

    def meets(self, data):
        """Is it this datagram?"""
        if self.sprung or all(r.WhichOneof("operation") != self.operation for r in pb.ToServer.FromString(data).requests):
            return False
        self.count -= 1
        return self.count == 0


class Wire:
    """A socket that stands for a daemon's, with a trap in between."""

    def __init__(self, daemon):
        self.daemon, self.trap = daemon, None
        self.path = daemon.folder / "wire"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(self.path))
        self.listener.listen(8)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                far.connect(str(self.daemon.socket))
            except OSError:
                near.close()
                continue
            threading.Thread(target=self.carry, args=(near, far), daemon=True).start()

    def carry(self, near, far):
        try:
            while True:
                for end in select.select([near, far], [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    if end is far:
                        near.send(data)
                    elif self.trap and self.trap.meets(data):
                        self.spring(far, data)
                        return
                    else:
                        far.send(data)
        except OSError:
            pass
        finally:
            near.close()
            far.close()

    def spring(self, far, data):
        trap = self.trap
        trap.sprung = True
        if trap.when != "before":
            far.send(data)
        if trap.when == "during":
            time.sleep(random.uniform(0, 0.0005))
        if trap.when == "after":
            far.recv(65536)
        trap.spring()


class Vmm(threading.Thread):
    """Allocates until its set is another host's, and knows what it was granted."""

    def __init__(self, daemon, name):
        super().__init__(daemon=True)
        self.path, self.waits = daemon.socket, 0
        self.client = Client(self.path)
        self.client.create(name, pasids=1 << 14)
        self.token = self.client.welcome.resume_token
        self.plain = self.client.allocate(count=MANY, data=DATA)
        self.hosts = set(self.plain)
        self.granted = {}  # guest's number: data
        self.over = threading.Event()
        self.why = None

    def resume(self):
        end = time.monotonic() + 20
        while True:
            try:
                self.client.close()
                self.client = Client(self.path, resume=self.token, first_id=self.client.next_id)
                return
            except LOST:
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)

    def ask(self, request):
        """The reply, whatever happens to the daemon meanwhile: sent again it is done once."""
        while True:
            try:
                self.client.send(request)
                return self.client.result(request.id).allocate.runs[0].first
            except LOST:
                self.resume()

    def run(self):
        guest = 0
        try:
            while not self.over.is_set():
                guest += 1
                request = self.client.request("allocate", guest_pasid=guest, data=guest * 3)
                try:
                    self.hosts.add(self.ask(request))
                    self.granted[guest] = guest * 3
                except Refused as refused:
                    if refused.reason in ("set-moved", "no-set"):  # the latter when the rest of it is gone, too
                        return
                    expect(refused.reason in ("set-moving", "shutting-down"), f"the VMM is told {refused}")
                    self.waits += 1
                    guest -= 1
                time.sleep(0.001)
        except (Failed, *LOST) as why:
            self.why = why

    def finish(self):
        self.over.set()
        self.join(30)
        expect(not self.is_alive(), "the VMM waits for ever")
        expect(self.why is None, f"the VMM: {self.why}")
        return sorted([(guest, data) for guest, data in self.granted.items()] + [(0, DATA)] * MANY)


class Demo:
    def __init__(self):
        self.daemons = {"source": Daemon(CONFIG), "target": Daemon(CONFIG)}
        self.wires = {side: Wire(daemon) for side, daemon in self.daemons.items()}
        self.mover = None
        self.round = self.moved = self.waits = 0

    def close(self):
        for daemon in self.daemons.values():
            daemon.cleanup()

    # -- dying

    def kill_daemon(self, side):
        self.daemons[side].process.kill()
        self.daemons[side].process.wait()

    def kill(self, victim):
        if victim in ("mover", "all"):
            self.mover.kill()
        for side in self.daemons:
            if victim in (side, "all"):
                self.kill_daemon(side)

    def start_daemons(self):
        for daemon in self.daemons.values():
            if daemon.process.poll() is not None:
                daemon.start()

    # -- looking

    def look(self, side, name):
        """(how far the move is, its set) as that daemon says; None: it has no such set."""
        with self.daemons[side].admin() as admin:
            expect(admin.status().consistent, f"the recount of the {side} contradicts its records")
            try:
                info = admin.call("set_get", set=set_ref(name)).set_get
            except Refused:
                return None, None
        return (None, None) if info.dying and info.move != pb.SET_MOVE_GIVEN else (info.move, info)

    def check_owner(self, name):
        """Never both, never neither: what the two record, at any moment."""
        source, _ = self.look("source", name)
        target, _ = self.look("target", name)
        owned = source in (pb.SET_MOVE_NONE, pb.SET_MOVE_LEAVING)
        taken = target == pb.SET_MOVE_TAKEN
        expect(not (owned and taken), f"both have {name}")
        expect(owned or taken or target == pb.SET_MOVE_RESERVED, f"neither has {name} ({source}, {target})")
        return owned, taken

    def content(self, side, name):
        with self.daemons[side].admin() as admin:
            grants = admin.pages("grant_list", "grants", set=set_ref(name))
        return sorted((grant.guest_pasid, grant.data) for grant in grants), {grant.host_pasid for grant in grants}

    def check_end(self, name, vmm):
        """It is the target's with all that was granted, and the source's numbers rest before anybody else has them."""
        granted = vmm.finish()
        owned, taken = self.check_owner(name)
        expect(taken and not owned, f"{name} has not moved")
        content, hosts = self.content("target", name)
        expect(content == granted, f"{name} has {len(content)} numbers, or others, where {len(granted)} were granted")
        expect(len(hosts) == len(granted), "a host PASID of the target is there twice")
        with self.daemons["source"].admin() as admin:
            resting = admin.pages("grant_list", "grants", quarantined=True)
            resting = {grant.host_pasid for grant in resting if grant.state == pb.GRANT_QUARANTINED}
        missing = vmm.hosts - resting
        expect(not missing, f"{len(missing)} numbers of the source are not in quarantine")
        self.moved += len(granted)
        self.waits += vmm.waits

    # -- moving

    def start_mover(self, name):
        self.mover = subprocess.Popen(
            [BUILD / "pasidctl", "--socket", self.wires["source"].path, "--timeout", "20",
             "move", name, "--to", self.wires["target"].path],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait_for_mover(self):
        try:
            _, said = self.mover.communicate(timeout=30)
        except subprocess.TimeoutExpired as late:
            self.mover.kill()
            self.mover.communicate()
            raise Failed("pasidctl move does not end") from late
        return self.mover.returncode, said

    def play(self, message, when, victim):
        _, side, operation, count = message
        self.round += 1
        name = f"vm{self.round}"
        vmm = Vmm(self.daemons["source"], name)
        vmm.start()
        time.sleep(0.02)
        trap = Trap(operation, count, when, lambda: self.kill(victim))
        self.wires[side].trap = trap
        self.start_mover(name)
        deadline = time.monotonic() + 20
        while not trap.sprung:
            if self.mover.poll() is not None and not trap.sprung:
                raise Failed(f"the message never came: {self.mover.stderr.read().strip()}")
            expect(time.monotonic() < deadline, "the message never came")
            time.sleep(0.001)
        # what was killed comes back; a mover that lives goes on by itself, or has heard that it cannot
        expect(eventually(lambda: self.is_done(victim), 5), f"{victim} does not die")
        self.start_daemons()
        self.check_owner(name)
        code, said = self.wait_for_mover()
        self.check_owner(name)
        if code != 0:
            self.start_mover(name)
            code, said = self.wait_for_mover()
        expect(code == 0, f"pasidctl move: {said.strip()}")
        self.check_end(name, vmm)
        vmm.client.close()
        with self.daemons["target"].admin() as admin:
            admin.call("set_destroy", set=set_ref(name), force=True)

    def is_done(self, victim):
        dead = {side: daemon.process.poll() is not None for side, daemon in self.daemons.items()}
        dead["mover"] = self.mover.poll() is not None
        return all(dead.values()) if victim == "all" else dead[victim]

    def cancel(self):
        """And back: what was reserved when the mind was changed is gone, and the VM goes on where it was."""
        name = "undecided"
        vmm = Vmm(self.daemons["source"], name)
        vmm.start()
        trap = Trap("set_move_commit", 1, "before", lambda: self.kill("all"))
        self.wires["source"].trap = trap
        self.start_mover(name)
        expect(eventually(lambda: trap.sprung and self.is_done("all"), 20), "the message never came")
        self.start_daemons()
        command = [BUILD / "pasidctl", "--json", "--socket", self.wires["source"].path]
        command += ["move", name, "--to", self.wires["target"].path, "--cancel"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        expect(said.returncode == 0 and json.loads(said.stdout)["result"] == "cancelled", said.stderr)
        before = len(vmm.granted)
        expect(eventually(lambda: len(vmm.granted) > before, 10), "the VM does not go on")
        granted = vmm.finish()
        owned, taken = self.check_owner(name)
        expect(owned and not taken, f"{name} is not where it was")
        expect(self.content("source", name)[0] == granted, f"{name} has other numbers than were granted")
        expect(eventually(lambda: self.look("target", name)[0] is None), "the target keeps what it reserved")
        vmm.client.call("set_destroy", force=True)
        vmm.client.close()

    def run(self):
        for message in MESSAGES:
            for when in WHEN:
                started = time.monotonic()
                for victim in VICTIMS:
                    try:
                        self.play(message, when, victim)
                    except Failed as why:
                        raise Failed(f"{message[0]}, {when}, {victim} killed: {why}") from why
                seconds = time.monotonic() - started
                print(f"{message[0]:9} {when:7} killed: {', '.join(VICTIMS)}: moved  ({seconds:.1f} s)", flush=True)
        self.cancel()
        print("called off, with all of them killed before the commit: the VM goes on where it was", flush=True)
        for side, daemon in self.daemons.items():
            with daemon.admin() as admin:
                expect(eventually(lambda admin=admin: not admin.call("set_move_status").set_move_status.moves, 10),
                       f"a move is left at the {side}")  # fmt: skip
        with self.daemons["source"].admin() as admin:
            expect(eventually(lambda: admin.status().pasids.current == 0, 10), "numbers are left at the source")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2), "big"))
    options = parser.parse_args()
    random.seed(options.seed)
    print(f"seed {options.seed}: two daemons, a VMM that allocates, {len(MESSAGES)} messages", flush=True)
    demo, why = Demo(), None
    try:
        demo.run()
        print(f"{demo.round} moves with {demo.moved} numbers; VMMs were told to wait {demo.waits} times")
    except (Failed, AssertionError) as failure:
        why = failure
    try:
        demo.close()
    except AssertionError as failure:
        why = why or failure
    print(f"migrate: FAILED: {why}" if why else "migrate: ok")
    sys.exit(1 if why else 0)


main()
