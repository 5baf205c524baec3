# SPDX-License-Identifier: MIT
"""The connection: made, lost, taken up again; datagrams out and in; calls from their start to their result.

DOWN -> HELLO -> UP -> DOWN ...; GONE is the end. A lost session is taken up with its token for as long as the daemon
keeps it, counted from the first loss since something was last answered. What has no reply is sent again under its old
id, once on each connection, so that the daemon does it once.
"""

from __future__ import annotations

import array
import enum
import errno
import os
import select
import socket
import time
from typing import Callable, Iterable, Optional, Sequence

from . import pasid_pb2 as pb
from .errors import NotConnected, Pending, PasidError, ProtocolError, Refused, TimedOut

RETRY_FIRST = 0.05  # seconds between the first attempts to connect; each time it doubles
RETRY_MOST = 1.0
MARGIN = 2.0  # seconds that this side gives up later than the daemon does
DATAGRAM_MOST = 65536
DATAGRAM_LEAST = 256
REQUESTS_MOST = 256
WINDOW_MOST = 256
AROUND_BATCH = 16  # bytes beside the requests of a datagram
AROUND_REQUEST = 8  # bytes beside a request: its field and its length
DEADLINE = 6  # bytes that it takes when it is set later
DESCRIPTORS = 8  # that one datagram is looked at for
FOREVER = float("inf")
NO_TIME = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS)
NOT_THERE = (*NO_TIME, errno.ECONNREFUSED, errno.ENOENT, errno.ECONNRESET)  # while the daemon is started anew


class State(enum.Enum):
    DOWN = 0
    HELLO = 1
    UP = 2
    GONE = 3


class Step(enum.Enum):
    """Of a call."""

    QUEUED = 0
    SENT = 1
    PENDING = 2  # answered so; sent again when somebody asks for its result
    DONE = 3


class Call:
    """A request that was started. It is sent when somebody waits, for this call or another one, or processes."""

    def __init__(self, link: Link, request: pb.Request, fds: Sequence[int]) -> None:
        self._link = link
        self.request = request
        self.step = Step.QUEUED
        self.was_sent = False
        self.datagram = 0  # the one that it was last sent in
        self.sending = [os.dup(fd) for fd in fds]  # kept until it is answered: it may have to be sent again
        self.fds: list[int] = []  # that came with the reply; whoever takes them out closes them
        self.reply: Optional[pb.Reply] = None
        self.error: Optional[PasidError] = None
        self.on_done: Optional[Callable[[Call], None]] = None

    @property
    def id(self) -> int:
        return self.request.id

    @property
    def done(self) -> bool:
        """Whether result() returns or raises at once."""
        return self.step is Step.DONE

    def result(self, timeout: Optional[float] = -1) -> pb.Reply:
        """Waits for the reply; `timeout` in seconds, None for as long as it takes, the client's own when left out.

        Refused, and of these Pending; TimedOut; NotConnected. After Pending and TimedOut it may be asked for again.
        """
        limit = self._link.timeout if timeout == -1 else timeout
        self._link.wait(self, limit)
        if self.error is not None:
            raise self.error
        assert self.reply is not None
        return self.reply

    def take_fd(self) -> int:
        """The descriptor that came with the reply, which is the caller's from now on."""
        if not self.fds:
            raise ProtocolError("it was done, and its descriptor was lost on the way: is RLIMIT_NOFILE too low?")
        return self.fds.pop(0)

    def finish(self, reply: Optional[pb.Reply], error: Optional[PasidError]) -> None:
        self.step, self.reply, self.error = Step.DONE, reply, error
        _close_all(self.sending)
        if self.on_done is not None:
            self.on_done(self)

    def __del__(self) -> None:
        _close_all(getattr(self, "sending", []))
        _close_all(getattr(self, "fds", []))


def _close_all(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())


