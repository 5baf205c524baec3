# SPDX-License-Identifier: MIT
"""A client of pasidd that shares no code with it: the protocol from proto/pasid.proto, over a plain socket.

It shares nothing with the client of bindings/python either, on purpose: that one is tested, and this one tests.

Also the daemon itself as a fixture, on a simulated IOMMU, and virtual machine monitors as processes.
"""

import array
import contextlib
import errno
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("PASIDD_BUILD", TOP / "build" / "dev-gcc")).resolve()
PASIDD = BUILD / "pasidd"
PASID_SIM = BUILD / "pasid-sim"
TIMEOUT = float(os.environ.get("PASIDD_TEST_TIMEOUT", "20"))

# What a file of /proc/PID says when the process ends before it is opened, or before it is read.
GONE = (FileNotFoundError, ProcessLookupError)


def load_protocol():
    """Generates the messages anew, so that they are always those of the checkout."""
    with tempfile.TemporaryDirectory(prefix="pasid-proto-") as folder:
        subprocess.run(
            ["protoc", f"--proto_path={TOP / 'proto'}", f"--python_out={folder}", "pasid.proto"], check=True
        )
        sys.path.insert(0, folder)
        try:
            import pasid_pb2  # pylint: disable=import-outside-toplevel,import-error
        finally:
            sys.path.remove(folder)
    return pasid_pb2


pb = load_protocol()


class Refused(Exception):
    """A reply whose status is not OK, or a datagram refused as a whole."""

    def __init__(self, status):
        super().__init__(f"{pb.Code.Name(status.code)} {status.reason}: {status.message}")
        self.status = status
        self.code = status.code
        self.reason = status.reason


class Closed(Exception):
    """The daemon closed the connection."""


def host(number):
    return pb.PasidRef(host=number)


def guest(number):
    return pb.PasidRef(guest=number)


def set_ref(key):
    return pb.SetRef(name=key) if isinstance(key, str) else pb.SetRef(id=key)


