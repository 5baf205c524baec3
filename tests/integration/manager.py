# SPDX-License-Identifier: MIT
"""The daemon under a manager that keeps descriptors for it, as systemd does with FileDescriptorStoreMax=."""

import array
import contextlib
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref

from pasid_client import TIMEOUT, Daemon

STORE_MAX = 4096
LISTENING = pathlib.Path(__file__).with_name("listening.py")

managers = weakref.WeakSet()


def forget_in_child():
    """A process that is forked here keeps no worker alive."""
    for manager in managers:
        for fd in manager.descriptors():
            with contextlib.suppress(OSError):
                os.close(fd)


os.register_at_fork(after_in_child=forget_in_child)


class Store:
    """Descriptors by name, in the order in which they came."""

    def __init__(self):
        self.kept = []  # (name, descriptor)

    @staticmethod
    def identity(fd):
        """Of a socket: each has one open file."""
        status = os.fstat(fd)
        return status.st_dev, status.st_ino

    def add(self, name, fd):
        """Takes the descriptor. What is there already stays there under its first name."""
        if len(self.kept) >= STORE_MAX or self.identity(fd) in [self.identity(other) for _, other in self.kept]:
            os.close(fd)
            return
        self.kept.append((name, fd))

    def remove(self, name):
        for entry in [entry for entry in self.kept if entry[0] == name]:
            self.kept.remove(entry)
            os.close(entry[1])

    def clear(self):
        for _, fd in self.kept:
            os.close(fd)
        self.kept = []


class Manager(Daemon):
    """
    pasidd as a service: what it says to $NOTIFY_SOCKET is heard at all times, what it stores is passed to the next one.

    Only the main process is listened to (NotifyAccess=main). With `keeps` false there is no store: workers end with the
    daemon.
    """

    def __init__(self, *arguments, keeps=True, **options):
        self.keeps = keeps
        self.store = Store()
        self.lock = threading.Lock()
        self.ready = threading.Event()
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.notify.setblocking(False)
        self.over = threading.Event()
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.notify_path = None
        self.status_line = ""
        self.fed = []  # when it said that its loop turns
        managers.add(self)
        super().__init__(*arguments, **options)

    # -- what the daemon says

    def listen(self):
        while not self.over.is_set():
            select.select([self.notify], [], [], 0.2)
            self.hear()

    def hear(self):
        """All that was said until now."""
        with self.lock:
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.hear_one()

    def hear_one(self):
        data, control, _, _ = self.notify.recvmsg(4096, socket.CMSG_SPACE(1024), socket.MSG_CMSG_CLOEXEC)
        fds, pid = array.array("i"), None
        for level, kind, content in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid = struct.unpack("iII", content)[0]
        said = dict(line.split("=", 1) for line in data.decode().splitlines() if "=" in line)
        fds = list(fds)
        if self.process is not None and pid == self.process.pid:
            self.status_line = said.get("STATUS", self.status_line)
            if self.keeps and said.get("FDSTOREREMOVE") == "1":
                self.store.remove(said["FDNAME"])
            if self.keeps and said.get("FDSTORE") == "1":
                assert said["FDPOLL"] == "0", "a store that polls drops a socket whose worker ended"
                while fds:
                    self.store.add(said.get("FDNAME", "stored"), fds.pop(0))
            if said.get("WATCHDOG") == "1":
                self.fed.append(time.monotonic())
            if said.get("READY") == "1":
                self.ready.set()
        for fd in fds:
            os.close(fd)

    def descriptors(self):
        """Those that the manager itself has because of the daemon."""
        return [self.notify.fileno(), *(fd for _, fd in self.store.kept)]

    def stored(self):
        """The names of what is kept."""
        self.hear()
        with self.lock:
            return [name for name, _ in self.store.kept]

    # -- its life

    def start_only(self):
        """Starts it with what is stored; it is not waited for."""
        if self.notify_path is None:
            self.notify_path = self.folder / "notify"
            self.notify.bind(str(self.notify_path))
            self.notify_path.chmod(0o666)
            self.listener.start()
        self.hear()
        self.ready.clear()
        with self.lock, open(self.log_path, "ab") as log:
            names, fds = [name for name, _ in self.store.kept], [fd for _, fd in self.store.kept]
            command = self.unprivileged(self.command())
            if fds:
                numbers = ",".join(str(fd) for fd in fds)
                command = [sys.executable, "-I", "-S", str(LISTENING), ":".join(names), numbers, *command]
            environment = {**os.environ, "NOTIFY_SOCKET": str(self.notify_path), **self.environment}
            self.process = subprocess.Popen(command, stderr=log, env=environment, pass_fds=fds)

    def start(self):
        self.start_only()
        end = time.monotonic() + TIMEOUT
        while not self.ready.wait(0.02):
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill_daemon()
                raise AssertionError(f"pasidd is not ready:\n{self.log()}")

    def kill_daemon(self):
        """SIGKILL; what it had said before counts."""
        self.process.kill()
        self.process.wait()
        self.hear()

    def end(self, kill=False):
        """Ends it; what is stored stays stored, for a restart."""
        if kill:
            self.kill_daemon()
            return
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(TIMEOUT)
        self.hear()
        assert status == 0, f"pasidd ended with {status}:\n{self.log()}"

    def restart(self, kill=False):
        self.end(kill)
        self.start()

    def stop(self):
        """A stop of the service: the store is dropped, and with it the workers end. Returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(TIMEOUT)
        self.drop()
        return status

    def kill_worker(self, pid):
        """Kills a worker that may have no daemon."""
        assert any(name.endswith(f"-{pid}") for name in self.stored()), f"{pid} is none of its workers"
        os.kill(pid, signal.SIGKILL)

    def drop(self):
        """Closes what is stored."""
        self.hear()
        with self.lock:
            self.store.clear()

    def cleanup(self):
        try:
            super().cleanup()
        finally:
            self.over.set()
            if self.listener.is_alive():
                self.listener.join()
            self.drop()
            self.notify.close()
