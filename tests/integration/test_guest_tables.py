# SPDX-License-Identifier: MIT
"""Guests' own PASID tables on a simulated SMMUv3 (F7, F32): installed, replaced, removed, and what is beside them."""

import json
import os
import struct
import unittest

from pasid_client import Daemon, Refused, Vmm, eventually, guest, host, pb
from restarts import Restarts
from test_pasid_sim import run
from test_pasidctl import pasidctl

ONE, TWO, OTHER = (f"0000:00:0{i}.0" for i in (1, 2, 3))
SIMULATE = {
    "iommu": "smmuv3",
    "pasid_width": 16,
    "devices": [{"address": ONE}, {"address": TWO, "width": 4}, {"address": OTHER, "width": 0}],
}
CONFIG = {"simulate": SIMULATE, "quarantine": {"cooling_ms": 1}}

# A guest's memory, which begins at its physical address 0: context descriptors, page tables, pages.
SIZE, CONTEXTS, TABLES, PAGES, ADDRESS = 1 << 20, 0x10000, 0x20000, 0x80000, 0x7000001000
ABORTS, BYPASSES, TRANSLATES = (config << 1 | 1 for config in (0, 4, 5))


def translates(width, dss=2):
    """The entry that names the guest's table of 2^width descriptors; the first one is for DMA without a PASID."""
    return {"ste0": TRANSLATES | CONTEXTS | width << 59, "ste1": dss}


def descriptor(memory, number):
    """A context descriptor that maps ADDRESS to a page of its own (Arm IHI 0070, 5.4)."""
    table = TABLES + number * 0x4000
    word0 = 16 | 1 << 30 | 1 << 31 | 1 << 41  # T0SZ, EPD1, V, AA64
    os.pwrite(memory, struct.pack("<QQ", word0, table), CONTEXTS + number * 64)
    for level in range(4):
        index = ADDRESS >> (12 + 9 * (3 - level)) & 511
        entry = table + (level + 1) * 0x1000 | 3
        if level == 3:
            entry = PAGES + number * 0x1000 | 1 << 11 | 1 << 10 | 3 << 8 | 1 << 6 | 3
        os.pwrite(memory, struct.pack("<Q", entry), table + level * 0x1000 + index * 8)


def fill(client, device):
    """A guest with descriptors 0 to 7 has its memory mapped."""
    memory = os.memfd_create("guest memory", os.MFD_CLOEXEC)
    try:
        os.ftruncate(memory, SIZE)
        for number in range(8):
            descriptor(memory, number)
        client.call("memory_map", fds=[memory], device=device, space=1, iova=0, length=SIZE, writeable=True)
    finally:
        os.close(memory)


def entry(device, ste0=BYPASSES, ste1=0, stream=8, **parent):
    stream = pb.StreamTable(ste0=ste0, ste1=ste1, stream=stream, **(parent or {"parent_space": 1}))
    return pb.BindPair(device=device, table=pb.Table(stream=stream))


class Looks:
    """What a device's DMA reaches, by the tables in the simulated memory."""

    def walk(self, address, *words):
        return json.loads(run(self.daemon.simulation, "walk", address, *words, "--json")[1])

    def reaches(self, address, *words):
        """The offset in the guest's memory, or why it reaches none."""
        found = self.walk(address, *words)
        return int(found["offset"], 16) if found["result"] == "reached" else found["result"]

    def entries(self):
        """Functions with a stream table entry that does not abort."""
        return {each["rid"] for each in json.loads(self.daemon.sim("tables", "--json")) if each["pasid"] == 0}


class WithDaemon(Looks, unittest.TestCase):
    config = CONFIG

    def setUp(self):
        self.daemon = Daemon(self.config)
        self.addCleanup(self.daemon.cleanup)
        self.admin = self.daemon.admin()
        self.addCleanup(self.admin.close)
        self.addCleanup(lambda: self.assertTrue(self.admin.status().consistent))

    def guest(self, *addresses, name="owned"):
        """A VMM with a set of that kind, and these devices."""
        vmm = self.daemon.client()
        self.addCleanup(vmm.close)
        vmm.create(name, mode=pb.SET_MODE_GUEST_OWNED)
        devices = [vmm.add(self.daemon, address).id for address in addresses]
        for device in devices:
            fill(vmm, device)
        return vmm, *devices

    def refused(self, reason, client, operation, **fields):
        with self.assertRaises(Refused) as caught:
            client.call(operation, **fields)
        self.assertEqual(caught.exception.reason, reason, str(caught.exception))
        return str(caught.exception)


