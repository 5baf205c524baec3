# SPDX-License-Identifier: MIT
"""A VMM that knows what it was granted: for tests that kill the daemon, and compare."""

import random

from pasid_client import host, pb
from restarts import SHARED


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

    numbers = 100  # that it has, about
    counts = (1, 5, 60)  # of numbers in one request
    guests = range(1, 200)
    pasids = 60000  # its quota

    def __init__(self, daemon, name, address, seed, owners):
        """A part of the shared device, and an exclusive one unless the address is None."""
        self.daemon = daemon
        self.name = name
        self.chance = random.Random(seed)
        self.owners = owners  # of all numbers of all machines, as a dictionary
        self.grants = {}
        self.unanswered = None
        self.acknowledged = self.doubles = 0
        self.client = daemon.client()
        self.set = self.client.create(self.set_name(), pasids=self.pasids).id
        part = self.client.call("device_slice", address=SHARED).device_slice.id
        self.devices = {part: SHARED}
        if address is not None:
            self.devices[self.client.add(daemon, address).id] = address
        for device in self.devices:
            self.client.map_memory(device)

    def set_name(self):
        return self.name

    # -- what to ask for

    def some(self, fits):
        """One of the numbers that fit, or None."""
        fitting = [number for number, grant in self.grants.items() if fits(grant)]
        return self.chance.choice(fitting) if fitting else None

    def unused_guest(self):
        used = {grant.guest for grant in self.grants.values()}
        return self.chance.choice([number for number in self.guests if number not in used])

    def allocate(self):
        data = self.chance.getrandbits(64)
        if self.chance.random() < 0.5:
            return {"guest_pasid": self.unused_guest(), "data": data}
        return {"count": self.chance.choice(self.counts), "data": data}

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
        few = len(self.grants) < self.numbers
        operations = ["allocate"] * (4 if few else 1) + ["free"] * (1 if few else 4)
        operations += ["guest_attach", "guest_detach", "data_set", "bind", "bind", "unbind", "unbind"]
        fields = None
        while fields is None:
            operation = self.chance.choice(operations)
            fields = getattr(self, operation)()
        return self.client.request(operation, **fields)

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

    def follow_set_destroy(self, *_):
        self.grants = {}

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
        if request is None:
            return set()
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

    def compare(self, told):
        """
        With what the daemon says before anything is asked again: only the one request without an answer may have changed
        anything. How many records are not what was acknowledged, and the numbers that nobody was told of.
        """
        request, known = self.unanswered, self.records()
        touched = self.touched(request)
        lost = sum(told.get(number) != record for number, record in known.items() if number not in touched)
        fresh = set(told) - set(known)
        if fresh and (request is None or not request.HasField("allocate") or len(fresh) != max(1, request.allocate.count)):
            raise AssertionError(f"{sorted(fresh)[:10]} were granted, and asked for was: {request}")
        return lost, fresh


def told(grants):
    """{number: record} of what a list of grants says."""
    found = {}
    for info in grants:
        guest = info.guest_pasid if info.HasField("guest_pasid") else None
        data = 0 if info.state == pb.GRANT_FREE_PENDING else info.data
        found[info.host_pasid] = (info.state, guest, data, info.bindings)
    return found
