# SPDX-License-Identifier: MIT
"""A client of pasidd: a session, and every operation as a method.

What a method does, and what it is refused for, is in docs/PROTOCOL.md under the same name; results are the messages of
proto/pasid.proto. `set` is a set's id or name; a VMM leaves it out, which means its own. `timeout` is in seconds, None
for as long as it takes; left out it is the client's. Every method raises Refused (and of these Pending), TimedOut or
NotConnected.
"""

from __future__ import annotations

import dataclasses
import os
import weakref
from typing import Any, Iterable, Iterator, Mapping, Optional, Sequence

from . import pasid_pb2 as pb
from ._link import Call, Link
from .errors import NotConnected, PasidError
from .inherited import inherited, read_secret
from .refs import DeviceKey, Pasid, SetKey, device_ref, pasid_ref, set_ref
from .set_map import SetMap
from .watch import Watch

DEFAULT_PATH = "/run/pasidd/pasidd.socket"
CLIENTS_OWN = -1.0  # a timeout that was left out
TIMEOUT = 30.0
Number = Optional[int]
Seconds = Optional[float]


@dataclasses.dataclass(frozen=True)
class HandOver:
    """What another process takes the session over with: `Client(take_over=secret)`, on `fd` when there is one."""

    secret: bytes
    valid_ms: int
    fd: Number


