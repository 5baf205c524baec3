# SPDX-License-Identifier: MIT
"""Events of a session. A watch goes on over a restart of the daemon from where it was."""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING, Iterator, Optional

from . import pasid_pb2 as pb
from .errors import PasidError

if TYPE_CHECKING:
    from ._link import Call
    from .client import Client

MOST = 4096  # events that wait here for somebody to read them


class Watch:
    """Client.watch() makes it. Iterating waits for events, and ends when it is stopped or replaced."""

    def __init__(self, client: Client, wanted: pb.Watch) -> None:
        self._client = client
        self._wanted = wanted
        self._events: collections.deque[pb.Event] = collections.deque()
        self._next = getattr(wanted, "from") if wanted.HasField("from") else 0  # the first sequence number to come
        self._error: Optional[PasidError] = None
        self.stopped = False
        self.told = self._next  # where another watch would go on: behind what was read

    def next(self, timeout: Optional[float] = None) -> Optional[pb.Event]:
        """The next event, or None when there is none for so many seconds (None: for ever), or when it was stopped.

        One of kind EVENT_UNSPECIFIED says how many were lost, and up to which sequence number.
        """
        until = float("inf") if timeout is None else time.monotonic() + timeout
        polled = False
        while not self._events:
            if self._error is not None:
                raise self._error
            if self.stopped or (polled and time.monotonic() >= until):
                return None
            self._client.step(until)
            polled = True
        event = self._events.popleft()
        self.told = event.sequence + 1
        return event

    def __iter__(self) -> Iterator[pb.Event]:
        while (event := self.next()) is not None:
            yield event

    def stop(self) -> None:
        """No more events; those that came can still be read."""
        if not self.stopped:
            self._client.stop_watch(self)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- for the client

    def request(self) -> pb.Request:
        """What asks for the events that have not come yet."""
        wanted = pb.Watch()
        wanted.CopyFrom(self._wanted)
        if self._next != 0:
            setattr(wanted, "from", self._next)
        return pb.Request(watch=wanted)

    def began(self, result: pb.WatchResult) -> None:
        """Where it goes on when the connection is lost before there was an event."""
        self._next = self._next or result.next_sequence
        self.told = self.told or result.next_sequence

    def again_done(self, call: Call) -> None:
        if call.error is not None:
            self._error = call.error
        elif call.reply is not None:
            self.began(call.reply.watch)

    def came(self, event: pb.Event) -> None:
        """Too many unread: the oldest are dropped, and the place says how many."""
        if event.sequence < self._next:
            return  # asked for twice, over a lost connection
        self._next = event.sequence + 1
        self._events.append(event)
        if len(self._events) > MOST:
            first, second = self._events.popleft(), self._events.popleft()
            gone = sum(event.lost + (event.kind != pb.EVENT_UNSPECIFIED) for event in (first, second))
            self._events.appendleft(pb.Event(sequence=second.sequence, lost=gone))
