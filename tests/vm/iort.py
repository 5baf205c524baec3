# SPDX-License-Identifier: MIT
"""Reads QEMU's own IORT table, and makes one of it that allows SMMUv3 nesting.

Linux nests only where a device's accesses cannot bypass the caches, which this table says by a flag
(CANWBS) that QEMU's does not have. A kernel with CONFIG_ACPI_TABLE_UPGRADE prefers a table from an
archive in front of its initramfs. Source: Arm, IO Remapping Table, DEN 0049, revision E and later.
"""

import struct

SIGNATURE = b"IORT"
PLACE_IN_ARCHIVE = "kernel/firmware/acpi/IORT.aml"
HEADER = struct.Struct("<4sIBB6s8sI")  # signature, length, revision, checksum, maker's names and revision
CHECKSUM, MAKERS_REVISION = 9, 24
NODES = struct.Struct("<II")  # how many nodes, where the first one is; behind the header of 36 bytes
NODE = struct.Struct("<BH")
ROOT_COMPLEX, SMMUV3 = 2, 4
NODE_DATA = 16
ACCESS_FLAGS = NODE_DATA + 7  # the last byte of the access properties, which come first
CANWBS = 1 << 2
NEWER = 0xFFFF  # than QEMU's own, or the kernel keeps that

# QEMU's device that hands tables to the firmware, on its machine virt (docs/specs/fw_cfg.rst).
FW_CFG_DATA, FW_CFG_SELECTOR = 0x09020000, 0x09020008
FILE_DIRECTORY = 0x19
TABLES = "etc/acpi/tables"


class AcpiError(Exception):
    """QEMU's tables are not as they are known to be."""


class Firmware:
    """What QEMU offers the firmware, by QEMU's test protocol, while the machine stands still."""

    def __init__(self, stream):
        self._lines = stream.makefile("rwb")

    def table(self):
        """The IORT."""
        data = b""
        left = self._open(TABLES)
        while left > 0:
            data += self._read(256)
            left -= 256
            start = data.find(SIGNATURE)
            if start >= 0 and len(data) >= start + HEADER.size:
                end = start + HEADER.unpack_from(data, start)[1]
                if len(data) >= end:
                    return data[start:end]
        raise AcpiError("QEMU has no IORT for this machine")

    def _open(self, wanted):
        """Selects a file; its size."""
        self._select(FILE_DIRECTORY)
        (count, _) = struct.unpack(">II", self._read(8))
        self._select(FILE_DIRECTORY)
        directory = self._read(4 + 64 * count + 4)
        for number in range(count):
            size, selector, _, name = struct.unpack_from(">IHH56s", directory, 4 + 64 * number)
            if name.rstrip(b"\0").decode() == wanted:
                self._select(selector)
                return size
        raise AcpiError(f"QEMU has no file {wanted}")

    def _select(self, selector):
        (swapped,) = struct.unpack("<H", struct.pack(">H", selector))
        self._ask(f"writew {FW_CFG_SELECTOR:#x} {swapped:#x}")

    def _read(self, count):
        """The next bytes of what is selected, eight at a time."""
        words = [int(self._ask(f"readq {FW_CFG_DATA:#x}")[0], 16) for _ in range(count // 8)]
        return struct.pack(f"<{len(words)}Q", *words)

    def _ask(self, line):
        self._lines.write(line.encode() + b"\n")
        self._lines.flush()
        answer = self._lines.readline().decode().split()
        if answer[:1] != ["OK"]:
            raise AcpiError(f"QEMU answers {line!r} with {' '.join(answer) or 'nothing'}")
        return answer[1:]


def nodes(table):
    """Type and offset of each node of an IORT."""
    if table[:4] != SIGNATURE:
        raise AcpiError("this is not an IORT")
    count, offset = NODES.unpack_from(table, 36)
    for _ in range(count):
        kind, length = NODE.unpack_from(table, offset)
        yield kind, offset
        offset += length


def smmu_base(table):
    """Where the registers of the only SMMUv3 are."""
    bases = [struct.unpack_from("<Q", table, at + NODE_DATA)[0] for kind, at in nodes(table) if kind == SMMUV3]
    if len(bases) != 1:
        raise AcpiError(f"the IORT has {len(bases)} SMMUv3, not one")
    return bases[0]


def allow_nesting(table):
    """The table with CANWBS at its PCI root complex, and a revision that wins."""
    patched = bytearray(table)
    found = [at for kind, at in nodes(table) if kind == ROOT_COMPLEX]
    if not found:
        raise AcpiError("the IORT has no PCI root complex")
    for at in found:
        patched[at + ACCESS_FLAGS] |= CANWBS
    struct.pack_into("<I", patched, MAKERS_REVISION, NEWER)
    patched[CHECKSUM] = 0
    patched[CHECKSUM] = -sum(patched) & 0xFF
    return bytes(patched)