class Client:
    """A session with pasidd, for one thread, and for the process that made it. Close it, or use it in a `with`.

    path        where the daemon listens; without it $PASIDD_SOCKET, or /run/pasidd/pasidd.socket
    fd          instead: a connection that was handed over. It is duplicated: close yours
    role        pb.ROLE_VMM, ROLE_ADMIN, ROLE_OBSERVER, ROLE_PARTICIPANT
    name        for the daemon's log
    take_over   the secret of another process that hands its session over
    features    that the daemon has to have
    timeout     of every call that has none of its own. The daemon keeps it, too: a call whose time passes is Pending
    resume_for  seconds that a lost session is tried to be taken up; None is as long as the daemon keeps it (`grace_ms`)

    When the connection is lost, by a restart of the daemon or otherwise, calls wait for the next one, and what has no
    reply is sent again, to be done once. A session on `fd` ends with its connection.
    """

    def __init__(self, path: Optional[str] = None, *, fd: Number = None, role: pb.Role = pb.ROLE_VMM,
                 name: str = "python", take_over: Optional[bytes] = None, features: Sequence[str] = (),
                 timeout: Seconds = TIMEOUT, resume_for: Seconds = None) -> None:
        if path is not None and fd is not None:
            raise ValueError("there is a path or a descriptor, not both")
        if take_over is not None and not take_over:
            raise ValueError("the secret of a hand-over is not empty")
        if fd is None:
            path = os.fspath(path) if path is not None else os.environ.get("PASIDD_SOCKET") or DEFAULT_PATH
        hello = pb.Hello(role=role, client=name, required_features=features)
        if take_over is not None:
            hello.take_over = take_over
        self._watch: Optional[Watch] = None
        self._maps: weakref.WeakSet[SetMap] = weakref.WeakSet()
        self._link = Link(path, fd, hello, timeout, resume_for)
        self._link.on_event = self._on_event
        self._link.on_resumed = self._on_resumed

    @classmethod
    def inherit(cls, **options: Any) -> Client:
        """As a VMM that `pasidctl run` or `pasidctl connect` started; inherited() has the rest of what that leaves."""
        found = inherited()
        if found.secret is None and found.connection is None:
            raise ValueError("PASIDD_TAKE_OVER_FD and PASIDD_FD are not set: start it with pasidctl run or connect")
        secret = read_secret(found.secret) if found.secret is not None else None
        client = cls(fd=found.connection, take_over=secret, **options)
        if found.connection is not None:
            os.close(found.connection)
        return client

    def close(self) -> None:
        """Ends the connection. The session ends after its grace period, or with this process, whichever is first."""
        self._link.close()
        for each in list(self._maps):
            each.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- calls

    @property
    def session(self) -> pb.HelloResult:
        """What the daemon said last to hello: features, limits, role, instance (another one after a restart)."""
        return self._link.session

    def start(self, operation: str, *, fds: Sequence[int] = (), **fields: Any) -> Call:
        """An operation of pasid.v1.Request by its name there. Nothing is sent before somebody waits: what is started in
        one go travels in one datagram. `fds` are duplicated; close yours when you like."""
        request = pb.Request()
        message = getattr(request, operation)
        message.SetInParent()
        message.MergeFrom(type(message)(**{name: value for name, value in fields.items() if value is not None}))
        return self._link.start(request, fds)

    def call(self, operation: str, *, fds: Sequence[int] = (), timeout: Seconds = CLIENTS_OWN, **fields: Any) -> Any:
        """The same, and its result: the member of pasid.v1.Reply with the operation's name, if it has one."""
        reply = self.start(operation, fds=fds, **fields).result(timeout)
        return getattr(reply, operation, None)

    def _call_for_fd(self, operation: str, **fields: Any) -> tuple[Any, int]:
        """The result and the descriptor that comes with it."""
        call = self.start(operation, fds=fields.pop("fds", ()), **{k: v for k, v in fields.items() if k != "timeout"})
        reply = call.result(fields.get("timeout", CLIENTS_OWN))
        return getattr(reply, operation, None), call.take_fd()

    def fileno(self) -> int:
        """For select(): when it is readable, process(). -1 while the connection is lost: process() now and then."""
        return self._link.fileno()

    def process(self, timeout: float = 0) -> None:
        """Sends what was started, and takes what came, waiting for one thing at the longest so many seconds."""
        self._link.process(timeout)

    def step(self, until: float) -> None:
        """The same, until a time of time.monotonic()."""
        self._link.step(until)

    def _pages(self, operation: str, member: str, **fields: Any) -> Iterator[Any]:
        after = 0
        while True:
            page = self.call(operation, after=after, **fields)
            yield from getattr(page, member)
            after = page.next
            if not after:
                return

    # -- the daemon

    def ping(self, payload: bytes = b"", *, timeout: Seconds = CLIENTS_OWN) -> bytes:
        return bytes(self.call("ping", payload=payload, timeout=timeout).payload)

    def status(self) -> pb.StatusResult:
        return self.call("get_status")

    def limits(self, *, set: Optional[SetKey] = None) -> Iterator[pb.LimitInfo]:
        return self._pages("limit_list", "limits", set=set_ref(set))

    def recover(self) -> bool:
        """Vouches that no VMM holds a device any more. Whether there was anything to confirm."""
        return bool(self.call("recover", confirm_no_devices=True).was_blocked)

    def hand_over(self) -> HandOver:
        """The session is to be another process's; nothing should be under way. `fd`, if any, is the caller's."""
        call = self.start("hand_over")
        result = call.result().hand_over
        return HandOver(bytes(result.secret), result.valid_ms, call.take_fd() if call.fds else None)

    def hand_over_cancel(self) -> None:
        self.call("hand_over", cancel=True)

    # -- sets

    def set_create(self, name: str, *, mode: pb.SetMode = pb.SET_MODE_UNSPECIFIED, quota: Number = None,
                   owner: Number = None, scopes: Iterable[pb.Scope] = ()) -> pb.SetInfo:
        """`quota`: numbers, 0 is what remains of the host; `owner`: the user id that is charged, for admins to say."""
        return self.call("set_create", name=name, mode=mode, pasids=quota, uid=owner, scopes=scopes)

    def set_adjust(self, quota: int, *, set: Optional[SetKey] = None) -> pb.SetInfo:
        return self.call("set_adjust", set=set_ref(set), pasids=quota)

    def set_destroy(self, *, set: Optional[SetKey] = None, force: bool = False, timeout: Seconds = CLIENTS_OWN) -> None:
        self.call("set_destroy", set=set_ref(set), force=force, timeout=timeout)

    def set_get(self, *, set: Optional[SetKey] = None) -> pb.SetInfo:
        return self.call("set_get", set=set_ref(set))

    def sets(self) -> Iterator[pb.SetInfo]:
        return self._pages("set_list", "sets")

    def set_connect(self, set: SetKey) -> int:
        """A connection for this set and nothing else, as a descriptor of the caller's, to be handed to a VMM."""
        return self._call_for_fd("set_connect", set=set_ref(set))[1]

    def set_export(self, *, set: Optional[SetKey] = None) -> SetMap:
        """The map from guest to host PASIDs, in memory."""
        result, fd = self._call_for_fd("set_export", set=set_ref(set))
        exported = SetMap(result.set, fd, result)
        self._maps.add(exported)
        return exported

    # -- numbers

    def allocate(self, count: int = 1, *, guest: Number = None, lowest: Number = None, highest: Number = None,
                 consecutive: bool = False, data: int = 0, devices: Iterable[int] = (),
                 scope: pb.Scope = pb.SCOPE_UNSPECIFIED, set: Optional[SetKey] = None) -> list[int]:
        """Host PASIDs, all of them or none. `guest`: the guest's number of the only one."""
        runs = self.call("allocate", set=set_ref(set), min=lowest, max=highest, count=count, consecutive=consecutive,
                         guest_pasid=guest, data=data, devices=devices, scope=scope).runs
        return [number for run in runs for number in range(run.first, run.first + run.count)]

    def free(self, *pasids: Pasid, set: Optional[SetKey] = None) -> pb.FreeResult:
        return self.call("free", set=set_ref(set), pasids=[pasid_ref(pasid) for pasid in pasids])

    def free_all(self, *, set: Optional[SetKey] = None) -> pb.FreeResult:
        return self.call("free", set=set_ref(set), all=True)

    def extend(self, pasid: Pasid, *devices: int, set: Optional[SetKey] = None) -> int:
        """A number of scope rids is for these devices, too. How many IOMMU groups that added."""
        return int(self.call("extend", set=set_ref(set), pasid=pasid_ref(pasid), devices=devices).added)

    def guest_attach(self, host: int, guest: int, *, set: Optional[SetKey] = None) -> None:
        self.call("guest_attach", set=set_ref(set), host_pasid=host, guest_pasid=guest)

    def guest_detach(self, guest: int, *, set: Optional[SetKey] = None) -> None:
        self.call("guest_detach", set=set_ref(set), guest_pasid=guest)

    def guest_find(self, guest: int, *, set: Optional[SetKey] = None) -> int:
        """The host PASID; the map of set_export() says the same without a request."""
        return int(self.call("guest_find", set=set_ref(set), guest_pasid=guest).host_pasid)

    def host_find(self, host: int, *, set: Optional[SetKey] = None) -> pb.GrantInfo:
        return self.call("host_find", host_pasid=host, set=set_ref(set))

    def data_set(self, pasid: Pasid, data: int, *, set: Optional[SetKey] = None) -> None:
        self.call("data_set", set=set_ref(set), pasid=pasid_ref(pasid), data=data)

    def grants(self, *, set: Optional[SetKey] = None, quarantined: bool = False, data: Number = None,
               device: Optional[DeviceKey] = None) -> Iterator[pb.GrantInfo]:
        return self._pages("grant_list", "grants", set=set_ref(set), quarantined=quarantined, data=data,
                           device=device_ref(device))

    def quarantine_end(self, host: int, *, set: Optional[SetKey] = None) -> None:
        """An admin vouches that nothing can use the number any more."""
        self.call("quarantine_end", host_pasid=host, set=set_ref(set))

    def hold(self, host: int, *, set: Optional[SetKey] = None) -> None:
        """The number is not reclaimed before this session's release(), of each hold one, or its end."""
        self.call("hold", set=set_ref(set), host_pasid=host)

    def release(self, host: int, *, set: Optional[SetKey] = None) -> None:
        self.call("release", set=set_ref(set), host_pasid=host)

    def holds(self, *, set: Optional[SetKey] = None) -> Iterator[pb.HoldInfo]:
        return self._pages("hold_list", "holds", set=set_ref(set))

    # -- devices and memory

    def device_add(self, iommufd: int, device: int, *, set: Optional[SetKey] = None,
                   timeout: Seconds = CLIENTS_OWN) -> pb.DeviceInfo:
        """An exclusive device by open descriptors of /dev/iommu and its /dev/vfio/devices/vfioN, not bound yet."""
        return self.call("device_add", fds=(iommufd, device), set=set_ref(set), timeout=timeout)

    def device_open(self, iommufd: int, address: str, *, set: Optional[SetKey] = None,
                    timeout: Seconds = CLIENTS_OWN) -> tuple[pb.DeviceInfo, int]:
        """One that the daemon opens, by its policy; its descriptor is the caller's."""
        return self._call_for_fd("device_add", fds=(iommufd,), address=address, set=set_ref(set), timeout=timeout)

    def device_share(self, address: str, *, timeout: Seconds = CLIENTS_OWN) -> pb.DeviceInfo:
        return self.call("device_share", address=address, timeout=timeout)

    def device_slice(self, device: DeviceKey, *, set: Optional[SetKey] = None) -> pb.DeviceInfo:
        """The set's part of a shared device."""
        key: dict[str, Any] = {"address": device} if isinstance(device, str) else {"device": device}
        return self.call("device_slice", set=set_ref(set), **key)

    def device_remove(self, device: int, *, going: bool = False, set: Optional[SetKey] = None,
                      timeout: Seconds = CLIENTS_OWN) -> None:
        """`going`: it is to be unplugged, and what is attached there is detached first."""
        self.call("device_remove", set=set_ref(set), device=device, going=going, timeout=timeout)

    def devices(self, *, set: Optional[SetKey] = None) -> Iterator[pb.DeviceInfo]:
        return self._pages("device_list", "devices", set=set_ref(set))

    def device_drained(self, device: int) -> int:
        """An admin vouches that all that a shared device had queued is done. How many numbers that released."""
        return int(self.call("device_drained", device=device).released)

    def memory_map(self, device: int, fd: int, length: int, *, space: int, iova: int = 0, offset: int = 0,
                   writeable: bool = True, set: Optional[SetKey] = None, timeout: Seconds = CLIENTS_OWN) -> None:
        """Memory of a memfd into an address space of the device, which bind() takes as refs.space(n)."""
        self.call("memory_map", fds=(fd,), set=set_ref(set), device=device, space=space, iova=iova, length=length,
                  offset=offset, writeable=writeable, timeout=timeout)

    def memory_unmap(self, device: int, length: int, *, space: int, iova: int = 0, set: Optional[SetKey] = None,
                     timeout: Seconds = CLIENTS_OWN) -> None:
        self.call("memory_unmap", set=set_ref(set), device=device, space=space, iova=iova, length=length,
                  timeout=timeout)

    # -- bindings

    def bind(self, pasid: Pasid, tables: Mapping[int, pb.Table], *, set: Optional[SetKey] = None,
             timeout: Seconds = CLIENTS_OWN) -> pb.BindResult:
        """A page table for the number on each device: on all of them or on none."""
        pairs = [pb.BindPair(device=device, table=table) for device, table in tables.items()]
        return self.call("bind", set=set_ref(set), pasid=pasid_ref(pasid), pairs=pairs, timeout=timeout)

    def unbind(self, pasid: Pasid, *devices: int, set: Optional[SetKey] = None, timeout: Seconds = CLIENTS_OWN) -> None:
        """From these devices, or from all when none is named."""
        self.call("unbind", set=set_ref(set), pasid=pasid_ref(pasid), devices=devices, timeout=timeout)

    def replace(self, pasid: Optional[Pasid], device: int, table: pb.Table, *, set: Optional[SetKey] = None,
                timeout: Seconds = CLIENTS_OWN) -> pb.BindResult:
        """Another table in the place of the bound one, in one step; None is the RID itself."""
        return self.call("replace", set=set_ref(set), pasid=None if pasid is None else pasid_ref(pasid),
                         pair=pb.BindPair(device=device, table=table), timeout=timeout)

    def rid_attach(self, device: int, table: pb.Table, *, set: Optional[SetKey] = None,
                   timeout: Seconds = CLIENTS_OWN) -> pb.AttachedTable:
        return self.call("rid_attach", set=set_ref(set), pair=pb.BindPair(device=device, table=table), timeout=timeout)

    def rid_detach(self, device: int, *, set: Optional[SetKey] = None, timeout: Seconds = CLIENTS_OWN) -> None:
        self.call("rid_detach", set=set_ref(set), device=device, timeout=timeout)

    def bindings(self, *, set: Optional[SetKey] = None, host: Number = None,
                 device: Optional[DeviceKey] = None) -> Iterator[pb.BindingInfo]:
        return self._pages("binding_list", "bindings", set=set_ref(set), host_pasid=host, device=device_ref(device))

    # -- events

    def watch(self, *, start: Number = None, set: Optional[SetKey] = None, kinds: Iterable[pb.EventKind] = (),
              priority: pb.EventPriority = pb.EVENT_PRIORITY_UNSPECIFIED, acknowledge: bool = False) -> Watch:
        """Events from now on, or from a sequence number; it takes the place of the watch before.

        acknowledge: for participants, who are waited for from now on, until their session ends
        """
        wanted = pb.Watch(kinds=kinds, priority=priority, acknowledge=acknowledge)
        if start is not None:
            setattr(wanted, "from", start)
        if isinstance(set, str):
            wanted.set_name = set
        elif set is not None:
            wanted.set = set
        watch = Watch(self, wanted)
        call = self._link.start(watch.request())
        call.on_done = lambda call: self._watch_began(watch, call)
        call.result()
        return watch

    def _watch_began(self, watch: Watch, call: Call) -> None:
        """With the reply, because the first event may come in the same datagram, behind it."""
        if call.error is None and call.reply is not None:
            if self._watch is not None:
                self._watch.stopped = True
            self._watch = watch
            watch.began(call.reply.watch)

    def stop_watch(self, watch: Watch) -> None:
        """Watch.stop() is what is meant to be called."""
        watch.stopped = True
        if self._watch is watch:
            self._watch = None
            try:
                self.call("watch", stop=True)
            except NotConnected:
                pass  # it ended with the session

    def acknowledge(self, hosts: Iterable[int], *, seen: int = 0) -> pb.AcknowledgeResult:
        """A participant has let go of these numbers, as far as events up to the sequence number `seen` asked for it."""
        return self.call("acknowledge", host_pasids=hosts, seen=seen)

    def _on_event(self, event: pb.Event) -> None:
        if self._watch is not None:
            self._watch.came(event)

    # -- after the session was taken up

    def _on_resumed(self) -> None:
        if self._watch is not None:
            self._link.start(self._watch.request()).on_done = self._watch.again_done
        for each in list(self._maps):
            self._link.start(pb.Request(set_export=pb.SetExport(set=set_ref(each.set)))).on_done = _map_again(each)


def _map_again(exported: SetMap) -> Any:
    """What takes the memory of the daemon that is there now; a set that is gone closes the map."""

    def done(call: Call) -> None:
        try:
            if call.error is not None or call.reply is None:
                exported.close()
            elif not exported.closed:
                exported.replace(call.take_fd(), call.reply.set_export)
        except PasidError:
            exported.close()

    return done