class GuestTables(WithDaemon):
    # F32
    def test_it_is_installed_replaced_and_removed(self):
        vmm, one = self.guest(ONE)
        self.assertEqual(self.reaches(ONE, 3, hex(ADDRESS)), "aborted")
        made = vmm.call("rid_attach", pair=entry(one, **translates(4))).rid_attach
        self.assertEqual((made.device, made.stream, made.made), (one, 8, True))
        self.assertTrue(made.hwpt and made.viommu and made.vdevice)
        listed = vmm.pages("binding_list", "bindings")[0]
        self.assertEqual((listed.table, listed.WhichOneof("pasid")), (made, None))
        # All of the guest's PASIDs are there at once, each with memory of its own, and nothing else.
        for number in (1, 3, 7):
            self.assertEqual(self.reaches(ONE, number, hex(ADDRESS + 8)), PAGES + number * 0x1000 + 8)
        self.assertEqual(self.reaches(ONE, hex(ADDRESS)), PAGES)
        self.assertEqual(self.reaches(ONE, 9, hex(ADDRESS)), "C_BAD_CD")
        self.assertEqual(self.reaches(ONE, 16, hex(ADDRESS)), "C_BAD_SUBSTREAMID")
        self.assertEqual((self.entries(), self.daemon.tables()), ({ONE}, {}))
        other = vmm.call("replace", pair=entry(one)).replace.tables[0]
        self.assertEqual((other.viommu, other.vdevice, other.stream), (made.viommu, made.vdevice, 8))
        self.assertNotEqual(other.hwpt, made.hwpt)
        self.assertEqual(self.reaches(ONE, "0x2008"), 0x2008)  # the second stage alone
        vmm.call("replace", pair=entry(one, ABORTS))
        self.assertEqual(self.reaches(ONE, "0x2008"), "aborted")
        vmm.call("replace", pair=entry(one, **translates(3)))
        self.assertEqual(self.reaches(ONE, 7, hex(ADDRESS)), PAGES + 7 * 0x1000)
        vmm.call("rid_detach", device=one)
        self.assertEqual((self.reaches(ONE, 7, hex(ADDRESS)), self.entries()), ("aborted", set()))
        self.refused("not-bound", vmm, "rid_detach", device=one)
        vmm.call("memory_unmap", device=one, space=1, iova=0, length=SIZE)
        vmm.call("device_remove", device=one)

    # F32
    def test_each_refusal_names_what_is_wrong_and_changes_nothing(self):
        vmm, one, two, other = self.guest(ONE, TWO, OTHER)
        for where, fields, what in (
            (one, {"ste0": 1 << 1 | 1}, "Config"),
            (one, {"ste0": BYPASSES | 1 << 57}, "bit 57"),
            (one, {"ste0": BYPASSES, "ste1": 1 << 25}, "S2FWB"),
            (one, {"ste0": BYPASSES, "ste1": 2 << 28}, "EATS"),
            (one, translates(17), "16 bits"),
            (two, translates(5), "4 bits"),
            (other, translates(1), "0 bits"),
            (one, translates(2, dss=3), "S1DSS"),
        ):
            self.assertIn(what, self.refused("table-field", vmm, "rid_attach", pair=entry(where, **fields)))
        self.refused("table-unknown", vmm, "rid_attach", pair=entry(one, parent_space=16))
        self.refused("not-mapped", vmm, "rid_attach", pair=entry(one, parent_space=2))
        self.assertEqual((self.entries(), vmm.pages("binding_list", "bindings")), (set(), []))
        vmm.call("rid_attach", pair=entry(one))
        self.refused("rid-attached", vmm, "rid_attach", pair=entry(one))
        self.refused("stream-taken", vmm, "rid_attach", pair=entry(two))
        self.refused("stream-fixed", vmm, "replace", pair=entry(one, stream=9))
        self.refused("stream-fixed", vmm, "replace", pair=entry(one, parent_ioas=1))
        self.refused("table-field", vmm, "replace", pair=entry(one, **translates(17)))
        self.refused("device-busy", vmm, "device_remove", device=one)
        self.assertEqual((self.entries(), self.reaches(ONE, "0x8")), ({ONE}, 8))
        # An entry that is not valid aborts, whatever else it says.
        vmm.call("rid_attach", pair=entry(other, ste0=0xFFFFFFFFFFFFFFFE, ste1=0xFFFFFFFF, stream=9))
        self.assertEqual(self.entries(), {ONE})

    # F7
    def test_the_claim_is_exclusive_both_ways(self):
        with self.daemon.client() as numbers:
            numbers.create("numbers")
            one, two = (numbers.add(self.daemon, address).id for address in (ONE, TWO))
            for device in (one, two):
                numbers.map_memory(device)
            number = numbers.allocate(scope=pb.SCOPE_RIDS, devices=[one])[0]
            numbers.bind(host(number), one)
            self.refused("set-mode", numbers, "rid_attach", pair=entry(one))
            with self.daemon.client() as vmm:
                vmm.create("owned", mode=pb.SET_MODE_GUEST_OWNED)
                with self.assertRaises(Refused) as caught:
                    vmm.add(self.daemon, ONE)
                self.assertEqual(caught.exception.reason, "device-taken")
                numbers.unbind(host(number))
                numbers.call("device_remove", device=one)
                # The number is still the other set's in that table.
                device = vmm.add(self.daemon, ONE).id
                fill(vmm, device)
                self.refused("rid-pasids", vmm, "rid_attach", pair=entry(device))
                numbers.free(number)
                self.assertTrue(eventually(lambda: self.idle(number)))
                vmm.call("rid_attach", pair=entry(device, **translates(4)))
                self.refused("set-mode", vmm, "allocate", devices=[device])
                self.refused("set-mode", vmm, "bind", pasid=guest(3), pairs=[entry(device)])
                self.refused("set-mode", vmm, "replace", pasid=host(3), pair=entry(device))
                self.refused("no-device", numbers, "allocate", scope=pb.SCOPE_RIDS, devices=[device])
                self.assertEqual(self.reaches(ONE, 3, hex(ADDRESS)), PAGES + 3 * 0x1000)

    def idle(self, number):
        return self.admin.call("host_find", host_pasid=number).host_find.state == pb.GRANT_IDLE

    # F32 F38
    def test_a_killed_vmm_leaves_no_entry(self):
        def machine(client):
            client.create("owned", mode=pb.SET_MODE_GUEST_OWNED)
            for stream, address in enumerate((ONE, TWO)):
                device = client.add(self.daemon, address).id
                fill(client, device)
                client.call("rid_attach", pair=entry(device, stream=stream, **translates(3)))

        vmm = Vmm(self.daemon, machine)
        self.addCleanup(vmm.kill)
        self.assertEqual(self.entries(), {ONE, TWO})
        vmm.kill()
        self.assertTrue(eventually(lambda: not self.entries()))
        self.assertTrue(eventually(lambda: not self.admin.pages("set_list", "sets")))
        again, one = self.guest(ONE)
        again.call("rid_attach", pair=entry(one))

    # F32 F38
    def test_it_goes_with_a_device_that_is_unplugged(self):
        vmm, one = self.guest(ONE)
        vmm.call("rid_attach", pair=entry(one))
        vmm.call("device_remove", device=one, going=True)
        self.assertEqual((self.entries(), vmm.pages("device_list", "devices")), (set(), []))

    # F32
    def test_what_fails_on_the_way_leaves_nothing(self):
        vmm, one = self.guest(ONE)
        for call in ("hwpt-alloc", "viommu-alloc", "vdevice-alloc", "attach-rid"):
            for skip in range(2 if call == "hwpt-alloc" else 1):
                self.daemon.sim("fail", call, "ENOMEM", "--skip", str(skip))
                with self.assertRaises(Refused):
                    vmm.call("rid_attach", pair=entry(one))
                self.assertEqual((self.entries(), vmm.pages("binding_list", "bindings")), (set(), []))
        self.daemon.sim("clear")
        vmm.call("rid_attach", pair=entry(one))
        for call in ("hwpt-alloc", "attach-rid"):
            self.daemon.sim("fail", call, "ENOMEM")
            with self.assertRaises(Refused):
                vmm.call("replace", pair=entry(one, **translates(3)))
            self.assertEqual(self.reaches(ONE, "0x8"), 8)
        self.daemon.sim("clear")
        vmm.call("replace", pair=entry(one, **translates(3)))
        self.assertEqual(self.reaches(ONE, 2, hex(ADDRESS)), PAGES + 2 * 0x1000)

    # F32
    def test_an_operator_does_the_same(self):
        self.guest(ONE)

        def done(*words):
            ended = pasidctl("--json", *words, socket=self.daemon.socket)
            self.assertEqual((ended.returncode, ended.stderr), (0, ""), words)
            return json.loads(ended.stdout)

        made = done("stream", "install", "--set", "owned", ONE, "8", hex(BYPASSES), "0", "space:1")
        self.assertEqual(made["stream"], 8)
        listed = done("bindings", "--set", "owned")[0]
        self.assertEqual({key: listed[key] for key in made}, made)
        other = done("stream", "replace", "--set", "owned", ONE, "8", hex(ABORTS), "0", "space:1")
        self.assertEqual(other["vdevice"], made["vdevice"])
        done("stream", "remove", "--set", "owned", ONE)
        self.assertEqual((done("bindings"), self.entries()), ([], set()))


