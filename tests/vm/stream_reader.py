# SPDX-License-Identifier: MIT
"""Reads an SMMUv3's stream table the way the SMMU does: out of memory, from its registers down.

Nothing here asks the guest. The layouts are those of the Arm System Memory Management Unit
Architecture Specification, version 3 (IHI 0070), chapters 5 and 6, and of the translation tables of
the Arm Architecture Reference Manual, restated here on purpose and not shared with the daemon.
"""

import enum

import machine_arm64
import table_reader
from table_reader import TableError

VALID = 1
ADDRESS = 0x000F_FFFF_FFFF_F000  # of tables and pages, 4 KiB granule
ENTRY_SIZE = 64
WORDS = ENTRY_SIZE // 8
DESCRIPTOR_SIZE = 8


class Config(enum.IntEnum):
    """What an entry does with its stream's accesses (STE.Config)."""

    ABORT = 0
    BYPASS = 4
    STAGE_1 = 5
    STAGE_2 = 6
    NESTED = 7


def bits(word, high, low):
    return word >> low & (1 << high - low + 1) - 1


class Entry:
    """A stream table entry, present or not."""

    def __init__(self, stream, words):
        self.stream, self.words = stream, words

    @property
    def valid(self):
        return bool(self.words[0] & VALID)

    @property
    def config(self):
        number = bits(self.words[0], 3, 1)
        try:
            return Config(number)
        except ValueError:
            raise TableError(f"stream {self.stream:#x} has the unknown Config {number}") from None

    @property
    def contexts(self):
        """Where its context descriptors are: of a guest's entry, an address of the guest."""
        return self.words[0] & 0x000F_FFFF_FFFF_FFC0

    @property
    def contexts_log2(self):
        return bits(self.words[0], 63, 59)

    @property
    def contexts_format(self):
        return bits(self.words[0], 5, 4)

    @property
    def virtual_machine(self):
        """STE.S2VMID: whose stage 2 it is."""
        return bits(self.words[2], 15, 0)

    @property
    def stage_2_table(self):
        return self.words[3] & 0x000F_FFFF_FFFF_FFF0

    def fields_of_guest(self):
        """By name, what a guest's entry may say in its two words; Config and V apart."""
        return guest_fields(self.words)

    def __str__(self):
        text = f"stream {self.stream:#x} {'valid' if self.valid else 'not valid'}"
        if self.valid:
            text += f" {self.config.name.lower()} contexts {self.contexts:#x}"
            text += f" vmid {self.virtual_machine} stage 2 {self.stage_2_table:#x}"
        return text + " " + ":".join(f"{word:x}" for word in self.words[:4])


def guest_fields(words):
    return {
        "S1Fmt": bits(words[0], 5, 4),
        "S1ContextPtr": words[0] & 0x000F_FFFF_FFFF_FFC0,
        "S1CDMax": bits(words[0], 63, 59),
        "S1DSS": bits(words[1], 1, 0),
        "S1CIR": bits(words[1], 3, 2),
        "S1COR": bits(words[1], 5, 4),
        "S1CSH": bits(words[1], 7, 6),
        "S1STALLD": bits(words[1], 27, 27),
    }


class Memory(table_reader.Memory):
    """The memory of a machine that has it at another address than 0."""

    def bytes(self, address, count):
        start = address - machine_arm64.MEMORY_BASE
        if start < 0:
            raise TableError(f"address {address:#x} lies below the guest's memory")
        return super().bytes(start, count)


