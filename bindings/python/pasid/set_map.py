# SPDX-License-Identifier: MIT
"""A set's map from guest to host PASIDs, read in memory: a translation is no request."""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
from typing import Optional

from . import pasid_pb2 as pb
from .errors import PasidError, ProtocolError

PAGE = 4096
LARGEST = 1 << 30
MAGIC = 0x0050414D44495341
VERSION = 1
ADDRESS = ~0xFFF


class MapClosed(PasidError):
    """The set has ended or was emptied, or the map was closed: nothing is found in it any more."""


class SetMap:
    """What Client.set_export() returns. It follows its set, also into the next daemon's memory: the client asks for
    that when its session is taken up, so let it run (any call, Client.process()) when the connection was lost."""

    def __init__(self, set_id: int, fd: int, exported: pb.SetExportResult) -> None:
        self.set = set_id
        self._memory: Optional[mmap.mmap] = None
        self.replace(fd, exported)

    def replace(self, fd: int, exported: pb.SetExportResult) -> None:
        """Other memory from now on. Takes the descriptor, whatever happens."""
        try:
            self._check(fd, exported)
            memory = mmap.mmap(fd, exported.size, mmap.MAP_SHARED, mmap.PROT_READ)
        finally:
            os.close(fd)
        self.close()
        self._memory = memory
        # Native elements are loaded whole, which is what the daemon's single stores need from a reader.
        self._bytes = memoryview(memory)
        self._long, self._short = self._bytes.cast("Q"), self._bytes.cast("I")
        if self._long[0] != MAGIC or self._short[2] != VERSION:
            self.close()
            raise ProtocolError("the map in memory has another layout than this package knows")

    @staticmethod
    def _check(fd: int, exported: pb.SetExportResult) -> None:
        """Memory that can shrink would take this process along."""
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        size = exported.size
        whole = os.fstat(fd).st_size == size and PAGE <= size <= LARGEST and size % PAGE == 0
        if sys.byteorder != "little" or exported.version != VERSION or not whole or not seals & fcntl.F_SEAL_SHRINK:
            raise ProtocolError("what the daemon gave is not the map of a set")

    def find(self, guest_pasid: int) -> Optional[int]:
        """The host PASID behind a guest's, or None. MapClosed: there is no such map any more."""
        if self._memory is None or self._short[3] != 0:
            raise MapClosed(f"the map of set {self.set} is closed")
        if not 0 <= guest_pasid < 1 << 20:
            return None
        root = self._entry(24 + (guest_pasid >> 19) * 8)
        if not root & 1:
            return None
        directory = self._entry((root & ADDRESS) + (guest_pasid >> 10 & 511) * 8)
        if not directory & 1 or directory & ADDRESS > len(self._bytes) - PAGE:
            return None
        entry = self._short[(directory & ADDRESS) // 4 + (guest_pasid & 1023)]
        return entry & 0xFFFFF if entry >> 31 else None

    def _entry(self, offset: int) -> int:
        """The eight bytes there, or 0 for what lies outside."""
        return self._long[offset // 8] if offset <= len(self._bytes) - 8 else 0

    @property
    def closed(self) -> bool:
        """Whether this side closed it; find() says whether the daemon did."""
        return self._memory is None

    def close(self) -> None:
        if self._memory is not None:
            for view in (self._long, self._short, self._bytes):
                view.release()
            self._memory.close()
            self._memory = None

    def __enter__(self) -> SetMap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
