# SPDX-License-Identifier: MIT
"""SIGKILL at random moments under load: what was acknowledged is there, what was not is done once when asked again."""

import os
import random
import threading
import time
import unittest

from manager import Manager
from pasid_client import Closed, host, pb

ONE, TWO, SHARED = (f"0000:00:0{i}.0" for i in (1, 2, 3))
# The lowest number that is free, and free soon: one that is granted twice is not long in coming.
CONFIG = {
    "namespace": {"policy": "lowest"},
    "quarantine": {"cooling_ms": 1},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {"devices": [{"address": address} for address in (ONE, TWO, SHARED)]},
}
KILLS = 60 * int(os.environ.get("PASIDD_TEST_ROUNDS", "1"))
LONGEST = 0.12  # seconds of load before a kill
NUMBERS = 100  # that each machine has, about
MANY = 1500  # in one request, now and then
GUESTS = range(1, 200)
GONE = (Closed, ConnectionError)


class Grant:
    """What a machine knows of a number of its own."""

    def __init__(self, guest=None, data=0):
        self.guest = guest
        self.data = data
        self.devices = set()
        self.freed = False  # while it was bound

    def record(self):
        state = pb.GRANT_FREE_PENDING if self.freed else pb.GRANT_ACTIVE
        return (state, self.guest, 0 if self.freed else self.data, len(self.devices))


