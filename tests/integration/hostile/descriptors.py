# SPDX-License-Identifier: MIT
"""Descriptors: of the wrong kind, too many, where none belong, and such that are a burden to close."""

import contextlib
import os
import select
import socket
import struct

from pasid_client import Refused, opened, pb

from .attack import attack, to_server

MOST = 253  # of a datagram: SCM_MAX_FD
KIND = {"descriptor-kind", "descriptor-count", "descriptor-foreign", "descriptors-truncated", "bad-argument"}


def kinds(stack):
    """Descriptors of everything that is no device and no memory."""

    def keep(fd):
        stack.callback(os.close, fd)
        return fd

    def of_socket(sock):
        return stack.enter_context(contextlib.closing(sock)).fileno()

    found = {
        "null": keep(os.open("/dev/null", os.O_RDWR)),
        "zero": keep(os.open("/dev/zero", os.O_RDONLY)),
        "folder": keep(os.open("/", os.O_RDONLY | os.O_DIRECTORY)),
        "path": keep(os.open("/dev/null", os.O_PATH)),
        "file": keep(os.open("/etc/passwd", os.O_RDONLY)),
        "proc": keep(os.open("/proc/self/maps", os.O_RDONLY)),
        "events": keep(os.eventfd(0)),
        "epoll": stack.enter_context(contextlib.closing(select.epoll())).fileno(),
        "pidfd": keep(os.pidfd_open(os.getpid())),
        "memory": keep(os.memfd_create("foe")),
        "stream": of_socket(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)),
        "internet": of_socket(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
    }
    for name, fd in zip(("pipe out", "pipe in"), os.pipe()):
        found[name] = keep(fd)
    for name, sock in zip(("pair one", "pair two"), socket.socketpair()):
        found[name] = of_socket(sock)
    return found


@attack
def descriptors_in_masses(ground):
    """As many as a datagram carries, on requests that take none, on garbage, and on nothing."""

    def round_():
        with contextlib.ExitStack() as stack:
            fds = list(kinds(stack).values())
            foe = stack.enter_context(contextlib.closing(ground.foe()))
            ping = to_server(foe.request("ping"))
            claimed = foe.request("ping")
            claimed.descriptors = MOST
            while not ground.over():
                count = ground.rng.choice((1, 2, 16, MOST))
                data = ground.rng.choice((ping, b"", b"\xff", to_server(claimed)))
                foe.throw(data, [ground.rng.choice(fds) for _ in range(count)])
                foe.throw(ping)
                foe.drain(0.001)

    ground.repeat(round_)


@attack
def wrong_descriptors(ground):
    """Everything that is no iommufd, no device and no memory, in the place of each."""

    def call(foe, operation, fds, **fields):
        try:
            foe.patient().call(operation, fds=fds, **fields)
        except Refused as refusal:
            assert refusal.code != pb.INTERNAL, f"{operation} {fields}: {refusal}"
            return
        raise AssertionError(f"{operation} with descriptors of the wrong kind was done")

    def round_():
        with contextlib.ExitStack() as stack:
            found = kinds(stack)
            foe = stack.enter_context(contextlib.closing(ground.machine()))
            slice_ = foe.call("device_slice", address=ground.place.shared).device_slice.id
            iommu, device = stack.enter_context(ground.device(ground.place.devices[0]))
            for name in ground.rng.sample(sorted(found), len(found)):
                wrong = found[name]
                call(foe, "device_add", [wrong, wrong])
                call(foe, "device_add", [iommu, wrong])
                call(foe, "device_add", [wrong, device])
                call(foe, "device_add", [wrong], address=ground.place.devices[0])
                if name != "memory":
                    call(foe, "memory_map", [wrong], device=slice_, space=1, length=4096)
                if ground.over():
                    break
            for fds in ([device, iommu], [iommu, iommu], [device, device], [iommu], [iommu, device, device]):
                call(foe, "device_add", fds)
            call(foe, "memory_map", [found["memory"]], device=slice_, space=1, length=1 << 40)

    ground.repeat(round_)


@attack
def miscounted_descriptors(ground):
    """More said than sent, more sent than said, and two requests that both want them."""

    def round_():
        with contextlib.ExitStack() as stack:
            null = stack.enter_context(opened("/dev/null"))
            foe = stack.enter_context(contextlib.closing(ground.machine()))
            while not ground.over():
                said, sent = ground.rng.choice(((0, 1), (1, 0), (2, 1), (1, 2), (253, 0), ((1 << 32) - 1, 1), (4, 4)))
                request = foe.request(ground.rng.choice(("ping", "device_add", "memory_map", "allocate")))
                other = foe.request("device_add")
                request.descriptors = other.descriptors = said
                both = ground.rng.random() < 0.5
                foe.patient().send_raw(to_server(request, other) if both else to_server(request), [null] * sent)
                try:
                    message = foe.receive()
                    assert all(reply.HasField("status") for reply in message.replies), message
                except Refused as refusal:
                    assert refusal.code != pb.INTERNAL, refusal
                foe.call("ping")
                foe.drain()
                foe.patient()

    ground.repeat(round_)


@attack
def knots(ground):
    """Sockets that carry sockets, a connection that carries itself: what only the kernel's collector takes apart."""

    def send(sock, fds):
        with contextlib.suppress(OSError):
            socket.send_fds(sock, [b"x"], fds, socket.MSG_DONTWAIT)

    def round_():
        with contextlib.ExitStack() as stack:
            foe = stack.enter_context(contextlib.closing(ground.foe()))
            ping = to_server(foe.request("ping"))
            for _ in range(16):
                one, two = (stack.enter_context(sock) for sock in socket.socketpair())
                send(one, [two.fileno(), one.fileno(), foe.sock.fileno()])
                send(two, [foe.sock.fileno()] * 20)
                foe.throw(ping, [one.fileno(), two.fileno(), foe.sock.fileno()] * 20)
                foe.throw(ping)
                foe.drain(0.001)

    ground.repeat(round_)


@attack
def lingering_sockets(ground):
    """A socket whose close waits for seconds."""

    def lingering(stack):
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours = socket.create_connection(listener.getsockname())
        stack.enter_context(listener.accept()[0])
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(bytes(1 << 16))
        ours.setblocking(True)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 2))
        return ours

    def round_():
        with contextlib.ExitStack() as stack:
            foe = stack.enter_context(contextlib.closing(ground.machine()))
            for operation in ("ping", "device_add", "memory_map"):
                ours = lingering(stack)
                request = foe.request(operation)
                request.descriptors = ground.rng.choice((0, 1, 2))
                foe.throw(to_server(request), [ours.fileno()])
                ours.close()
                foe.drain(0.01)
            ground.rest(0.1)

    ground.repeat(round_)


@attack
def lost_descriptors(ground):
    """Descriptors in datagrams that are never read: the connection is closed behind them."""

    def round_():
        with contextlib.ExitStack() as stack:
            null = stack.enter_context(opened("/dev/null"))
            foe = stack.enter_context(contextlib.closing(ground.foe()))
            ping = to_server(foe.request("ping"))
            for _ in range(ground.rng.choice((1, 5, 40))):
                if not foe.throw(ping, [null] * ground.rng.choice((1, MOST))):
                    break
            if ground.rng.random() < 0.5:
                foe.sock.shutdown(socket.SHUT_WR)

    ground.repeat(round_)