class Link:
    """One session. `hello` is said anew on every connection."""

    def __init__(self, path: Optional[str], fd: Optional[int], hello: pb.Hello, timeout: Optional[float],
                 resume_for: Optional[float]) -> None:
        self.timeout = timeout
        self.session = pb.HelloResult()
        self.on_event: Callable[[pb.Event], None] = lambda event: None
        self.on_resumed: Callable[[], None] = lambda: None
        self._path = path
        self._hello = hello
        self._resume_for = resume_for
        self._taking = hello.HasField("take_over")
        self._token = hello.take_over  # or empty: what the session is taken up with
        self._pid = os.getpid()
        self._socket: Optional[socket.socket] = None
        self._state = State.DOWN
        self._gone: Optional[PasidError] = None
        self._calls: dict[int, Call] = {}  # without a final reply, by rising id
        self._next_id = 1
        self._hello_id = 0
        self._datagrams = 0
        self._want_out = False
        self._send_at = 0.0
        self._fresh = True  # nothing was answered on this connection
        self._lost_at = time.monotonic()
        self._retry_at, self._retry = 0.0, RETRY_FIRST
        try:
            self._open(fd)
        except BaseException:
            self.close()
            raise

    # -- for clients

    def start(self, request: pb.Request, fds: Sequence[int] = ()) -> Call:
        self._check()
        request.descriptors = len(fds)
        request.id = self._next_id
        size = request.ByteSize()
        if size + AROUND_REQUEST + AROUND_BATCH + DEADLINE > self._within(self.session.datagram_limit, DATAGRAM_MOST):
            raise ValueError(f"the request takes {size} bytes, more than a datagram has: split it")
        call = Call(self, request, fds)
        self._next_id += 1
        self._calls[call.id] = call
        return call

    def wait(self, call: Call, timeout: Optional[float]) -> None:
        """Until the call is done. Pending and TimedOut leave it as it is."""
        if call.done:
            return
        self._check()
        until = FOREVER
        if call.step in (Step.QUEUED, Step.PENDING):
            call.step = Step.QUEUED
            call.request.ClearField("deadline_ms")
            if timeout is not None:
                call.request.deadline_ms = min(max(int(timeout * 1000), 0), 2**32 - 1)
        if timeout is not None:
            until = time.monotonic() + timeout + MARGIN
        while not call.done:
            if time.monotonic() >= until:
                raise TimedOut(f"the daemon did not answer within {timeout} s; whether it was done is not known", call)
            self.step(until)
            if call.step is Step.PENDING:
                assert call.reply is not None
                raise Pending(call.reply.status, call.reply, call)

    def step(self, until: float) -> None:
        """Sends what can be sent and waits for one thing to happen, at the longest until then."""
        self._check()
        now = time.monotonic()
        if self._state is State.DOWN:
            if now < self._retry_at:
                time.sleep(max(min(self._retry_at, until) - now, 0))
            else:
                self._try_connect()
            return
        self._flush()
        if self._socket is None:
            return
        until = min(until, self._limit() if self._state is State.HELLO else FOREVER)
        if self._send_at > now:
            until = min(until, self._send_at)
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._want_out else 0))
        found = poll.poll(None if until == FOREVER else max(until - now, 0) * 1000)
        if found and found[0][1] & select.POLLOUT:
            self._want_out = False
        if found and found[0][1] & ~select.POLLOUT:
            self._receive()
        elif not found and self._state is State.HELLO and time.monotonic() >= self._limit():
            self._give_up("it does not answer")
        self._flush()

    def process(self, timeout: float) -> None:
        self.step(time.monotonic() + timeout)

    def fileno(self) -> int:
        """The socket of this connection, or -1 while there is none."""
        return self._socket.fileno() if self._socket is not None else -1

    def close(self) -> None:
        """Nothing is sent for it. In a forked child only the child's copy is closed."""
        if self._gone is None:
            self._end(NotConnected("the client was closed"))

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("this client is another process's: make one after fork(), not before it")
        if self._gone is not None:
            raise self._ended(False)

    # -- connecting

    def _open(self, fd: Optional[int]) -> None:
        until = FOREVER if self.timeout is None else self._lost_at + self.timeout
        if fd is not None:
            self._begin(socket.socket(fileno=os.dup(fd)))
        while not self.session.version:  # the connection may be lost again already
            if time.monotonic() >= until:
                raise TimedOut(f"{self._where()} did not answer within {self.timeout} s")
            try:
                self.step(until)
            except NotConnected as error:
                raise (self._gone or error) from None

    def _where(self) -> str:
        return f"pasidd at {self._path}" if self._path is not None else "pasidd"

    def _try_connect(self) -> None:
        assert self._path is not None
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.setblocking(False)
        try:
            sock.connect(self._path)
        except OSError as error:
            sock.close()
            soon = error.errno in (NOT_THERE if self._token else NO_TIME)
            if not soon or time.monotonic() >= self._limit():
                self._give_up(os.strerror(error.errno or 0))
            else:
                self._retry_later()
            return
        self._begin(sock)

    def _begin(self, sock: socket.socket) -> None:
        """Introduces itself."""
        sock.setblocking(False)
        self._socket, self._state, self._fresh = sock, State.HELLO, True
        self._want_out, self._send_at = False, 0.0
        hello = pb.Hello()
        hello.CopyFrom(self._hello)
        hello.version_min = hello.version_max = 1
        if self._token and not self._taking:
            hello.resume_token = self._token
        self._hello_id = self._next_id
        self._next_id += 1
        request = pb.Request(id=self._hello_id, hello=hello)
        try:
            sock.send(pb.ToServer(requests=[request]).SerializeToString(), socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            pass  # what it said before it closed is read as an answer would be

    def _limit(self) -> float:
        """Until when it is worth while to try."""
        if self._token and not self._taking:
            return self._lost_at + (self.session.grace_ms / 1000 if self._resume_for is None else self._resume_for)
        return FOREVER if self.timeout is None else self._lost_at + self.timeout

    def _retry_later(self) -> None:
        self._retry_at = min(time.monotonic() + self._retry, max(self._limit(), 0))
        self._retry = min(2 * self._retry, RETRY_MOST)

    def _give_up(self, why: str) -> None:
        if self._token and not self._taking:
            self._end(NotConnected(f"the session with {self._where()} was lost and could not be taken up: {why}"))
        else:
            self._end(NotConnected(f"no connection to {self._where()}: {why}"))

    def _end(self, error: PasidError) -> None:
        if self._gone is not None:
            return
        self._gone, self._state = error, State.GONE
        self._drop_socket()
        self._token = b""
        calls, self._calls = list(self._calls.values()), {}
        for call in calls:
            call.finish(None, self._ended(call.was_sent))

    def _ended(self, sent: bool) -> NotConnected:
        """What calls end with; why is its cause."""
        error = NotConnected(str(self._gone), sent)
        error.__cause__ = self._gone
        return error

    def _drop_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _lost(self, why: str) -> None:
        if self._state is State.GONE:
            return
        self._drop_socket()
        first = not self._fresh
        if first:
            self._lost_at, self._retry = time.monotonic(), RETRY_FIRST
        self._fresh = True
        if self._path is None or not self._token or time.monotonic() > self._limit():
            self._give_up(why)
            return
        for call in self._calls.values():
            if call.step is Step.SENT:
                call.step = Step.QUEUED
        self._state, self._retry_at = State.DOWN, 0.0
        if not first:  # a daemon that closes every connection at once is not asked all the time
            self._retry_later()

    @staticmethod
    def _within(value: int, most: int) -> int:
        """0 is a daemon that did not say."""
        return value if 0 < value <= most else most

    def _welcome(self, reply: pb.Reply) -> None:
        """The reply to hello."""
        resuming = bool(self._token)
        if reply.HasField("status"):
            if resuming and reply.status.code == pb.RETRY:
                self._lost(reply.status.message)
            else:
                self._end(Refused(reply.status, reply))
            return
        hello = reply.hello
        limit = self._within(hello.datagram_limit, DATAGRAM_MOST)
        least = DATAGRAM_LEAST  # or what requests were measured by
        if resuming and not self._taking:
            least = self._within(self.session.datagram_limit, DATAGRAM_MOST)
        if hello.version != 1 or (resuming and not hello.resumed) or limit < least:
            self._end(ProtocolError("the daemon's reply to hello is not understood"))
            return
        if self._taking:
            self._next_id = max(self._next_id, hello.last_id + 1)  # the lower ones were the other process's
            self._hello.ClearField("take_over")
            self._taking = resuming = False
        self.session, self._token, self._state = hello, hello.resume_token, State.UP
        if resuming:
            self.on_resumed()
        else:
            self._fresh = False

    # -- out

    def _make_room(self) -> None:
        """Calls that ended pending, and that nobody may ever ask for again, do not hold up new ones."""
        queued = next((call.id for call in self._calls.values() if call.step is Step.QUEUED), 0)
        for call in [call for call in self._calls.values() if call.step is Step.PENDING]:
            if queued - self._seen_below() < self._within(self.session.window, WINDOW_MOST):
                return
            del self._calls[call.id]
            call.finish(None, TimedOut("it was not asked for again in time; whether it was done is not known"))

    def _seen_below(self) -> int:
        return next(iter(self._calls), self._next_id)

    def _batch(self) -> tuple[list[Call], Optional[Call]]:
        """What fits into one datagram, and which of it has descriptors."""
        room = self._within(self.session.datagram_limit, DATAGRAM_MOST) - AROUND_BATCH
        most = self._within(self.session.request_limit, REQUESTS_MOST)
        below = self._seen_below() + self._within(self.session.window, WINDOW_MOST)
        batch: list[Call] = []
        with_fds: Optional[Call] = None
        for call in self._calls.values():
            if call.step is not Step.QUEUED:
                continue
            room -= call.request.ByteSize() + AROUND_REQUEST
            if room < 0 or call.id >= below or len(batch) == most or (call.sending and with_fds is not None):
                break
            batch.append(call)
            with_fds = call if call.sending else with_fds
        return batch, with_fds

    def _flush(self) -> None:
        while self._state is State.UP and not self._want_out and time.monotonic() >= self._send_at:
            self._make_room()
            batch, with_fds = self._batch()
            if not batch:
                return
            data = pb.ToServer(requests=[call.request for call in batch], seen_below=self._seen_below())
            if not self._send(data.SerializeToString(), with_fds.sending if with_fds is not None else []):
                return
            self._datagrams += 1
            for call in batch:
                call.step, call.was_sent, call.datagram = Step.SENT, True, self._datagrams

    def _send(self, data: bytes, fds: list[int]) -> bool:
        """False: not now, or not on this connection."""
        assert self._socket is not None
        control: Iterable[tuple[int, int, array.array[int]]] = ()
        if fds:
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        try:
            self._socket.sendmsg([data], control, socket.MSG_NOSIGNAL)
            return True
        except OSError as error:
            if error.errno in NO_TIME:
                self._want_out = True
            elif error.errno == errno.ETOOMANYREFS:  # the user has too many descriptors in flight, for now
                self._send_at = time.monotonic() + 0.02
            else:
                self._receive()  # it may say why
                self._lost(os.strerror(error.errno or 0))
        return False

    # -- in

    def _receive(self) -> None:
        """All that is there."""
        reset = False
        while self._socket is not None:
            try:
                data, control, _, _ = self._socket.recvmsg(
                    DATAGRAM_MOST, socket.CMSG_SPACE(4 * DESCRIPTORS), socket.MSG_CMSG_CLOEXEC)
            except ConnectionResetError as error:
                if not reset:  # told first, and once; what was sent before is there still
                    reset = True
                    continue
                self._lost(os.strerror(error.errno or 0))
                return
            except OSError as error:
                if error.errno not in NO_TIME:
                    self._lost(os.strerror(error.errno or 0))
                return
            fds = self._descriptors(control)
            try:
                if data:
                    self._datagram(data, fds)
                else:
                    self._lost("it closed the connection")
            finally:
                _close_all(fds)

    @staticmethod
    def _descriptors(control: Sequence[tuple[int, int, bytes]]) -> list[int]:
        fds = array.array("i")
        for level, kind, content in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        return list(fds)

    def _datagram(self, data: bytes, fds: list[int]) -> None:
        try:
            message = pb.ToClient.FromString(data)
        except Exception:  # protobuf's own DecodeError, whichever implementation it is of
            self._lost("what it sent is not understood")
            return
        for reply in message.replies:
            if self._state is State.GONE:
                return
            given = [fds.pop(0) for _ in range(min(reply.descriptors, len(fds)))]
            if self._state is State.HELLO and reply.id == self._hello_id:
                _close_all(given)
                self._welcome(reply)
            else:
                self._answered(reply, given)
        for event in message.events:
            self.on_event(event)
        if message.HasField("refused"):
            self._refused(message.refused)

    def _answered(self, reply: pb.Reply, fds: list[int]) -> None:
        call = self._calls.get(reply.id)
        if call is None or call.step is not Step.SENT:
            _close_all(fds)
            return
        status = reply.status if reply.HasField("status") else None
        if status is not None and status.reason == "shutting-down" and self._path is not None and self._token:
            _close_all(fds)
            return  # nothing was done; it is sent again on the next connection
        self._fresh = False
        if status is not None and status.code == pb.PENDING:
            _close_all(fds)
            call.step, call.reply = Step.PENDING, reply
            return
        del self._calls[call.id]
        call.fds = fds
        call.finish(reply, Refused(status, reply) if status is not None else None)

    def _refused(self, status: pb.Status) -> None:
        """A whole datagram was; or the connection, before anything was said on it or because it is another's now."""
        if self._state is State.HELLO:
            self._welcome(pb.Reply(status=status))
        elif status.reason == "handed-over":
            self._end(Refused(status))
        else:
            fault = self._calls.get(status.object)
            for call in [call for call in self._calls.values() if call.step is Step.SENT]:
                if fault is None or call.datagram == fault.datagram:
                    del self._calls[call.id]
                    call.finish(None, Refused(status))
