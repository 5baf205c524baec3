# SPDX-License-Identifier: MIT
"""How numbers, sets, devices and page tables are named in requests."""

from __future__ import annotations

import dataclasses
from typing import Optional, Union

from . import pasid_pb2 as pb


@dataclasses.dataclass(frozen=True)
class Guest:
    """A PASID by the guest's number; a plain int is a host PASID."""

    number: int


Pasid = Union[int, Guest]
SetKey = Union[int, str]  # id or name
DeviceKey = Union[int, str]  # id, or address of a function


def set_ref(key: Optional[SetKey]) -> Optional[pb.SetRef]:
    """None is the VMM's own set."""
    if key is None:
        return None
    return pb.SetRef(name=key) if isinstance(key, str) else pb.SetRef(id=key)


def pasid_ref(pasid: Pasid) -> pb.PasidRef:
    return pb.PasidRef(guest=pasid.number) if isinstance(pasid, Guest) else pb.PasidRef(host=pasid)


def device_ref(key: Optional[DeviceKey]) -> Optional[pb.DeviceRef]:
    if key is None:
        return None
    return pb.DeviceRef(address=key) if isinstance(key, str) else pb.DeviceRef(id=key)


# -- page tables


def space(number: int) -> pb.Table:
    """An address space of the device, 0 to 15, filled by Client.memory_map()."""
    return pb.Table(space=number)


def hwpt(number: int) -> pb.Table:
    """One that the VMM made on its own iommufd, for PASIDs (exclusive devices)."""
    return pb.Table(hwpt=number)


def ioas(number: int) -> pb.Table:
    """One that the daemon makes over this IOAS of the VMM (exclusive devices)."""
    return pb.Table(ioas=number)


def guest_table(
    address: int,
    *,
    width: int = 48,
    flags: int = 0,
    parent_hwpt: Optional[int] = None,
    parent_space: Optional[int] = None,
) -> pb.Table:
    """The guest's first-stage table (VT-d) at a guest-physical address, nested on one of the parents."""
    table = pb.GuestTable(address=address, width=width, flags=flags)
    _set_parent(table, parent_hwpt=parent_hwpt, parent_space=parent_space)
    return pb.Table(guest=table)


def stream_table(
    ste0: int,
    ste1: int,
    stream: int,
    *,
    parent_hwpt: Optional[int] = None,
    parent_space: Optional[int] = None,
    parent_ioas: Optional[int] = None,
) -> pb.Table:
    """The first two words of the guest's stream table entry (SMMUv3) and the guest's stream id, for a RID."""
    table = pb.StreamTable(ste0=ste0, ste1=ste1, stream=stream)
    _set_parent(table, parent_hwpt=parent_hwpt, parent_space=parent_space, parent_ioas=parent_ioas)
    return pb.Table(stream=table)


def _set_parent(table: Union[pb.GuestTable, pb.StreamTable], **parents: Optional[int]) -> None:
    given = {name: value for name, value in parents.items() if value is not None}
    if len(given) != 1:
        raise ValueError(f"one of {', '.join(parents)} is the parent")
    for name, value in given.items():
        setattr(table, name, value)