class StreamTable:
    """The stream table that the SMMU's registers name."""

    LINEAR, TWO_LEVELS = 0, 1

    def __init__(self, memory, base, configuration):
        self.memory = memory
        self.base = base & 0x000F_FFFF_FFFF_FFC0
        self.log2_size = bits(configuration, 5, 0)
        self.split = bits(configuration, 10, 6)
        self.format = bits(configuration, 17, 16)
        if self.format not in (self.LINEAR, self.TWO_LEVELS):
            raise TableError(f"SMMU_STRTAB_BASE_CFG is {configuration:#x}: unknown format")

    def place(self, stream):
        """Where an entry lies; None when the table has none for this stream."""
        if stream >> self.log2_size:
            return None
        if self.format == self.LINEAR:
            return self.base + stream * ENTRY_SIZE
        first, second = stream >> self.split, stream & (1 << self.split) - 1
        descriptor = self.memory.word(self.base + first * DESCRIPTOR_SIZE)
        span = bits(descriptor, 4, 0)
        if span == 0 or second >= 1 << span - 1:
            return None
        return (descriptor & 0x000F_FFFF_FFFF_FFC0) + second * ENTRY_SIZE

    def entry(self, stream):
        """The entry of a stream; None when there is no place for one."""
        place = self.place(stream)
        return None if place is None else Entry(stream, self.memory.words(place, WORDS))

    def translate(self, stream, address):
        """The physical address that an access without substream reaches; None: it would fault."""
        entry = self.entry(stream)
        if entry is None or not entry.valid or entry.config == Config.ABORT:
            return None
        if entry.config == Config.BYPASS:
            return address
        second = (lambda place: self._stage_2(entry, place)) if entry.config & 2 else (lambda place: place)
        if entry.config & 1:
            address = self._stage_1(entry, address, second)
        return None if address is None else second(address)

    def _stage_2(self, entry, address):
        """Through the second stage's tables; the first ones of several lie one behind the other."""
        settings = bits(entry.words[2], 50, 32)
        input_bits = 64 - bits(settings, 5, 0)
        level = 2 - bits(settings, 7, 6)  # S2SL0, for a granule of 4 KiB
        if bits(settings, 15, 14) != 0:
            raise TableError(f"stream {entry.stream:#x}: the second stage's granule is not 4 KiB")
        return self._walk(entry.stage_2_table, level, address, input_bits, lambda place: place)

    def _stage_1(self, entry, address, second):
        """Through the tables of the first context descriptor, each of which the second stage finds."""
        if entry.contexts_format != 0 and entry.contexts_log2 != 0:
            raise TableError(f"stream {entry.stream:#x}: tables of context descriptors in two levels")
        place = second(entry.contexts)
        if place is None:
            return None
        context = self.memory.words(place, 2)
        if not context[0] >> 31 & 1:
            return None
        input_bits = 64 - bits(context[0], 5, 0)
        if bits(context[0], 7, 6) != 0:
            raise TableError(f"stream {entry.stream:#x}: the first stage's granule is not 4 KiB")
        level = 4 - -(-(input_bits - 12) // 9)
        return self._walk(context[1] & ADDRESS, level, address, input_bits, second)

    def _walk(self, table, level, address, input_bits, find):
        """Down translation tables; `find` says where a table is that is named by its address."""
        if address >> input_bits:
            return None
        first = True
        while True:
            shift = 12 + 9 * (3 - level)
            index = address >> shift
            place = find((table & ADDRESS) + (index if first else index & 511) * 8)
            if place is None:
                return None
            entry = self.memory.word(place)
            if not entry & VALID:
                return None
            leaf = level == 3 or not entry & 2
            if leaf and level == 3 and not entry & 2:
                return None
            if leaf:
                low = (1 << shift) - 1
                return entry & ADDRESS & ~low | address & low
            table, level, first = entry, level + 1, False


class Observer:
    """Looks at the stream table of a machine, whose guest is at rest between two commands."""

    def __init__(self, machine):
        self.machine = machine
        self.memory = Memory(machine.open_memory())
        self.rids = {endpoint.rid for endpoint in machine.endpoints}

    def table(self):
        return StreamTable(self.memory, *self.machine.stream_table_registers())

    def entry(self, function):
        return self.table().entry(table_reader.parse_function(function))
