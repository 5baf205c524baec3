# SPDX-License-Identifier: MIT
"""Reads VT-d's PASID tables the way the IOMMU does: out of memory, from the root table down.

Nothing here asks the guest. The memory is the one that QEMU shares, the root is what the IOMMU's
register says, and the layouts are those of the Intel Virtualization Technology for Directed I/O
specification, chapter 9, restated here on purpose and not shared with the daemon: a reader that
used the daemon's decoder would repeat the daemon's mistakes.
"""

import enum
import mmap
import os
import struct

PAGE = 4096
ADDRESS = 0x000F_FFFF_FFFF_F000  # the bits of an entry that hold a page's address
PRESENT = 1
READABLE = 1
PASIDS_PER_TABLE = 64
ENTRY_SIZE = 64


class TableError(Exception):
    """The tables say something that cannot be."""


class Stage(enum.IntEnum):
    """The PGTT field of a PASID table entry: what the entry translates with."""

    FIRST = 1
    SECOND = 2
    NESTED = 3
    PASSTHROUGH = 4


class Memory:
    """A guest's memory, read only. Below 2 GiB an offset in it is a guest-physical address."""

    def __init__(self, descriptor):
        self.size = os.fstat(descriptor).st_size
        self._view = mmap.mmap(descriptor, self.size, mmap.MAP_SHARED, mmap.PROT_READ)

    def words(self, address, count):
        return struct.unpack(f"<{count}Q", self.bytes(address, 8 * count))

    def word(self, address):
        return self.words(address, 1)[0]

    def bytes(self, address, count):
        if address + count > self.size:
            raise TableError(f"address {address:#x} lies outside the guest's memory")
        return self._view[address : address + count]

    def byte(self, address):
        return self._view[address]

    def close(self):
        self._view.close()


def function_name(rid):
    """A requester ID as Linux writes it."""
    return f"0000:{rid >> 8:02x}:{rid >> 3 & 31:02x}.{rid & 7}"


def parse_function(name):
    """The requester ID of a function as Linux writes it."""
    _, bus, rest = name.split(":")
    slot, function = rest.split(".")
    return int(bus, 16) << 8 | int(slot, 16) << 3 | int(function, 16)


class Entry:
    """One present PASID table entry, and whose it is."""

    def __init__(self, rid, pasid, words):
        self.rid = rid
        self.pasid = pasid
        self.words = words

    @property
    def key(self):
        return (self.rid, self.pasid)

    @property
    def stage(self):
        number = self.words[0] >> 6 & 7
        try:
            return Stage(number)
        except ValueError:
            where = f"{function_name(self.rid)} PASID {self.pasid:#x}"
            raise TableError(f"{where} has the unknown PGTT {number}") from None

    @property
    def domain(self):
        return self.words[1] & 0xFFFF

    @property
    def second_stage_table(self):
        return self.words[0] & ADDRESS

    @property
    def first_stage_table(self):
        return self.words[2] & ADDRESS

    @property
    def second_stage_levels(self):
        return (self.words[0] >> 2 & 7) + 2

    @property
    def first_stage_levels(self):
        return 5 if self.words[2] >> 2 & 3 == 1 else 4

    @property
    def page_table(self):
        """Address of the table that a DMA with this PASID goes through; 0 when none does."""
        if self.stage in (Stage.FIRST, Stage.NESTED):
            return self.first_stage_table
        return self.second_stage_table if self.stage == Stage.SECOND else 0

    def __str__(self):
        width = {Stage.FIRST: self.first_stage_levels}.get(self.stage, self.second_stage_levels)
        return (
            f"{function_name(self.rid)} pasid {self.pasid:#7x}  {self.stage.name.lower():11}"
            f" levels {width} domain {self.domain:3} table {self.page_table:#x}"
        )


class Tables:
    """All PASID tables of one IOMMU."""

    BUSES, SLOTS_PER_HALF, CONTEXT_SIZE = 256, 128, 32
    SCALABLE_MODE = 1

    def __init__(self, memory, root_register):
        self.memory = memory
        self.root = root_register & ADDRESS
        mode = root_register >> 10 & 3
        if mode != self.SCALABLE_MODE:
            raise TableError(
                f"the root table register, {root_register:#x}, is not in scalable mode"
            )

    def entries(self):
        """Every present entry of every function, by requester ID and PASID."""
        found = {}
        for rid, context in self._contexts():
            for pasid, words in self._table_entries(context):
                found[rid, pasid] = Entry(rid, pasid, words)
        return found

    def place(self, rid, pasid):
        """Where the entry of a PASID lies, whether it is present or not; None: it has no table."""
        for found, context in self._contexts():
            if found != rid:
                continue
            number, index = divmod(pasid, PASIDS_PER_TABLE)
            pointer = self.memory.word((context[0] & ADDRESS) + 8 * number)
            return (pointer & ADDRESS) + index * ENTRY_SIZE if pointer & PRESENT else None
        return None

    def _contexts(self):
        """Requester ID and words of each present scalable-mode context entry."""
        halves = self.memory.words(self.root, 2 * self.BUSES)
        for index, half in enumerate(halves):
            if not half & PRESENT:
                continue
            # Two words a bus: the lower and the upper half of its devices.
            first = index * self.SLOTS_PER_HALF
            for slot in range(self.SLOTS_PER_HALF):
                words = self.memory.words((half & ADDRESS) + slot * self.CONTEXT_SIZE, 4)
                if words[0] & PRESENT:
                    yield first + slot, words

    def _table_entries(self, context):
        """PASID and words of each present entry below one context entry."""
        directory_size = 1 << (context[0] >> 9 & 7) + 7
        directory = self.memory.words(context[0] & ADDRESS, directory_size)
        for number, pointer in enumerate(directory):
            if not pointer & PRESENT:
                continue
            table = self.memory.words(pointer & ADDRESS, PASIDS_PER_TABLE * ENTRY_SIZE // 8)
            for at in range(0, len(table), ENTRY_SIZE // 8):
                if table[at] & PRESENT:
                    pasid = number * PASIDS_PER_TABLE + at * 8 // ENTRY_SIZE
                    yield pasid, table[at : at + ENTRY_SIZE // 8]

    def read_through(self, entry, address, count):
        """What a DMA read with this entry's PASID would get; None when it would fault."""
        physical = self.translate(entry, address)
        return None if physical is None else self.memory.bytes(physical, count)

    def translate(self, entry, address):
        """The guest-physical address that a DMA to `address` reaches; None when it would fault."""
        if entry.stage == Stage.PASSTHROUGH:
            return address
        if entry.stage == Stage.SECOND:
            return self._walk(entry.second_stage_table, entry.second_stage_levels, address)
        if entry.stage == Stage.FIRST:
            return self._walk(entry.first_stage_table, entry.first_stage_levels, address)
        raise TableError("a nested entry: its tables are addressed through another one")

    def _walk(self, table, levels, address):
        """Down a page table of either stage: nine bits a level; bit 7 is set in a large page."""
        for level in range(levels - 1, -1, -1):
            shift = 12 + 9 * level
            entry = self.memory.word(table + (address >> shift & 511) * 8)
            if not entry & READABLE:
                return None
            if level == 0 or entry >> 7 & 1:
                low = (1 << shift) - 1
                return entry & ADDRESS & ~low | address & low
            table = entry & ADDRESS
        return None