class Client:
    """One connection. Requests by the name of their field in pasid.v1.Request."""

    # Seconds that a sender waits while the kernel has too many descriptors in flight for its user.
    patience = 0.0

    def __init__(self, path=None, role=pb.ROLE_VMM, hello=True, resume=None, first_id=1, fd=None):
        if fd is None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        else:
            self.sock = socket.socket(fileno=fd)  # a handed connection
        if fd is None:
            # A socket with a time of Python's does not wait while too many others want to connect.
            wait = struct.pack("ll", int(TIMEOUT), 0)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
            self.sock.connect(str(path))
        self.sock.settimeout(TIMEOUT)
        self.next_id = first_id
        self.seen_below = 0
        self.replies = {}
        self.events = []
        self.fds = {}
        self.welcome = None
        if hello:
            self.say_hello(role=role, **({} if resume is None else {"resume_token": resume}))

    def say_hello(self, **fields):
        self.welcome = self.call("hello", version_min=1, version_max=1, client="test", **fields).hello
        self.next_id = max(self.next_id, self.welcome.last_id + 1)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- sending

    def request(self, operation, fds=(), deadline_ms=None, request_id=None, **fields):
        """A request; nothing is sent."""
        if request_id is None:
            request_id = self.next_id
            self.next_id += 1
        request = pb.Request(id=request_id, descriptors=len(fds))
        if deadline_ms is not None:
            request.deadline_ms = deadline_ms
        message = getattr(request, operation)
        message.SetInParent()
        message.MergeFrom(type(message)(**fields))
        return request

    def send(self, *requests, fds=()):
        self.send_raw(pb.ToServer(requests=requests, seen_below=self.seen_below).SerializeToString(), fds)

    def send_raw(self, data, fds=()):
        control = []
        if fds:
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        end = time.monotonic() + self.patience
        while True:
            try:
                self.sock.sendmsg([data], control)
                return
            except OSError as error:
                # the kernel limits what all processes of a user have in flight together: those of other tests, too
                if error.errno != errno.ETOOMANYREFS or time.monotonic() > end:
                    raise
            time.sleep(0.02)

    # -- receiving

    def receive(self):
        """One datagram: keeps its replies, events and descriptors."""
        data, control, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(64))
        fds = array.array("i")
        for level, kind, content in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        if not data:
            raise Closed
        message = pb.ToClient.FromString(data)
        self.seen(message)
        fds = list(fds)
        for reply in message.replies:
            self.replies[reply.id] = reply
            if reply.descriptors:
                self.fds[reply.id] = fds[: reply.descriptors]
                fds = fds[reply.descriptors :]
        assert not fds, "a descriptor came that belongs to no reply"
        self.events.extend(message.events)
        if message.HasField("refused"):
            raise Refused(message.refused)
        return message

    def seen(self, message):
        """A message came; for those who count."""

    def wait(self, request_id):
        """The reply with this id, whatever it says."""
        while request_id not in self.replies:
            self.receive()
        return self.replies.pop(request_id)

    def result(self, request_id):
        reply = self.wait(request_id)
        if reply.HasField("status"):
            raise Refused(reply.status)
        return reply

    def wait_event(self, kind, timeout=TIMEOUT):
        end = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event.kind == kind:
                    self.events.remove(event)
                    return event
            if time.monotonic() > end:
                raise TimeoutError(pb.EventKind.Name(kind))
            self.receive()

    def closed(self, timeout=TIMEOUT):
        """Waits until the daemon closes the connection."""
        self.sock.settimeout(timeout)
        try:
            while True:
                with contextlib.suppress(Refused):
                    self.receive()
        except (Closed, ConnectionResetError, BrokenPipeError):
            return True
        except TimeoutError:
            return False

    # -- calls

    def call(self, operation, fds=(), deadline_ms=None, request_id=None, **fields):
        request = self.request(operation, fds, deadline_ms, request_id, **fields)
        self.send(request, fds=fds)
        return self.result(request.id)

    def create(self, name, **fields):
        return self.call("set_create", name=name, **fields).set_create

    def allocate(self, **fields):
        """The numbers."""
        runs = self.call("allocate", **fields).allocate.runs
        return [run.first + i for run in runs for i in range(run.count)]

    def free(self, *numbers, **fields):
        return self.call("free", pasids=[host(n) for n in numbers], **fields).free

    def add(self, daemon, address, **fields):
        """Registers an exclusive device by descriptors, as a VMM that opened both nodes."""
        with daemon.open_iommu() as iommufd, daemon.open_device(address) as device:
            return self.call("device_add", fds=[iommufd, device], **fields).device_add

    def map_memory(self, device, space=1, iova=0, length=1 << 16, **fields):
        """Maps a fresh memfd; returns its inode number."""
        fd = os.memfd_create("guest memory", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, length)
            self.call(
                "memory_map", fds=[fd], device=device, space=space, iova=iova, length=length, writeable=True, **fields
            )
            return os.fstat(fd).st_ino
        finally:
            os.close(fd)

    def bind(self, pasid, *devices, space=1, **fields):
        pairs = [pb.BindPair(device=d, table=pb.Table(space=space)) for d in devices]
        return self.call("bind", pasid=pasid, pairs=pairs, **fields).bind

    def unbind(self, pasid, *devices, **fields):
        return self.call("unbind", pasid=pasid, devices=devices, **fields)

    def pages(self, operation, member, **fields):
        """All elements of a paged list."""
        after, found = 0, []
        while True:
            page = getattr(self.call(operation, after=after, **fields), operation)
            found.extend(getattr(page, member))
            after = page.next
            if not after:
                return found

    def status(self):
        return self.call("get_status").get_status


@contextlib.contextmanager
def opened(path):
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def daemon_user():
    """(uid, gid) that the daemon has: ours, or as root those of PASIDD_TEST_USER, who has no privileges at all."""
    name = os.environ.get("PASIDD_TEST_USER")
    if not name or os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    return pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid


def need_everybody(program):
    """Skips a test that starts it as another user, such as nobody, who cannot: a checkout in /root is root's alone."""
    closed = [str(path) for path in (program, *program.parents) if not path.stat().st_mode & stat.S_IXOTH]
    if closed:
        raise unittest.SkipTest(f"not everybody may enter {closed[-1]}, so another user cannot start {program.name}")


