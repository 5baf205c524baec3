# SPDX-License-Identifier: MIT
"""What can go wrong. Everything that this package raises of its own is a PasidError."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Optional

from . import pasid_pb2 as pb

if TYPE_CHECKING:
    from ._link import Call


class Code(enum.IntEnum):
    """What kind of refusal it is. docs/PROTOCOL.md says what the caller does about each."""

    OK = 0
    INVALID = 1
    NOT_FOUND = 2
    DENIED = 3
    EXISTS = 4
    BUSY = 5
    QUOTA = 6
    EXHAUSTED = 7
    UNSUPPORTED = 8
    STATE = 9
    PENDING = 10
    HARDWARE = 11
    RETRY = 12
    INTERNAL = 13


class PasidError(Exception):
    """Any error of this package."""


class Refused(PasidError):
    """The daemon refused.

    code     what kind; INTERNAL for one that this package does not know
    reason   exactly which refusal, as docs/PROTOCOL.md lists them: stable, for programs
    message  for people; may change
    object   what it is about, by the daemon's number, or 0
    limit, used
             the limit that was met and how far it is used, or None
    sys_errno
             what the kernel answered, or 0
    reply    the whole reply. With the reason descriptor-not-kept it has the result: undo what was done, and ask anew
    """

    def __init__(self, status: pb.Status, reply: Optional[pb.Reply] = None) -> None:
        super().__init__(f"{status.message} ({status.reason})" if status.message else status.reason)
        code = int(status.code)
        self.code: Code = Code(code) if code in set(Code) else Code.INTERNAL
        self.reason: str = status.reason
        self.message: str = status.message
        self.object: int = status.object
        has_limit = status.HasField("limit")
        self.limit: Optional[int] = status.limit.limit if has_limit else None
        self.used: Optional[int] = status.limit.used if has_limit else None
        self.sys_errno: int = status.sys_errno
        self.reply: Optional[pb.Reply] = reply


class Pending(Refused):
    """The time of a call passed and the daemon goes on with it: `error.call.result()` asks again, and does it once."""

    def __init__(self, status: pb.Status, reply: pb.Reply, call: Call) -> None:
        super().__init__(status, reply)
        self.call = call


class TimedOut(PasidError, TimeoutError):
    """The daemon did not answer in time. Whether it was, or will be, done is not known: `error.call.result()` says."""

    def __init__(self, message: str, call: Optional[Call] = None) -> None:
        super().__init__(message)
        self.call = call


class NotConnected(PasidError, ConnectionError):
    """There is no daemon, or the connection was lost and the session with it. The client is of no more use.

    sent  whether the daemon may have had the request that this is the end of

    `__cause__` says why: Refused with the reason handed-over or resume-token-unknown, for example.
    """

    def __init__(self, message: str, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class ProtocolError(PasidError):
    """What came is not what docs/PROTOCOL.md says, or a descriptor was lost on its way."""
