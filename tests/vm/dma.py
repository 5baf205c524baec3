# SPDX-License-Identifier: MIT
"""Has a function of QEMU's (iommu-testdev) do a DMA: what no reader of tables can replace.

The device writes a word to an address that its IOMMU translates, then reads it back at a physical
address that it is told, past the IOMMU. Its registers are in docs/specs/iommu-testdev.rst of QEMU.
"""

ADDRESS_LOW, ADDRESS_HIGH, LENGTH, RESULT, ARM = 0x04, 0x08, 0x0C, 0x10, 0x14
READ_BACK_LOW, READ_BACK_HIGH, TRIGGER = 0x1C, 0x20, 0x00
ARMED = 0xFFFFFFFE
DONE, REFUSED, ELSEWHERE = 0, 0xDEAD0002, 0xDEAD0004
NAMES = {DONE: "done", REFUSED: "refused", ELSEWHERE: "written elsewhere", ARMED: "not done"}
WORD = 0x12345678  # what it writes
SIZE = 4


class TestDevice:
    """The device of a process in the guest."""

    def __init__(self, probe, handle):
        self.probe, self.handle = probe, handle

    def write(self, address, physical):
        """Writes; `physical` is where the word is expected to be. What the device says of it."""
        for register, value in (
            (ADDRESS_LOW, address & 0xFFFFFFFF),
            (ADDRESS_HIGH, address >> 32),
            (LENGTH, SIZE),
            (READ_BACK_LOW, physical & 0xFFFFFFFF),
            (READ_BACK_HIGH, physical >> 32),
            (ARM, 1),
        ):
            self.probe.ask(f"register {self.handle} {register:#x} {value:#x}")
        self.probe.ask(f"register {self.handle} {TRIGGER:#x}")
        (result,) = self.probe.ask(f"register {self.handle} {RESULT:#x}")
        return NAMES.get(int(result), f"result {int(result):#x}")


class Pages:
    """What the pages of a machine's memory hold, read from outside."""

    def __init__(self, memory, places):
        self.memory = memory
        self.places = places  # by the guest's address of a page, its physical one
        self.before = self._read()

    def changed(self):
        """Guest addresses of the words that changed since the last time."""
        now = self._read()
        found = []
        for page, data in now.items():
            old = self.before[page]
            if data != old:
                found += [page + at for at in range(0, len(data), SIZE) if data[at : at + SIZE] != old[at : at + SIZE]]
        self.before = now
        return found

    def _read(self):
        return {page: self.memory.bytes(place, 4096) for page, place in self.places.items()}
