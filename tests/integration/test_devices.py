# SPDX-License-Identifier: MIT
"""Devices, memory and bindings, compared with the tables that stand in the simulated IOMMU."""

import unittest

from pasid_client import Daemon, Refused, eventually, guest, host, pb, set_ref

ONE, TWO, SHARED, OTHER = (f"0000:00:0{i}.0" for i in (1, 2, 3, 4))
CONFIG = {
    "quarantine": {"cooling_ms": 50},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {
        "devices": [
            {"address": ONE},
            {"address": TWO},
            {"address": SHARED},
            {"address": OTHER},
            {"address": "0000:00:05.0", "width": 0},
            {"address": "0000:00:06.0", "width": 11},
        ]
    },
}


class Devices(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.vm1 = self.connect("vm1")
        self.vm2 = self.connect("vm2")

    def connect(self, name):
        client = self.daemon.client()
        self.addCleanup(client.close)
        client.create(name)
        return client

    def refused(self, reason, call, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            call(*arguments, **fields)
        self.assertEqual(caught.exception.reason, reason)
        return caught.exception.status

    def exclusive(self, client, *addresses):
        """Registered devices, each with memory in space 1."""
        devices = [client.add(self.daemon, address).id for address in addresses]
        for device in devices:
            client.map_memory(device)
        return devices

    def slice(self, client):
        device = client.call("device_slice", address=SHARED).device_slice.id
        client.map_memory(device)
        return device

    # -- devices

    # F36
    def test_trap_14_a_device_is_what_the_system_says_and_its_width_is_told(self):
        info = self.vm1.add(self.daemon, ONE)
        self.assertEqual((info.address, info.kind, info.pasid_width), (ONE, pb.DEVICE_EXCLUSIVE, 20))
        self.assertEqual(info.iommu, "vtd")
        self.assertIn("pasid", info.capabilities)

    def test_a_device_is_one_sets(self):
        self.vm1.add(self.daemon, ONE)
        status = self.refused("device-taken", self.vm2.add, self.daemon, ONE)
        self.assertNotIn("vm1", status.message)
        self.assertEqual(len(self.vm2.pages("device_list", "devices")), 0)

    # F37
    def test_a_device_that_the_daemon_opens_comes_back(self):
        with self.daemon.open_iommu() as iommufd:
            request = self.vm1.request("device_add", fds=[iommufd], address=OTHER)
            self.vm1.send(request, fds=[iommufd])
            reply = self.vm1.result(request.id)
        self.assertEqual((reply.device_add.address, reply.descriptors), (OTHER, 1))
        self.assertEqual(len(self.vm1.fds[request.id]), 1)

    # F37
    def test_policy_decides_what_the_daemon_opens(self):
        with self.daemon.open_iommu() as iommufd:
            self.refused("policy-denies", self.vm1.call, "device_add", fds=[iommufd], address=SHARED)

    def test_a_foreign_iommufd_is_refused(self):
        with self.daemon.open_iommu() as iommufd:
            with self.daemon.open_device(ONE) as one:
                self.vm1.call("device_add", fds=[iommufd, one])
            with self.daemon.open_device(TWO) as two:
                self.refused("descriptor-foreign", self.vm2.call, "device_add", fds=[iommufd, two])
                # The same open file is no obstacle to its own set.
                self.vm1.call("device_add", fds=[iommufd, two])

    def test_shared_devices_are_for_admins_to_share_and_for_sets_to_slice(self):
        self.refused("role-not-allowed", self.vm1.call, "device_share", address=ONE)
        slice1 = self.vm1.call("device_slice", address=SHARED).device_slice
        slice2 = self.vm2.call("device_slice", address=SHARED).device_slice
        self.assertEqual((slice1.kind, slice1.dev_id), (pb.DEVICE_SLICE, 0))
        self.assertEqual(slice1.shared, slice2.shared)
        self.assertNotEqual(slice1.id, slice2.id)

    def test_a_removed_device_can_be_another_sets(self):
        device = self.vm1.add(self.daemon, ONE)
        self.vm1.call("device_remove", device=device.id)
        self.vm2.add(self.daemon, ONE)

    # -- bindings

    # F3
    def test_one_pasid_on_two_devices_at_once(self):
        one, two = self.exclusive(self.vm1, ONE, TWO)
        number = self.vm1.allocate(devices=[one, two])[0]
        result = self.vm1.bind(host(number), one, two)
        self.assertEqual((result.host_pasid, len(result.tables)), (number, 2))
        self.assertEqual(set(self.daemon.tables()), {(ONE, number), (TWO, number)})
        listed = self.vm1.pages("binding_list", "bindings")
        self.assertEqual({(b.address, b.host_pasid) for b in listed}, {(ONE, number), (TWO, number)})

    def test_unbind_from_one_then_from_all(self):
        one, two = self.exclusive(self.vm1, ONE, TWO)
        number = self.vm1.allocate(guest_pasid=4)[0]
        self.vm1.bind(guest(4), one, two)
        self.vm1.unbind(guest(4), two)
        self.assertEqual(set(self.daemon.tables()), {(ONE, number)})
        self.vm1.unbind(host(number))
        self.assertEqual(self.daemon.tables(), {})
        self.refused("not-bound", self.vm1.unbind, host(number), one)

    # F2
    def test_two_slices_of_one_device_have_different_numbers_and_tables(self):
        first, second = self.slice(self.vm1), self.slice(self.vm2)
        one, two = self.vm1.allocate(guest_pasid=7)[0], self.vm2.allocate(guest_pasid=7)[0]
        self.vm1.bind(guest(7), first)
        result = self.vm2.bind(guest(7), second)
        self.assertEqual(result.tables[0].hwpt, 0)
        tables = self.daemon.tables()
        self.assertEqual(set(tables), {(SHARED, one), (SHARED, two)})
        self.assertNotEqual(tables[SHARED, one], tables[SHARED, two])

    # F35
    def test_a_number_of_a_shared_device_rests_until_it_is_drained(self):
        device = self.slice(self.vm1)
        number = self.vm1.allocate()[0]
        self.vm1.bind(host(number), device)
        self.vm1.unbind(host(number))
        self.vm1.free(number)
        with self.daemon.admin() as admin:
            self.assertFalse(
                eventually(lambda: admin.call("host_find", host_pasid=number).host_find.state == pb.GRANT_IDLE, 0.4)
            )
            found = admin.call("host_find", host_pasid=number).host_find
            self.assertEqual(list(found.quarantine), ["undrained"])
            self.refused("none-free", self.vm2.allocate, min=number, max=number)
            shared = self.vm1.pages("device_list", "devices")[0].shared
            self.refused("role-not-allowed", self.vm1.call, "device_drained", device=shared)
            self.assertEqual(admin.call("device_drained", device=shared).device_drained.released, 1)
        self.assertEqual(self.vm2.allocate(min=number, max=number), [number])

    # F3
    def test_a_bind_that_fails_on_the_second_device_leaves_nothing(self):
        one, two = self.exclusive(self.vm1, ONE, TWO)
        number = self.vm1.allocate()[0]
        self.daemon.sim("fail", "attach", "ENOMEM", "--rid", TWO)
        with self.assertRaises(Refused) as caught:
            self.vm1.bind(host(number), one, two)
        self.assertEqual(caught.exception.code, pb.HARDWARE)
        self.assertEqual(self.daemon.tables(), {})
        self.assertEqual(len(self.vm1.pages("binding_list", "bindings")), 0)
        self.vm1.bind(host(number), one, two)
        self.assertEqual(len(self.daemon.tables()), 2)

    # F23
    def test_a_number_freed_while_bound_rests_after_its_unbind(self):
        one = self.exclusive(self.vm1, ONE)[0]
        number = self.vm1.allocate()[0]
        self.vm1.bind(host(number), one)
        self.vm1.free(number)
        self.assertEqual(self.vm1.call("host_find", host_pasid=number).host_find.state, pb.GRANT_FREE_PENDING)
        self.assertEqual(set(self.daemon.tables()), {(ONE, number)})
        self.vm1.unbind(host(number))
        with self.daemon.admin() as admin:
            self.assertTrue(
                eventually(lambda: admin.call("host_find", host_pasid=number).host_find.state == pb.GRANT_IDLE)
            )

    def test_what_is_bound_is_not_bound_again(self):
        one = self.exclusive(self.vm1, ONE)[0]
        number = self.vm1.allocate()[0]
        self.vm1.bind(host(number), one)
        before = self.daemon.tables()
        self.refused("already-bound", self.vm1.bind, host(number), one)
        self.assertEqual(self.daemon.tables(), before)

    # -- what the kernel would do wrongly

    def test_trap_01_a_device_without_width_takes_no_pasid(self):
        device = self.vm1.add(self.daemon, "0000:00:05.0")
        self.assertEqual(device.pasid_width, 0)
        self.vm1.map_memory(device.id)
        number = self.vm1.allocate()[0]
        self.refused("device-without-pasid", self.vm1.bind, host(number), device.id)

    # F36
    def test_a_number_beyond_the_width_is_refused(self):
        device = self.exclusive(self.vm1, "0000:00:06.0")[0]
        number = self.vm1.allocate(min=1 << 11)[0]
        self.refused("pasid-width", self.vm1.bind, host(number), device)
        self.assertEqual(self.daemon.tables(), {})
        fitting = self.vm1.allocate(devices=[device])[0]
        self.assertLess(fitting, 1 << 11)
        self.vm1.bind(host(fitting), device)

    def test_trap_02_pasid_zero_is_no_rid(self):
        device = self.exclusive(self.vm1, ONE)[0]
        self.refused("pasid-zero", self.vm1.bind, host(0), device)

    # -- memory

    def test_memory_is_mapped_once_and_unmapped(self):
        device = self.vm1.add(self.daemon, ONE).id
        self.vm1.map_memory(device, iova=0, length=1 << 16)
        self.refused("map-overlap", self.vm1.map_memory, device, iova=1 << 12, length=1 << 12)
        self.vm1.call("memory_unmap", device=device, space=1, iova=0, length=1 << 16)
        self.vm1.map_memory(device, iova=1 << 12, length=1 << 12)

    def test_the_rid_itself(self):
        device = self.exclusive(self.vm1, ONE)[0]
        pair = pb.BindPair(device=device, table=pb.Table(space=1))
        self.assertTrue(self.vm1.call("rid_attach", pair=pair).rid_attach.made)
        self.refused("rid-attached", self.vm1.call, "rid_attach", pair=pair)
        bindings = self.vm1.pages("binding_list", "bindings")
        self.assertEqual([b.HasField("host_pasid") for b in bindings], [False])
        self.vm1.call("rid_detach", device=device)
        self.assertEqual(self.vm1.pages("binding_list", "bindings"), [])

    # -- somebody else's

    def test_foreign_devices_and_numbers_are_not_found_and_nothing_changes(self):
        mine = self.exclusive(self.vm1, ONE)[0]
        theirs = self.exclusive(self.vm2, TWO)[0]
        number = self.vm1.allocate()[0]
        self.vm1.bind(host(number), mine)
        other = self.vm2.allocate()[0]
        before = self.daemon.tables()
        self.refused("no-pasid", self.vm2.bind, host(number), theirs)
        self.refused("no-device", self.vm2.bind, host(other), mine)
        self.refused("no-device", self.vm2.bind, host(other), theirs, mine)
        self.refused("no-pasid", self.vm2.unbind, host(number))
        self.refused("no-device", self.vm2.unbind, host(other), mine)
        self.refused("no-device", self.vm2.call, "device_remove", device=mine)
        self.refused("no-device", self.vm2.map_memory, mine, iova=1 << 30)
        self.refused("no-device", self.vm2.call, "memory_unmap", device=mine, space=1, iova=0, length=1 << 16)
        self.refused("no-set", self.vm2.unbind, host(number), set=set_ref("vm1"))
        self.refused("no-device", self.vm2.allocate, devices=[mine])
        self.assertEqual(self.daemon.tables(), before)
        self.assertEqual(self.vm2.pages("binding_list", "bindings"), [])
        self.assertEqual([d.id for d in self.vm2.pages("device_list", "devices")], [theirs])

    def test_a_slice_reaches_only_its_own_bindings(self):
        first, second = self.slice(self.vm1), self.slice(self.vm2)
        number = self.vm1.allocate()[0]
        self.vm1.bind(host(number), first)
        before = self.daemon.tables()
        self.refused("no-pasid", self.vm2.bind, host(number), second)
        self.refused("no-device", self.vm2.bind, host(self.vm2.allocate()[0]), first)
        self.refused("no-pasid", self.vm2.unbind, host(number), second)
        self.vm2.call("device_remove", device=second)
        self.assertEqual(self.daemon.tables(), before)

    # -- the end

    def test_a_destroyed_set_leaves_no_entry(self):
        one, two = self.exclusive(self.vm1, ONE, TWO)
        for number in self.vm1.allocate(count=20):
            self.vm1.bind(host(number), one, two)
        self.assertEqual(len(self.daemon.tables()), 40)
        self.vm1.call("set_destroy", force=True)
        self.assertEqual(self.daemon.tables(), {})
        self.vm2.add(self.daemon, ONE)

    def test_a_lost_worker_is_told_and_the_set_can_go_on(self):
        shared_worker = set(self.daemon.workers())
        one = self.exclusive(self.vm1, ONE)[0]
        number = self.vm1.allocate()[0]
        self.vm1.bind(host(number), one)
        self.vm1.call("watch")
        (worker,) = set(self.daemon.workers()) - shared_worker
        self.daemon.kill(worker)
        self.assertEqual(self.vm1.wait_event(pb.EVENT_BINDING_LOST).host_pasid, number)
        self.assertTrue(eventually(lambda: self.daemon.tables() == {}))
        self.assertIn("worker", self.daemon.log())
        # Another machine has not noticed.
        other = self.exclusive(self.vm2, TWO)[0]
        self.vm2.bind(host(self.vm2.allocate()[0]), other)


if __name__ == "__main__":
    unittest.main()
