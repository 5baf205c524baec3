# SPDX-License-Identifier: MIT
"""Connections: half of them, thousands of them, and none that lasts."""

import contextlib
import os
import select
import socket
import time

from pasid_client import Client, Closed, Refused, pb

from .attack import attack, gone, to_server

HELLO = to_server(pb.Request(id=1, hello=pb.Hello(version_min=1, version_max=1, client="foe")))
PING = to_server(pb.Request(id=1, ping=pb.Ping()))
CROWD = 1500  # of one process


def throw(sock, data):
    with contextlib.suppress(OSError):
        sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


@attack
def half_open(ground):
    """Connects and says nothing, or closes one direction, in every state."""
    kept = []
    how = (
        lambda sock: None,
        lambda sock: throw(sock, b""),
        lambda sock: throw(sock, HELLO[:7]),
        lambda sock: sock.shutdown(socket.SHUT_WR),
        lambda sock: sock.shutdown(socket.SHUT_RD),
        lambda sock: (throw(sock, HELLO), sock.shutdown(socket.SHUT_WR)),
        lambda sock: (throw(sock, HELLO), sock.shutdown(socket.SHUT_RD)),
        lambda sock: (throw(sock, HELLO), throw(sock, PING), sock.shutdown(socket.SHUT_RDWR)),
    )
    while not ground.over():
        sock = ground.raw()
        if sock is None:
            ground.rest(0.01)
            continue
        with contextlib.suppress(OSError):
            ground.rng.choice(how)(sock)
        kept.append(sock)
        if len(kept) > 300:
            for other in kept[:150]:
                other.close()
            del kept[:150]
    expect_closed(ground, kept[:20])
    for sock in kept:
        sock.close()


def expect_closed(ground, socks):
    """Who has not said hello is disconnected, in a test with a short time for it."""
    if ground.place.hello_ms > 1000:
        return
    end = time.monotonic() + 10
    for sock in socks:
        poll = select.poll()
        poll.register(sock, select.POLLRDHUP)
        if has_session(sock):
            continue
        assert poll.poll(max(0, (end - time.monotonic()) * 1000)), "a connection without hello is kept"
        ground.counts["disconnects"] += 1


def has_session(sock):
    """Was anything answered?"""
    with contextlib.suppress(OSError):
        data = sock.recv(65536, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        return bool(data) and pb.ToClient.FromString(data).replies
    return False


@attack
def crowd(ground):
    """As many connections at once as there can be, some of them with a session, and all of them kept."""
    kept = []
    try:
        while not ground.over() and len(kept) < CROWD:
            sock = ground.raw()
            if sock is None:
                ground.rest(0.002)
                continue
            throw(sock, ground.rng.choice((HELLO, PING, b"")))
            kept.append(sock)
        while not ground.over():
            for sock in ground.rng.sample(kept, min(100, len(kept))):
                throw(sock, PING)
                tally(ground, sock)
            ground.rest(0.01)
    finally:
        for sock in kept:
            tally(ground, sock)
            sock.close()


def tally(ground, sock):
    """Counts what a connection was told."""
    with contextlib.suppress(OSError):
        while data := sock.recv(65536):
            message = pb.ToClient.FromString(data)
            if message.HasField("refused"):
                ground.reasons[message.refused.reason] += 1
            ground.counts["replies"] += len(message.replies)
        ground.counts["disconnects"] += 1


@attack
def connect_storm(ground):
    """Connects and closes, as fast as it can, with something unread in between or not."""
    while not ground.over():
        sock = ground.raw()
        if sock is None:
            ground.rest(0.001)
            continue
        if ground.rng.random() < 0.3:
            throw(sock, ground.rng.choice((HELLO, PING, b"\xff")))
        sock.close()


@attack
def hello_storm(ground):
    """Sessions by the hundred, each left behind at once, until no more are granted; with the process alive."""

    def round_():
        with contextlib.closing(ground.foe()) as foe:
            if ground.rng.random() < 0.5:
                foe.create(ground.name())
                foe.allocate()

    ground.repeat(round_)


@attack
def resume_storm(ground):
    """One token on many connections at the same time; whoever was last has the session."""

    def round_():
        with contextlib.closing(ground.machine()) as first:
            number = first.allocate(guest_pasid=1)[0]
            token = first.welcome.resume_token
            hello = pb.Hello(version_min=1, version_max=1, resume_token=token)
            data = to_server(pb.Request(id=2, hello=hello), pb.Request(id=3, get_status=pb.GetStatus()))
            socks = [sock for sock in (ground.raw() for _ in range(60)) if sock]
            for sock in socks:
                throw(sock, data)
            for sock in socks:
                sock.settimeout(20)
                with contextlib.suppress(OSError):
                    sock.recv(65536)
            with contextlib.closing(Client(ground.place.socket, resume=token)) as last:
                assert last.call("guest_find", guest_pasid=1).guest_find.host_pasid == number
                last.call("set_destroy", force=True)
            for sock in socks:
                sock.close()

    ground.repeat(round_)


@attack
def shared_connection(ground):
    """Forks that all use one connection at the same time, with the same ids, and are killed while they do."""

    def child(foe):
        # pylint: disable=protected-access
        try:
            while not ground.over():
                foe.throw(to_server(*(foe.request("allocate") for _ in range(5)), foe.request("free", all=True)))
                with contextlib.suppress(BlockingIOError, Refused):
                    foe.receive()
                foe.replies.clear()
        finally:
            os._exit(0)

    def round_():
        with contextlib.closing(ground.machine()) as foe:
            children = []
            for _ in range(8):
                pid = os.fork()
                if pid == 0:
                    child(foe)
                children.append(pid)
            ground.rest(ground.rng.uniform(0.01, 0.3))
            for pid in children:
                os.kill(pid, 9)
                os.waitpid(pid, 0)

    ground.repeat(round_)


@attack
def newcomers(ground):
    """Over and over a whole life: connects, has a set, uses it, goes; ended properly or not."""

    def round_():
        try:
            with contextlib.closing(ground.machine()) as foe:
                number = foe.allocate(guest_pasid=9)[0]
                assert foe.call("guest_find", guest_pasid=9).guest_find.host_pasid == number
                if ground.rng.random() < 0.5:
                    foe.call("set_destroy", force=True)
        except (Refused, Closed, OSError) as error:
            if not gone(error):
                raise
            ground.rest(0.01)

    ground.repeat(round_)