class WithoutNesting(WithDaemon):
    config = {**CONFIG, "simulate": {**SIMULATE, "nesting": False}}

    # F32
    def test_it_is_refused(self):
        vmm, one = self.guest(ONE)
        self.refused("no-nesting", vmm, "rid_attach", pair=entry(one))


class Restarted(Looks, Restarts):
    """The daemon ends in the middle of it."""

    def owned(self):
        vmm = self.connect("owned", mode=pb.SET_MODE_GUEST_OWNED)
        one = vmm.add(self.daemon, ONE).id
        fill(vmm, one)
        return vmm, one, vmm.call("rid_attach", pair=entry(one, **translates(3))).rid_attach

    def untouched(self, kill):
        self.begin(simulate=SIMULATE)
        vmm, one, made = self.owned()
        records, before = self.records(), self.walk(ONE, 3, hex(ADDRESS))
        self.daemon.end(kill)
        self.assertEqual(self.walk(ONE, 3, hex(ADDRESS)), before)
        self.daemon.start()
        self.assertEqual((self.walk(ONE, 3, hex(ADDRESS)), self.records()), (before, records))
        vmm = self.resume(vmm)
        self.assertEqual(vmm.pages("binding_list", "bindings")[0].table, made)
        # And it can be worked with.
        other = vmm.call("replace", pair=entry(one)).replace.tables[0]
        self.assertEqual((other.viommu, other.vdevice), (made.viommu, made.vdevice))
        vmm.call("rid_detach", device=one)
        self.assertEqual(self.entries(), set())
        vmm.call("device_remove", device=one)

    # F32 F40
    def test_the_entry_is_untouched_by_a_stop_where_descriptors_are_kept(self):
        self.untouched(False)

    # F32 F40
    def test_the_entry_is_untouched_by_a_kill_where_descriptors_are_kept(self):
        self.untouched(True)

    # F32 F40
    def test_without_them_it_is_registered_and_installed_anew(self):
        self.keeps = False
        self.begin(simulate=SIMULATE)
        vmm, one, _ = self.owned()
        self.daemon.restart(True)
        vmm = self.resume(vmm)
        self.assertTrue(eventually(lambda: not self.entries()))
        listed = vmm.pages("binding_list", "bindings")[0]
        self.assertEqual((listed.state, listed.table.stream), (pb.BINDING_TAINTED, 8))
        again = vmm.add(self.daemon, ONE).id
        self.assertNotEqual(again, one)
        fill(vmm, again)
        vmm.call("rid_attach", pair=entry(again, **translates(3)))
        self.assertEqual(self.reaches(ONE, 3, hex(ADDRESS)), PAGES + 3 * 0x1000)
        self.assertEqual(len(vmm.pages("binding_list", "bindings")), 1)


if __name__ == "__main__":
    unittest.main()