class Machine:
    """A VMM that does something valid, one thing after the other, and knows what must have come of it."""

    def __init__(self, daemon, name, address, seed, owners):
        self.daemon = daemon
        self.name = name
        self.chance = random.Random(seed)
        self.owners = owners  # of all numbers of all machines
        self.grants = {}
        self.unanswered = None
        self.acknowledged = self.doubles = 0
        self.client = daemon.client()
        self.set = self.client.create(name, pasids=60000).id
        exclusive = self.client.add(daemon, address).id
        part = self.client.call("device_slice", address=SHARED).device_slice.id
        self.devices = {exclusive: address, part: SHARED}
        for device in self.devices:
            self.client.map_memory(device)
        started = time.monotonic()
        self.ask(self.choose_long())
        self.long = time.monotonic() - started  # seconds
        request = self.choose_long()
        self.about_to(request)
        self.ask(request)

    # -- what to ask for

    def some(self, fits):
        """One of the numbers that fit, or None."""
        fitting = [number for number, grant in self.grants.items() if fits(grant)]
        return self.chance.choice(fitting) if fitting else None

    def unused_guest(self):
        used = {grant.guest for grant in self.grants.values()}
        return self.chance.choice([number for number in GUESTS if number not in used])

    def allocate(self):
        data = self.chance.getrandbits(64)
        if self.chance.random() < 0.5:
            return {"guest_pasid": self.unused_guest(), "data": data}
        return {"count": self.chance.choice((1, 5, 60)), "data": data}

    def free(self):
        """A bound one, or several that are not."""
        bound = self.some(lambda grant: not grant.freed and grant.devices)
        idle = [number for number, grant in self.grants.items() if not grant.devices]
        if bound is not None and self.chance.random() < 0.3:
            return {"pasids": [host(bound)]}
        return {"pasids": [host(n) for n in self.chance.sample(idle, self.chance.randint(1, len(idle)))]} if idle else None

    def guest_attach(self):
        number = self.some(lambda grant: grant.guest is None and not grant.freed)
        return number and {"host_pasid": number, "guest_pasid": self.unused_guest()}

    def guest_detach(self):
        number = self.some(lambda grant: grant.guest is not None)
        return number and {"guest_pasid": self.grants[number].guest}

    def data_set(self):
        number = self.some(lambda grant: not grant.freed)
        return number and {"pasid": host(number), "data": self.chance.getrandbits(64)}

    def bind(self):
        number = self.some(lambda grant: not grant.freed and len(grant.devices) < len(self.devices))
        if number is None:
            return None
        free = sorted(set(self.devices) - self.grants[number].devices)
        chosen = self.chance.sample(free, self.chance.randint(1, len(free)))
        pairs = [pb.BindPair(device=device, table=pb.Table(space=1)) for device in chosen]
        return {"pasid": host(number), "pairs": pairs}

    def unbind(self):
        number = self.some(lambda grant: grant.devices)
        if number is None:
            return None
        bound = sorted(self.grants[number].devices)
        return {"pasid": host(number), "devices": self.chance.sample(bound, self.chance.randint(0, len(bound)))}

    def choose(self):
        """A request that is in order."""
        few = len(self.grants) < NUMBERS
        operations = ["allocate"] * (4 if few else 1) + ["free"] * (1 if few else 4)
        operations += ["guest_attach", "guest_detach", "data_set", "bind", "bind", "unbind", "unbind"]
        fields = None
        while fields is None:
            operation = self.chance.choice(operations)
            fields = getattr(self, operation)()
        return self.client.request(operation, **fields)

    def choose_long(self):
        """One that is many records, and so a while under way."""
        idle = [number for number, grant in self.grants.items() if not grant.devices]
        if len(idle) < MANY:
            return self.client.request("allocate", count=MANY, data=self.chance.getrandbits(64))
        return self.client.request("free", pasids=[host(number) for number in idle[:2 * MANY]])

    # -- what comes of it

    def took(self, reply):
        return [run.first + i for run in reply.allocate.runs for i in range(run.count)]

    def leave(self, number):
        """It is somebody else's from now on, perhaps before we know that it was given up."""
        self.owners.pop(number, None)

    def about_to(self, request):
        """Before it is sent: numbers that it may give up."""
        for ref in request.free.pasids:
            if not self.grants[ref.host].devices:
                self.leave(ref.host)
        if request.HasField("unbind"):
            grant = self.grants[request.unbind.pasid.host]
            if grant.freed and len(request.unbind.devices) in (0, len(grant.devices)):
                self.leave(request.unbind.pasid.host)

    def follow(self, request, reply):
        """It was done."""
        operation = request.WhichOneof("operation")
        getattr(self, "follow_" + operation)(getattr(request, operation), reply)

    def follow_allocate(self, asked, reply):
        numbers = self.took(reply)
        assert len(numbers) == max(1, asked.count), numbers
        for number in numbers:
            self.doubles += self.owners.setdefault(number, self.name) != self.name or number in self.grants
            self.grants[number] = Grant(asked.guest_pasid if asked.HasField("guest_pasid") else None, asked.data)

    def follow_free(self, asked, _):
        for ref in asked.pasids:
            grant = self.grants[ref.host]
            grant.freed, grant.guest = True, None
            if not grant.devices:
                del self.grants[ref.host]

    def follow_guest_attach(self, asked, _):
        self.grants[asked.host_pasid].guest = asked.guest_pasid

    def follow_guest_detach(self, asked, _):
        for grant in self.grants.values():
            if grant.guest == asked.guest_pasid:
                grant.guest = None

    def follow_data_set(self, asked, _):
        self.grants[asked.pasid.host].data = asked.data

    def follow_bind(self, asked, _):
        self.grants[asked.pasid.host].devices |= {pair.device for pair in asked.pairs}

    def follow_unbind(self, asked, _):
        grant = self.grants[asked.pasid.host]
        grant.devices -= set(asked.devices) or set(self.devices)
        if grant.freed and not grant.devices:
            del self.grants[asked.pasid.host]

    def touched(self, request):
        """Numbers that are not as before once it was done."""
        operation = request.WhichOneof("operation")
        asked = getattr(request, operation)
        if operation == "allocate":
            return set()
        if operation == "free":
            return {ref.host for ref in asked.pasids}
        if operation == "guest_attach":
            return {asked.host_pasid}
        if operation == "guest_detach":
            return {number for number, grant in self.grants.items() if grant.guest == asked.guest_pasid}
        return {asked.pasid.host}

    # -- the load

    def ask(self, request, meanwhile=None):
        self.client.seen_below = request.id  # all before it were answered
        self.client.send(request)
        if meanwhile:
            meanwhile()
        reply = self.client.result(request.id)
        self.unanswered = None
        self.acknowledged += 1
        self.follow(request, reply)
        return reply

    def work(self, kill_at, kill):
        """Until the daemon is gone; from a time on, it is killed while it has a request of ours."""

        def kill_soon():
            time.sleep(self.chance.uniform(0, self.long))
            kill()

        try:
            while True:
                last = time.monotonic() > kill_at
                self.unanswered = self.choose_long() if last else self.choose()
                self.about_to(self.unanswered)
                self.ask(self.unanswered, kill_soon if last else None)
        except GONE:
            pass

    def come_back(self):
        self.client.close()
        again = self.daemon.client(resume=self.client.welcome.resume_token)
        assert again.welcome.resumed and again.welcome.set == self.set
        assert again.welcome.session == self.client.welcome.session
        again.next_id = max(again.next_id, self.client.next_id)
        self.client = again

    def records(self):
        return {number: grant.record() for number, grant in self.grants.items()}

    def entries(self):
        return {(self.devices[device], number) for number, grant in self.grants.items() for device in grant.devices}


