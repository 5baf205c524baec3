# SPDX-License-Identifier: MIT
"""The other machine: arm64, an SMMUv3 that nests, and QEMU's own test functions behind it."""

import gzip
import pathlib
import socket

import initramfs
import iort
import machine as vm

MEMORY_MIB = 512
MEMORY_BASE = 0x40000000  # where the machine virt has its memory
STRTAB_BASE, STRTAB_BASE_CFG = 0x80, 0x88  # SMMU_STRTAB_BASE and _CFG of the specification, IHI 0070
FIRMWARE = "usr/share/qemu-efi-aarch64/QEMU_EFI.fd"


class Machine(vm.Machine):
    """Made as vm.Machine; the table that allows nesting comes in front of the initramfs."""

    program = "qemu-system-aarch64"
    firmware = ("usr/share/qemu",)
    kernel_arguments = ("console=ttyAMA0", "panic=-1")

    def start(self):
        table = self._read_iort()
        self.smmu = iort.smmu_base(table)
        self._make_root(iort.allow_nesting(table))
        self._unpack_kernel()
        super().start()

    def stream_table_registers(self):
        """SMMU_STRTAB_BASE and SMMU_STRTAB_BASE_CFG as they are now."""
        base = self.monitor.physical_word(self.smmu + STRTAB_BASE)
        return base, self.monitor.physical_half(self.smmu + STRTAB_BASE_CFG)

    def _read_iort(self):
        """From a QEMU of the same machine that never runs."""
        ours, theirs = socket.socketpair()
        ours.settimeout(60)
        options = ["-S", "-chardev", f"socket,id=test,fd={theirs.fileno()}", "-qtest", "chardev:test"]
        options += [*self._board_options(), *self._endpoint_options(), "-qtest-log", "none"]
        with ours:
            qemu = self._run_qemu(options, [theirs])
            try:
                return iort.Firmware(ours).table()
            finally:
                qemu.kill()
                qemu.wait()

    def _make_root(self, table):
        """The kernel looks for tables in an archive that is not compressed and comes first."""
        archive = initramfs.Archive()
        archive.add_file(iort.PLACE_IN_ARCHIVE, table)
        path = self.folder / "initrd"
        path.write_bytes(archive.bytes() + pathlib.Path(self.root).read_bytes())
        self.root = str(path)

    def _unpack_kernel(self):
        """The firmware starts a kernel that is not compressed."""
        packed = pathlib.Path(self.kernel)
        if packed.suffix == ".gz":
            self.kernel = self.folder / "Image"
            self.kernel.write_bytes(gzip.decompress(packed.read_bytes()))

    def _board_options(self):
        return [
            *("-machine", "virt,accel=tcg,iommu=smmuv3,gic-version=3,memory-backend=memory"),
            *("-cpu", "max", "-smp", "1", "-m", f"{MEMORY_MIB}M"),
            *("-object", f"memory-backend-memfd,id=memory,size={MEMORY_MIB}M,share=on"),
            *("-nodefaults", "-display", "none", "-no-reboot"),
        ]

    def _machine_options(self):
        return [
            *self._board_options(),
            *("-serial", f"file:{self.console_path}"),
            *("-bios", self.qemu_root / FIRMWARE),
            *("-kernel", self.kernel),
            *self._root_options(),
        ]
