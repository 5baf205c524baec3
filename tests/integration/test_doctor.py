# SPDX-License-Identifier: MIT
"""pasidctl doctor, on trees of files that stand for hosts of each kind, and beside a daemon."""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

from pasid_client import BUILD, TIMEOUT, Daemon

# cap and ecap. Scalable mode, PASIDs of 20 bits, first and second stage, nesting; five levels.
SCALABLE = (1 << 60 | 47 << 16 | 6 << 8, 1 << 47 | 1 << 46 | 1 << 43 | 1 << 40 | 19 << 35 | 1 << 26)
PLAIN = (47 << 16 | 6 << 8, 1 << 6)
PASIDS = "0000:3a:00.0"


def config_space(pasid=20, prefixes=True, bridge=False):
    """As `lspci -xxxx` would show it: PCI Express, and ATS and PASID capabilities."""
    space = bytearray(4096)
    space[0x06] = 0x10
    space[0x0A:0x0C] = bytes((4, 6)) if bridge else bytes((0, 2))
    space[0x34] = 0x40
    space[0x40] = 0x10
    struct.pack_into("<I", space, 0x64, (1 << 21) if prefixes else 0)
    if pasid is not None:
        struct.pack_into("<IIIHH", space, 0x100, 0x1101000F, 0, 0, 0, 0)
        struct.pack_into("<IHH", space, 0x110, 0x0001001B, pasid << 8, 0)
    return bytes(space)


class Host:
    """A folder with the files that doctor reads. A machine without an IOMMU, at first."""

    def __init__(self, folder, release="6.15.2"):
        self.root = pathlib.Path(folder)
        self.release = release
        self.write("proc/sys/kernel/osrelease", release + "\n")
        self.write("proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro quiet\n")
        self.write("proc/self/limits", "Max locked memory         unlimited            unlimited            bytes\n")
        self.write("proc/sys/kernel/seccomp/actions_avail", "kill_process log allow\n")
        self.write("sys/kernel/security/lsm", "capability,landlock,apparmor\n")
        self.write("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so", "")
        self.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\npasidd:x:998:998::/:/usr/sbin/nologin\n")
        self.write("etc/group", "kvm:x:104:pasidd\n")
        self.write(f"lib/modules/{release}/modules.dep", "kernel/drivers/vfio/pci/vfio-pci.ko.xz: \n"
                   "kernel/drivers/iommu/iommufd/iommufd.ko.xz:\nkernel/drivers/vfio/vfio.ko.xz:\n")

        for folder in ("sys/class", "sys/bus", "dev", "run"):
            (self.root / folder).mkdir(parents=True)

    def write(self, path, content):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.write_text(content, encoding="utf-8")
        return file

    def link(self, path, target):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(target)

    def built_with(self, *keys):
        self.write(f"boot/config-{self.release}", "".join(f"{key}=y\n" for key in keys))

    def ready_kernel(self):
        """iommufd and VFIO, loaded."""
        self.built_with("CONFIG_IOMMUFD", "CONFIG_VFIO_DEVICE_CDEV", "CONFIG_VFIO_PCI")
        for folder in ("sys/class/misc/iommu", "sys/class/vfio-dev", "sys/bus/pci/drivers/vfio-pci"):
            (self.root / folder).mkdir(parents=True)
        self.write("dev/iommu", "").chmod(0o666)

    def vtd(self, name="dmar0", registers=SCALABLE, command_line="intel_iommu=on,sm_on"):
        self.write("proc/cmdline", f"ro {command_line}\n")
        for file, value in zip(("cap", "ecap"), registers):
            self.write(f"sys/class/iommu/{name}/intel-iommu/{file}", f"{value:x}\n")

    def function(self, address, space, above=(), driver="vfio-pci", group=None, number=0):
        """One of the PCI functions, below these bridges."""
        path = "/".join(("devices/pci0000:00", *above, address))
        self.write(f"sys/{path}/config", space)
        self.link(f"sys/bus/pci/devices/{address}", f"../../../{path}")
        if driver is not None:
            self.link(f"sys/{path}/driver", f"{'../' * (3 + len(above))}bus/pci/drivers/{driver}")
        if group is not None:
            self.link(f"sys/{path}/iommu_group", f"{'../' * (3 + len(above))}kernel/iommu_groups/{group}")
            (self.root / f"sys/kernel/iommu_groups/{group}/devices/{address}").mkdir(parents=True)
        if driver == "vfio-pci":
            (self.root / f"sys/{path}/vfio-dev/vfio{number}").mkdir(parents=True)
            self.write(f"dev/vfio/devices/vfio{number}", "").chmod(0o666)


