# SPDX-License-Identifier: MIT
"""Client of pasidd, which owns a host's PASIDs.

    import pasid

    with pasid.Client() as vmm:
        vmm.set_create("vm1")
        slice_ = vmm.device_slice("0000:00:03.0")
        vmm.memory_map(slice_.id, memfd, 1 << 30, space=1)
        vmm.allocate(guest=5)
        vmm.bind(pasid.Guest(5), {slice_.id: pasid.space(1)})

Enums and messages of the protocol are in `pasid.pb`.
"""

from . import pasid_pb2 as pb
from ._link import Call
from .client import Client, HandOver
from .errors import Code, NotConnected, PasidError, Pending, ProtocolError, Refused, TimedOut
from .inherited import Inherited, inherited
from .refs import DeviceKey, Guest, Pasid, SetKey, guest_table, hwpt, ioas, space, stream_table
from .set_map import MapClosed, SetMap
from .watch import Watch

__all__ = [
    "Call",
    "Client",
    "Code",
    "DeviceKey",
    "Guest",
    "HandOver",
    "Inherited",
    "MapClosed",
    "NotConnected",
    "Pasid",
    "PasidError",
    "Pending",
    "ProtocolError",
    "Refused",
    "SetKey",
    "SetMap",
    "TimedOut",
    "Watch",
    "guest_table",
    "hwpt",
    "inherited",
    "ioas",
    "pb",
    "space",
    "stream_table",
]