class CrashPoints(unittest.TestCase):
    def setUp(self):
        self.daemon = Manager(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.chance = random.Random(20)
        owners = {}
        self.machines = [
            Machine(self.daemon, name, address, seed, owners)
            for name, address, seed in (("vm1", ONE, 1), ("vm2", TWO, 2))
        ]
        self.addCleanup(lambda: [machine.client.close() for machine in self.machines])
        self.lost = self.done = 0

    def load_and_kill(self):
        """One of them kills it when the time has come, the other one may be anywhere."""
        kill_at = time.monotonic() + self.chance.uniform(0.005, LONGEST)
        killer = self.chance.choice(self.machines)
        threads = [
            threading.Thread(
                target=machine.work, args=(kill_at if machine is killer else float("inf"), self.daemon.process.kill)
            )
            for machine in self.machines
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.daemon.kill_daemon()

    def told(self, admin):
        """{set: {number: record}} as the daemon says."""
        grants = {machine.set: {} for machine in self.machines}
        for info in admin.pages("grant_list", "grants"):
            guest = info.guest_pasid if info.HasField("guest_pasid") else None
            data = 0 if info.state == pb.GRANT_FREE_PENDING else info.data
            grants[info.set][info.host_pasid] = (info.state, guest, data, info.bindings)
        return grants

    def look_before(self, machine, told):
        """
        What was acknowledged is there before anything is asked again; returns the numbers that nobody was told of. Only
        the one request without an answer may have changed anything else.
        """
        request, known = machine.unanswered, machine.records()
        touched = machine.touched(request)
        for number, record in known.items():
            if number not in touched:
                self.lost += told.get(number) != record
        fresh = set(told) - set(known)
        if fresh:
            self.assertTrue(request.HasField("allocate"), (fresh, request))
            self.assertEqual(len(fresh), max(1, request.allocate.count))
        return fresh

    def compare(self, admin):
        """After the answers the daemon, the tables and the machines agree to the bit."""
        told = self.told(admin)
        for machine in self.machines:
            self.assertEqual(told[machine.set], machine.records())
        entries = set().union(*(machine.entries() for machine in self.machines))
        bindings = admin.pages("binding_list", "bindings")
        self.assertEqual({binding.state for binding in bindings} - {pb.BINDING_BOUND}, set())
        self.assertEqual({(binding.address, binding.host_pasid) for binding in bindings}, entries)
        self.assertEqual(set(self.daemon.tables()), entries)
        self.assertTrue(admin.status().consistent)

    def test_nothing_acknowledged_is_lost_and_nothing_is_done_twice(self):
        for _ in range(KILLS):
            self.load_and_kill()
            self.daemon.start()
            with self.daemon.admin() as admin:
                told = self.told(admin)
                for machine in self.machines:
                    fresh = self.look_before(machine, told[machine.set])
                    machine.come_back()
                    reply = machine.ask(machine.unanswered)
                    if fresh:  # it was done: then the answer is the one that it had
                        self.done += 1
                        self.assertEqual(set(machine.took(reply)), fresh)
                self.compare(admin)
        acknowledged = sum(machine.acknowledged for machine in self.machines)
        doubles = sum(machine.doubles for machine in self.machines)
        undone = self.daemon.log().count("had not finished was taken back")
        print(
            f"kills={KILLS} acknowledged={acknowledged} lost={self.lost} double={doubles};",
            f"{undone} changes taken back, {self.done} allocations done and not answered",
        )
        self.assertEqual((self.lost, doubles), (0, 0))
        self.assertGreater(acknowledged, 10 * KILLS)
        for machine in self.machines:
            machine.client.call("set_destroy", force=True)
        self.assertEqual(self.daemon.tables(), {})


if __name__ == "__main__":
    unittest.main()