class Doctor(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="pasidctl-doctor-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_it(self, *words):
        return subprocess.run([BUILD / "pasidctl", *map(str, words)], text=True, capture_output=True, timeout=TIMEOUT,
                              check=False)

    def look(self, host, code):
        """{name: [finding, ...]}, from a doctor that ends with this code."""
        ended = self.run_it("--json", "doctor", "--root", host.root)
        self.assertEqual((ended.returncode, ended.stderr), (code, ""), ended.stdout)
        answer = json.loads(ended.stdout)
        self.assertEqual(answer["ready"], code == 0)
        counted = {"problem": answer["problems"], "warning": answer["warnings"], "unknown": answer["unknown"]}
        for level, count in counted.items():
            self.assertEqual(len([f for f in answer["findings"] if f["level"] == level]), count)
        for finding in answer["findings"]:
            self.assertLess(len(finding["found"]), 232)
            if finding["level"] in ("problem", "warning"):
                self.assertTrue(finding["remedy"], finding)
        found = {}
        for finding in answer["findings"]:
            found.setdefault(finding["name"], []).append(finding)
        return found

    def is_said(self, found, name, level, text):
        for finding in found[name]:
            if finding["level"] == level and text in finding["found"]:
                return finding["remedy"]
        self.fail(f"{name}: {found[name]}")

    def good(self):
        host = Host(self.folder)
        host.ready_kernel()
        host.vtd()
        host.function("0000:00:1c.0", config_space(pasid=None, bridge=True), driver="pcieport")
        host.function(PASIDS, config_space(), ("0000:00:1c.0",), group=17)
        return host

    def test_a_host_with_vtd_is_ready(self):
        found = self.look(self.good(), 0)
        self.is_said(found, "unit dmar0", "ok", "PASIDs of 20 bits")
        self.is_said(found, "scalable-mode", "ok", "command line")
        self.is_said(found, f"function {PASIDS}", "ok", "PASIDs of 20 bits, ATS")
        self.is_said(found, "functions", "ok", "on 1 of them")
        self.is_said(found, "/dev/iommu", "ok", "user pasidd")
        self.is_said(found, "/dev/vfio/devices/vfio0", "ok", "user pasidd")
        self.assertNotIn("daemon", found, "another host's daemon is not asked for")
        self.assertNotIn("kcmp", found)

    def test_scalable_mode_that_is_missing_is_named(self):
        host = self.good()
        host.vtd("dmar0", PLAIN, "intel_iommu=on,sm_off")
        found = self.look(host, 1)
        self.is_said(found, "unit dmar0", "warning", "SMTS")
        self.is_said(found, "iommu", "problem", "no unit of 1")
        self.assertIn("sm_on", self.is_said(found, "scalable-mode", "problem", "sm_off"))

    def test_one_unit_of_two_is_enough(self):
        host = self.good()
        host.vtd("dmar1", PLAIN)
        self.is_said(self.look(host, 0), "iommu", "ok", "1 of 2 units")

    def test_a_kernel_that_is_too_old(self):
        host = Host(self.folder, "6.1.0-37-amd64")
        host.built_with("CONFIG_VFIO_PCI")
        host.vtd()
        found = self.look(host, 1)
        self.is_said(found, "kernel", "problem", "6.15")
        self.is_said(found, "kernel-config", "problem", "CONFIG_IOMMUFD CONFIG_VFIO_DEVICE_CDEV")
        self.assertIn("modprobe", self.is_said(found, "module iommufd", "problem", "not loaded"))

    def test_smmuv3(self):
        host = Host(self.folder)
        host.ready_kernel()
        (host.root / "sys/class/iommu/smmu3.0x0000000009050000").mkdir(parents=True)
        host.function(PASIDS, config_space(), group=3)
        found = self.look(host, 0)
        self.is_said(found, "unit smmu3.0x0000000009050000", "unknown", "substreams")
        self.is_said(found, "iommu", "ok", "SMMUv3")
        self.assertNotIn("scalable-mode", found)

    def test_a_laptop_is_shown_the_simulator(self):
        found = self.look(Host(self.folder), 1)
        self.assertIn("pasidctl demo", self.is_said(found, "iommu", "problem", "no IOMMU"))
        self.is_said(found, "/dev/iommu", "problem", "missing")

    def test_what_a_copy_does_not_contain_is_unknown(self):
        host = Host(self.folder)
        for folder in ("sys", "dev", "run", "usr", "proc/sys/kernel/seccomp"):
            shutil.rmtree(host.root / folder)
        found = self.look(host, 1)
        for name, folder in (
            ("iommu", "/sys/class"),
            ("modules", "/sys/module"),
            ("functions", "/sys/bus"),
            ("/dev/iommu", "/dev"),
            ("systemd", "/run"),
            ("seccomp", "/proc/sys/kernel/seccomp"),
        ):
            self.assertEqual(len(found[name]), 1)
            self.is_said(found, name, "unknown", f"{folder} is not in the copy")
        self.assertEqual({one["level"] for ones in found.values() for one in ones}, {"ok", "unknown"})
        ended = self.run_it("doctor", "--root", host.root)
        self.assertTrue(ended.stdout.splitlines()[-1].startswith("not known: 0 problems, 0 warnings, "), ended.stdout)

    def test_what_stands_in_the_way_of_a_function(self):
        host = self.good()
        host.function("0000:00:1d.0", config_space(pasid=None, prefixes=False, bridge=True), driver="pcieport")
        host.function("0000:3b:00.0", config_space(), ("0000:00:1d.0",), group=18, number=1)
        host.function("0000:3c:00.0", config_space(), group=19, number=2)
        host.function("0000:3c:00.1", config_space(pasid=None), group=19, driver="e1000e")
        host.function("0000:3d:00.0", config_space()[:64], group=20, number=3)
        host.function("0000:3e:00.0", config_space(), driver=None, group=21)
        found = self.look(host, 0)
        self.is_said(found, "function 0000:3b:00.0", "warning", "the bridge 0000:00:1d.0")
        self.is_said(found, "function 0000:3c:00.0", "warning", "1 are not bound to vfio-pci")
        self.assertIn("root", self.is_said(found, "function 0000:3d:00.0", "unknown", "root only"))
        self.is_said(found, "functions", "ok", "4 bound to vfio-pci; nothing stands in the way of PASIDs on 2")
        self.assertNotIn("function 0000:3e:00.0", found)

    def test_a_bridge_in_the_group_is_no_stranger(self):
        host = self.good()
        host.function("0000:00:1e.0", config_space(pasid=None, bridge=True), driver="pcieport", group=17)
        self.assertEqual(len(self.look(host, 0)[f"function {PASIDS}"]), 1)

    def test_a_virtual_function_has_the_pasids_of_its_physical_one(self):
        host = self.good()
        host.function("0000:3a:00.4", config_space(pasid=None), group=22, number=1)
        host.link("sys/devices/pci0000:00/0000:3a:00.4/physfn", f"../0000:00:1c.0/{PASIDS}")
        self.is_said(self.look(host, 0), "function 0000:3a:00.4", "ok", "PASIDs of 20 bits")

    def test_functions_that_could_be_bound_are_named(self):
        host = Host(self.folder)
        host.ready_kernel()
        host.vtd()
        host.function(PASIDS, config_space(), driver="ixgbe", group=1)
        self.assertIn("vfio-pci", self.is_said(self.look(host, 0), "functions", "warning", f"such as {PASIDS}"))

    def test_nodes_that_the_daemons_user_cannot_open(self):
        if os.geteuid() != 0:
            self.skipTest("needs root: files of other users")
        host = self.good()
        node = host.root / "dev/iommu"
        node.chmod(0o660)
        os.chown(node, 0, 105)
        self.assertIn("udev", self.is_said(self.look(host, 1), "/dev/iommu", "problem", "0660, owner 0:105"))
        os.chown(node, 0, 104)
        self.is_said(self.look(host, 0), "/dev/iommu", "ok", "user pasidd")

    def test_files_that_nobody_would_write(self):
        host = self.good()
        for path in ("proc/cmdline", "sys/class/iommu/dmar0/intel-iommu/ecap", "etc/passwd", "etc/group",
                     "proc/self/limits", "proc/sys/kernel/osrelease", f"sys/bus/pci/devices/{PASIDS}/config"):
            for content in (b"", bytes(range(256)) * 40, b"\xff" * 5000, b"0" * 100000):
                before = (host.root / path).read_bytes()
                (host.root / path).write_bytes(content)
                ended = self.run_it("--json", "doctor", "--root", host.root)
                self.assertIn(ended.returncode, (0, 1), (path, content[:8], ended.stderr))
                json.loads(ended.stdout)
                (host.root / path).write_bytes(before)
        os.unlink(host.root / "proc/cmdline")
        os.mkfifo(host.root / "proc/cmdline")
        self.is_said(self.look(host, 0), "command-line", "unknown", "cannot be read")

    def test_many_functions_are_not_all_shown_and_that_is_said(self):
        host = self.good()
        for i in range(300):
            host.function(f"0000:40:{i // 8:02x}.{i % 8}", config_space(), group=100 + i, number=i + 1)
        answer = json.loads(self.run_it("--json", "doctor", "--root", host.root).stdout)
        self.assertEqual(len(answer["findings"]), 256)
        self.assertGreater(answer["left_out"], 40)

    # -- for people, and of this host

    def test_people_see_a_line_for_each_and_what_to_do(self):
        ended = self.run_it("doctor", "--root", Host(self.folder).root)
        self.assertEqual((ended.returncode, ended.stderr), (1, ""))
        self.assertRegex(ended.stdout, r"(?m)^problem  iommu +the kernel uses no IOMMU\n +-> switch it on")
        self.assertRegex(ended.stdout.splitlines()[-1], r"^not ready: \d+ problems, \d+ warnings, \d+ unknown$")

    def test_no_such_folder(self):
        ended = self.run_it("doctor", "--root", "/no/such/folder")
        self.assertEqual((ended.returncode, ended.stdout), (4, ""))
        self.assertIn("no such folder", ended.stderr)

    def test_this_host_and_a_simulated_daemon(self):
        with Daemon() as daemon:
            ended = self.run_it("--json", "--socket", daemon.socket, "doctor")
            self.assertIn(ended.returncode, (0, 1))
            found = {f["name"]: f for f in json.loads(ended.stdout)["findings"]}
            self.assertEqual(found["daemon"]["level"], "ok")
            self.assertIn("simulated IOMMU", found["daemon"]["found"])
            self.assertIn("is simulated", found["daemon-note"]["found"])
            self.assertIn("kcmp", found)

    def test_no_daemon_is_a_finding(self):
        ended = self.run_it("--json", "--socket", "/no/such/socket", "doctor")
        found = {f["name"]: f for f in json.loads(ended.stdout)["findings"]}
        self.assertEqual(found["daemon"]["level"], "warning")
        self.assertIn("systemctl start", found["daemon"]["remedy"])


if __name__ == "__main__":
    unittest.main()
