# SPDX-License-Identifier: MIT
"""Bytes that are no requests, or too many of them."""

import contextlib
import errno
import socket

from pasid_client import Closed, Refused, pb

from .attack import LOAD, attack, to_server
from .wild import OPERATIONS, Wild, field_bytes, field_number, mutate, raw_request

DATAGRAM = 65536
BATCH = 256
WHOLE = frozenset(("malformed", "unknown-field", "unknown-operation", "too-large", "descriptor-count", "bad-argument"))


def refused_whole(foe, data, reasons=WHOLE):
    """A datagram that must be refused as a whole, and after which the connection goes on."""
    foe.patient().send_raw(data)
    try:
        answer = foe.receive()
    except Refused as refusal:
        assert refusal.reason in reasons or refusal.reason in LOAD, f"refused with {refusal}: {data[:80]!r}..."
    else:
        raise AssertionError(f"expected a refusal of {data[:80]!r}..., was answered {answer}")
    foe.call("ping")  # no abuse in a row


def pour(ground, make, hello):
    """Throws datagrams at a connection until it is closed or the time is over."""
    foe = ground.foe(hello=hello)
    with contextlib.closing(foe):
        while not ground.over():
            foe.throw(make())
            foe.drain()


@attack
def random_bytes(ground):
    """Noise, before hello and after it: refused, then disconnected."""
    rng = ground.rng
    ground.repeat(lambda: pour(ground, lambda: rng.randbytes(rng.choice((1, 2, 16, 300, 4096))), rng.random() < 0.5))


@attack
def mutated_requests(ground):
    """Requests of all kinds with some bytes changed."""
    rng, wild = ground.rng, Wild(ground.rng)

    def make():
        requests = [wild.request(rng.randrange(1, 1000), ALMOST_ALL) for _ in range(rng.choice((1, 2, 9)))]
        return mutate(rng, to_server(*requests, seen_below=rng.choice((0, 1))))[:DATAGRAM]

    ground.repeat(lambda: pour(ground, make, rng.random() < 0.8))


# Whoever may be an admin must not hit the sets of others by chance.
ALMOST_ALL = tuple(name for name in OPERATIONS if name != "hello")