class Daemon:
    """pasidd on a simulated IOMMU of its own, with a config given as a dictionary."""

    def __init__(self, config=None, arguments=(), environment=None, start=True):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pasidd-test-"))
        self.simulation = self.folder / "simulation"
        self.socket = self.folder / "pasidd.socket"
        self.log_path = self.folder / "log"
        self.config = self.folder / "config.json"
        self.config.write_text(json.dumps(config or {}))
        self.arguments = list(arguments)
        # A call that the daemon's filters refuse, which nobody should make, ends who makes it (src/hw/confine.h).
        self.environment = {"PASIDD_REFUSED_CALL": "kill", **(environment or {})}
        self.process = None
        self.keep = False  # the folder, with its log
        if start:
            try:
                self.start()
            except BaseException:
                self.cleanup()
                raise

    def command(self):
        return [
            str(PASIDD),
            f"--simulate={self.simulation}",
            "--runtime-dir",
            str(self.folder),
            "--config",
            str(self.config),
            *self.arguments,
        ]

    def unprivileged(self, command):
        """The command, as the user of PASIDD_TEST_USER without any privilege, when that is asked for."""
        if daemon_user()[0] == os.geteuid():
            return command
        need_everybody(PASIDD)
        name = os.environ["PASIDD_TEST_USER"]
        shutil.chown(self.folder, name)
        return [sys.executable, str(pathlib.Path(__file__).with_name("unprivileged.py")), name, *command]

    def start(self):
        """Starts it and waits until it says that it is ready, in the way systemd would be told."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(self.log_path, "ab") as log:
            path = self.folder / "notify"
            path.unlink(missing_ok=True)
            notify.bind(str(path))
            path.chmod(0o666)
            notify.settimeout(TIMEOUT)
            self.process = subprocess.Popen(
                self.unprivileged(self.command()), stderr=log, env={**os.environ, "NOTIFY_SOCKET": str(path), **self.environment}
            )
            try:
                while b"READY=1" not in notify.recv(4096):
                    pass
            except TimeoutError as error:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"pasidd is not ready:\n{self.log()}") from error

    def stop(self):
        """Ends it as systemd would; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT)

    def cleanup(self):
        """Ends it if it still runs; then it must end well, and no sanitizer may have found anything."""
        try:
            if self.process is not None and self.process.poll() is None:
                status = self.stop()
                assert status == 0, f"pasidd ended with {status}:\n{self.log()}"
            assert not self.log_path.exists() or "Sanitizer" not in self.log(), self.log()
        finally:
            if self.process is not None and self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if not self.keep:
                shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cleanup()

    def log(self):
        return self.log_path.read_text(errors="replace")

    def client(self, **options):
        return Client(self.socket, **options)

    def admin(self, **options):
        return Client(self.socket, role=pb.ROLE_ADMIN, **options)

    def open_iommu(self):
        return opened(self.simulation / "iommu")

    def open_device(self, address):
        return opened(self.simulation / "devices" / address)

    def sim(self, *arguments):
        """What the simulator's own tool says."""
        return subprocess.run(
            [str(PASID_SIM), str(self.simulation), *arguments], check=True, capture_output=True, text=True
        ).stdout

    def tables(self):
        """{(address, pasid): entry} of the tables that stand in the simulated memory."""
        entries = json.loads(self.sim("tables", "--json"))
        return {(entry["rid"], entry["pasid"]): entry for entry in entries if entry["pasid"] != 0}

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def limit_files(self, count):
        """Sets how many descriptors it may have from now on."""
        limit = f"import resource; resource.prlimit({self.process.pid}, resource.RLIMIT_NOFILE, ({count}, {1 << 14}))"
        uid, gid = daemon_user()
        own = {} if uid == os.geteuid() else {"user": uid, "group": gid, "extra_groups": []}
        subprocess.run([sys.executable, "-c", limit], check=True, **own)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self, worker):
        """Kills one of its workers."""
        if worker not in self.workers():
            raise AssertionError(f"{worker} is none of its workers")
        os.kill(worker, signal.SIGKILL)

    def workers(self):
        """The process numbers of its workers; the process that starts them is none."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split() if not self.is_spawner(pid)]

    @staticmethod
    def is_spawner(pid):
        with contextlib.suppress(*GONE):
            return b"\0spawner\0" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        return False


class Vmm:
    """A process that connects, does what it is told, answers, and lives until it is killed."""

    def __init__(self, daemon, action, connect=None):
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            status = 1
            try:
                with (connect or daemon.client)() as client:
                    os.write(writer, json.dumps({"result": action(client)}).encode() + b"\n")
                    signal.pause()
                status = 0
            except BaseException:  # pylint: disable=broad-exception-caught
                os.write(writer, json.dumps({"error": traceback.format_exc()}).encode() + b"\n")
            finally:
                os._exit(status)
        os.close(writer)
        with os.fdopen(reader) as answers:
            answer = json.loads(answers.readline() or '{"error": "it died"}')
        if "error" in answer:
            os.waitpid(self.pid, 0)
            self.pid = None
            raise AssertionError(answer["error"])
        self.result = answer["result"]

    def kill(self):
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = None


def eventually(condition, timeout=TIMEOUT):
    """Waits until condition() is true; returns what it returned last."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.01)
