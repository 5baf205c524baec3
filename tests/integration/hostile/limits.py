# SPDX-License-Identifier: MIT
"""Who takes all that one user may have, of one thing after the other. Each returns the refusal that it came to, if any.

No attacks of a siege: they need a daemon with limits that can be reached soon.
"""

import contextlib
import os

from pasid_client import Client, Refused, host, pb

USER = {
    "connections": 30, "sessions": 25, "sets": 12, "pasids": 300, "promised_pasids": 5000, "operations": 6,
    "unread_bytes": 131072, "remembered_bytes": 131072, "descriptors": 3, "received_descriptors": 300, "devices": 3,
    "page_tables": 6, "bindings": 9, "map_pages": 14, "claims": 9, "holds": 7, "watches": 4,
}
FILLERS = {}


def config():
    """Limits of each user, so that one is reached before the other; those of the host are the default."""
    return {name: {"user": limit} for name, limit in USER.items()}


def filler(function):
    FILLERS[function.__name__.removeprefix("fill_")] = function
    return function


class Full:
    """Many connections of one process, kept until the end."""

    def __init__(self, ground):
        self.ground, self.clients = ground, []

    def client(self, **options):
        self.clients.append(Client(self.ground.place.socket, **options))
        return self.clients[-1]

    def machine(self, **fields):
        client = self.client()
        client.create(self.ground.name(), **fields)
        return client

    def until_refused(self, action, most):
        for i in range(most):
            try:
                action(i)
            except Refused as refusal:
                return refusal
        raise AssertionError(f"done {most} times, and no limit")


def answer(client, requests):
    """Sends them and returns the first refusal among the replies; None when there is none."""
    client.send(*requests)
    for request in requests:
        reply = client.wait(request.id)
        if reply.HasField("status"):
            return Refused(reply.status)
    return None


def slice_of(client, ground):
    return client.call("device_slice", address=ground.place.shared).device_slice.id


@filler
def fill_connections(full):
    def connect(_):
        client = full.client(hello=False)
        try:
            client.call("ping")
        except (BrokenPipeError, ConnectionResetError):
            client.receive()  # closed before the ping came, or with it unread: why, lies there still

    return full.until_refused(connect, 2 * USER["connections"])


@filler
def fill_sessions(full):
    return full.until_refused(lambda _: full.client(), 2 * USER["sessions"])


@filler
def fill_sets(full):
    return full.until_refused(lambda _: full.machine(pasids=1), 2 * USER["sets"])


@filler
def fill_promised_pasids(full):
    return full.until_refused(lambda _: full.machine(pasids=1000), 10)


@filler
def fill_pasids(full):
    return full.until_refused(lambda _: full.machine(pasids=400).allocate(count=100), 10)


@filler
def fill_operations(full):
    client = full.machine()
    device = slice_of(client, full.ground)
    client.map_memory(device)
    numbers = client.allocate(count=40)
    pairs = [pb.BindPair(device=device, table=pb.Table(space=1))]
    return answer(client, [client.request("bind", pasid=host(n), pairs=pairs) for n in numbers])


@filler
def fill_unread_bytes(full):
    """Nobody is refused, but nobody is read any further."""
    for client in [full.client() for _ in range(4)]:
        client.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionResetError, BrokenPipeError):
            for _ in range(1000):
                client.send(*(client.request("ping", payload=bytes(64)) for _ in range(256)))


@filler
def fill_remembered_bytes(full):
    """Refusals are remembered too, and those of many sessions together are too much."""

    def refusals(_):
        client = full.machine(pasids=5)
        requests = [client.request("allocate", min=1 << 19, max=1) for _ in range(250)]
        client.send(*requests)
        for request in requests:
            reply = client.wait(request.id)
            if reply.status.reason != "bad-range":
                raise Refused(reply.status)

    return full.until_refused(refusals, 11)


@filler
def fill_descriptors(full):
    def device(i):
        with full.ground.device(full.ground.place.devices[i]) as fds:
            full.machine().call("device_add", fds=fds)

    return full.until_refused(device, 3)


@filler
def fill_received_descriptors(full):
    """Nobody is refused for that, but nobody is read any further until they are closed."""
    null = os.open("/dev/null", os.O_RDONLY)
    for client in [full.client() for _ in range(3)]:
        for _ in range(10):
            client.send(client.request("ping"), fds=[null] * 200)
    os.close(null)


@filler
def fill_devices(full):
    return full.until_refused(lambda _: slice_of(full.machine(), full.ground), 10)


def fill_spaces(full, action):
    client = full.machine()
    device = slice_of(client, full.ground)
    numbers = client.allocate(count=16)
    return full.until_refused(lambda i: action(client, device, numbers, i), 16)


@filler
def fill_page_tables(full):
    def table(client, device, numbers, i):
        client.map_memory(device, space=i)
        client.bind(host(numbers[i]), device, space=i)

    return fill_spaces(full, table)


@filler
def fill_bindings(full):
    def binding(client, device, numbers, i):
        if i == 0:
            client.map_memory(device)
        client.bind(host(numbers[i]), device)

    return fill_spaces(full, binding)


@filler
def fill_map_pages(full):
    client = full.machine()
    return full.until_refused(lambda i: client.allocate(guest_pasid=(i << 14) + 1), 60)


@filler
def fill_claims(full):
    client = full.machine()
    device = slice_of(client, full.ground)
    return full.until_refused(lambda _: client.allocate(scope=pb.SCOPE_RIDS, devices=[device], count=4), 60)


@filler
def fill_holds(full):
    client = full.machine()
    numbers = client.allocate(count=16)
    return full.until_refused(lambda i: client.call("hold", host_pasid=numbers[i]), 16)


@filler
def fill_watches(full):
    return full.until_refused(lambda _: full.client().call("watch"), 10)