@attack
def nothing_in_64k(ground):
    """Datagrams full of zeros, of empty submessages, and of empty elements inside of a request."""
    empty = b"\x0a\x00"
    bodies = [field_bytes(3, b"") * 30000, field_bytes(2, b"") * 30000, field_bytes(8, b"") * 30000]
    operations = [OPERATIONS[name].number for name in ("bind", "free", "allocate", "unbind", "hello")]
    shapes = [bytes(DATAGRAM), empty * (DATAGRAM // 2), bytes(1), empty, empty * 257]
    shapes += [raw_request(999, operation, body)[:DATAGRAM] for operation in operations for body in bodies]

    def round_():
        with contextlib.closing(ground.machine()) as foe:
            while not ground.over():
                data = ground.rng.choice(shapes)
                foe.patient().send_raw(data)
                with contextlib.suppress(Refused):
                    foe.receive()
                foe.replies.clear()  # an id of such a datagram may be that of the next request
                foe.call("ping")

    ground.repeat(round_)


@attack
def deep_nesting(ground):
    """Messages in messages in messages, and groups that are never ended."""

    def nested(depth, path):
        data = b""
        for level in range(depth):
            data = field_bytes(path[level % len(path)], data)
            if len(data) > DATAGRAM - 32:
                break
        return data

    bind = OPERATIONS["bind"].number
    shapes = [nested(1 << 14, path) for path in ((1,), (4, 2, 3), (1, bind), (3,), (16,))]
    shapes += [b"\x0b" * DATAGRAM, b"\x0b" * 32768 + b"\x0c" * 32768, raw_request(5, bind, b"\x1b" * 60000)]
    shapes += [raw_request(6, bind, nested(9000, (3, 2, 4)))]

    def round_():
        with contextlib.closing(ground.machine()) as foe:
            while not ground.over():
                refused_whole(foe, ground.rng.choice(shapes))

    ground.repeat(round_)


def messages_within(message_type, path=()):
    """Every message type that an operation contains, with the numbers of the fields that lead to it."""
    yield path
    for field in message_type.fields:
        if field.type == field.TYPE_MESSAGE:
            yield from messages_within(field.message_type, (*path, field.number))


@attack
def unknown_fields(ground):
    """An unknown operation, and an unknown field at every level of every operation."""
    unknown = [field_number(n, 1) for n in (15, 200, 18999, (1 << 29) - 1)] + [field_bytes(2000, b"what is this")]
    shapes = [field_number(3, 1), field_bytes(99, b"x")]
    for number in (15, 21, 31, 38, 57, 70, 82, 101, 1000, (1 << 29) - 1):
        if number not in {field.number for field in OPERATIONS.values()}:
            shapes.append(raw_request(7, number))
    for field in OPERATIONS.values():
        for path in messages_within(field.message_type):
            body = ground.rng.choice(unknown)
            for number in reversed(path):
                body = field_bytes(number, body)
            shapes.append(raw_request(8, field.number, body))
    ground.rng.shuffle(shapes)

    def round_():
        with contextlib.closing(ground.foe()) as foe:
            for data in shapes:
                # What is refused before it is looked at, such as a role, is refused in a reply.
                foe.patient().send_raw(data)
                with contextlib.suppress(Refused):
                    reply = foe.receive().replies[0]
                    assert reply.HasField("status"), f"{data!r} was answered {reply}"
                foe.replies.clear()
                foe.call("ping")
                if ground.over():
                    return

    ground.repeat(round_)


@attack
def oversized_datagrams(ground):
    """From one byte too much to all that the socket takes."""
    pings = to_server(*(pb.Request(id=i + 1, ping=pb.Ping(payload=b"x" * 64)) for i in range(200)))

    def round_():
        with contextlib.closing(ground.foe()) as foe:
            foe.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            while not ground.over():
                size = ground.rng.choice((DATAGRAM + 1, DATAGRAM + 2, 100000, 150000, 200000, 400000))
                data = ground.rng.choice((bytes(size), (pings * 40)[:size]))
                try:
                    refused_whole(foe, data, {"too-large"})
                except OSError as error:
                    if error.errno != errno.EMSGSIZE:
                        raise

    ground.repeat(round_)


@attack
def empty_datagrams(ground):
    """Datagrams of no bytes at all are no end of file, and no work."""

    def round_():
        with contextlib.closing(ground.foe()) as foe:
            while not ground.over():
                for _ in range(50):
                    foe.throw(b"")
                foe.patient().call("ping")

    ground.repeat(round_)


@attack
def too_many_requests(ground):
    """More requests in a datagram than are allowed: none of them is done."""

    def round_():
        with contextlib.closing(ground.machine()) as foe:
            while not ground.over():
                count = ground.rng.choice((BATCH + 1, 1000, 5000))
                allocate = OPERATIONS["allocate"].number
                data = b"".join(raw_request(foe.next_id + i, allocate) for i in range(count))
                refused_whole(foe, data, {"too-large"})
                assert foe.call("set_get").set_get.active == 0, "a datagram that was refused has done something"

    ground.repeat(round_)


@attack
def heavy_batches(ground):
    """The most work that fits into a datagram, again and again."""

    def reads(foe):
        lists = ("grant_list", "set_list", "device_list", "binding_list", "limit_list")
        name = ground.rng.choice([name for name in (*lists, "get_status") if name in OPERATIONS])
        fields = {} if name == "get_status" else {"limit": 512}
        return [foe.request(name, **fields) for _ in range(BATCH)]

    def changes(foe):
        count = ground.rng.choice((1, 64, 4096))
        requests = [foe.request("allocate", count=count) for _ in range(BATCH - 1)]
        return [*requests, foe.request("free", all=True)]

    def searches(foe):
        """The free block that does not exist, and the number just taken."""
        taken = ground.rng.choice(ground.place.foreign.get("pasids") or [1024])
        return [foe.request("allocate", min=taken, max=taken, data=1) for _ in range(BATCH)]

    def round_():
        with contextlib.closing(ground.machine(pasids=4096)) as foe:
            while not ground.over():
                requests = ground.rng.choice((reads, changes, searches))(foe)
                foe.patient().send(*requests)
                answers = [foe.wait(request.id) for request in requests]
                for answer in answers:
                    if answer.HasField("status"):
                        assert answer.status.code != pb.INTERNAL, answer
                foe.seen_below = foe.next_id

    ground.repeat(round_)


@attack
def wild_requests(ground):
    """Requests of every operation with absurd values; each one is answered exactly once."""

    def known(foe):
        foreign = ground.place.foreign
        return {
            "host": [*foreign.get("pasids", ()), foe.own], "host_pasid": [*foreign.get("pasids", ()), foe.own],
            "device": [*foreign.get("devices", ())], "id": [*foreign.get("sets", ())],
            "name": [*foreign.get("names", ())], "guest": [5], "guest_pasid": [5],
            "address": [ground.place.shared or "0000:00:01.0"], "space": [1], "limit": [10, 512],
        }

    # An admin would hit the sets of others.
    operations = tuple(name for name in ALMOST_ALL if name not in ("set_create", "set_destroy", "set_connect"))
    if not ground.place.is_admin:
        operations = ALMOST_ALL

    def round_():
        with contextlib.closing(ground.machine()) as foe:
            foe.own = foe.allocate(guest_pasid=5)[0]
            wild = Wild(ground.rng, known(foe))
            while not ground.over():
                requests = []
                for _ in range(ground.rng.choice((1, 3, 20))):
                    requests.append(wild.request(foe.next_id, operations))
                    foe.next_id += 1
                answered_once(foe, requests)
                foe.seen_below = foe.next_id

    ground.repeat(round_)


def answered_once(foe, requests):
    """Sends requests in one datagram; it is refused as a whole, or each gets one reply."""
    foe.patient().send(*requests)
    waiting = {request.id for request in requests}
    while waiting:
        try:
            message = foe.receive()
        except Closed:
            raise
        except Refused as refusal:
            assert len(waiting) == len(requests), f"a datagram was half done: {refusal}"
            foe.call("ping")
            break
        for reply in message.replies:
            assert reply.id in waiting, f"a reply that nobody waits for: {reply}"
            assert reply.status.code != pb.INTERNAL, f"{reply} for {requests}"
            waiting.remove(reply.id)
    foe.replies.clear()
    foe.events.clear()
