# SPDX-License-Identifier: MIT
"""A file whose file system stops answering: what any account on a host can have, by FUSE.

Whoever stats or closes a descriptor of it then waits, uninterruptibly, until the file system ends.
"""

import contextlib
import ctypes
import errno
import os
import pathlib
import signal
import socket
import struct
import tempfile
import time

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
LOOKUP, GETATTR, OPEN, INIT = 1, 3, 14, 26  # enum fuse_opcode, linux/fuse.h
NOT_IMPLEMENTED = -38
HEADER = struct.Struct("<IIQQIIII")  # fuse_in_header
FILE, FOLDER = 2, 1  # nodes
PATIENCE = 20  # seconds


class NotHere(Exception):
    """This account cannot mount FUSE here."""


def attributes(node):
    mode, links = (0o40755, 2) if node == FOLDER else (0o100666, 1)
    numbers = (node, 4096, 8, 0, 0, 0)
    return struct.pack("<6Q10I", *numbers, 0, 0, 0, mode, links, os.getuid(), os.getgid(), 0, 4096, 0)


def answer(opcode, node):
    """The payload of a reply, or an error number."""
    if opcode == INIT:
        return struct.pack("<4I2H2I2H8I", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, *[0] * 8)
    if opcode == LOOKUP:
        return struct.pack("<4Q2I", FILE, 0, 0, 0, 0, 0) + attributes(FILE)
    if opcode == GETATTR:
        return struct.pack("<Q2I", 0, 0, 0) + attributes(node)
    if opcode == OPEN:
        return struct.pack("<Q2I", 0, 0, 0)
    return NOT_IMPLEMENTED


def serve_until_opened(device):
    while True:
        data = os.read(device, 1 << 17)
        _, opcode, unique, node, *_ = HEADER.unpack_from(data)
        payload = answer(opcode, node)
        error, payload = (payload, b"") if isinstance(payload, int) else (0, payload)
        os.write(device, struct.pack("<IiQ", 16 + len(payload), error, unique) + payload)
        if opcode == OPEN:
            return


def call(function, *arguments):
    if function(*arguments) < 0:
        error = ctypes.get_errno()
        raise NotHere(f"{function.__name__}: {os.strerror(error)}")


def mount(folder):
    """In a user and mount name space of this process's own; the descriptor that serves it."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    call(libc.unshare, CLONE_NEWUSER | CLONE_NEWNS)
    try:
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise NotHere(str(error)) from error
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        pathlib.Path(f"/proc/self/{name}").write_text(text)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    call(libc.mount, b"hanging", str(folder).encode(), b"fuse", 0, options)
    return device


def send(out, file):
    """Waits while this account has too many descriptors on their way: other tests flood, and it may not exceed."""
    end = time.monotonic() + PATIENCE / 2
    while True:
        try:
            socket.send_fds(out, [b"."], [file])
            return
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS or time.monotonic() > end:
                raise
        time.sleep(0.01)


def serve(folder, out):
    """The child: hands the opened file out, and answers nothing from then on."""
    device = mount(folder)
    if os.fork() == 0:
        # Who ends with both would wait for itself.
        os.close(device)
        send(out, os.open(f"{folder}/file", os.O_RDWR))
        os.kill(os.getpid(), signal.SIGSTOP)  # its end would be a close as well
    serve_until_opened(device)
    signal.pause()


@contextlib.contextmanager
def hanging_file():
    """A descriptor of such a file; nobody may close it meanwhile. Raises NotHere without FUSE."""
    with tempfile.TemporaryDirectory(prefix="pasid-hanging-") as folder:
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            try:
                os.setpgid(0, 0)
                serve(folder, theirs)
            except NotHere as error:
                theirs.send(str(error).encode())
            finally:
                os._exit(1)
        theirs.close()
        ours.settimeout(PATIENCE)
        fds = [-1]
        try:
            text, received, _, _ = socket.recv_fds(ours, 512, 1)
            if not received:
                raise NotHere(text.decode())
            fds = list(received)
            yield fds[0]
        finally:
            os.killpg(child, signal.SIGKILL)  # the file system ends, and with it all waiting
            os.waitpid(child, 0)
            with contextlib.suppress(OSError):  # it says that the file system has gone
                os.close(fds[0])
            ours.close()
