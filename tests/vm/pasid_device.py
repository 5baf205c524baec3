#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A PCI function with a PASID capability, for QEMU's vfio-user-pci.

QEMU has no device of its own that carries a PASID capability. It does have a client for the
vfio-user protocol, so this program plays the server: QEMU connects to its socket and shows the
guest the function whose registers live here. The guest's kernel can switch PASID on in it and
attach address spaces to it. The function has one small memory BAR, raises no interrupts and does no
DMA: what is tested is the table that the IOMMU would look a DMA up in.

The function can be made to hang. Writing N to byte 0x800 of its configuration space arms it; after
the next reset of the function (FLR) every read of its configuration space gives all-ones for N
seconds, which keeps the kernel waiting for it that long.

One process serves one function and one connection. It prints "ready" when QEMU may connect and ends
when QEMU does.

Protocol: libvfio-user's description of vfio-user 0.1. Registers: PCI Express Base Specification,
chapter 7.
"""

import argparse
import enum
import os
import socket
import struct
import sys
import time

PAGE = 4096
CONFIG_SIZE = 4096
BAR_SIZE = 4096
MAX_MESSAGE = 1 << 20

ARM_HANG = 0x800  # our own register, beyond what any capability uses
PCIE = 0x40
DEVICE_CONTROL = PCIE + 0x08
ATS, PRI, PASID = 0x100, 0x110, 0x120

CAP_PCIE = 0x10
EXT_CAP_ATS, EXT_CAP_PRI, EXT_CAP_PASID = 0x000F, 0x0013, 0x001B
DEVCAP_ROLE_BASED_ERRORS, DEVCAP_FLR = 1 << 15, 1 << 28
DEVCTL_START_FLR = 1 << 15
DEVCAP2_EETLP, DEVCAP2_TWO_PREFIXES = 1 << 21, 2 << 22


class Command(enum.IntEnum):
    """Message numbers of the vfio-user protocol that a server may be sent."""

    VERSION = 1
    DMA_MAP = 2
    DMA_UNMAP = 3
    DEVICE_GET_INFO = 4
    GET_REGION_INFO = 5
    GET_REGION_IO_FDS = 6
    GET_IRQ_INFO = 7
    SET_IRQS = 8
    REGION_READ = 9
    REGION_WRITE = 10
    DEVICE_RESET = 13
    REGION_WRITE_MULTI = 15


class Registers:
    """Bytes, each bit of which has a bit in a mask that says whether the guest may change it."""

    def __init__(self, size, writable=0x00):
        self.data = bytearray(size)
        self.mask = bytearray([writable]) * size

    def put(self, fmt, offset, *values):
        struct.pack_into("<" + fmt, self.data, offset, *values)

    def get(self, fmt, offset):
        return struct.unpack_from("<" + fmt, self.data, offset)[0]

    def allow(self, fmt, offset, *bits):
        struct.pack_into("<" + fmt, self.mask, offset, *bits)

    def read(self, offset, count):
        return bytes(self.data[offset : offset + count]).ljust(count, b"\0")

    def write(self, offset, values):
        for at, value in enumerate(values, offset):
            if at < len(self.data):
                kept = self.data[at] & ~self.mask[at]
                self.data[at] = kept | (value & self.mask[at])


def make_config_space(width):
    """Configuration space of an endpoint with PASIDs of `width` bits; 0: no PASID capability."""
    space = Registers(CONFIG_SIZE)
    _put_header(space)
    _put_express(space)
    _put_extended(space, width)
    space.allow("B", ARM_HANG, 0xFF)
    return space


def _put_header(space):
    space.put("HH", 0x00, 0x1B36, 0x00AA)  # vendor of QEMU's own devices; a number nobody uses
    space.put("H", 0x06, 0x0010)  # status: there is a list of capabilities
    space.put("I", 0x08, 0x08800001)  # class 08.80, "other system peripheral", revision 1
    space.put("HH", 0x2C, 0x1B36, 0x1100)
    space.put("B", 0x34, PCIE)
    space.allow("H", 0x04, 0x0407)  # command: I/O, memory, bus master, no INTx
    space.allow("B", 0x0C, 0xFF)  # cache line size
    space.allow("I", 0x10, 0xFFFFFFFF & -BAR_SIZE)
    space.allow("B", 0x3C, 0xFF)  # interrupt line


def _put_express(space):
    space.put("BBH", PCIE, CAP_PCIE, 0, 0x0002)  # last in the list; version 2, endpoint
    space.put("I", PCIE + 0x04, DEVCAP_ROLE_BASED_ERRORS | DEVCAP_FLR)
    space.put("I", PCIE + 0x0C, 0x11)  # link: one lane, 2.5 GT/s
    space.put("H", PCIE + 0x12, 0x11)
    # A PASID travels as a TLP prefix.
    space.put("I", PCIE + 0x24, DEVCAP2_EETLP | DEVCAP2_TWO_PREFIXES)
    space.allow("H", DEVICE_CONTROL, 0x70FF)
    space.allow("H", PCIE + 0x10, 0x0FFF)
    space.allow("H", PCIE + 0x28, 0xFFFF)


def _put_extended(space, width):
    def header(offset, number, following):
        space.put("I", offset, number | 1 << 16 | following << 20)

    header(ATS, EXT_CAP_ATS, PRI)
    space.put("H", ATS + 4, 0x0020)  # translation requests are page-aligned
    space.allow("H", ATS + 6, 0x801F)
    header(PRI, EXT_CAP_PRI, PASID if width else 0)
    space.put("HHI", PRI + 4, 0, 0x8100, 32)  # stopped, prefix required, room for 32 requests
    space.allow("H", PRI + 4, 0x0003)
    space.allow("I", PRI + 12, 0xFFFFFFFF)
    if width:
        header(PASID, EXT_CAP_PASID, 0)
        space.put("H", PASID + 4, width << 8)
        space.allow("H", PASID + 6, 0x0007)


class Function:
    """The function behind the protocol: its regions, and what reads and writes of them do."""

    BAR0_REGION, CONFIG_REGION, REGION_COUNT = 0, 7, 9

    def __init__(self, width):
        self.config = make_config_space(width)
        self.regions = {
            self.CONFIG_REGION: self.config,
            self.BAR0_REGION: Registers(BAR_SIZE, 0xFF),
        }
        self.silent_until = 0.0

    def size(self, index):
        return len(self.regions[index].data) if index in self.regions else 0

    def read(self, index, offset, count):
        if index == self.CONFIG_REGION and time.monotonic() < self.silent_until:
            return b"\xff" * count
        return self.regions[index].read(offset, count) if index in self.regions else bytes(count)

    def write(self, index, offset, values):
        if index not in self.regions:
            return
        self.regions[index].write(offset, values)
        if index == self.CONFIG_REGION:
            self._start_reset_if_asked(offset, values)

    def _start_reset_if_asked(self, offset, values):
        # The bit is in the register's upper byte, and always reads 0.
        at = DEVICE_CONTROL + 1 - offset
        if 0 <= at < len(values) and values[at] & DEVCTL_START_FLR >> 8:
            self.silent_until = time.monotonic() + self.config.get("B", ARM_HANG)
            self.config.put("B", ARM_HANG, 0)


class Connection:
    """One client: reads its messages, has the function act, answers."""

    HEADER = struct.Struct("<HHIII")  # id, command, size, flags, error number
    ACCESS = struct.Struct("<QII")  # offset, region, count
    FLAG_REPLY, FLAG_NO_REPLY, FLAG_ERROR = 0x01, 0x10, 0x20
    NOT_SUPPORTED = 95

    def __init__(self, stream, function):
        self.stream = stream
        self.function = function
        self.handlers = {
            Command.VERSION: self._version,
            Command.DMA_MAP: lambda body: b"",
            Command.DMA_UNMAP: lambda body: body[:24],
            Command.DEVICE_GET_INFO: self._device_info,
            Command.GET_REGION_INFO: self._region_info,
            Command.GET_REGION_IO_FDS: self._none_of_index,
            Command.GET_IRQ_INFO: self._none_of_index,
            Command.SET_IRQS: lambda body: b"",
            Command.REGION_READ: self._read,
            Command.REGION_WRITE: self._write,
            Command.REGION_WRITE_MULTI: self._write_multi,
            Command.DEVICE_RESET: lambda body: b"",
        }

    def serve(self):
        while (message := self._receive()) is not None:
            number, command, flags, body = message
            handler = self.handlers.get(command)
            reply = handler(body) if handler else b""
            if not flags & self.FLAG_NO_REPLY:
                self._send(number, command, reply, 0 if handler else self.NOT_SUPPORTED)

    def _receive(self):
        header = self._receive_bytes(self.HEADER.size)
        if header is None:
            return None
        number, command, size, flags, _ = self.HEADER.unpack(header)
        if not self.HEADER.size <= size <= MAX_MESSAGE:
            raise ValueError(f"a message of {size} bytes")
        body = self._receive_bytes(size - self.HEADER.size)
        return None if body is None else (number, command, flags, body)

    def _receive_bytes(self, count):
        """Exactly `count` bytes, None at the end. Guest memory that comes along is let go of."""
        data = b""
        while len(data) < count:
            part, descriptors, _, _ = socket.recv_fds(self.stream, count - len(data), 16)
            for descriptor in descriptors:
                os.close(descriptor)
            if not part:
                return None
            data += part
        return data

    def _send(self, number, command, body, error):
        flags = self.FLAG_REPLY | (self.FLAG_ERROR if error else 0)
        size = self.HEADER.size + len(body)
        self.stream.sendall(self.HEADER.pack(number, command, size, flags, error) + body)

    @staticmethod
    def _index(body):
        return struct.unpack_from("<I", body, 8)[0]

    def _none_of_index(self, body):
        return struct.pack("<IIII", 16, 0, self._index(body), 0)

    @staticmethod
    def _version(_):
        capabilities = b'{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":%d,"pgsizes":%d}}\0'
        return struct.pack("<HH", 0, 0) + capabilities % (MAX_MESSAGE // 2, PAGE)

    def _device_info(self, _):
        can_reset, is_pci, interrupt_kinds = 0x1, 0x2, 5
        return struct.pack("<IIII", 16, can_reset | is_pci, Function.REGION_COUNT, interrupt_kinds)

    def _region_info(self, body):
        index = self._index(body)
        size = self.function.size(index)
        readable_writable = 0x3 if size else 0
        return struct.pack("<IIIIQQ", 32, readable_writable, index, 0, size, 0)

    def _read(self, body):
        offset, index, count = self.ACCESS.unpack_from(body)
        count = min(count, MAX_MESSAGE)
        return self.ACCESS.pack(offset, index, count) + self.function.read(index, offset, count)

    def _write(self, body):
        offset, index, count = self.ACCESS.unpack_from(body)
        self.function.write(index, offset, body[self.ACCESS.size :][:count])
        return self.ACCESS.pack(offset, index, count)

    def _write_multi(self, body):
        """Several writes of at most eight bytes, each in a record of 24."""
        (count,) = struct.unpack_from("<Q", body)
        for at in range(8, 8 + 24 * count, 24):
            offset, index, length = self.ACCESS.unpack_from(body, at)
            self.function.write(index, offset, body[at + 16 : at + 16 + min(length, 8)])
        return struct.pack("<Q", count)


def parse_width(text):
    width = int(text)
    if not 0 <= width <= 20:
        raise argparse.ArgumentTypeError("a PASID has 1 to 20 bits (0: no PASID capability)")
    return width


def main():
    summary, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("socket", help="path of the socket to listen on; it must not exist")
    parser.add_argument(
        "--width", type=parse_width, default=20, help="bits of a PASID, 0 to 20 (default 20)"
    )
    options = parser.parse_args()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(options.socket)
        listener.listen(1)
        print("ready", flush=True)
        stream, _ = listener.accept()
    with stream:
        Connection(stream, Function(options.width)).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
