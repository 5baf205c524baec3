# SPDX-License-Identifier: MIT
"""Connections that an admin made for one set and handed on, and roles that may only look."""

import contextlib
import os
import socket

from pasid_client import Client, Refused, host, pb, set_ref

from .attack import Foe, attack, handed, to_server
from .deaths import die, spawn
from .wild import OPERATIONS, Wild

LOOKING = frozenset(("hello", "ping", "get_status", "watch", "limit_list", "set_get", "set_list", "guest_find",
                     "host_find", "grant_list", "device_list", "binding_list"))
NO_ROLE = {"role-not-allowed", "policy-denies"}


def business(ground, foe):
    """What such a connection is for, and what it is not for."""
    own = foe.call("set_get").set_get
    device = foe.call("device_slice", address=ground.place.shared).device_slice.id
    foe.map_memory(device)
    number = foe.allocate(count=3)[0]
    foe.bind(host(number), device)
    for operation, fields in (
        ("set_create", {"name": ground.name()}), ("set_destroy", {"force": True}), ("set_adjust", {"pasids": 1}),
        ("set_connect", {"set": set_ref(own.name)}), ("quarantine_end", {"host_pasid": number}),
        ("device_drained", {"device": device}), ("device_share", {"address": ground.place.devices[0]}),
    ):
        ground.refused(foe, NO_ROLE, operation, **fields)
    for name in ground.place.foreign["names"]:
        ground.refused(foe, {"no-set"}, "set_get", set=set_ref(name))
        ground.refused(foe, {"no-set"}, "allocate", set=set_ref(name))
    for other in ground.place.foreign["pasids"]:
        ground.refused(foe, {"no-pasid"}, "free", pasids=[host(other)])
    assert [info.id for info in foe.pages("set_list", "sets")] == [own.id]


def too_much(ground, foe):
    """Hello as what it is not."""
    for role in (pb.ROLE_ADMIN, pb.ROLE_OBSERVER, pb.ROLE_PARTICIPANT):
        ground.refused(foe, NO_ROLE, "hello", version_min=1, version_max=1, role=role)
    ground.refused(foe, {"resume-token-unknown", "malformed", "bad-argument", *NO_ROLE}, "hello", version_min=1,
                   version_max=1, resume_token=os.urandom(16))
    foe.call("hello", version_min=1, version_max=1)
    business(ground, foe)


def noise(ground, foe):
    """Bytes before hello, until it is closed."""
    for _ in range(40):
        foe.throw(ground.rng.randbytes(20))
        foe.drain()


def knot(ground, foe):
    """The connection, sent over itself."""
    foe.throw(to_server(foe.request("ping")), [foe.sock.fileno()] * 3)
    foe.drain(0.01)
    foe.throw(b"", [foe.sock.fileno()])
    foe.drain(0.01)


def heirs(ground, foe):
    """Many have it: one says hello and dies, others go on, or say hello again."""
    data = to_server(pb.Request(id=1, hello=pb.Hello(version_min=1, version_max=1)),
                     pb.Request(id=2, allocate=pb.Allocate(count=5)))

    def heir():
        with contextlib.suppress(OSError):
            foe.sock.send(data)
        if ground.rng.random() < 0.5:
            die()
        with contextlib.suppress(OSError):
            foe.sock.recv(65536)
            foe.sock.send(to_server(pb.Request(id=3, free=pb.Free(all=True))))

    pids = [spawn(heir) for _ in range(6)]
    ground.rest(0.02)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
        os.waitpid(pid, 0)


def silence(ground, foe):
    """Nothing at all, or half of the connection closed."""
    if ground.rng.random() < 0.5:
        foe.sock.shutdown(ground.rng.choice((socket.SHUT_RD, socket.SHUT_WR)))
    ground.rest(0.1)


def add_handed(way, hello=False):
    """Each way is an attack of its own, once a run: there is one connection."""

    def handed_to(ground):
        fd = ground.place.handed
        if fd is None:
            ground.counts["none to be had"] += 1
            return
        with contextlib.closing(Foe(ground, fd=fd, hello=hello)) as foe:
            way(ground, foe)

    handed_to.__name__ = f"handed_{way.__name__}"
    handed(attack(handed_to))


add_handed(business, hello=True)
for hostile_way in (too_much, noise, knot, heirs, silence):
    add_handed(hostile_way)


@attack
def eyes_only(ground):
    """Observers and participants who try to change something; who may be neither is told so."""

    def tries(role):
        with contextlib.closing(ground.foe(role=role)) as foe:
            wild = Wild(ground.rng, {"id": ground.place.foreign["sets"], "device": ground.place.foreign["devices"],
                                     "host": ground.place.foreign["pasids"]})
            for name in OPERATIONS:
                if name not in LOOKING:
                    request = wild.request(foe.next_id, (name,))
                    request.ClearField("deadline")
                    foe.next_id += 1
                    looks_only(foe, request)

    def round_():
        role = ground.rng.choice((pb.ROLE_OBSERVER, pb.ROLE_PARTICIPANT))
        if ground.place.is_admin:
            tries(role)
            return
        with contextlib.closing(Client(ground.place.socket, hello=False)) as client:
            ground.counts["connections"] += 1
            ground.refused(client, NO_ROLE, "hello", version_min=1, version_max=1, role=role)

    ground.repeat(round_)


def looks_only(foe, request):
    """It is refused, alone or with its datagram."""
    foe.send(request)
    try:
        reply = foe.receive().replies[0]
    except Refused:
        foe.call("ping")
        return
    assert reply.HasField("status"), f"{request} of one who may only look was answered {reply}"
    foe.replies.clear()
