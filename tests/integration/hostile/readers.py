# SPDX-License-Identifier: MIT
"""Clients that ask and do not read, or hardly."""

import contextlib
import socket

from .attack import attack, to_server

BATCH = 256


def stuff(ground, foe, make, most=20000):
    """Asks without reading until the daemon reads no more; it must come to that."""
    for _ in range(most):
        if not foe.throw(make()):
            ground.counts["stopped"] += 1
            return
        if ground.over():
            return
    raise AssertionError(f"{most} datagrams were taken of a client that reads nothing")

def pings(foe):
    payload = b"x" * 64
    return to_server(*(foe.request("ping", payload=payload) for _ in range(BATCH)))

@attack
def never_reads(ground):
    """Many small replies, none of which is read: no longer heard, then disconnected."""

    def round_():
        with contextlib.closing(ground.foe()) as foe:
            while True:
                stuff(ground, foe, lambda: pings(foe))
                ground.rest(0.05)
                if ground.over():
                    return

    ground.repeat(round_)

@attack
def never_reads_lists(ground):
    """A few small requests with large replies."""

    def make(foe):
        names = ("grant_list", "get_status", "set_list")
        return to_server(*(foe.request(ground.rng.choice(names)) for _ in range(64)))

    def round_():
        with contextlib.closing(ground.machine(pasids=512)) as foe:
            foe.allocate(count=512)
            while not ground.over():
                stuff(ground, foe, lambda: make(foe))
                ground.rest(0.05)

    ground.repeat(round_)

@attack
def never_reads_events(ground):
    """Watches and does not read, while what it watches happens without end."""

    def round_():
        with contextlib.closing(ground.machine()) as foe:
            foe.call("watch")
            while not ground.over():
                room = foe.throw(to_server(*(foe.request("allocate") for _ in range(64)),
                                           foe.request("free", all=True)))
                if not room:
                    ground.rest(0.05)

    ground.repeat(round_)

@attack
def trickles(ground):
    """Asks for much and reads one datagram from time to time: it gets every reply, in the end, and only once."""

    def round_():
        with contextlib.closing(ground.foe()) as foe:
            asked = 0
            while asked < 5000 and foe.throw(pings(foe)):
                asked += BATCH
            foe.patient()
            while asked:
                ground.rest(0.01)
                answered = len(foe.receive().replies)
                assert 0 < answered <= asked, "a reply that nobody asked for"
                asked -= answered
            foe.replies.clear()

    ground.repeat(round_)

@attack
def tiny_buffers(ground):
    """Sockets with the smallest buffers there are, in both directions."""

    def round_():
        with contextlib.closing(ground.foe()) as foe:
            foe.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            foe.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            while not ground.over():
                foe.patient().call("ping", payload=b"y" * 64)
                with contextlib.suppress(OSError):
                    foe.send(*(foe.request("get_status") for _ in range(4)))
                foe.drain(0.01)

    ground.repeat(round_)

@attack
def writes_after_the_end(ground):
    """Goes on sending after it was disconnected, or has closed its ear."""

    def round_():
        with contextlib.closing(ground.foe()) as foe:
            foe.sock.shutdown(socket.SHUT_RD)
            for _ in range(100):
                foe.throw(pings(foe))
            ground.rest(0.01)

    def abuse():
        with contextlib.closing(ground.foe()) as foe:
            for _ in range(100):
                foe.throw(b"\xff")

    ground.repeat(lambda: ground.rng.choice((round_, abuse))())

@attack
def endless_pages(ground):
    """Lists with cursors that point anywhere: every page comes, and no list is endless."""

    def round_():
        with contextlib.closing(ground.machine()) as foe:
            foe.allocate(count=300)
            while not ground.over():
                name, member = ground.rng.choice((("grant_list", "grants"), ("set_list", "sets"),
                                                  ("device_list", "devices"), ("binding_list", "bindings")))
                after, pages = ground.rng.getrandbits(ground.rng.randrange(1, 65)), 0
                while pages < 2000:
                    page = getattr(foe.call(name, after=after, limit=ground.rng.choice((1, 7, 512))), name)
                    pages += 1
                    if not page.next:
                        break
                    assert page.next > after, f"{name} stands still at {after}"  # a page may be empty: its work is bounded
                    after = page.next
                assert pages < 2000, f"{name} does not end"

    ground.repeat(round_)

