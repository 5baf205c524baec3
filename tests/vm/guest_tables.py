# SPDX-License-Identifier: MIT
"""What a guest on arm64 keeps for its SMMU: a context descriptor and translation tables.

Layouts: Arm SMMUv3 specification (IHI 0070), 5.4, and the Arm Architecture Reference Manual, tables
with a granule of 4 KiB.
"""

import stream_reader

ADDRESS_BITS = 39  # tables of three levels
TABLE, PAGE_ENTRY = 3, 3
USED, SHARED, NORMAL, READ_ONLY = 1 << 10, 3 << 8, 0, 1 << 7
UNPRIVILEGED = 1 << 6
PAGE = 4096


def context_descriptor(tables, asid):
    """Both words that matter, and the one with the kinds of memory."""
    word0 = (
        64 - ADDRESS_BITS
        | 1 << 8  # tables are cached, written back
        | 1 << 10
        | 3 << 12  # and shared
        | 1 << 30  # no second range of addresses
        | 1 << 31  # valid
        | 4 << 32  # physical addresses of 44 bits
        | 1 << 41  # tables of 64-bit arm
        | 7 << 45  # faults are recorded and end the access; the ASID is the guest's own
        | asid << 48
    )
    return word0, tables, 0, 0xFF


class Space:
    """An address space of the guest: a context descriptor at `at`, its three tables behind it."""

    def __init__(self, probe, at, asid):
        self.probe, self.contexts = probe, at
        self.tables = [at + PAGE * number for number in (1, 2, 3)]
        self._poke(at, *context_descriptor(self.tables[0], asid))

    def entry(self):
        """Word 0 of the guest's stream table entry that names it."""
        return 1 | stream_reader.Config.STAGE_1 << 1 | self.contexts

    def map(self, address, page, more=0):
        """Maps a page of the guest; all addresses of one space lie in the same 2 MiB."""
        first, second, third = self.tables
        self._poke(first + 8 * (address >> 30), second | TABLE)
        self._poke(second + 8 * (address >> 21 & 511), third | TABLE)
        leaf = page | PAGE_ENTRY | USED | SHARED | UNPRIVILEGED | NORMAL | more
        self._poke(third + 8 * (address >> 12 & 511), leaf)

    def _poke(self, address, *words):
        self.probe.ask(f"poke {address:#x} " + " ".join(f"{word:#x}" for word in words))
